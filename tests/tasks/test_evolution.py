"""Estimated gradients: what they are made of, and that nothing else changes."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from celo.protocol import Task
from celo.tasks.evolution import EvolutionTask

KEY = jax.random.PRNGKey(0)
AT = {"w": jnp.array([1.0, -2.0, 0.5])}


class Bowl(Task):
    """Half the squared distance to the data; counts how often its loss is traced."""

    calls = 0

    def init(self, key: Any) -> Any:
        return AT

    def loss(self, params: Any, key: Any, data: Any) -> Any:
        self.calls += 1
        return 0.5 * jnp.sum(jnp.square(params["w"] - data["to"]))

    def normalizer(self, loss: Any) -> Any:
        return loss / 2


DATA = {"to": jnp.array([0.0, 1.0, 1.0]), "label": jnp.array([3, 4])}


def _estimate(pairs: int, key: jax.Array = KEY) -> tuple[jax.Array, jax.Array]:
    task = EvolutionTask(Bowl(), pairs, 0.01)
    grad_fn = jax.value_and_grad(task.loss_with_state, has_aux=True)
    (loss, _), grad = jax.jit(grad_fn)(AT, None, key, DATA)
    return loss, grad["w"]


def test_the_mean_of_many_estimates_is_the_gradient() -> None:
    """Of a quadratic loss without bias; the deviation falls with the root of the pairs."""
    true = AT["w"] - DATA["to"]
    loss, many = _estimate(40_000)
    assert float(loss) == 5.125  # undisturbed
    np.testing.assert_allclose(many, true, atol=6 * float(jnp.linalg.norm(true)) / 200)


def test_one_pair_moves_along_its_perturbation() -> None:
    """The slope between both ends times the perturbation over the variance."""
    _, grad = _estimate(1)
    _, other = _estimate(1, jax.random.PRNGKey(1))
    assert not jnp.allclose(grad, other)
    # For a quadratic the estimate is eps (eps . g) / deviation^2, so g along it is known.
    true = AT["w"] - DATA["to"]
    length = jnp.dot(grad, true) / jnp.linalg.norm(grad)
    eps = grad / jnp.linalg.norm(grad) * jnp.sqrt(jnp.linalg.norm(grad) / length)
    np.testing.assert_allclose(eps * jnp.dot(eps, true), grad, rtol=1e-3)
    assert 0.1 < float(jnp.linalg.norm(eps)) < 4


def test_evaluation_perturbs_nothing() -> None:
    bowl = Bowl()
    task = EvolutionTask(bowl, 4, 0.01)
    assert task.loss(AT, KEY, DATA) == bowl.loss(AT, KEY, DATA)
    assert bowl.calls == 2
    assert task.loss_with_state_and_aux(AT, None, KEY, DATA)[1:] == (None, {})
    assert task.normalizer(jnp.float32(3.0)) == 1.5


def test_the_estimate_follows_the_chain_rule() -> None:
    task = EvolutionTask(Bowl(), 3, 0.01)
    twice = jax.grad(lambda p: 2 * task.loss(p, KEY, DATA))(AT)["w"]
    np.testing.assert_allclose(twice, 2 * _estimate(3)[1], rtol=1e-5)
