"""What every learned optimizer with given weights does alike: checks, compilation, casting."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp

from celo.errors import UsageError
from celo.protocol import MetaParams, ModelState, Optimizer, Params, PRNGKey
from celo.trees import (
    cast_like,
    check_float_leaves,
    check_gradients,
    check_model_state,
    check_num_steps,
)


@dataclasses.dataclass(frozen=True, eq=False)
class ThetaOptimizer(Optimizer):
    """An optimizer with given weights, a pure function of them.

    A subclass says how a run starts (`first_state`) and what one update makes of it
    (`next_state`); everything the callers of an optimizer may do wrong is refused here.

    Attributes:
      label: the name shown in messages and tables.
      theta: the weights; may be traced.
    """

    label: str
    theta: MetaParams

    reads: ClassVar[tuple[Literal["num_steps", "loss"], ...]] = ()
    """What `init` and `update` insist on, as in the plugin's record."""

    @property
    def name(self) -> str:
        return self.label

    def first_state(
        self, params: Params, model_state: ModelState, num_steps: int | jax.Array | None
    ) -> Any:
        """The state before the first update, in new buffers.

        Args:
          params: floating-point JAX arrays.
          model_state: to be carried in the field `state`.
          num_steps: given if the optimizer reads it, otherwise whatever the caller passed.
        """
        raise NotImplementedError

    def next_state(
        self,
        opt_state: Any,
        grad: Params,
        loss: jax.Array | None,
        model_state: ModelState,
        is_valid: jax.Array | None,
    ) -> Any:
        """The state after one update; the caller casts it to the dtypes of the old one.

        Args:
          opt_state: the old state.
          grad: gradient with the structure of the parameters.
          loss: float32 scalar if the optimizer reads it, otherwise None.
          model_state: the new model state.
          is_valid: None where the loss is certainly one of training data, else a bool scalar.
        """
        raise NotImplementedError

    def init(
        self,
        params: Params,
        model_state: ModelState = None,
        num_steps: int | jax.Array | None = None,
        key: PRNGKey | None = None,
        **kwargs: Any,
    ) -> Any:
        if "num_steps" in self.reads:
            check_num_steps(num_steps, self.name)
        check_float_leaves(params, self.name)
        # Without weak types and NumPy arrays, or the second update would compile again.
        return self.first_state(cast_like(params, params), model_state, num_steps)

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
        check_gradients(opt_state.params, grad, self.name)
        check_model_state(model_state, opt_state.state, self.name)
        loss = check_loss(loss, self.name) if "loss" in self.reads else None
        valid = None if is_valid is False else jnp.asarray(is_valid, bool)
        return self._compiled_step(self.theta, opt_state, grad, loss, model_state, valid)

    @functools.cached_property
    def _compiled_step(self) -> Callable[..., Any]:
        # Loops that do not compile their own step would otherwise launch thousands of operations
        # each time; inside a compiled step this is inlined.
        return jax.jit(self._step)

    def _step(
        self,
        theta: MetaParams,
        opt_state: Any,
        grad: Params,
        loss: jax.Array | None,
        model_state: ModelState,
        is_valid: jax.Array | None,
    ) -> Any:
        if not jax.tree.leaves(opt_state.params):
            # Networks that look at all leaves at once have nothing to look at.
            return cast_like(dataclasses.replace(opt_state, state=model_state), opt_state)
        itself = dataclasses.replace(self, theta=theta)
        new = itself.next_state(opt_state, grad, loss, model_state, is_valid)
        return cast_like(new, opt_state)


def check_loss(loss: Any, optimizer: str) -> jax.Array:
    """The loss as a float32 scalar.

    Raises:
      UsageError: it is None or no scalar.
    """
    if loss is None:
        raise UsageError(
            f"{optimizer} reads the training loss, but loss is None",
            hint="Pass it to update: opt.update(opt_state, grad, loss=loss).",
        )
    if jnp.shape(loss) != ():
        raise UsageError(
            f"{optimizer} needs a scalar loss, but it has shape {jnp.shape(loss)}",
            hint="Average it over the batch.",
        )
    return jnp.asarray(loss, jnp.float32)
