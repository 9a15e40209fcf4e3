"""Running averages of gradients: momenta, second moments, factored second moments.

Every accumulator holds several decays on a *trailing* axis, as in the published states. (A leading
axis was measured on CPUs, forward, under vmap over seeds and over theta: 0.9 to 1.15 times the
speed, not worth a second layout.)

Decays are float32 arrays, and 1 - decay is formed in float32: 1 - float32(0.999) differs from 0.001
by 1.3e-5, and the published weights have seen that difference. No bias correction anywhere. The
decays may be traced; an optimizer that learns them and clips them passes `jnp.clip(decays, 0, 1)`.
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from celo.lopt.leaves import LeafShape, leaf_shape, zeros_alike
from celo.protocol import Params, PyTree, state_record

DecayArray: TypeAlias = np.ndarray | jax.Array

_FLOOR = 1e-9


def decays(*values: float) -> np.ndarray:
    """The float32 array of decays that accumulators take."""
    return np.asarray(values, np.float32)


@state_record
class Momentum:
    """Averages of the gradient.

    Attributes:
      m: for each leaf of shape S an array S + (decays,) of the leaf's dtype.
      t: int32 (decays,), number of updates; kept because published states have it, never read.
    """

    m: PyTree
    t: jax.Array


@state_record
class SecondMoment:
    """Averages of the squared gradient.

    Attributes:
      rms: for each leaf of shape S an array S + (decays,) of the leaf's dtype.
      t: int32 (decays,), number of updates; never read.
    """

    rms: PyTree
    t: jax.Array


@state_record
class Factored:
    """Averages of the squared gradient over rows and over columns.

    Arrays that do not apply to a leaf are empty, of shape (0, decays). All are float32.

    Attributes:
      v_row: leaves of rank >= 2: the shape without the largest axis d0, + (decays,).
      v_col: leaves of rank >= 2: the shape without the second largest axis d1, + (decays,).
      v_diag: leaves of rank 0 and 1: the shape, + (decays,).
    """

    v_row: PyTree
    v_col: PyTree
    v_diag: PyTree


class Accumulators(NamedTuple):
    """The three kinds together, all with the structure of the parameters."""

    momentum: Momentum
    second_moment: SecondMoment
    factored: Factored


class Decays(NamedTuple):
    """Decays of the three kinds, float32 arrays (decays,)."""

    momentum: DecayArray
    second_moment: DecayArray
    factored: DecayArray


class FactoredLeaf(NamedTuple):
    """The three arrays of `Factored` that belong to one leaf."""

    v_row: jax.Array
    v_col: jax.Array
    v_diag: jax.Array


def moving_average(old: jax.Array, value: jax.Array, decay: DecayArray) -> jax.Array:
    """decay * old + (1 - decay) * value, with the decays on the trailing axis of `old`."""
    return jnp.multiply(decay, old) + jnp.multiply(1 - decay, value[..., None])


def init_accumulators(params: Params, decay: Decays) -> Accumulators:
    """Zeros for every decay."""
    return Accumulators(
        init_momentum(params, len(decay.momentum)),
        init_second_moment(params, len(decay.second_moment)),
        init_factored(params, len(decay.factored)),
    )


def update_accumulators(old: Accumulators, grads: Params, decay: Decays) -> Accumulators:
    """All accumulators after one gradient, not yet cast to the dtypes of the old ones."""
    return Accumulators(
        update_momentum(old.momentum, grads, decay.momentum),
        update_second_moment(old.second_moment, grads, decay.second_moment),
        update_factored(old.factored, grads, decay.factored),
    )


def init_momentum(params: Params, count: int) -> Momentum:
    """Zeros for `count` decays."""
    return Momentum(m=_zeros(params, count), t=jnp.zeros((count,), jnp.int32))


def init_second_moment(params: Params, count: int) -> SecondMoment:
    """Zeros for `count` decays."""
    return SecondMoment(rms=_zeros(params, count), t=jnp.zeros((count,), jnp.int32))


def init_factored(params: Params, count: int) -> Factored:
    """Zeros for `count` decays."""
    leaves, structure = jax.tree.flatten(params)
    shapes = [leaf_shape(jnp.shape(leaf)) for leaf in leaves]

    def average(leaf: jax.Array, without: int | None = None) -> jax.Array:
        return zeros_alike(leaf, dtype=jnp.float32, without=without, count=count)

    def empty() -> jax.Array:
        return jnp.zeros((0, count), jnp.float32)

    pairs = list(zip(leaves, shapes, strict=True))
    v_row = [average(x, s.d0) if s.factored else empty() for x, s in pairs]
    v_col = [average(x, s.d1) if s.factored else empty() for x, s in pairs]
    v_diag = [empty() if s.factored else average(x) for x, s in pairs]
    return Factored(*(structure.unflatten(part) for part in (v_row, v_col, v_diag)))


def update_momentum(old: Momentum, grads: Params, decay: DecayArray) -> Momentum:
    """One step for every leaf; float32 inside also for bfloat16 leaves."""
    m = jax.tree.map(lambda g, m: moving_average(m, g, decay), grads, old.m)
    return Momentum(m=m, t=old.t + 1)


def update_second_moment(old: SecondMoment, grads: Params, decay: DecayArray) -> SecondMoment:
    """One step for every leaf; float32 inside also for bfloat16 leaves."""
    rms = jax.tree.map(lambda g, v: moving_average(v, jnp.square(g), decay), grads, old.rms)
    return SecondMoment(rms=rms, t=old.t + 1)


def update_factored(old: Factored, grads: Params, decay: DecayArray) -> Factored:
    """One step for every leaf."""
    gradients, structure = jax.tree.flatten(grads)
    new = [
        update_factored_leaf(leaf, g, decay)
        for leaf, g in zip(factored_leaves(old, structure), gradients, strict=True)
    ]
    return Factored(
        v_row=structure.unflatten([leaf.v_row for leaf in new]),
        v_col=structure.unflatten([leaf.v_col for leaf in new]),
        v_diag=structure.unflatten([leaf.v_diag for leaf in new]),
    )


def factored_leaves(factored: Factored, structure: Any) -> list[FactoredLeaf]:
    """The arrays leaf by leaf, in the flattening order of the parameters' tree definition."""
    parts = (factored.v_row, factored.v_col, factored.v_diag)
    return [
        FactoredLeaf(*leaf)
        for leaf in zip(*(structure.flatten_up_to(part) for part in parts), strict=True)
    ]


def update_factored_leaf(old: FactoredLeaf, g: jax.Array, decay: DecayArray) -> FactoredLeaf:
    """One step for one leaf."""
    shape = leaf_shape(g.shape)
    # 1e-30 is the only thing that keeps v_diag positive, hence its inverse root finite.
    squared = jnp.square(g) + 1e-30
    if not shape.factored:
        return old._replace(v_diag=moving_average(old.v_diag, squared, decay))
    return old._replace(
        v_row=moving_average(old.v_row, _mean(squared, shape.d0), decay),
        v_col=moving_average(old.v_col, _mean(squared, shape.d1), decay),
    )


def factored_columns(v: FactoredLeaf, shape: LeafShape) -> tuple[jax.Array, jax.Array]:
    """`v_row` and `v_col` with a 1 where they are constant, the decays trailing.

    Rows have a 1 at axis d0 and columns at axis d1, so that each decay broadcasts to the leaf
    without ever being materialised. For leaves of rank 0 and 1 both are `v_diag`.
    """
    if not shape.factored:
        return v.v_diag, v.v_diag
    assert shape.d0 is not None and shape.d1 is not None
    return jnp.expand_dims(v.v_row, shape.d0), jnp.expand_dims(v.v_col, shape.d1)


def factored_scales(v: FactoredLeaf, shape: LeafShape) -> tuple[jax.Array, ...]:
    """Inverse root of the reconstructed second moment, factor by factor, the decays trailing.

    Returns:
      The factors whose product scales a gradient: rows and columns for factored leaves, one of
      full size otherwise.
    """
    if not shape.factored:
        return (_safe_rsqrt(v.v_diag + _FLOOR),)
    row, col = factored_columns(v, shape)
    row_mean = _mean(row, shape.d1, keepdims=True)
    return _safe_rsqrt(row / (row_mean + _FLOOR)), _safe_rsqrt(col)


def _mean(x: jax.Array, axis: int | None, keepdims: bool = False) -> jax.Array:
    # Over nothing jnp.mean is NaN, which would stay in the state for good.
    reduce = jnp.mean if x.size else jnp.sum
    return reduce(x, axis=axis, keepdims=keepdims)


def _safe_rsqrt(x: jax.Array) -> jax.Array:
    return jax.lax.rsqrt(jnp.maximum(x, _FLOOR))


def _zeros(params: Params, count: int) -> PyTree:
    return jax.tree.map(lambda p: zeros_alike(p, count=count), params)
