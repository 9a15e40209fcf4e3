"""Shampoo against a loop over blocks in float64, and what must hold whatever."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from celo.errors import UsageError
from celo.testing.compiling import compiled
from celo_plugins.shampoo import ShampooConfig, build, scale_by_shampoo, shampoo
from celo_plugins.shampoo.blocks import merge_axes, plan_blocks
from celo_plugins.shampoo.graft import GRAFT_TYPES, graft, init_graft
from tests.plugins.golden_case import relative_to_max

STEPS = 6
SHAPES = {
    "cube": (4, 4, 6),
    "matrix": (10, 6),
    "scalar": (),
    "too_long": (13, 2),
    "vector": (8,),
}
FEW = ("matrix", "scalar", "too_long")
SMALL = ShampooConfig(
    block_size=4,
    merge_small_dims_block_size=4,
    skip_preconditioning_dim_size_gt=12,
    start_preconditioning_step=3,
)


def _numbers(*leading: int, seed: int = 0, names: Iterable[str] = FEW) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    shapes = {name: (*leading, *SHAPES[name]) for name in names}
    return {name: random.standard_normal(shape).astype("f") for name, shape in shapes.items()}


@dataclasses.dataclass
class _LoopOverBlocks:
    """The algorithm as it is written down, one leaf, in float64."""

    config: ShampooConfig
    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        c = self.config
        merged = merge_axes(self.shape, c.merge_small_dims_block_size)
        skipped = not self.shape or max(self.shape) > c.skip_preconditioning_dim_size_gt
        cuts = [
            [slice(i, min(i + c.block_size, n)) for i in range(0, n, c.block_size)] for n in merged
        ]
        self.merged, self.count, self.second = merged, 0, np.zeros(self.shape)
        self.blocks = [] if skipped else list(itertools.product(*cuts))
        sizes = [[s.stop - s.start for s in block] for block in self.blocks]
        self.statistics = [[1e-6 * np.eye(n) for n in size] for size in sizes]
        self.roots = [[np.eye(n) for n in size] for size in sizes]
        self.momentum, self.grafted_momentum = np.zeros(self.shape), np.zeros(self.shape)

    def step(self, gradient: np.ndarray, param: np.ndarray) -> np.ndarray:
        c, g = self.config, gradient.astype(np.float64)
        whole = g.reshape(self.merged)
        preconditioned = whole.copy()
        for block, statistics, roots in zip(self.blocks, self.statistics, self.roots, strict=True):
            result = whole[block]
            for axis in range(whole.ndim):
                unfolded = np.moveaxis(whole[block], axis, 0).reshape(len(roots[axis]), -1)
                if self.count % c.statistics_compute_steps == 0:
                    statistics[axis] = 0.999 * statistics[axis] + 0.001 * unfolded @ unfolded.T
                if self.count % c.preconditioning_compute_steps == 0:
                    values, vectors = np.linalg.eigh(statistics[axis])
                    values = values + 1e-6 * max(values[-1], 1e-6)
                    roots[axis] = vectors * values ** (-1 / (2 * whole.ndim)) @ vectors.T
                result = np.moveaxis(np.tensordot(roots[axis], result, (1, axis)), 0, axis)
            preconditioned[block] = result
        u = self.graft(g)
        h = preconditioned.reshape(self.shape) if self.blocks else u
        h = h * np.linalg.norm(u) / (np.linalg.norm(h) + 1e-16)
        h, u = h + c.weight_decay * param, u + c.weight_decay * param
        weight = 0.1 if c.moving_average_for_momentum else 1.0
        self.momentum = 0.9 * self.momentum + weight * h
        self.grafted_momentum = 0.9 * self.grafted_momentum + weight * u
        late = self.count >= c.start_preconditioning_step
        m, x = (self.momentum, h) if late else (self.grafted_momentum, u)
        self.count += 1
        return weight * x + 0.9 * m if c.nesterov else m

    def graft(self, g: np.ndarray) -> np.ndarray:
        kind = self.config.graft_type
        if kind in ("SGD", "SQRT_N"):
            return g if kind == "SGD" else np.sign(g)
        if "NORMALIZED" in kind:
            g = g / (np.linalg.norm(g) + 1e-16)
        self.second = (
            self.second + g**2 if "ADAGRAD" in kind else 0.999 * self.second + 0.001 * g**2
        )
        return g / (np.sqrt(self.second) + 1e-10)


SELDOM = dataclasses.replace(
    SMALL,
    preconditioning_compute_steps=3,
    statistics_compute_steps=2,
    graft_type="RMSPROP_NORMALIZED",
)
DECAYED = dataclasses.replace(
    SMALL, nesterov=False, moving_average_for_momentum=True, weight_decay=0.1
)


@pytest.mark.parametrize(
    ("config", "names"), [(DECAYED, tuple(SHAPES)), (SELDOM, FEW)], ids=["decayed", "seldom"]
)
def test_stacked_blocks_equal_a_loop_over_ragged_blocks(
    config: ShampooConfig, names: tuple[str, ...]
) -> None:
    params, grads = _numbers(seed=1, names=names), _numbers(STEPS, names=names)
    transform = scale_by_shampoo(config)

    def run(grads: Any) -> Any:
        def step(state: Any, grad: Any) -> Any:
            return transform.update(grad, state, params)[::-1]

        return jax.lax.scan(step, transform.init(params), grads)[1]

    found = compiled(run)(grads)
    for name in names:
        loop = _LoopOverBlocks(config, SHAPES[name])
        for at in range(STEPS):
            expected = loop.step(grads[name][at], params[name])
            assert relative_to_max(found[name][at], expected) < 1e-3, (name, at)


@pytest.mark.parametrize("kind", GRAFT_TYPES)
def test_directions_that_are_grafted(kind: str) -> None:
    config = dataclasses.replace(SMALL, graft_type=kind)
    loop = _LoopOverBlocks(config, (6,))
    gradients = np.random.default_rng(0).standard_normal((3, 6)).astype("f")

    def run(gradients: jax.Array) -> jax.Array:
        moments, directions = init_graft(kind, jnp.zeros(6)), []
        for gradient in gradients:
            direction, moments = graft(kind, gradient, moments, 0.999, 1e-10)
            directions.append(direction)
        return jnp.stack(directions)

    found = compiled(run)(gradients)
    expected = [loop.graft(g.astype(np.float64)) for g in gradients]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("shape", "limit", "merged"),
    [
        ((64, 64), 4096, (4096,)),
        ((64, 65), 4096, (64, 65)),
        ((3, 3, 256, 512), 4096, (2304, 512)),
        ((3, 3, 512, 512), 4096, (9, 512, 512)),
        ((1, 5000, 1), 4096, (5000,)),
        ((5000, 2, 2), 4096, (5000, 4)),
        ((10, 6), 4, (10, 6)),
        ((2, 2, 3), 4, (4, 3)),
        ((1, 1), 4096, (1,)),
        ((7,), 4096, (7,)),
    ],
)
def test_axes_are_merged_from_the_left(shape: Any, limit: int, merged: Any) -> None:
    assert merge_axes(shape, limit) == merged


def test_blocks_are_every_entry_once() -> None:
    shapes = [(10, 8), (9,), (4, 4), (7, 3, 5), (), (0, 3)]
    tensors = [np.arange(float(np.prod(s))).reshape(s) + 1000 * i for i, s in enumerate(shapes)]
    blocking = plan_blocks(shapes, 4, 4, 4096)
    blocks = compiled(blocking.gather)(tensors)
    back = compiled(blocking.scatter)(blocks)
    assert sorted(back) == [0, 1, 2, 3], "scalars and empty tensors are left out"
    for i, tensor in back.items():
        np.testing.assert_array_equal(tensor, tensors[i])
    stack = np.asarray(blocks[(4, 4)])
    np.testing.assert_array_equal(stack[2], np.asarray(tensors[0])[4:8, :4])


def test_what_is_skipped_and_how_large_the_state_is() -> None:
    shapes = {"a": (4097,), "b": (4096,), "c": (), "d": (300, 256), "e": (2, 5000)}
    params = {k: jax.ShapeDtypeStruct(s, jnp.bfloat16) for k, s in shapes.items()}
    state = jax.eval_shape(scale_by_shampoo().init, params)
    assert {name: stack.shape for name, stack in state.statistics.items()} == {
        "size_128_root_2": (32, 128, 128),
        # two of three blocks of rows by two of columns, and both axes of each, then the rest
        "size_128_root_4": (10, 128, 128),
        "size_44_root_4": (2, 44, 44),
    }
    assert {stack.dtype for stack in state.statistics.values()} == {jnp.dtype("float32")}
    assert {m.dtype for m in state.momentum.values()} == {jnp.dtype("bfloat16")}


def _step(transform: Any, params: Any) -> Any:
    state = compiled(transform.init)(params)
    step = compiled(transform.update, donate_argnums=1)
    return step, state


def test_one_compilation_serves_all_steps_and_the_state_keeps_its_form() -> None:
    params = jax.tree.map(lambda x: jnp.asarray(x, jnp.bfloat16), _numbers())
    step, state = _step(shampoo(0.1, SMALL), params)
    form = jax.tree.map(lambda x: (x.shape, x.dtype, x.weak_type), state)
    for _ in range(4):
        old = state
        updates, state = step(params, state)
    assert step._cache_size() == 1
    assert jax.tree.map(lambda x: (x.shape, x.dtype, x.weak_type), state) == form
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(old[0].statistics)), "not donated"
    assert all(u.dtype == jnp.bfloat16 and np.all(np.isfinite(u)) for u in jax.tree.leaves(updates))


def test_the_program_does_not_grow_with_leaves_of_equal_shape() -> None:
    def loops(leaves: int) -> int:
        params = {str(i): jnp.ones((6, 4)) for i in range(leaves)}
        step, state = _step(scale_by_shampoo(SMALL), params)
        text = step.lower(params, state).as_text()
        return text.count("stablehlo.while")

    # blocks (4, 4) and (2, 4): matrices of size 4 and 2, two loops each
    assert loops(1) == loops(5) == 4


def test_updates_in_between_are_skipped_not_selected() -> None:
    params = _numbers()
    step, state = _step(scale_by_shampoo(SELDOM), params)
    program = step.lower(params, state).compile()
    assert program.as_text().count(" conditional(") == 2
    roots = []
    for seed in range(4):
        state = program(_numbers(seed=seed), state)[1]
        roots.append(np.asarray(state.preconditioners["size_4_root_4"]))
    np.testing.assert_array_equal(roots[0], roots[2])
    assert not np.array_equal(roots[2], roots[3])


def test_a_root_that_fails_is_not_used() -> None:
    params = {"bad": jnp.ones(3), "good": jnp.ones(3)}
    step, state = _step(scale_by_shampoo(SMALL), params)
    state = step(params, state)[1]
    first = np.asarray(state.preconditioners["size_3_root_2"])
    broken = {"bad": jnp.full(3, jnp.nan), "good": jnp.asarray([1.0, -2.0, 3.0])}
    second = np.asarray(step(broken, state)[1].preconditioners["size_3_root_2"])
    np.testing.assert_array_equal(second[0], first[0])
    assert np.all(np.isfinite(second)) and not np.allclose(second[1], first[1])


def test_schedules_and_grids_of_learning_rates() -> None:
    params, grads = _numbers(seed=1), _numbers()

    def step(lr: Any) -> Any:
        transform = shampoo(lr, SMALL)
        return transform.update(grads, transform.init(params))[0]

    def both(rates: jax.Array) -> Any:
        return jax.vmap(step)(rates), step(optax.constant_schedule(0.1))

    grid, scheduled = compiled(both)(jnp.asarray([1e-3, 1e-1, 1.0]))
    for name in FEW:
        np.testing.assert_allclose(grid[name][1], scheduled[name], rtol=1e-5)
        np.testing.assert_allclose(grid[name][2], 1000 * grid[name][0], rtol=1e-5)


def test_misuse_is_explained_in_one_sentence() -> None:
    with pytest.raises(UsageError, match="graft_type is 'adam', expected one of SGD"):
        build(graft_type="adam")
    with pytest.raises(UsageError, match="block_size must be at least 1"):
        build(block_size=0)
    decayed = scale_by_shampoo(dataclasses.replace(SMALL, weight_decay=0.1))
    with pytest.raises(UsageError, match="params is None"):
        jax.eval_shape(lambda g: decayed.update(g, decayed.init(g)), _numbers())
