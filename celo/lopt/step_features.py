"""How far a run is, in absolute steps: inputs that all parameters share."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

TIME_SCALES = np.asarray((1, 3, 10, 30, 100, 300, 1e3, 3e3, 1e4, 3e4, 1e5), np.float32)
"""Steps on which learned optimizers see time pass."""

STEP_FEATURES = len(TIME_SCALES)


def step_features(iteration: jax.Array) -> jax.Array:
    """tanh(iteration / scale - 1) for each time scale, float32 (11,)."""
    return jnp.tanh(iteration.astype(jnp.float32) / TIME_SCALES - 1)
