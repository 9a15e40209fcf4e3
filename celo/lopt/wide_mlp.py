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
from typing import Any, TypeVar

import haiku as hk
import jax
import jax.numpy as jnp

from celo.lopt.perparam_mlp import MlpWeights
from celo.protocol import PyTree

Columns = Callable[..., Sequence[jax.Array]]
"""From blocks of the given arrays, each (width, rows), to input columns, (some, rows) each."""

T = TypeVar("T")

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
      arrays: (count, width) each.
    """
    count = arrays[0].shape[0]
    if not count:
        return carry
    rows = min(count, _block_rows())

    def body(carry: T, block: jax.Array) -> tuple[T, None]:
        start = jnp.minimum(block * rows, count - rows)
        fresh = (start + jnp.arange(rows) >= block * rows).astype(jnp.float32)
        blocks = [jax.lax.dynamic_slice_in_dim(a, start, rows).T for a in arrays]
        return function(carry, start, fresh, *blocks), None

    return jax.lax.scan(body, carry, jnp.arange(-(-count // rows)))[0]


def means_and_variances(arrays: Sequence[jax.Array]) -> tuple[jax.Array, jax.Array]:
    """Means and mean squared deviations of whole arrays, accurate also where a mean is large.

    Args:
      arrays: (count, width) each.

    Returns:
      Two arrays (arrays,), over rows and columns together.
    """
    widths = jnp.asarray([a.shape[1] for a in arrays], jnp.float32)

    def merge(carry: Any, start: jax.Array, fresh: jax.Array, *blocks: jax.Array) -> Any:
        rows, mean, squares = carry
        added = jnp.sum(fresh)
        # An empty array has the mean zero and must not poison those it is compared with.
        block_mean = _totals(blocks, fresh) / (jnp.maximum(added, 1) * widths)
        deviations = [jnp.square(b - block_mean[i]) for i, b in enumerate(blocks)]
        total, apart = rows + added, block_mean - mean
        between = jnp.square(apart) * (rows * added / jnp.maximum(total, 1) * widths)
        mean = mean + apart * (added / jnp.maximum(total, 1))
        return total, mean, squares + _totals(deviations, fresh) + between

    zeros = jnp.zeros((len(arrays),), jnp.float32)
    rows, mean, squares = fold_rows(merge, (jnp.zeros((), jnp.float32), zeros, zeros), arrays)
    return mean, squares / (jnp.maximum(rows, 1) * widths)


def _totals(blocks: Sequence[jax.Array], fresh: jax.Array) -> jax.Array:
    return jnp.stack([jnp.sum(_row_sums(block, fresh)) for block in blocks])


def column_scales(columns: Columns, arrays: Sequence[jax.Array], eps: float) -> jax.Array:
    """What brings each column to mean square one: rsqrt(eps + mean square), float32 (columns,)."""

    def add(sums: jax.Array, start: jax.Array, fresh: jax.Array, *blocks: jax.Array) -> jax.Array:
        return sums + _row_sums(jnp.square(_join(columns(*blocks))), fresh)

    one_row = [jax.ShapeDtypeStruct((a.shape[1], 1), a.dtype) for a in arrays]
    width = sum(part.shape[0] for part in jax.eval_shape(columns, *one_row))
    sums = fold_rows(add, jnp.zeros((width,), jnp.float32), arrays)
    return jax.lax.rsqrt(eps + sums / max(arrays[0].shape[0], 1))


def apply_wide_mlp(
    columns: Columns,
    arrays: Sequence[jax.Array],
    scales: jax.Array,
    weights: MlpWeights,
    outputs: int,
) -> tuple[tuple[jax.Array, ...], jax.Array]:
    """Evaluates the network (ReLU between layers, none at the end) on every row.

    Outputs of which only the mean over the rows is needed come from the mean of the last hidden
    layer: see `mean_outputs`.

    Args:
      columns: the input columns of a block.
      arrays: what they are made of, (count, width) each.
      scales: a factor for each column, of `column_scales`.
      weights: of this leaf.
      outputs: the first so many outputs are computed.

    Returns:
      One array (count,) for each of the outputs, and the mean over rows of the last hidden layer,
      (units,).
    """
    first = (scales[:, None] * weights.first).T
    *middle, (last, last_bias) = weights.layers

    def run(carry: Any, start: jax.Array, fresh: jax.Array, *blocks: jax.Array) -> Any:
        written, hidden_sum = carry
        hidden = jax.nn.relu(_affine(first, _join(columns(*blocks)), weights.first_bias))
        for matrix, bias in middle:
            hidden = jax.nn.relu(_affine(matrix.T, hidden, bias))
        found = _affine(last[:, :outputs].T, hidden, last_bias[:outputs])
        written = tuple(
            jax.lax.dynamic_update_slice_in_dim(whole, part, start, axis=0)
            for whole, part in zip(written, found, strict=True)
        )
        return written, hidden_sum + _row_sums(hidden, fresh)

    count = arrays[0].shape[0]
    empty = tuple(jnp.zeros((count,), jnp.float32) for _ in range(outputs))
    start = (empty, jnp.zeros((last.shape[0],), jnp.float32))
    found, hidden_sum = fold_rows(run, start, arrays)
    return found, hidden_sum / max(count, 1)


def mean_outputs(weights: MlpWeights, mean_hidden: jax.Array, skip: int) -> jax.Array:
    """Means over the rows of all outputs but the first `skip`, from the mean hidden layer."""
    matrix, bias = weights.layers[-1]
    return jnp.matmul(mean_hidden, matrix[:, skip:], precision=_HIGHEST) + bias[skip:]


def _block_rows() -> int:
    # CPUs: a block and its units stay in the cache. Accelerators: enough work for each launch.
    return 4096 if jax.default_backend() == "cpu" else 1 << 17


def _affine(matrix: jax.Array, x: jax.Array, bias: jax.Array) -> jax.Array:
    return jnp.matmul(matrix, x, precision=_HIGHEST) + bias[:, None]


def _row_sums(x: jax.Array, fresh: jax.Array) -> jax.Array:
    # A product, because XLA's reductions on CPUs are not vectorised.
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
