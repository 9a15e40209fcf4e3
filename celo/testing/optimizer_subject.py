"""An optimizer under examination: one small problem, and programs compiled once for all rules."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from celo.loading import build_learned, constructor, find
from celo.protocol import LearnedOptimizer, Optimizer, Params, PyTree
from celo.records import Hyperparameter, OptimizerPlugin, Rounding, RuleException
from celo.testing.compiling import compiled

NUM_STEPS = 10
SEEDS = (0, 1)

Hypers = Mapping[str, Any]
Make = Callable[[PyTree, Hypers], Optimizer]


class Inputs(NamedTuple):
    """What one update is given besides the state."""

    grad: Params
    loss: jax.Array
    model_state: PyTree
    key: jax.Array


class Lane(NamedTuple):
    """One run: meta-parameters, traced hyperparameters, initial parameters and one update."""

    theta: PyTree
    hypers: Hypers
    params: Params
    inputs: Inputs


def problem(seed: int, dtype: Any = jnp.float32) -> tuple[Params, Inputs]:
    """Three leaves of rank 2, 1 and 0 (the first two divisible by 8), gradients and a model state.

    Args:
      seed: of the numbers.
      dtype: of parameters and gradients.
    """
    random = np.random.RandomState(seed)

    def leaves() -> Params:
        shapes = {"w": (16, 8), "b": (8,)}
        dense = {k: jnp.asarray(random.randn(*s), dtype) for k, s in shapes.items()}
        return {"dense": dense, "scale": jnp.asarray(random.randn(), dtype)}

    params, grad = leaves(), leaves()
    model_state = {"mean": jnp.asarray(random.randn(3), jnp.float32)}
    loss = jnp.asarray(2.0 + seed, jnp.float32)
    return params, Inputs(grad, loss, model_state, jax.random.PRNGKey(seed))


def fresh(tree: PyTree) -> PyTree:
    """Copies of all arrays, so that they may be donated."""
    return jax.tree.map(lambda x: jnp.asarray(x).copy(), tree)


def start(optimizer: Optimizer, params: Params, inputs: Inputs, num_steps: Any = NUM_STEPS) -> Any:
    """`optimizer.init`, as training loops call it."""
    return optimizer.init(
        params, model_state=inputs.model_state, num_steps=num_steps, key=inputs.key
    )


def advance(optimizer: Optimizer, state: Any, inputs: Inputs) -> Any:
    """`optimizer.update`, as training loops call it."""
    return optimizer.update(
        state, inputs.grad, loss=inputs.loss, model_state=inputs.model_state, key=inputs.key
    )


@dataclass(eq=False)
class OptimizerSubject:
    """An optimizer and what has been computed about it so far.

    Attributes:
      label: shown in messages.
      make: (theta, traced hyperparameters) -> Optimizer; pure.
      lopt: the learned optimizer, None for a hand-crafted one.
      thetas: two sets of meta-parameters; (None, None) for a hand-crafted one.
      hypers: two values of every traceable hyperparameter.
      text: spec under which another process finds it; None for a bare object.
      rounding: what its record allows between programs that compute the same.
      exceptions: rules that it does not keep, by its record.
      traces: how often `step` was traced.
    """

    label: str
    make: Make
    lopt: LearnedOptimizer | None = None
    thetas: tuple[PyTree, PyTree] = (None, None)
    hypers: tuple[Hypers, Hypers] = field(default_factory=lambda: ({}, {}))
    text: str | None = None
    rounding: Rounding | None = None
    exceptions: tuple[RuleException, ...] = ()
    traces: int = 0

    @functools.cached_property
    def plain(self) -> Optimizer:
        """The optimizer with ordinary values, nothing traced."""
        return self.make(self.thetas[0], self.hypers[0])

    @functools.cached_property
    def step(self) -> Callable[[PyTree, Hypers, Any, Inputs], Any]:
        """The compiled update (theta, hypers, state, inputs) -> state; donates the state."""

        def step(theta: PyTree, hypers: Hypers, state: Any, inputs: Inputs) -> Any:
            self.traces += 1
            return advance(self.make(theta, hypers), state, inputs)

        return compiled(step, donate_argnums=2)

    @functools.cached_property
    def first(self) -> Any:
        """The state before the first update of the lane 0, from an `init` that is not compiled."""
        params, inputs = problem(SEEDS[0])
        return start(self.plain, params, inputs)

    @functools.cached_property
    def first_update(self) -> Any:
        """The state after one compiled update of the lane 0."""
        return self.update(self.first, problem(SEEDS[0])[1])

    def update(self, state: Any, inputs: Inputs, lane: Lane | None = None) -> Any:
        """One compiled update; the given state survives."""
        theta, hypers = (lane.theta, lane.hypers) if lane else (self.thetas[0], self.hypers[0])
        return self.step(theta, _arrays(hypers), fresh(state), inputs)

    @functools.cached_property
    def lanes(self) -> dict[str, Lane]:
        """Runs that differ from "base" in one thing each."""
        params, inputs = problem(SEEDS[0])
        base = Lane(self.thetas[0], _arrays(self.hypers[0]), params, inputs)
        other_params, other_inputs = problem(SEEDS[1])
        lanes = {"base": base, "seed": base._replace(params=other_params, inputs=other_inputs)}
        if self.hypers[0]:
            lanes["hyperparameters"] = base._replace(hypers=_arrays(self.hypers[1]))
        if self.lopt is not None:
            lanes["theta"] = base._replace(theta=self.thetas[1])
        return lanes

    def run_lane(self, lane: Lane) -> Any:
        """`init` and one update; traced by the rules about vmap."""
        optimizer = self.make(lane.theta, lane.hypers)
        return advance(optimizer, start(optimizer, lane.params, lane.inputs), lane.inputs)

    @functools.cached_property
    def vmapped_lanes(self) -> dict[str, Any]:
        """The states after one update of every lane, all computed as one vmapped axis."""
        names, lanes = zip(*self.lanes.items(), strict=True)
        stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *lanes)
        states = compiled(jax.vmap(self.run_lane))(stacked)
        return {n: jax.tree.map(lambda x, i=i: x[i], states) for i, n in enumerate(names)}

    def single_lane(self, name: str) -> Any:
        """The state after one update of a lane, computed alone."""
        lane = self.lanes[name]
        state = start(self.make(lane.theta, lane.hypers), lane.params, lane.inputs)
        return self.update(state, lane.inputs, lane)


@functools.lru_cache(maxsize=1)
def find_optimizer(text: str) -> OptimizerSubject:
    """The subject of a spec, kept for the next rule.

    A learned optimizer is examined with random weights unless the spec names some, so that nothing
    is downloaded.

    Raises:
      UsageError: no optimizer has this name, or the spec does not fit it.
      BrokenPluginError: its implementation cannot be imported.
    """
    spec, found = find(text)
    build = constructor(spec, found)
    fixed = dict(spec.hyperparameters)
    hypers = _two_values(found.record, fixed)
    if found.record.kind == "hand-crafted":
        return OptimizerSubject(
            label=spec.text,
            make=lambda theta, hypers: build(**{**fixed, **hypers}),
            hypers=hypers,
            text=text,
            rounding=found.record.rounding,
            exceptions=found.record.exceptions,
        )
    lopt = build(**fixed)
    theta, other = _random_thetas(lopt)
    if spec.weights is not None:
        _, theta = build_learned(spec, found)
    return OptimizerSubject(
        label=spec.text,
        make=lambda theta, hypers: build(**{**fixed, **hypers}).opt_fn(theta),
        lopt=lopt,
        thetas=(theta, other),
        hypers=hypers,
        text=text,
        rounding=found.record.rounding,
        exceptions=found.record.exceptions,
    )


def subject_of(optimizer: str | Optimizer | LearnedOptimizer) -> OptimizerSubject:
    """What the rules examine: a spec, or an object that no registry needs to know."""
    if isinstance(optimizer, str):
        return find_optimizer(optimizer)
    label = optimizer.name or type(optimizer).__name__
    if hasattr(optimizer, "opt_fn"):
        lopt: Any = optimizer
        return OptimizerSubject(
            label, lambda theta, hypers: lopt.opt_fn(theta), lopt, _random_thetas(lopt)
        )
    plain: Any = optimizer
    return OptimizerSubject(label, lambda theta, hypers: plain)


def _random_thetas(lopt: LearnedOptimizer) -> tuple[PyTree, PyTree]:
    init = compiled(lopt.init)
    return init(jax.random.PRNGKey(SEEDS[0])), init(jax.random.PRNGKey(SEEDS[1]))


def _two_values(record: OptimizerPlugin, fixed: Mapping[str, Any]) -> tuple[Hypers, Hypers]:
    traced = [h for h in record.hyperparameters if h.traceable and h.type == "float"]
    first = {h.name: fixed.get(h.name, h.default) for h in traced}
    return first, {h.name: _another(h, first[h.name]) for h in traced}


def _another(hyperparameter: Hyperparameter, value: float) -> float:
    """Another allowed value near the first."""
    low, high = hyperparameter.low, hyperparameter.high
    for candidate in (value * 2, value / 2, 0.1):
        within = (low is None or candidate >= low) and (high is None or candidate <= high)
        if within and candidate != value:
            return candidate
    return value


def _arrays(hypers: Hypers) -> dict[str, jax.Array]:
    return {name: jnp.asarray(value, jnp.float32) for name, value in hypers.items()}
