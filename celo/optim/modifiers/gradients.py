"""Modifiers of the gradient and the loss; the state is the wrapped optimizer's."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from celo.optim.modifiers.base import Modified, number, shown
from celo.protocol import ModelState, Optimizer, Params, PRNGKey
from celo.trees import check_gradients

Loss = jax.Array | None


def with_l2(optimizer: Optimizer, penalty: float, *, add_to_loss: bool = True) -> Optimizer:
    """Adds a penalty on the size of the parameters p to what the optimizer minimises.

    The gradient becomes g + penalty * p (not twice that, as published); an optimizer that reads the
    loss sees loss + penalty * sum(p^2), so a learned one reacts to the penalty it works under.

    Args:
      optimizer: to be changed.
      penalty: factor, at least 0.
      add_to_loss: leave the loss alone if False.

    Raises:
      UsageError: `penalty` is out of range.
    """
    number(penalty, "the factor of +l2", above_zero=False)

    def change(params: Params, grad: Params, loss: Loss) -> tuple[Params, Loss]:
        grad = jax.tree.map(lambda g, p: g + (penalty * p).astype(p.dtype), grad, params)
        if loss is None or not add_to_loss:
            return grad, loss
        squares = (jnp.sum(jnp.square(_wide(p))) for p in jax.tree.leaves(params))
        return grad, loss + penalty * sum(squares)

    return _ChangedGradient(optimizer, f"+l2:{shown(penalty)}", change)


def with_clip(optimizer: Optimizer, bound: float = 3.0) -> Optimizer:
    """Clips every element of the gradient to [-bound, bound]; NaN stays NaN.

    Raises:
      UsageError: `bound` is not positive.
    """
    number(bound, "the bound of +clip", above_zero=True)

    def change(params: Params, grad: Params, loss: Loss) -> tuple[Params, Loss]:
        return jax.tree.map(lambda g: jnp.clip(g, -bound, bound).astype(g.dtype), grad), loss

    return _ChangedGradient(optimizer, f"+clip:{shown(bound)}", change)


def with_clipnorm(optimizer: Optimizer, bound: float) -> Optimizer:
    """Scales gradients with a Euclidean norm (over all leaves) above `bound` down to it.

    Gradients so large that their squares overflow are scaled correctly; infinite ones become NaN.

    Raises:
      UsageError: `bound` is not positive.
    """
    number(bound, "the bound of +clipnorm", above_zero=True)

    def change(params: Params, grad: Params, loss: Loss) -> tuple[Params, Loss]:
        norm = global_norm(grad)
        factor = jnp.where(norm > bound, bound / norm, 1.0)
        # A NaN norm compares as small, but must not pass for a good gradient.
        factor = jnp.where(jnp.isfinite(norm), factor, jnp.nan)
        return jax.tree.map(lambda g: (_wide(g) * factor).astype(g.dtype), grad), loss

    return _ChangedGradient(optimizer, f"+clipnorm:{shown(bound)}", change)


def global_norm(tree: Params) -> jax.Array:
    """Euclidean norm over all leaves, float32 (); squares do not overflow or vanish."""
    leaves = [_wide(x) for x in jax.tree.leaves(tree) if x.size]
    if not leaves:
        return jnp.zeros(())
    largest = jnp.max(jnp.stack([jnp.max(jnp.abs(x)) for x in leaves]))
    scale = jnp.where(largest > 0, largest, 1.0)
    squares = jnp.sum(jnp.stack([jnp.sum(jnp.square(x / scale)) for x in leaves]))
    return scale * jnp.sqrt(squares)


@dataclasses.dataclass(frozen=True, eq=False)
class _ChangedGradient(Modified):
    """`change` is (params, gradient, loss or None) -> (gradient, loss or None)."""

    change: Callable[[Params, Params, Loss], tuple[Params, Loss]]

    def update(
        self,
        opt_state: Any,
        grad: Params,
        loss: jax.Array | None = None,
        model_state: ModelState = None,
        key: PRNGKey | None = None,
        is_valid: bool | jax.Array = False,
        **kwargs: Any,
    ) -> Any:
        params = self.get_params(opt_state)
        check_gradients(params, grad, self.name)
        grad, loss = self.change(params, jax.tree.map(jnp.asarray, grad), loss)
        return self.inner.update(
            opt_state,
            grad,
            loss=loss,
            model_state=model_state,
            key=key,
            is_valid=is_valid,
            **kwargs,
        )


def _wide(x: jax.Array) -> jax.Array:
    """In at least float32, so that sums over bfloat16 leaves mean something."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))
