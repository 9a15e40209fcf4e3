from __future__ import annotations

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from celo import registry
from celo.data import DataSelection
from celo.tasks import build_task, rnn_lm

KEY = jax.random.PRNGKey(0)
CORES = {"LSTM": hk.LSTM, "GRU": hk.GRU, "VanillaRNN": hk.VanillaRNN}


@pytest.mark.parametrize("cell", ["LSTM", "GRU", "VanillaRNN"])
def test_cells_are_haikus(cell: str) -> None:
    """Same leaves, initial values, outputs and gradients, from a state that is not zero."""
    inputs = jax.random.normal(KEY, (5, 2, 3))
    states = [jax.random.normal(jax.random.PRNGKey(i), (2, 4)) for i in (1, 2)]

    def ours(inputs):
        layer = rnn_lm.CELLS[cell](4)
        return layer(inputs, states[: layer.states])

    def theirs(inputs):
        state = hk.LSTMState(*states) if cell == "LSTM" else states[0]
        return hk.dynamic_unroll(CORES[cell](4), inputs, state)[0]

    def outcome(network):
        transformed = hk.without_apply_rng(hk.transform(network))
        initial = transformed.init(KEY, inputs)
        shifted = jax.tree.map(lambda x: x + 0.1, initial)
        value, pull = jax.vjp(transformed.apply, shifted, inputs)
        return initial, value, pull(jnp.cos(value))

    a, b = jax.jit(lambda: (outcome(ours), outcome(theirs)))()
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-5), a, b)


def test_an_irnn_starts_with_the_identity() -> None:
    def network(inputs):
        return rnn_lm.CELLS["IRNN"](4)(inputs, [jnp.zeros((2, 4))])

    params = hk.transform(network).init(KEY, jnp.ones((5, 2, 3)))
    np.testing.assert_array_equal(params["irnn/linear_1"]["w"], np.eye(4))
    assert set(params) == {"irnn/linear", "irnn/linear_1"}


@pytest.mark.parametrize("cell", ["LSTM256", "GRU256", "VanillaRNN128", "IRNN128"])
def test_inputs_are_multiplied_outside_of_the_loop(cell: str) -> None:
    embedding = {"256": 128, "128": 64}[cell[-3:]]
    record = registry.task(f"RNNLM_lm1bbytes_Patch32_{cell}_Embed{embedding}").record
    task = build_task(record, DataSelection(synthetic=True))
    batch = task.datasets.abstract_batch  # pyright: ignore[reportOptionalMemberAccess]
    program = jax.make_jaxpr(task.loss)(jax.eval_shape(task.init, KEY), KEY, batch)
    loops = [e for e in _equations(program.jaxpr) if e.primitive.name == "scan"]
    (loop,) = (e for e in loops if e.params["length"] == 32)
    products = [
        e for e in _equations(loop.params["jaxpr"].jaxpr) if e.primitive.name == "dot_general"
    ]
    assert products
    for product in products:
        assert product.invars[1].aval.shape[0] == int(cell[-3:])  # of the state, not the input


def _equations(jaxpr):
    for equation in jaxpr.eqns:
        yield equation
        for value in equation.params.values():
            inner = getattr(value, "jaxpr", value)
            if hasattr(inner, "eqns") and equation.primitive.name != "scan":
                yield from _equations(inner)


def test_the_initial_state_is_learned() -> None:
    record = registry.task("RNNLM_lm1bbytes_Patch32_LSTM128_Embed64").record
    task = build_task(record, DataSelection(synthetic=True))
    params = jax.jit(task.init)(KEY)
    tokens = jax.random.randint(KEY, (2, 4), 3, 259)
    slope = jax.jit(jax.grad(task.loss))(params, KEY, {"obs": tokens, "target": tokens})["~"]
    assert set(slope) == {"initial_state_0", "initial_state_1"}
    assert all(jnp.abs(x).max() > 0 for x in slope.values())
