from __future__ import annotations

import jax
import jax.numpy as jnp
import pytest

from celo.protocol import Task


class Slope(Task):
    def init(self, key):
        return jnp.ones(())

    def loss(self, params, key, data):
        return params * data


@pytest.mark.parametrize("method", ["loss_with_state", "loss_with_state_and_aux"])
def test_a_task_without_a_model_state_refuses_one(method: str) -> None:
    ask = getattr(Slope(), method)
    key = jax.random.PRNGKey(0)
    loss, state, *_ = ask(jnp.float32(2), None, key, jnp.float32(3))
    assert (float(loss), state) == (6.0, None)
    with pytest.raises(ValueError, match="Slope has no model state, but got one"):
        ask(jnp.float32(2), {"mean": 0.0}, key, jnp.float32(3))
