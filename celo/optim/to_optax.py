"""An `Optimizer` as an optax transformation, for other people's training loops."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax

from celo.errors import UsageError
from celo.protocol import Optimizer, Params

# Given by position or kept by the caller's own loop: what an optimizer must not get as keyword.
_NOT_PASSED_ON = ("opt_state", "grad", "model_state")


def to_optax(
    optimizer: Optimizer, num_steps: int | jax.Array | None = None, reads: Collection[str] = ()
) -> optax.GradientTransformationExtraArgs:
    """Wraps an optimizer; its updates are new minus old parameters, to be added.

    The state is the optimizer's without the parameters, so no second copy of them is kept. Works
    inside `optax.chain`, `optax.partition` (also `multi_transform`), `optax.MultiSteps` and
    `optax.apply_if_finite`, jitted with donation; what stands behind it in a chain changes the
    step, which the optimizer's own accumulators do not see. In a partition it sees its own leaves
    only.

    Args:
      optimizer: any `celo.protocol.Optimizer`.
      num_steps: length of the run, in calls of this transformation; needed if in `reads`.
      reads: what the optimizer needs besides gradients ("num_steps", "loss"), beyond what it says
        itself in an attribute `reads`.

    Returns:
      A transformation with `update(grads, state, params, *, value=None, **others)`. `value`, or
      `loss`, is the training loss, needed if the optimizer reads it; `key`, `is_valid` and unknown
      keywords reach the optimizer. A mapping `extra_args={"loss": ..., ...}` means its items, as in
      published code. Model state stays with the caller: `model_state` is ignored.

    Raises:
      UsageError: `num_steps`, or later `params` or `value`, is needed and missing.
    """
    # What it reads may depend on its hyperparameters, beyond what its record declares.
    reads = {*reads, *getattr(optimizer, "reads", ())}
    if "num_steps" in reads and num_steps is None:
        raise UsageError(
            f"{optimizer.name} needs the length of the run, but num_steps is None",
            hint="Pass num_steps, the number of updates you are going to make.",
        )

    def init(params: Params) -> Any:
        if not jax.tree.leaves(params):  # a part of a partition that no leaf belongs to
            return optax.EmptyState()
        return optimizer.init(params, num_steps=num_steps).replace(params=())

    def update(
        updates: Params,
        state: Any,
        params: Params | None = None,
        *,
        value: jax.Array | None = None,
        extra_args: Mapping[str, Any] | None = None,
        **others: Any,
    ) -> tuple[Params, Any]:
        if params is None:
            raise UsageError(
                f"{optimizer.name} needs the parameters, but params is None",
                hint="Call update(grads, state, params, ...).",
            )
        if not jax.tree.leaves(params):
            return updates, state
        given = {**others, **(extra_args or {})}
        loss = given.pop("loss", None) if value is None else value
        if loss is None and "loss" in reads:
            raise UsageError(
                f"{optimizer.name} reads the training loss, but value is None",
                hint="Pass it by optax's name for it: update(grads, state, params, value=loss).",
            )
        keywords = {k: v for k, v in given.items() if k not in (*_NOT_PASSED_ON, "loss")}
        new = optimizer.update(optimizer.set_params(state, params), updates, loss=loss, **keywords)
        steps = jax.tree.map(jnp.subtract, optimizer.get_params(new), params)
        return steps, new.replace(params=())

    return optax.GradientTransformationExtraArgs(init, update)
