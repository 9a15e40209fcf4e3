from __future__ import annotations

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
import pytest

from celo.tasks import normalizers

INF, NAN = np.inf, np.nan
TOP = 1.5 * np.log(10)
LOSSES = [-1.0, 0.25, 2.0, 1e9, INF, -INF, NAN]
EXPECTED = {
    "N0": (normalizers.identity, LOSSES),
    "N1": (normalizers.mlp_classifier(10), [0, 0.25, 2, TOP, TOP, 0, TOP]),
    "N2": (normalizers.conv_classifier(10), [0, 0.25, 2, TOP, TOP, 0, NAN]),
    "N3": (
        normalizers.patch_classifier(10),
        [0, 2.5 / np.log(20), 20 / np.log(20), 10, 10, 10, 10],
    ),
    "N4": (normalizers.autoencoder, [0, 0.25, 1, 1, 1, 0, NAN]),
    "N5": (normalizers.mse_classifier, [-10, 2.5, 10, 10, 10, 10, 10]),
}


@pytest.mark.parametrize("name", EXPECTED)
def test_normalizer(name: str) -> None:
    normalizer: Callable
    normalizer, expected = EXPECTED[name]
    found = normalizer(jnp.array(LOSSES, jnp.float32))
    np.testing.assert_allclose(found, np.array(expected, np.float32), rtol=1e-6)
    assert found.dtype == jnp.float32
