"""`map_leaves` against a loop, in numbers and in what is compiled."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from celo.lopt import leaves
from celo.lopt.leaves import map_leaves, zeros_alike

SHAPES = [(2, 3), (4,), (2, 3), (), (2, 3), (2, 3), (4,), (2, 3)]


def _arguments() -> list[tuple[Any, ...]]:
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=(2, *shape)).astype(np.float32) for shape in SHAPES]
    return [({"x": jnp.asarray(x), "y": jnp.asarray(y)}, jnp.mean(x)) for x, y in arrays]


def _function(pair: dict[str, jax.Array], number: jax.Array, own: Any, shared: Any) -> Any:
    return pair["x"] * own[0] + jnp.sum(pair["y"]) * number, own[1] - shared


@pytest.mark.parametrize("portion", [64, 2])
def test_results_are_those_of_a_loop(portion: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leaves, "_PORTION", portion)
    own = (jnp.arange(8.0), jnp.arange(16.0).reshape(8, 2))
    shared = jnp.ones((1, 2))
    found = map_leaves(_function, _arguments(), (own, shared))
    for i, arguments in enumerate(_arguments()):
        expected = _function(*arguments, (own[0][i], own[1][i]), shared[0])
        for new, old in zip(found[i], expected, strict=True):
            assert new.shape == old.shape
            np.testing.assert_allclose(new, old, rtol=1e-6)


def _compiled_maxima(count: int) -> int:
    def run(xs: list[jax.Array]) -> list[jax.Array]:
        # Cheap enough for XLA to compute it once for each of its users.
        found = map_leaves(lambda x: jnp.maximum(x * x - x, 0) * x, [(x,) for x in xs])
        return [x - y for x, y in zip(xs, found, strict=True)]

    leaf = jax.ShapeDtypeStruct((8, 8), jnp.float32)
    return jax.jit(run).lower([leaf] * count).compile().as_text().count(" maximum(")


def test_the_function_is_compiled_once_for_leaves_of_one_shape() -> None:
    assert _compiled_maxima(9) == _compiled_maxima(4) == 1


def test_portions_have_one_even_size_and_miss_no_leaf(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leaves, "_PORTION", 6)
    assert leaves._portions([7]) == [[7]]
    for count in range(2, 40):
        portions = leaves._portions(list(range(count)))
        (size,) = {len(portion) for portion in portions}
        assert size % 2 == 0 and size <= 6
        assert sorted({i for portion in portions for i in portion}) == list(range(count))


def test_zeros_have_the_dtype_and_shape_asked_for_whatever_the_parameters() -> None:
    bad = jnp.full((2, 3), jnp.nan, jnp.bfloat16)
    same = zeros_alike(bad)
    assert same.dtype == jnp.bfloat16
    np.testing.assert_array_equal(same.astype(jnp.float32), np.zeros((2, 3)))
    row = zeros_alike(bad, dtype=jnp.float32, without=1, count=4)
    assert row.dtype == jnp.float32
    np.testing.assert_array_equal(row, np.zeros((2, 4)))
