"""A small optimizer that keeps every rule, and for each rule a twin that breaks it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.core import Tracer

from celo.protocol import LearnedOptimizer, Optimizer, state_record
from celo.testing.optimizer_subject import OptimizerSubject, subject_of

LR = 0.1


@state_record
class State:
    params: Any
    state: Any
    iteration: Any
    momentum: Any
    extra: Any = None


class Good(Optimizer):
    """Gradient descent with momentum; the methods are what the twins break."""

    def __init__(self, lr: Any = LR):
        self.lr = lr

    @property
    def name(self) -> str:
        return type(self).__name__

    def init(
        self,
        params: Any,
        model_state: Any = None,
        num_steps: Any = None,
        key: Any = None,
        **kwargs: Any,
    ) -> Any:
        momentum = jax.tree.map(jnp.zeros_like, params)
        return State(params, model_state, jnp.zeros((), jnp.int32), momentum, self.extra(num_steps))

    def update(
        self,
        opt_state: Any,
        grad: Any,
        loss: Any = None,
        model_state: Any = None,
        key: Any = None,
        is_valid: Any = False,
        **kwargs: Any,
    ) -> Any:
        momentum = jax.tree.map(lambda m, g: 0.9 * m + g, opt_state.momentum, grad)
        lr = self.rate(opt_state)
        params = jax.tree.map(
            lambda p, m: p - jnp.asarray(lr, p.dtype) * m, opt_state.params, momentum
        )
        return opt_state.replace(
            params=params,
            state=model_state,
            iteration=opt_state.iteration + 1,
            momentum=momentum,
        )

    def extra(self, num_steps: Any) -> Any:
        return None

    def rate(self, opt_state: Any) -> Any:
        return self.lr


class FloatIteration(Good):
    def init(self, *args: Any, **kwargs: Any) -> Any:
        return super().init(*args, **kwargs).replace(iteration=jnp.zeros(()))


class NarrowingMomentum(Good):
    def update(self, *args: Any, **kwargs: Any) -> Any:
        new = super().update(*args, **kwargs)
        return new.replace(momentum=jax.tree.map(lambda m: m.astype(jnp.float16), new.momentum))


class GrowingState(Good):
    def update(self, *args: Any, **kwargs: Any) -> Any:
        return super().update(*args, **kwargs).replace(extra=jnp.zeros(3))


class OtherWhenAbstract(Good):
    def init(self, params: Any, *args: Any, **kwargs: Any) -> Any:
        state = super().init(params, *args, **kwargs)
        if isinstance(params["scale"], Tracer):
            return state.replace(extra=jnp.zeros(3))
        return state


class ModelStateThird(Good):
    def update(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, opt_state: Any, grad: Any, model_state: Any = None, loss: Any = None, **kwargs: Any
    ) -> Any:
        return super().update(opt_state, grad, loss, model_state)


class NoExtraKeywords(Good):
    def update(  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
        opt_state: Any,
        grad: Any,
        loss: Any = None,
        model_state: Any = None,
        key: Any = None,
        is_valid: Any = False,
    ) -> Any:
        return super().update(opt_state, grad, loss, model_state)


class ParametersElsewhere(Good):
    def get_params(self, opt_state: Any) -> Any:
        return jax.tree.map(lambda p, m: p - LR * m, opt_state.params, opt_state.momentum)


class KeepsModelState(Good):
    def update(self, opt_state: Any, *args: Any, **kwargs: Any) -> Any:
        return super().update(opt_state, *args, **kwargs).replace(state=opt_state.state)


class Normalised(Good):
    def update(self, opt_state: Any, grad: Any, *args: Any, **kwargs: Any) -> Any:
        unit = jax.tree.map(lambda g: g / jnp.linalg.norm(g), grad)
        return super().update(opt_state, unit, *args, **kwargs)


class TypedKeyInState(Good):
    def extra(self, num_steps: Any) -> Any:
        return {"rng": jax.random.key(0)}


class WeakIteration(Good):
    def extra(self, num_steps: Any) -> Any:
        return {"decay": jnp.asarray(0.5)}  # weakly typed, until the first update

    def update(self, opt_state: Any, *args: Any, **kwargs: Any) -> Any:
        new = super().update(opt_state, *args, **kwargs)
        strong = jax.lax.convert_element_type(opt_state.extra["decay"], jnp.float32)
        return new.replace(extra={"decay": strong})


class FasterWhenCompiled(Good):
    def rate(self, opt_state: Any) -> Any:
        compiled = isinstance(opt_state.iteration, Tracer)
        return 2 * LR if compiled else LR


class NoisyWhenCompiled(Good):
    """Compiled, its momentum is off by 5e-4 of its largest number."""

    def update(self, *args: Any, **kwargs: Any) -> Any:
        new = super().update(*args, **kwargs)
        noise = 5e-4 * isinstance(new.iteration, Tracer)
        momentum = jax.tree.map(lambda m: m + noise * jnp.max(jnp.abs(m)), new.momentum)
        return new.replace(momentum=momentum)


class CountsCalls(Good):
    calls = 0

    def rate(self, opt_state: Any) -> Any:
        self.calls += 1
        return LR * self.calls


class ChangesGradient(Good):
    def update(self, opt_state: Any, grad: Any, *args: Any, **kwargs: Any) -> Any:
        new = super().update(opt_state, grad, *args, **kwargs)
        grad["scale"] = 0 * grad["scale"]
        return new


class IgnoresTracedLength(Good):
    def extra(self, num_steps: Any) -> Any:
        known = isinstance(num_steps, int)
        return {"length": jnp.asarray(num_steps if known else 0, jnp.int32)}


@jax.custom_batching.custom_vmap
def _other_when_vmapped(x: jax.Array) -> jax.Array:
    return x


@_other_when_vmapped.def_vmap
def _vmapped(axis_size: int, in_batched: Any, x: jax.Array) -> tuple[jax.Array, bool]:
    return 2 * x, in_batched[0]


class MixesVmappedRuns(Good):
    def update(self, opt_state: Any, grad: Any, *args: Any, **kwargs: Any) -> Any:
        grad = {**grad, "scale": _other_when_vmapped(grad["scale"])}
        return super().update(opt_state, grad, *args, **kwargs)


class MixesVmappedRates(Good):
    def rate(self, opt_state: Any) -> Any:
        return _other_when_vmapped(jnp.asarray(self.lr))


class CountsTraces(Good):
    """Faster in every trace but the first: compiled updates are not what a scan computes."""

    traces = 0

    def rate(self, opt_state: Any) -> Any:
        self.traces += 1
        return LR * self.traces


class Widening(Good):
    def init(self, params: Any, *args: Any, **kwargs: Any) -> Any:
        state = super().init(params, *args, **kwargs)
        wide = jax.tree.map(lambda p: jnp.zeros(p.shape, jnp.float32), params)
        return state.replace(momentum=wide)


class SharedBuffer(Good):
    def init(self, params: Any, *args: Any, **kwargs: Any) -> Any:
        return super().init(params, *args, **kwargs).replace(momentum=params)


class Gathers(Good):
    """Puts parameters onto every device."""

    def update(self, *args: Any, **kwargs: Any) -> Any:
        from jax.sharding import Mesh, NamedSharding, PartitionSpec

        new = super().update(*args, **kwargs)
        everywhere = NamedSharding(Mesh(jax.devices("cpu")[:8], ("d",)), PartitionSpec())
        whole = jax.lax.with_sharding_constraint(new.params, everywhere)
        return new.replace(params=whole)


@dataclasses.dataclass
class GoodLearned(LearnedOptimizer):
    """Good, whose rate is its theta."""

    make: Callable[..., Any] = Good
    dtype: Any = jnp.float32

    def init(self, key: Any) -> Any:
        return {"log_lr": jax.random.normal(key, dtype=self.dtype)}

    def opt_fn(self, theta: Any, is_training: bool = False) -> Any:
        return self.make(0.1 * jnp.exp(theta["log_lr"]))


def with_hyperparameters(make: Callable[..., Any]) -> OptimizerSubject:
    """The subject of an optimizer whose learning rate is traceable."""
    return OptimizerSubject(
        "twin", lambda theta, hypers: make(**hypers), hypers=({"lr": LR}, {"lr": 2 * LR})
    )


Subject = Callable[[], OptimizerSubject]

# rule -> [(the twin, what its message must name)]
TWINS: dict[str, list[tuple[Subject, str]]] = {
    "fields": [(lambda: subject_of(FloatIteration()), "'iteration'")],
    "stable-state": [
        (lambda: subject_of(NarrowingMomentum()), "'momentum|dense|b'"),
        (lambda: subject_of(GrowingState()), "'extra'"),
    ],
    "abstract-init": [(lambda: subject_of(OtherWhenAbstract()), "'extra'")],
    "published-calls": [(lambda: subject_of(ModelStateThird()), "'state|mean'")],
    "extra-keywords": [(lambda: subject_of(NoExtraKeywords()), "'unheard_of'")],
    "get-and-set": [(lambda: subject_of(ParametersElsewhere()), "'dense|b'")],
    "model-state": [(lambda: subject_of(KeepsModelState()), "'mean'")],
    "zero-gradients": [(lambda: subject_of(Normalised()), "'dense|b'")],
    "checkpoint": [(lambda: subject_of(TypedKeyInState()), "'extra|rng'")],
    "theta": [(lambda: subject_of(GoodLearned(dtype=jnp.bfloat16)), "'log_lr'")],
    "one-compilation": [(lambda: subject_of(WeakIteration()), "'extra|decay'")],
    "jit-equals-eager": [(lambda: subject_of(FasterWhenCompiled()), "'params|dense|b'")],
    "pure": [
        (lambda: subject_of(CountsCalls()), "'params|dense|b'"),
        (lambda: subject_of(ChangesGradient()), "'1|grad|scale'"),
    ],
    "traced-num-steps": [(lambda: subject_of(IgnoresTracedLength()), "'extra|length'")],
    "vmap-seeds": [(lambda: subject_of(MixesVmappedRuns()), "'params|scale'")],
    "vmap-hyperparameters": [(lambda: with_hyperparameters(MixesVmappedRates), "'params|dense|b'")],
    "vmap-theta": [
        (lambda: subject_of(GoodLearned(make=MixesVmappedRates)), "'params|dense|b'"),
    ],
    "scan": [
        (lambda: subject_of(NarrowingMomentum()), "'momentum|dense|b'"),
        (lambda: subject_of(CountsTraces()), "'params|dense|b'"),
    ],
    "bfloat16": [(lambda: subject_of(Widening()), "'params|dense|b'")],
    "donation": [(lambda: subject_of(SharedBuffer()), "'params|dense|b'")],
    "sharding": [(lambda: subject_of(Gathers()), "'params|dense|b'")],
}
