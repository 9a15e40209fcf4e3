"""One compiled function for meta-training: many outer iterations a call, no word to the host.

An iteration runs all particles of all families through a window at both signs, estimates the
meta-gradient and takes a step of AdamW. All that an iteration draws comes from the key of the run
and its number, so that a run can be cut anywhere and goes on bit for bit.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from celo.estimators.protocol import Estimate, Estimator, steps_of_estimate
from celo.metatrain.memory import check_memory
from celo.metatrain.outer import Partition, global_norm
from celo.protocol import MetaParams, PRNGKey, PyTree, state_record

ITERATIONS_PER_CALL = 64
"""Most outer iterations of one call; fewer are the caller's choice and change no bit."""
MESH_AXIS = "particles"
_QUICK = {"cpu": {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}}


@state_record
class OuterState:
    """State of a meta-training run between two iterations; donated.

    Attributes:
      theta: the meta-parameters.
      opt_state: of AdamW.
      estimators: state of each group's estimator; leaves lead with particles.
      iteration: int32 (), outer steps done.
      streak: int32 (), non-finite meta-gradients in a row.
      non_finite: int32 (), non-finite meta-gradients in all.
      good: theta before the streak.
    """

    theta: MetaParams
    opt_state: PyTree
    estimators: tuple[PyTree, ...]
    iteration: jax.Array
    streak: jax.Array
    non_finite: jax.Array
    good: MetaParams


@dataclass(frozen=True)
class GroupProblem:
    """Families that run together.

    Attributes:
      make: traced arrays of the pool -> problem.
      arrays: of the pool.
      names: of the families.
    """

    make: Callable[[Any], Any]
    arrays: Mapping[str, Any]
    names: tuple[str, ...]

    @property
    def families(self) -> int:
        return len(self.names)


@dataclass(frozen=True)
class Program:
    """The compiled pieces of a run; the same for every initial theta and seed.

    Attributes:
      start: (theta, key) -> OuterState.
      advance: (state, key, number of iterations) -> (state, metrics); donates `state`. Stops early
        where too many meta-gradients in a row are not finite.
      place: puts a state that was read from a file where `advance` expects it.
      gather: a state whole on this host; all processes must call it together.
      template: shapes of the state.
      families: their names, in the order of `family_loss`.
      inner_steps: inner training steps of an iteration.
      compile_s: seconds that compiling took.
      memory_bytes: of arguments and temporaries of `advance`, as its compiler states them.
    """

    start: Callable[[MetaParams, PRNGKey], OuterState]
    advance: Callable[[OuterState, PRNGKey, int], tuple[OuterState, dict[str, np.ndarray]]]
    place: Callable[[OuterState], OuterState]
    gather: Callable[[OuterState], OuterState]
    template: OuterState
    families: tuple[str, ...]
    inner_steps: float
    compile_s: float
    memory_bytes: int


def make_program(
    groups: Sequence[GroupProblem],
    estimator: Estimator,
    optimizer: optax.GradientTransformation,
    theta: MetaParams,
    part: Partition,
    *,
    published: bool = False,
    patience: int = 20,
    particles: int | None = None,
    mesh: Mesh | None = None,
) -> Program:
    """Compiles the functions of a run.

    Args:
      groups: what is trained.
      estimator: of meta-gradients, with a state for each group.
      optimizer: of theta.
      theta: arrays or shapes.
      part: which leaves are trained.
      published: perturb and decay frozen leaves too, mask only their gradient, and set non-finite
        entries of it to zero; else such an iteration changes nothing but the particles.
      patience: stop after so many non-finite meta-gradients in a row.
      particles: of each family, for the message where memory is too small; None: not looked at.
      mesh: devices among which particles are spread, or None.
    """
    began = time.monotonic()
    body = _Body(tuple(groups), estimator, optimizer, part, published, patience)
    everywhere = None if mesh is None else NamedSharding(mesh, PartitionSpec())
    arrays = jax.device_put(tuple(dict(group.arrays) for group in groups), everywhere)
    key = jax.random.PRNGKey(0)
    template = jax.eval_shape(body.start, theta, key, arrays)
    if particles is not None:
        check_memory(template.estimators, particles, 1 if mesh is None else mesh.devices.size)
    shardings = None if mesh is None else _shardings(template, mesh)
    # Without shardings of the results they may come back elsewhere, and the next call would differ.
    start = jax.jit(body.start, out_shardings=shardings)
    advance = jax.jit(
        body.advance,
        donate_argnums=0,
        out_shardings=None if mesh is None else (shardings, everywhere),
    )
    placed = template
    if shardings is not None:
        placed = jax.tree.map(
            lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), template, shardings
        )
    compiled = advance.lower(
        placed, _on(key, everywhere), arrays, _on(jnp.int32(0), everywhere)
    ).compile()
    # It runs once: compiling it well would take longer than it does.
    compiled_start = start.lower(theta, key, arrays).compile(_QUICK.get(jax.default_backend()))

    def go(state: OuterState, key: PRNGKey, count: int) -> tuple[OuterState, dict[str, np.ndarray]]:
        before = int(state.iteration)
        number = jnp.int32(min(count, ITERATIONS_PER_CALL))
        state, metrics = compiled(state, _on(key, everywhere), arrays, _on(number, everywhere))
        done = int(state.iteration) - before
        return state, {name: np.asarray(value)[:done] for name, value in metrics.items()}

    def gather(state: OuterState) -> OuterState:
        if everywhere is not None:
            state = jax.jit(lambda x: x, out_shardings=everywhere)(state)
        return jax.tree.map(np.asarray, state)

    memory = compiled.memory_analysis()
    problems = [group.make(a) for group, a in zip(groups, arrays, strict=True)]
    return Program(
        start=lambda theta, key: compiled_start(theta, key, arrays),
        advance=go,
        place=lambda state: jax.device_put(state, shardings),
        gather=gather,
        template=template,
        families=sum((group.names for group in groups), ()),
        inner_steps=sum(steps_of_estimate(estimator, problem) for problem in problems),
        compile_s=time.monotonic() - began,
        memory_bytes=sum(
            int(getattr(memory, name, 0) or 0)
            for name in ("temp_size_in_bytes", "argument_size_in_bytes")
        ),
    )


def _on(x: jax.Array, sharding: Any) -> jax.Array:
    return x if sharding is None else jax.device_put(x, sharding)


def _shardings(template: OuterState, mesh: Mesh) -> OuterState:
    """Particles spread over the mesh, all else everywhere."""
    size = mesh.devices.size

    def particles(x: Any) -> NamedSharding:
        split = x.ndim > 0 and x.shape[0] % size == 0
        return NamedSharding(mesh, PartitionSpec(MESH_AXIS) if split else PartitionSpec())

    everywhere = jax.tree.map(lambda _: NamedSharding(mesh, PartitionSpec()), template)
    return replace(everywhere, estimators=jax.tree.map(particles, template.estimators))


@dataclass(frozen=True)
class _Body:
    """The traced functions of a program."""

    groups: tuple[GroupProblem, ...]
    estimator: Any
    optimizer: optax.GradientTransformation
    part: Partition
    published: bool
    patience: int

    def start(self, theta: MetaParams, key: PRNGKey, arrays: Any) -> OuterState:
        moving, problems = self._problems(theta, arrays)
        keys = jax.random.split(key, len(problems))
        # New buffers: the caller's theta must survive the donation of the state.
        theta, good = jax.tree.map(jnp.array, (theta, theta))
        zero = jnp.zeros((), jnp.int32)
        states = [self.estimator.init(p, moving, k) for p, k in zip(problems, keys, strict=True)]
        return OuterState(theta, self.optimizer.init(moving), tuple(states), zero, zero, zero, good)

    def advance(
        self, state: OuterState, key: PRNGKey, arrays: Any, count: jax.Array
    ) -> tuple[OuterState, dict[str, jax.Array]]:
        shapes = jax.eval_shape(self.iterate, state, key, arrays)[1]
        buffers = jax.tree.map(
            lambda x: jnp.full((ITERATIONS_PER_CALL, *x.shape), jnp.nan, x.dtype), shapes
        )

        def going(carry: Any) -> jax.Array:
            i, state, _ = carry
            return jnp.logical_and(i < count, state.streak < self.patience)

        def iterate(carry: Any) -> Any:
            i, state, buffers = carry
            state, metrics = self.iterate(state, key, arrays)
            return i + 1, state, jax.tree.map(lambda b, m: b.at[i].set(m), buffers, metrics)

        _, state, buffers = jax.lax.while_loop(going, iterate, (jnp.int32(0), state, buffers))
        return state, buffers

    def iterate(
        self, state: OuterState, key: PRNGKey, arrays: Any
    ) -> tuple[OuterState, dict[str, jax.Array]]:
        """One outer iteration."""
        moving, problems = self._problems(state.theta, arrays)
        keys = jax.random.split(jax.random.fold_in(key, state.iteration), len(problems))
        estimates, states = [], []
        for problem, old, k in zip(problems, state.estimators, keys, strict=True):
            estimate, new = self.estimator.estimate(problem, moving, old, k, state.iteration)
            estimates.append(estimate)
            states.append(new)
        gradient = self._mean_gradient(estimates)
        if self.published:
            gradient = self.part.masked(gradient)
        finite = jnp.isfinite(global_norm(gradient))
        used = jax.tree.map(lambda g: jnp.nan_to_num(g, nan=0.0, posinf=0.0, neginf=0.0), gradient)
        updates, opt_state = self.optimizer.update(used, state.opt_state, moving)
        stepped = optax.apply_updates(moving, updates)
        if not self.published:
            stepped, opt_state = jax.tree.map(
                lambda new, old: jnp.where(finite, new, old),
                (stepped, opt_state),
                (moving, state.opt_state),
            )
        theta = stepped if self.published else self._joined(state.theta, stepped)
        failed = jnp.logical_not(finite).astype(jnp.int32)
        new = OuterState(
            theta=theta,
            opt_state=opt_state,
            estimators=tuple(states),
            iteration=state.iteration + 1,
            streak=(state.streak + 1) * failed,
            non_finite=state.non_finite + failed,
            good=jax.tree.map(lambda n, o: jnp.where(finite, n, o), theta, state.good),
        )
        return new, self._metrics(estimates, used, failed)

    def _problems(self, theta: MetaParams, arrays: Any) -> tuple[PyTree, list[Any]]:
        """What estimators perturb, and the problems in terms of it."""
        problems = [group.make(a) for group, a in zip(self.groups, arrays, strict=True)]
        if self.published:
            return theta, problems
        moving, frozen = self.part.split(theta)
        return moving, [_Frozen(p, lambda m: self.part.join(m, frozen)) for p in problems]

    def _joined(self, theta: MetaParams, moving: PyTree) -> MetaParams:
        return self.part.join(moving, self.part.split(theta)[1])

    def _mean_gradient(self, estimates: Sequence[Estimate]) -> PyTree:
        """The mean over families; each group stands for so many."""
        total = sum(group.families for group in self.groups)
        weighted = [
            jax.tree.map(lambda g, w=group.families / total: w * g, estimate.gradient)
            for group, estimate in zip(self.groups, estimates, strict=True)
        ]
        return jax.tree.map(lambda *gs: sum(gs[1:], gs[0]), *weighted)

    def _metrics(
        self, estimates: Sequence[Estimate], gradient: PyTree, failed: jax.Array
    ) -> dict[str, jax.Array]:
        families = jnp.concatenate(
            [
                jnp.mean(estimate.losses.reshape(group.families, -1), axis=1)
                for group, estimate in zip(self.groups, estimates, strict=True)
            ]
        )
        weights = jnp.asarray([g.families for g in self.groups], jnp.float32)
        deltas = jnp.stack([estimate.delta for estimate in estimates])
        return {
            "loss": jnp.mean(families),
            "family_loss": families,
            "gradient_norm": global_norm(gradient),
            "delta": jnp.sum(weights * deltas) / jnp.sum(weights),
            "non_finite": failed.astype(jnp.float32),
        }


class _Frozen:
    """A problem in terms of the leaves that move."""

    def __init__(self, problem: Any, whole: Callable[[PyTree], MetaParams]):
        self._problem = problem
        self._whole = whole

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._problem, name)
        if name not in ("init", "step", "begin", "final_loss"):
            return value
        return lambda moving, *rest: value(self._whole(moving), *rest)
