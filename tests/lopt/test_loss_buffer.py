"""The loss buffer: clipping, the first steps, NaN."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from celo.lopt.loss_buffer import init_loss_buffer, loss_features, update_loss_buffer


def _feed(losses: list[float], num_steps: int = 100):
    buffer = init_loss_buffer(jnp.asarray(num_steps))
    for loss in losses:
        buffer = update_loss_buffer(buffer, jnp.float32(loss))
    return buffer


def test_time_constants_run_from_ten_steps_to_the_whole_run() -> None:
    decays = np.asarray(init_loss_buffer(jnp.asarray(100)).decays)
    np.testing.assert_allclose(decays[[0, -1]], np.exp([-1 / 10, -1 / 100]), rtol=1e-6)


def test_features_are_zero_for_two_losses_only() -> None:
    assert not np.any(loss_features(_feed([3.0, 2.0])))
    assert np.any(loss_features(_feed([3.0, 2.0, 2.5])))


def test_spikes_are_clipped_upward_only() -> None:
    calm, spike = _feed([2.0, 2.0, 2.0, 5.0]), _feed([2.0, 2.0, 2.0, 1e6])
    np.testing.assert_allclose(spike.means, calm.means, rtol=0.5)
    deep = _feed([2.0, 2.0, 2.0, -1e6])
    assert float(deep.means[0]) < -1e4


def test_nan_stays_visible() -> None:
    assert np.all(np.isnan(loss_features(_feed([float("nan")]))))
