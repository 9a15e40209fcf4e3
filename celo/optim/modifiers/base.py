"""What all modifiers have in common: whatever is not said here is the wrapped optimizer's."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any, ClassVar, Literal

import jax

from celo.errors import UsageError
from celo.protocol import ModelState, Optimizer, Params, PRNGKey, eval_params
from celo.trees import cast_like

Reads = tuple[Literal["num_steps", "loss"], ...]


@dataclasses.dataclass(frozen=True, eq=False)
class Modified(Optimizer):
    """An optimizer around another one whose state it uses as its own.

    Attributes:
      inner: the optimizer that is changed.
      suffix: how the change is spelled in the name, such as "+clip:3.0".
    """

    inner: Optimizer
    suffix: str

    own_reads: ClassVar[Reads] = ()

    @property
    def name(self) -> str:
        return f"{self.inner.name}{self.suffix}"

    @property
    def reads(self) -> Reads:
        """What it needs besides gradients, as far as the wrapped optimizer says it."""
        return tuple(dict.fromkeys((*getattr(self.inner, "reads", ()), *self.own_reads)))

    @property
    def evaluates_elsewhere(self) -> bool:
        """Whether `get_eval_params` are others than those being trained, as far as it is known."""
        return getattr(self.inner, "evaluates_elsewhere", False)

    def inner_state(self, opt_state: Any) -> Any:
        """The wrapped optimizer's part of a state."""
        return opt_state

    def with_inner_state(self, opt_state: Any, inner_state: Any) -> Any:
        """The state with another state of the wrapped optimizer."""
        return inner_state

    def init(
        self,
        params: Params,
        model_state: ModelState = None,
        num_steps: int | jax.Array | None = None,
        key: PRNGKey | None = None,
        **kwargs: Any,
    ) -> Any:
        return self.inner.init(
            params, model_state=model_state, num_steps=num_steps, key=key, **kwargs
        )

    def get_params(self, opt_state: Any) -> Params:
        return self.inner.get_params(self.inner_state(opt_state))

    def get_eval_params(self, opt_state: Any) -> Params:
        return eval_params(self.inner, self.inner_state(opt_state))

    def get_state(self, opt_state: Any) -> ModelState:
        return self.inner.get_state(self.inner_state(opt_state))

    def set_params(self, opt_state: Any, params: Params) -> Any:
        moved = self.inner.set_params(self.inner_state(opt_state), params)
        return self.with_inner_state(opt_state, moved)


class Around(Modified):
    """A modifier with a state of its own, a `WrappedState`."""

    def inner_state(self, opt_state: Any) -> Any:
        return opt_state.inner_opt_state

    def with_inner_state(self, opt_state: Any, inner_state: Any) -> Any:
        return opt_state.replace(inner_opt_state=inner_state)


class WrappedState:
    """Base of states around `inner_opt_state`, which holds the only copy of the parameters."""

    inner_opt_state: Any

    @property
    def params(self) -> Params:
        return self.inner_opt_state.params

    def replace(self, **changes: Any) -> Any:
        """The state with other values; those of the inner state are replaced in there."""
        own = {f.name for f in dataclasses.fields(self)}  # pyright: ignore[reportArgumentType]
        kept = {name: value for name, value in changes.items() if name in own}
        inward = {name: value for name, value in changes.items() if name not in own}
        if inward:
            inner = kept.get("inner_opt_state", self.inner_opt_state)
            kept["inner_opt_state"] = inner.replace(**inward)
        return dataclasses.replace(self, **kept)  # pyright: ignore[reportArgumentType]


class TransparentState(WrappedState):
    """Base of states whose model state and number of updates are the inner state's, too."""

    @property
    def state(self) -> ModelState:
        return self.inner_opt_state.state

    @property
    def iteration(self) -> jax.Array:
        return self.inner_opt_state.iteration


def move(
    optimizer: Optimizer, old: Any, new: Any, step: Callable[[jax.Array, jax.Array], jax.Array]
) -> Any:
    """The state `new` with other parameters.

    Args:
      optimizer: whose states these are.
      old: the state before an update.
      new: the state after it.
      step: (old, new) leaf of the parameters -> the leaf they shall become, in any dtype.
    """
    before = optimizer.get_params(old)
    after = jax.tree.map(step, before, optimizer.get_params(new))
    return optimizer.set_params(new, cast_like(after, before, "the new parameters"))


def check_one_place(optimizer: Optimizer, modifier: str) -> None:
    """Refuses optimizers whose evaluated parameters a changed step would not reach.

    Raises:
      UsageError: the optimizer is evaluated at other parameters than it trains.
    """
    if getattr(optimizer, "evaluates_elsewhere", False):
        raise UsageError(
            f"{modifier} changes the step of the parameters, but {optimizer.name} is evaluated at "
            "other parameters than it trains",
            hint="Leave it out, or set the step size by the optimizer's own hyperparameters.",
        )


def number(value: Any, what: str, *, above_zero: bool) -> Any:
    """Refuses values that are certainly out of range; traced ones pass.

    Raises:
      UsageError: negative, NaN, infinite or (with `above_zero`) 0.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    if not math.isfinite(value) or value < 0 or (above_zero and value == 0):
        kind = "a positive number" if above_zero else "a number of at least 0"
        raise UsageError(f"{what} must be {kind}, but is {value}")
    return value


def shown(value: Any) -> str:
    """A number in a name; traced ones have no text."""
    return str(value) if isinstance(value, int | float) else "*"
