"""Rules about transformations: whatever JAX does to an optimizer, its numbers stay."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import jax
import jax.numpy as jnp

from celo.testing.compiling import compiled
from celo.testing.devices import DEVICES, environment_with_devices
from celo.testing.optimizer_subject import (
    NUM_STEPS,
    SEEDS,
    Lane,
    OptimizerSubject,
    advance,
    fresh,
    problem,
    start,
)
from celo.testing.rules import (
    NotApplicable,
    Rule,
    Violation,
    expect,
    expect_close,
    expect_equal,
    expect_finite,
    expect_same_form,
)
from celo.trees import named_leaves


def _one_compilation(subject: OptimizerSubject) -> None:
    state = subject.first
    for number in range(3):
        state = subject.update(state, problem(number)[1])
    # Whatever other rules have asked of it, it was always given the same form of arguments.
    if subject.traces <= 1:
        return
    first, second = named_leaves(subject.first), named_leaves(subject.first_update)
    changed = [p for p in second if p not in first or _full(first[p]) != _full(second[p])]
    what = f"{changed[0]!r} changes after init" if changed else "no leaf of the state changes"
    raise Violation(f"three updates were compiled {subject.traces} times, expected once: {what}")


def _full(leaf: Any) -> tuple[Any, ...]:
    return jnp.shape(leaf), jnp.result_type(leaf), _form(leaf)


def _form(leaf: Any) -> str:
    weak = not hasattr(leaf, "dtype") or bool(getattr(leaf, "weak_type", False))
    return "weak" if weak else "strong"


def _jit_equals_eager(subject: OptimizerSubject) -> str:
    _, inputs = problem(SEEDS[0])
    eager = advance(subject.plain, subject.first, inputs)
    what = "the state after a compiled update"
    return expect_close(subject.first_update, eager, what, subject.rounding)


def _pure(subject: OptimizerSubject) -> None:
    params, inputs = problem(SEEDS[0])
    expect_equal(start(subject.plain, params, inputs), subject.first, "a second init")
    state = subject.first
    held, kept = (state, inputs), (fresh(state), fresh(inputs))
    first = advance(subject.plain, state, inputs)
    expect_equal(held, kept, "what was given to update, afterwards,")
    expect_equal(advance(subject.plain, state, inputs), first, "the same update once more")


def _traced_num_steps(subject: OptimizerSubject) -> None:
    params, inputs = problem(SEEDS[0])
    traced = compiled(lambda p, i, n: start(subject.plain, p, i, n))
    state = traced(params, inputs, jnp.asarray(NUM_STEPS, jnp.int32))
    expect_close(state, subject.first, "the state after an init with traced num_steps")


def _vmap_over(subject: OptimizerSubject, name: str) -> str:
    """Holds the vmapped run `name`, and the one it differs from, against single runs."""
    if name not in subject.lanes:
        missing = {"hyperparameters": "no traceable hyperparameter", "theta": "hand-crafted"}
        raise NotApplicable(missing[name])
    base, lane = subject.lanes["base"], subject.lanes[name]
    # Alone first, so that the failure is this axis' own.
    axes = base._replace(
        theta=0 if name == "theta" else None,
        hypers=0 if name == "hyperparameters" else None,
        params=0 if name == "seed" else None,
        inputs=0 if name == "seed" else None,
    )
    stacked: list[Any] = [
        tree if axis is None else jax.tree.map(lambda *x: jnp.stack(x), tree, other)
        for tree, other, axis in zip(base, lane, axes, strict=True)
    ]
    jax.eval_shape(jax.vmap(subject.run_lane, in_axes=(axes,)), Lane(*stacked))
    remark = ""
    for which in ("base", name):
        found, alone = subject.vmapped_lanes[which], subject.single_lane(which)
        what = f"the vmapped run {which!r}"
        remark = expect_close(found, alone, what, subject.rounding) or remark
    return remark


def _vmap_seeds(subject: OptimizerSubject) -> str:
    return _vmap_over(subject, "seed")


def _vmap_hyperparameters(subject: OptimizerSubject) -> str:
    return _vmap_over(subject, "hyperparameters")


def _vmap_theta(subject: OptimizerSubject) -> str:
    return _vmap_over(subject, "theta")


def _scan(subject: OptimizerSubject) -> str:
    _, inputs = problem(SEEDS[0])
    expected = subject.first
    for _ in range(3):
        expected = subject.update(expected, inputs)
    # A form that changes would be reported by scan itself, but without saying where.
    once = jax.eval_shape(lambda s: advance(subject.plain, s, inputs), subject.first)
    expect_same_form(once, subject.first, "the state carried by scan")

    def run(state: Any) -> Any:
        body = lambda carry, _: (advance(subject.plain, carry, inputs), None)  # noqa: E731
        return jax.lax.scan(body, state, length=3)[0]

    what = "the state after a scan of 3 updates"
    return expect_close(compiled(run)(subject.first), expected, what, subject.rounding)


def _bfloat16(subject: OptimizerSubject) -> None:
    params, inputs = problem(SEEDS[0], jnp.bfloat16)

    def run(params: Any, inputs: Any) -> tuple[Any, Any]:
        state = start(subject.plain, params, inputs)
        return state, advance(subject.plain, state, inputs)

    first, second = jax.eval_shape(run, params, inputs)
    kept = jax.eval_shape(subject.plain.get_params, first)
    expect_same_form(kept, params, "bfloat16 parameters after init")
    expect_same_form(second, first, "the state of bfloat16 parameters after an update")
    expect_finite(compiled(run)(params, inputs)[1], "the state of bfloat16 parameters")


def _donation(subject: OptimizerSubject) -> None:
    _, inputs = problem(SEEDS[0])
    state = subject.first
    seen: dict[Any, str] = {}
    for path, leaf in named_leaves(state).items():
        if getattr(leaf, "size", 0) and hasattr(leaf, "unsafe_buffer_pointer"):
            buffer = leaf.unsafe_buffer_pointer()
            expect(
                buffer not in seen,
                f"{path!r} and {seen.get(buffer)!r} are one buffer, which cannot be donated twice; "
                "expected a copy each",
            )
            seen[buffer] = path
    donated = fresh(state)
    theta, hypers = subject.lanes["base"][:2]
    new = subject.step(theta, hypers, donated, inputs)
    expect_equal(new, subject.first_update, "the state after an update with donation")
    for path, leaf in named_leaves(donated.params).items():
        expect(leaf.is_deleted(), f"'params|{path}' was donated, but its memory was not used")


def _sharding(subject: OptimizerSubject) -> str:
    try:
        devices = jax.devices("cpu")
    except RuntimeError:  # JAX_PLATFORMS leaves the CPU out
        devices = []
    if len(devices) < DEVICES:
        return _sharding_elsewhere(subject)
    from jax.sharding import Mesh, NamedSharding, PartitionSpec

    mesh = Mesh(devices[:DEVICES], ("d",))

    def place(x: Any) -> Any:
        spec = PartitionSpec("d") if x.ndim else PartitionSpec()
        return jax.device_put(x, NamedSharding(mesh, spec))

    def everywhere(x: Any) -> Any:
        return jax.device_put(x, NamedSharding(mesh, PartitionSpec()))

    params, inputs = problem(SEEDS[0])
    sharded = jax.tree.map(place, params)
    inputs = jax.tree.map(everywhere, inputs)
    inputs = inputs._replace(grad=jax.tree.map(place, inputs.grad))

    def run(params: Any, inputs: Any) -> Any:
        return advance(subject.plain, start(subject.plain, params, inputs), inputs)

    new = compiled(run)(sharded, inputs)
    want = named_leaves(sharded)
    for path, leaf in named_leaves(subject.plain.get_params(new)).items():
        kept = leaf.sharding.is_equivalent_to(want[path].sharding, leaf.ndim)
        expect(
            kept,
            f"'params|{path}' was sharded as {want[path].sharding.spec} and comes back as "
            f"{getattr(leaf.sharding, 'spec', leaf.sharding)}",
        )
    what = "the state after an update of sharded parameters"
    return expect_close(new, subject.first_update, what, subject.rounding)


def _sharding_elsewhere(subject: OptimizerSubject) -> str:
    """The same rule in a process that has enough devices."""
    if subject.text is None:
        raise NotApplicable(
            f"needs {DEVICES} CPU devices: "
            f"set XLA_FLAGS=--xla_force_host_platform_device_count={DEVICES}"
        )
    command = [sys.executable, "-m", "celo.testing.devices", subject.text]
    child = subprocess.run(
        command, env=environment_with_devices(), capture_output=True, text=True, timeout=300
    )
    said = child.stdout.strip().splitlines()
    lines = [*said, *child.stderr.strip().splitlines()]
    expect(child.returncode == 0, lines[-1] if lines else f"exit code {child.returncode}")
    return said[-1] if said else ""


SHARDING = Rule(
    "sharding",
    f"Parameters sharded over {DEVICES} devices stay so, and the numbers are the same.",
    _sharding,
)

TRANSFORM_RULES: tuple[Rule[OptimizerSubject], ...] = (
    Rule("one-compilation", "The updates of a run are compiled once.", _one_compilation),
    Rule("jit-equals-eager", "A compiled update gives the numbers of a plain one.",
         _jit_equals_eager),
    Rule("pure", "The same call gives the same result and changes nothing it was given.", _pure),
    Rule("traced-num-steps", "num_steps may be a traced integer.", _traced_num_steps),
    Rule("vmap-seeds", "Runs of several seeds can be one vmapped axis.", _vmap_seeds),
    Rule("vmap-hyperparameters", "Hyperparameters declared traceable can be a vmapped axis.",
         _vmap_hyperparameters),
    Rule("vmap-theta", "Meta-parameters can be a vmapped axis.", _vmap_theta),
    Rule("scan", "A scan over updates gives the numbers of single updates.", _scan),
    Rule("bfloat16", "bfloat16 parameters stay bfloat16, with finite numbers.", _bfloat16),
    Rule("donation", "The state can be donated, and its memory is used again.", _donation),
    SHARDING,
)  # fmt: skip
