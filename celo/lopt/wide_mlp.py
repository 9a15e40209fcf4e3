"""A per-parameter network of many units, by matrix products over blocks of rows.

`celo.lopt.perparam_mlp` unrolls every unit, which suits 4 to 8 of them; from about 16 on, matrix
products win. A row is one parameter. Rows are taken block by block, so that columns and units exist
for one block only, and columns-first, so that reductions and products run along long axes (on CPUs
half the time of rows-first).

Inputs that are the same for the whole leaf (step counts, the outputs of another network) are no
columns: `celo.lopt.perparam_mlp.with_constant_inputs`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import haiku as hk
import jax
import jax.numpy as jnp

from celo.lopt.perparam_mlp import MlpWeights
from celo.protocol import PyTree

Columns = Callable[..., Sequence[jax.Array]]
"""From blocks of the given arrays, each (width, rows), to input columns, (some, rows) each."""

T = TypeVar("T")

_LANES = 128
_HIGHEST = jax.lax.Precision.HIGHEST


def dense_network(hidden: Sequence[int], outputs: int) -> hk.Transformed:
    """Haiku's `MLP`, for its parameter names and initial values; `apply_wide_mlp` applies it."""
    return hk.transform(lambda x: hk.nets.MLP((*hidden, outputs))(x))


def dense_weights(tree: PyTree, inputs: int) -> tuple[MlpWeights, jax.Array]:
    """Reads the tree of `dense_network`.

    Args:
      tree: parameters by module name.
      inputs: how many of the first layer's inputs are columns.

    Returns:
      The weights for the columns, and the matrix of the other inputs.
    """
    layers = [tree[f"mlp/~/linear_{i}"] for i in range(len(tree))]
    first = layers[0]["w"]
    rest = tuple((layer["w"], layer["b"]) for layer in layers[1:])
    return MlpWeights(first[:inputs], layers[0]["b"], rest), first[inputs:]


def fold_rows(function: Callable[..., T], carry: T, arrays: Sequence[jax.Array]) -> T:
    """Folds a function over blocks of rows, one block in memory at a time.

    Args:
      function: (carry, start, fresh, *blocks) -> carry, where `start` is the number of the block's
        first row, `fresh` is float32 (rows,), 1 for rows not seen before and 0 for others (the last
        block overlaps the one before), and each block is (width, rows).
      carry: what the first call gets.
      arrays: (count, width) each, or (count,) for a width of one.
    """
    count = arrays[0].shape[0]
    if not count:
        return carry
    rows = _rows_of_a_block(count)

    def body(carry: T, block: jax.Array) -> tuple[T, None]:
        start = jnp.minimum(block * rows, count - rows)
        fresh = (start + jnp.arange(rows) >= block * rows).astype(jnp.float32)
        blocks = [_columns_first(jax.lax.dynamic_slice_in_dim(a, start, rows)) for a in arrays]
        return function(carry, start, fresh, *blocks), None

    return jax.lax.scan(body, carry, jnp.arange(-(-count // rows)))[0]


class Moments(NamedTuple):
    """Of columns over all rows, float32 (columns,); zero where there are no rows.

    Attributes:
      mean: of each column.
      variance: mean squared deviation from it.
    """

    mean: jax.Array
    variance: jax.Array

    @property
    def square(self) -> jax.Array:
        """Mean squares."""
        return self.variance + jnp.square(self.mean)


def column_moments(columns: Columns, arrays: Sequence[jax.Array]) -> Moments:
    """Means and variances in one pass, accurate also where a mean is large.

    Sums are taken in two steps, within a block and over blocks, so that those of many millions of
    rows lose no more digits than those of some thousands.

    Args:
      columns: the columns of a block.
      arrays: what they are made of, as for `fold_rows`.
    """
    count = max(arrays[0].shape[0], 1)
    # Deviations from a number near the mean: squares of a large mean would hide the variance.
    first = [_columns_first(a[:_LANES]) for a in arrays]
    near = [jnp.sum(part, axis=1) / min(count, _LANES) for part in columns(*first)]

    def add(sums: Any, start: jax.Array, fresh: jax.Array, *blocks: jax.Array) -> Any:
        parts = zip(columns(*blocks), near, strict=True)
        apart = [part - about[:, None] for part, about in parts]
        added = (
            jnp.concatenate([_row_sums(x, fresh) for x in apart]),
            jnp.concatenate([_row_sums(x * x, fresh) for x in apart]),
        )
        return jax.tree.map(jnp.add, sums, added)

    about = jnp.concatenate(near)
    zeros = (jnp.zeros_like(about), jnp.zeros_like(about))
    shift, around = (x / count for x in fold_rows(add, zeros, arrays))
    return Moments(about + shift, jnp.maximum(around - shift * shift, 0.0))


def apply_wide_mlp(
    columns: Columns,
    arrays: Sequence[jax.Array],
    scales: jax.Array,
    weights: MlpWeights,
    outputs: int,
    finish: Callable[..., jax.Array],
) -> tuple[jax.Array, jax.Array]:
    """Evaluates the network (ReLU between layers, none at the end) on every row.

    Outputs of which only the mean over the rows is needed come from the mean of the last hidden
    layer: see `mean_outputs`.

    Args:
      columns: the input columns of a block.
      arrays: what they are made of, as for `fold_rows`.
      scales: a factor for each column, rsqrt of its mean square, say.
      weights: of this leaf.
      outputs: the first so many outputs are computed.
      finish: elementwise, from these outputs, (rows,) each, to what is kept of them.

    Returns:
      What `finish` returns, (count,), and the mean over rows of the last hidden layer, (units,).
    """
    first = (scales[:, None] * weights.first).T
    *middle, (last, last_bias) = weights.layers

    def run(carry: Any, start: jax.Array, fresh: jax.Array, *blocks: jax.Array) -> Any:
        kept, hidden_sum = carry
        hidden = jax.nn.relu(_affine(first, _join(columns(*blocks)), weights.first_bias))
        for matrix, bias in middle:
            hidden = jax.nn.relu(_affine(matrix.T, hidden, bias))
        found = finish(*_affine(last[:, :outputs].T, hidden, last_bias[:outputs]))
        kept = jax.lax.dynamic_update_slice_in_dim(kept, found, start, axis=0)
        return kept, hidden_sum + _row_sums(hidden, fresh)

    count = arrays[0].shape[0]
    start = (jnp.zeros((count,), jnp.float32), jnp.zeros((last.shape[0],), jnp.float32))
    kept, hidden_sum = fold_rows(run, start, arrays)
    return kept, hidden_sum / max(count, 1)


def mean_outputs(weights: MlpWeights, mean_hidden: jax.Array, skip: int) -> jax.Array:
    """Means over the rows of all outputs but the first `skip`, from the mean hidden layer."""
    matrix, bias = weights.layers[-1]
    return jnp.matmul(mean_hidden, matrix[:, skip:], precision=_HIGHEST) + bias[skip:]


def _block_rows() -> int:
    # CPUs: a block and its units stay in the cache. Accelerators: enough work for each launch.
    return 1 << 14 if jax.default_backend() == "cpu" else 1 << 17


def _rows_of_a_block(count: int) -> int:
    """Blocks of equal size as far as that goes: the last one hardly overlaps the one before."""
    blocks = -(-count // _block_rows())
    rows = -(-count // blocks)
    return min(count, -(-rows // _LANES) * _LANES) if rows > _LANES else rows


def _columns_first(x: jax.Array) -> jax.Array:
    return x.T if x.ndim == 2 else x[None]


def _affine(matrix: jax.Array, x: jax.Array, bias: jax.Array) -> jax.Array:
    return jnp.matmul(matrix, x, precision=_HIGHEST) + bias[:, None]


def _row_sums(x: jax.Array, fresh: jax.Array) -> jax.Array:
    """Sums of (width, rows) over the fresh rows."""
    # A product: a third of the time that a reduction takes which XLA fuses with its operand.
    return jnp.matmul(x, fresh, precision=_HIGHEST)


def _join(parts: Sequence[jax.Array]) -> jax.Array:
    """Puts columns side by side; as fast as a copy.

    XLA fuses a concatenation on CPUs with whatever computes its parts, then decides for every
    element which part it belongs to: four times the cost of writing them one after the other.
    """
    width = sum(part.shape[0] for part in parts)
    joined = jnp.zeros((width, parts[0].shape[1]), jnp.float32)
    at = 0
    for part in parts:
        joined = jax.lax.dynamic_update_slice_in_dim(joined, part, at, axis=0)
        at += part.shape[0]
    return joined
