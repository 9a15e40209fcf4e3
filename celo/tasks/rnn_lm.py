"""Recurrent language models (spec of the tasks, 1.3 and 3)."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Literal

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from celo.data import DataSelection
from celo.data.text_datasets import text_datasets
from celo.protocol import Batch
from celo.tasks.token_task import Head, TokenTask

CellName = Literal["LSTM", "GRU", "VanillaRNN", "IRNN"]


def build(
    *,
    name: str,
    data: DataSelection,
    data_set: str,
    vocabulary: str,
    batch_size: int,
    length: int,
    cell: CellName,
    hidden: int,
    embedding: int,
) -> TokenTask:
    """Embedding, one recurrent layer with a learned initial state, one linear layer.

    Args:
      name: of the task.
      data: which data stands behind `data_set`.
      data_set: name of the text set.
      vocabulary: how it becomes tokens: "32k" or "bytes".
      batch_size: rows of a batch.
      length: tokens of a row.
      cell: kind of the recurrent layer.
      hidden: its width.
      embedding: width of the embedding.
    """
    datasets = text_datasets(data_set, vocabulary, batch_size, length, data)
    vocab_size = datasets.extra_info["vocab_size"]

    def batch_loss(batch: Batch) -> jax.Array:
        # Time is the first axis throughout: scanned over, and never moved in anything large.
        by_time = {name: tokens.T for name, tokens in batch.items()}
        embedded = hk.Embed(vocab_size, embedding)(by_time["obs"])
        layer = CELLS[cell](hidden)
        outputs = layer(embedded, _initial_states(layer.states, hidden, embedded.shape[1]))
        return Head(vocab_size)(outputs, by_time["obs"], by_time["target"])

    return TokenTask(name, batch_loss, datasets)


def _initial_states(count: int, width: int, rows: int) -> list[jax.Array]:
    """Learned vectors, the same for every row: [rows, width] each; they belong to no module."""
    names = [f"initial_state_{i}" for i in range(count)]
    states = [hk.get_parameter(name, (1, width), init=jnp.zeros) for name in names]
    return [jnp.broadcast_to(state, (rows, width)) for state in states]


# Parameters, initial values and numbers of all cells are those of Haiku's cores. What does not
# depend on the state (all that is multiplied with the inputs) is computed for all times at once.


class LSTM(hk.Module):
    """Long short-term memory; the forget gate starts open (1 is added to it)."""

    states = 2

    def __init__(self, hidden: int):
        """Takes the width."""
        super().__init__("lstm")
        self._hidden = hidden

    def __call__(self, inputs: jax.Array, states: list[jax.Array]) -> jax.Array:
        """Outputs [T, B, hidden] of inputs [T, B, E] from a hidden and a cell state [B, hidden]."""
        size = inputs.shape[-1]
        w, b = _Weights(size + self._hidden, 4 * self._hidden)()
        recurrent = w[size:]

        def step(states, projected):
            hidden, cell = states
            i, g, f, o = jnp.split(projected + hidden @ recurrent, 4, axis=-1)
            cell = jax.nn.sigmoid(f + 1) * cell + jax.nn.sigmoid(i) * jnp.tanh(g)
            hidden = jax.nn.sigmoid(o) * jnp.tanh(cell)
            return (hidden, cell), hidden

        return _scan(step, tuple(states), inputs @ w[:size] + b)


class GRU(hk.Module):
    """Gated recurrent unit; the reset gate acts before the product with the weights."""

    states = 1

    def __init__(self, hidden: int):
        """Takes the width."""
        super().__init__("gru")
        self._hidden = hidden

    def __call__(self, inputs: jax.Array, states: list[jax.Array]) -> jax.Array:
        """Outputs [T, B, hidden] of inputs [T, B, E] from a state [B, hidden]."""
        width = self._hidden
        init = hk.initializers.VarianceScaling()
        w_i = hk.get_parameter("w_i", (inputs.shape[-1], 3 * width), init=init)
        w_h = hk.get_parameter("w_h", (width, 3 * width), init=init)
        b = hk.get_parameter("b", (3 * width,), init=jnp.zeros)
        w_gates, w_candidate = w_h[:, : 2 * width], w_h[:, 2 * width :]

        def step(state, projected):
            gates = jax.nn.sigmoid(projected[:, : 2 * width] + state @ w_gates)
            update, reset = gates[:, :width], gates[:, width:]
            candidate = jnp.tanh(projected[:, 2 * width :] + (reset * state) @ w_candidate)
            state = (1 - update) * state + update * candidate
            return state, state

        return _scan(step, states[0], inputs @ w_i + b)


class VanillaRNN(hk.Module):
    """ReLU(W x + b + U h + c)."""

    states = 1

    def __init__(self, hidden: int, *, identity: bool = False):
        """Takes the width and whether U starts as the identity (IRNN: Le et al., 2015)."""
        super().__init__("irnn" if identity else "vanilla_rnn")
        self._hidden = hidden
        self._identity = identity

    def __call__(self, inputs: jax.Array, states: list[jax.Array]) -> jax.Array:
        """Outputs [T, B, hidden] of inputs [T, B, E] from a state [B, hidden]."""
        projected = hk.Linear(self._hidden)(inputs)
        init = hk.initializers.Identity() if self._identity else None
        u, c = _Weights(self._hidden, self._hidden, init)()

        def step(state, projected):
            state = jax.nn.relu(projected + state @ u)
            return state, state

        return _scan(step, states[0], projected + c)


CELLS = {
    "LSTM": LSTM,
    "GRU": GRU,
    "VanillaRNN": VanillaRNN,
    "IRNN": functools.partial(VanillaRNN, identity=True),
}


class _Weights(hk.Module):
    """The weights of an `hk.Linear` under its name, without the product."""

    def __init__(self, inputs: int, outputs: int, init: hk.initializers.Initializer | None = None):
        super().__init__("linear")
        self._shape = (inputs, outputs)
        self._init = init or hk.initializers.TruncatedNormal(1 / np.sqrt(inputs))

    def __call__(self) -> tuple[jax.Array, jax.Array]:
        w = hk.get_parameter("w", self._shape, init=self._init)
        return w, hk.get_parameter("b", self._shape[1:], init=jnp.zeros)


def _scan(step: Callable[[Any, jax.Array], tuple[Any, jax.Array]], states: Any, inputs: jax.Array):
    return lax.scan(step, states, inputs)[1]
