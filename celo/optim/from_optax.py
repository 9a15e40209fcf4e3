"""An optax transformation as an `Optimizer`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
import optax

from celo.errors import UsageError
from celo.protocol import ModelState, Optimizer, Params, PRNGKey, PyTree, state_record
from celo.trees import cast_like, check_float_leaves, check_gradients

EvalParams = Callable[[PyTree, Params], Params]
"""(state of the transformation, parameters being trained) -> parameters to evaluate."""


@state_record
class OptaxState:
    """State of a run.

    Attributes:
      params: the parameters being trained.
      state: the task's model state, carried untouched.
      optax_opt_state: state of the transformation.
      iteration: int32 (), updates done.
      num_steps: int32 (), length of the run where the transformation depends on it, else None.
    """

    params: Params
    state: ModelState
    optax_opt_state: PyTree
    iteration: jax.Array
    num_steps: jax.Array | None = None


def from_optax(
    transform: optax.GradientTransformation | Callable[[Any], optax.GradientTransformation],
    name: str,
    *,
    eval_params: EvalParams | None = None,
) -> Optimizer:
    """Wraps a gradient transformation whose updates are added to the parameters.

    Transformations that take extra arguments get the loss as `value` and every unknown keyword of
    `update` (so `value_fn=...` reaches L-BFGS).

    Args:
      transform: such as `optax.adam(1e-3)`; its hyperparameters may be traced. Or a function from
        the length of the run, an int32 scalar, to one; its states must have one structure.
      name: shown in tables.
      eval_params: for methods that are evaluated elsewhere than they are trained, such as
        `optax.contrib.schedule_free_eval_params`; None: at the parameters being trained.
    """
    if isinstance(transform, optax.GradientTransformation):
        return _OptaxOptimizer(lambda num_steps: transform, name, (), eval_params)
    return _OptaxOptimizer(transform, name, ("num_steps",), eval_params)


class _OptaxOptimizer(Optimizer):
    def __init__(
        self,
        make: Callable[[Any], optax.GradientTransformation],
        name: str,
        reads: tuple[Literal["num_steps"], ...],
        eval_params: EvalParams | None,
    ):
        self._make = make
        self._name = name
        self.reads = reads
        self.evaluates_elsewhere = eval_params is not None
        self._eval_params = eval_params

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
        length = self._length(num_steps)
        # Without weak types and NumPy arrays, or the second update would compile again.
        params = cast_like(params, params)
        inner = self._make(length).init(params)
        return OptaxState(
            params=params,
            state=model_state,
            # Copies: some transformations remember the first parameters, and both are donated.
            optax_opt_state=jax.tree.map(jnp.copy, cast_like(inner, inner)),
            iteration=jnp.zeros((), jnp.int32),
            num_steps=length,
        )

    def _length(self, num_steps: int | jax.Array | None) -> jax.Array | None:
        if "num_steps" not in self.reads:
            return None
        if num_steps is None:
            raise UsageError(
                f"{self.name} needs the length of the run, but num_steps is None",
                hint="Pass it to init: opt.init(params, num_steps=2000).",
            )
        # A copy: the state may be donated, the caller's array must survive.
        return jnp.array(num_steps, jnp.int32)

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
        transform = self._make(opt_state.num_steps)
        extra = {} if loss is None else {"value": loss}
        if isinstance(transform, optax.GradientTransformationExtraArgs):
            extra |= kwargs
        try:
            updates, inner = optax.with_extra_args_support(transform).update(
                grad, opt_state.optax_opt_state, opt_state.params, **extra
            )
        except TypeError as error:
            if loss is None and "'value'" in str(error):
                raise UsageError(
                    f"{self.name} reads the training loss, but loss is None",
                    hint="Pass it to update: opt.update(opt_state, grad, loss=loss).",
                ) from error
            raise
        return opt_state.replace(  # pyright: ignore[reportAttributeAccessIssue]
            params=optax.apply_updates(opt_state.params, updates),
            state=model_state,
            optax_opt_state=cast_like(inner, opt_state.optax_opt_state),
            iteration=opt_state.iteration + 1,
        )

    def get_eval_params(self, opt_state: OptaxState) -> Params:
        if self._eval_params is None:
            return self.get_params(opt_state)
        found = self._eval_params(opt_state.optax_opt_state, opt_state.params)
        return cast_like(found, opt_state.params)
