"""An optax transformation as an `Optimizer`."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax

from celo.errors import UsageError
from celo.protocol import ModelState, Optimizer, Params, PRNGKey, PyTree, state_record
from celo.trees import cast_like, check_float_leaves, check_gradients


@state_record
class OptaxState:
    """State of a run.

    Attributes:
      params: the parameters being trained.
      state: the task's model state, carried untouched.
      optax_opt_state: state of the transformation.
      iteration: int32 (), updates done.
    """

    params: Params
    state: ModelState
    optax_opt_state: PyTree
    iteration: jax.Array


def from_optax(transform: optax.GradientTransformation, name: str) -> Optimizer:
    """Wraps a gradient transformation whose updates are added to the parameters.

    Transformations that take extra arguments get the loss as `value` and every unknown keyword of
    `update` (so `value_fn=...` reaches L-BFGS).

    Args:
      transform: such as `optax.adam(1e-3)`; its hyperparameters may be traced.
      name: shown in tables.
    """
    return _OptaxOptimizer(transform, name)


class _OptaxOptimizer(Optimizer):
    def __init__(self, transform: optax.GradientTransformation, name: str):
        self._takes_extra = isinstance(transform, optax.GradientTransformationExtraArgs)
        self._transform = optax.with_extra_args_support(transform)
        self._name = name

    @property
    def name(self) -> str:
        return self._name

    def init(
        self,
        params: Params,
        model_state: ModelState = None,
        num_steps: int | jax.Array | None = None,
        key: PRNGKey | None = None,
        **kwargs: Any,
    ) -> OptaxState:
        check_float_leaves(params, self.name)
        # Without weak types and NumPy arrays, or the second update would compile again.
        params = cast_like(params, params)
        inner = self._transform.init(params)
        return OptaxState(
            params=params,
            state=model_state,
            optax_opt_state=cast_like(inner, inner),
            iteration=jnp.zeros((), jnp.int32),
        )

    def update(
        self,
        opt_state: OptaxState,
        grad: Params,
        loss: jax.Array | None = None,
        model_state: ModelState = None,
        key: PRNGKey | None = None,
        is_valid: bool | jax.Array = False,
        **kwargs: Any,
    ) -> OptaxState:
        check_gradients(opt_state.params, grad, self.name)
        extra = {} if loss is None else {"value": loss}
        if self._takes_extra:
            extra |= kwargs
        try:
            updates, inner = self._transform.update(
                grad, opt_state.optax_opt_state, opt_state.params, **extra
            )
        except TypeError as error:
            if loss is None and "'value'" in str(error):
                raise UsageError(
                    f"{self.name} reads the training loss, but loss is None",
                    hint="Pass it to update: opt.update(opt_state, grad, loss=loss).",
                ) from error
            raise
        return OptaxState(
            params=optax.apply_updates(opt_state.params, updates),
            state=model_state,
            optax_opt_state=cast_like(inner, opt_state.optax_opt_state),
            iteration=opt_state.iteration + 1,
        )
