"""The loss of the language models: numbers, derivatives, memory, padding."""

from __future__ import annotations

import functools

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from celo.tasks import token_task
from celo.tasks.token_task import Head, weighted_loss

KEY = jax.random.PRNGKey(0)


def _plain(features, w, b, targets, weights):
    logs = jax.nn.log_softmax(features @ w + b)
    return -jnp.sum(weights * jnp.take_along_axis(logs, targets[:, None], 1)[:, 0])


def _arguments(rows: int, width: int = 4, ids: int = 11):
    keys = jax.random.split(KEY, 5)
    return (
        jax.random.normal(keys[0], (rows, width)),
        jax.random.normal(keys[1], (width, ids)),
        jax.random.normal(keys[2], (ids,)),
        jax.random.randint(keys[3], (rows,), 0, ids),
        jax.random.uniform(keys[4], (rows,)),
    )


@pytest.mark.parametrize("at_once", [10_000, 33])  # one block; blocks of 3 rows, one not full
def test_value_and_gradients_are_those_of_a_log_softmax(
    at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(token_task, "_LOGITS_AT_ONCE", at_once)
    arguments = _arguments(10)
    ours, theirs = (
        jax.jit(jax.value_and_grad(lambda *a, f=f: 3 * f(*a), argnums=(0, 1, 2)))(*arguments)
        for f in (weighted_loss, _plain)
    )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-6), ours, theirs)
    # Without gradients another function runs.
    np.testing.assert_allclose(weighted_loss(*arguments), _plain(*arguments), rtol=1e-5)


def test_large_logits_do_not_overflow() -> None:
    features, w, b, targets, weights = _arguments(3)
    value, slope = jax.value_and_grad(weighted_loss)(1e4 * features, w, b, targets, weights)
    np.testing.assert_allclose(value, _plain(1e4 * features, w, b, targets, weights), rtol=1e-5)
    assert jnp.isfinite(slope).all()


@pytest.mark.parametrize("derive", [False, True])
def test_logits_of_the_whole_batch_exist_at_no_time(derive: bool) -> None:
    rows, width, ids = 1024, 8, 32_100
    shapes = [(rows, width), (width, ids), (ids,), (rows,), (rows,)]
    types = [jnp.float32] * 3 + [jnp.int32, jnp.float32]
    arguments = [jax.ShapeDtypeStruct(*both) for both in zip(shapes, types, strict=True)]
    function = jax.grad(weighted_loss, argnums=(0, 1, 2)) if derive else weighted_loss
    compiled = jax.jit(function).lower(*arguments).compile()
    logits = 4 * rows * ids
    assert compiled.memory_analysis().temp_size_in_bytes < 0.6 * logits
    assert f"{rows},{ids}]" not in compiled.as_text()


@functools.cache
def _head():
    return hk.without_apply_rng(hk.transform(lambda x, obs, targets: Head(7)(x, obs, targets)))


def _loss(obs: list[int], targets: list[int]) -> float:
    features = jax.random.normal(KEY, (1, len(obs), 5))
    tokens = jnp.array([obs]), jnp.array([targets])
    return float(_head().apply(_head().init(KEY, features, *tokens), features, *tokens))


def test_padding_counts_as_a_target_but_not_behind_padding() -> None:
    whole = _loss([3, 4, 5], [4, 5, 6])
    assert _loss([3, 4, 0], [4, 5, 6]) == pytest.approx(_loss([3, 4, 0], [4, 5, 1]))
    assert _loss([3, 4, 5], [4, 5, 0]) != pytest.approx(whole)
    losses = [_loss([int(i == k) for i in range(3)], [4, 5, 6]) for k in range(3)]
    assert whole == pytest.approx(np.mean(losses), rel=1e-5)
    assert np.isnan(_loss([0, 0, 0], [1, 2, 3]))


def test_the_head_has_the_leaves_and_initial_values_of_a_linear_layer() -> None:
    features, tokens = jnp.ones((2, 400)), jnp.ones((2,), jnp.int32)
    ours = hk.transform(lambda: Head(900)(features, tokens, tokens)).init(KEY)["linear"]
    theirs = hk.transform(lambda: hk.Linear(900)(features)).init(KEY)["linear"]
    jax.tree.map(np.testing.assert_array_equal, ours, theirs)
