"""Losses before training, on real images, beside the first values of the published curves.

Those are the smallest of many configurations' means over 5 seeds, hence a little low.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import jax
import numpy as np
import pytest

from celo import registry
from celo.data import DataSelection
from celo.tasks import build_task
from tests.shared_folder import data_dir

KEYS = 32
ROWS = 32
"""Of a batch: the mean does not depend on it, except a little through batch statistics."""

# task -> (published, allowed relative difference)
PUBLISHED = {
    "ImageMLP_FashionMnist_Relu128x128": (2.2982, 0.02),
    "ImageMLP_Cifar10_128x128x128_LayerNorm_Relu": (2.4059, 0.06),
    "ImageMLP_Cifar10_128x128x128_Tanh_bs128": (2.3139, 0.02),
    "Conv_Cifar10_32x64x64": (2.3019, 0.02),
    "Conv_Cifar10_32x64x64_batchnorm": (2.3102, 0.02),
    "Conv_Cifar10_32x64x64_layernorm": (2.4294, 0.06),
    "Conv_Cifar100_32x64x64": (4.6058, 0.02),
    "VIT_Cifar100_wideshallow": (4.6051, 0.001),
    "VIT_Cifar100_skinnydeep": (4.6051, 0.001),
    # Below the loss of constant grey, mean (x - 1/2)^2 = 0.0642 on the rows here: no network that
    # starts near grey has a lower mean, only the luckiest of many batches do.
    "ImageMLPAE_Cifar10_128x32x128_bs256": (0.0637, 0.04),
    "ImageMLPAE_Mnist_128x32x128_bs128": (0.2312, 0.02),
    "LOpt_AdafacMLPLOpt_FashionMnist_50": (2.2537, 0.06),
}


@pytest.fixture(scope="module")
def real_data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    folder = tmp_path_factory.mktemp("data")
    expand = [sys.executable, str(data_dir() / "expand"), str(folder)]
    subprocess.run(expand, check=True, capture_output=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CELO_DATA_DIR", str(folder))
        yield


@pytest.mark.slow
@pytest.mark.parametrize("name", PUBLISHED)
def test_first_losses_are_the_published_ones(name: str, real_data: None) -> None:
    task = build_task(registry.task(name).record, DataSelection())
    stack = registry.task(name).record.stack
    constant = name.startswith("VIT")  # the head is zero: no key matters

    def loss(key: jax.Array, batch: dict) -> jax.Array:
        params, state = task.init_with_state(key)
        return task.loss_with_state(params, state, key, batch)[0]

    compiled = jax.jit(loss)
    losses = []
    for i in range(1 if constant else KEYS):
        batch = next(task.datasets.train)
        if stack is None and "MLP" not in name:
            batch = jax.tree.map(lambda x: x[:ROWS], batch)
        losses.append(float(compiled(jax.random.PRNGKey(i), batch)))
    published, allowed = PUBLISHED[name]
    assert np.mean(losses) == pytest.approx(published, rel=allowed)
