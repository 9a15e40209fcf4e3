"""The loop trains at one point and evaluates at another where the optimizer says so."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from celo.evaluation import loop
from celo.evaluation.batches import Batches
from celo.evaluation.cells import Schedule
from celo.optim import from_optax
from celo.protocol import SplitTable, Task


class _Square(Task):
    """The square of a single number, whatever the data."""

    def init(self, key: jax.Array) -> Any:
        return {"x": jnp.float32(3.0)}

    def loss(self, params: Any, key: jax.Array, data: Any) -> jax.Array:
        return jnp.square(params["x"])


def _elsewhere(inner: Any, params: Any) -> Any:
    return jax.tree.map(lambda x: 10.0 + x, params)


def test_evaluation_uses_the_parameters_to_evaluate() -> None:
    table = SplitTable({"row": np.arange(6)}, 2, lambda rows: rows["row"])
    batches = Batches(table, ((0, 2), (2, 2), (4, 2)))
    schedule = Schedule(steps=2, eval_every=1, eval_batches=1, last_eval_batches=1)
    optimizer = from_optax(optax.sgd(0.25), "sgd", eval_params=_elsewhere)
    start = loop.prepare(_Square(), batches, (0,), schedule)
    program = loop.compile_program(start, lambda theta, hypers: optimizer, None, {}, "vmap")
    _, losses = program.advance(program.start(), 0, program.points)
    # The number is halved by every step: 3, 1.5, 0.75.
    trained = np.asarray(losses.training)[0, 0, : program.points, 0]
    np.testing.assert_allclose(trained, [9.0, 2.25, 0.5625])
    evaluated = np.asarray(losses.evaluation)[0, 0, : program.points, :, 0]
    np.testing.assert_allclose(evaluated, [[169.0] * 3, [132.25] * 3, [115.5625] * 3])
