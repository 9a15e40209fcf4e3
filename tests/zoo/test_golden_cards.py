import numpy as np
import pytest

from celo_zoo import card
from tests.shared_folder import golden_dir

INITIAL = {
    "celo": "celo",
    "celo-adam": "celo_adam",
    "celo2": "celo2",
    "celo2-base": "celo2base",
    "rnn-mlp-lopt": "rnn_mlp",
    "adafac-mlp-lopt": "adafac_mlp",
    "velo-s": "velo_s",
}


@pytest.mark.parametrize("name", INITIAL)
def test_golden_leaves_of_a_card_are_those_of_the_initial_weights(name):
    path = golden_dir() / f"{INITIAL[name]}__init.npz"
    if not path.is_file():
        pytest.skip(f"{path} is missing")
    with np.load(path, allow_pickle=False) as golden:
        arrays = {key.removeprefix("theta|"): golden[key] for key in golden if "theta|" in key}
    assert {leaf.path: (leaf.shape, leaf.dtype) for leaf in card(name).leaves} == {
        key: (array.shape, array.dtype.name) for key, array in arrays.items()
    }
