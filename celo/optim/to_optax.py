"""An `Optimizer` as an optax transformation, for other people's training loops."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import jax
import jax.numpy as jnp
import optax

from celo.errors import UsageError
from celo.protocol import Optimizer, Params


def to_optax(
    optimizer: Optimizer, num_steps: int | jax.Array | None = None, reads: Collection[str] = ()
) -> optax.GradientTransformationExtraArgs:
    """Wraps an optimizer; its updates are new minus old parameters, to be added.

    The state is the optimizer's without the parameters, so no second copy of them is kept. Works
    inside `optax.chain`, `optax.MultiSteps` and `optax.multi_transform`; what stands behind it in a
    chain changes the step, which the optimizer's own accumulators do not see.

    Args:
      optimizer: any `celo.protocol.Optimizer`.
      num_steps: length of the run, in calls of this transformation; needed if in `reads`.
      reads: what the optimizer needs besides gradients: "num_steps", "loss".

    Returns:
      A transformation with `update(grads, state, params, *, value=None, **ignored)`, where `value`
      is the training loss.

    Raises:
      UsageError: `num_steps`, or later `params` or `value`, is needed and missing.
    """
    if "num_steps" in reads and num_steps is None:
        raise UsageError(
            f"{optimizer.name} needs the length of the run, but num_steps is None",
            hint="Pass num_steps, the number of updates you are going to make.",
        )

    def init(params: Params) -> Any:
        return optimizer.init(params, num_steps=num_steps).replace(params=())

    def update(
        updates: Params,
        state: Any,
        params: Params | None = None,
        *,
        value: jax.Array | None = None,
        **ignored: Any,
    ) -> tuple[Params, Any]:
        if params is None:
            raise UsageError(
                f"{optimizer.name} needs the parameters, but params is None",
                hint="Call update(grads, state, params, ...).",
            )
        if value is None and "loss" in reads:
            raise UsageError(
                f"{optimizer.name} reads the training loss, but value is None",
                hint="Pass it by optax's name for it: update(grads, state, params, value=loss).",
            )
        new = optimizer.update(state.replace(params=params), updates, loss=value)
        steps = jax.tree.map(jnp.subtract, new.params, params)
        return steps, new.replace(params=())

    return optax.GradientTransformationExtraArgs(init, update)
