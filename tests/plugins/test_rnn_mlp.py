"""RNN-MLP beyond its golden files."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from celo.errors import UsageError
from celo.lopt import wide_mlp
from celo.trees import named_leaves
from celo_plugins import rnn_mlp
from celo_plugins.rnn_mlp_leaf import Leaf, iteration_inputs, leaf_step, summarise
from celo_plugins.rnn_mlp_losses import (
    LossAverage,
    clip_dynamically,
    first_clip,
    loss_features,
    no_losses,
)

COMPILE_FAST = {"xla_backend_optimization_level": 0}
LOPT = rnn_mlp.build(lstm_hidden_size=4)
PARAMS = {"b": jnp.asarray([0.5, -1.0, 2.0])}
GRADS = {"b": jnp.asarray([1.0, -0.1, 30.0])}


@pytest.fixture(scope="module")
def theta() -> Any:
    return LOPT.init(jax.random.PRNGKey(0))


def test_a_validation_loss_changes_the_count_and_its_average_alone(theta: Any) -> None:
    optimizer = LOPT.opt_fn(theta)
    start = optimizer.init(PARAMS, model_state={"mean": jnp.ones(2)})

    def update(state: Any, model_state: Any, valid: Any) -> Any:
        return optimizer.update(
            state, GRADS, jnp.float32(2.0), model_state=model_state, is_valid=valid
        )

    traced = jax.jit(update, compiler_options=COMPILE_FAST)
    certain = jax.jit(lambda s, m: update(s, m, False), compiler_options=COMPILE_FAST)
    other = {"mean": jnp.zeros(2)}
    seen = traced(start, other, jnp.asarray(True))
    average = seen.valid_loss_accum
    np.testing.assert_allclose(average.mean, 0.05 * 2.0, rtol=1e-6)
    np.testing.assert_allclose(average.var, 0.05 * (2.0 - 0.1) ** 2, rtol=1e-5)
    assert int(average.updates) == int(seen.iteration) == 1
    kept = seen.replace(iteration=start.iteration, valid_loss_accum=start.valid_loss_accum)
    for path, leaf in named_leaves(kept).items():
        np.testing.assert_array_equal(leaf, named_leaves(start)[path], err_msg=path)

    trained = named_leaves(traced(start, other, jnp.asarray(False)))
    for path, leaf in named_leaves(certain(start, other)).items():
        np.testing.assert_allclose(trained[path], leaf, rtol=1e-5, atol=1e-7, err_msg=path)
    np.testing.assert_array_equal(trained["state|mean"], other["mean"])


def test_loss_features_hold_both_losses_against_training_statistics() -> None:
    training = LossAverage(jnp.float32(0.3), jnp.float32(0.4), jnp.int32(2))
    nothing = loss_features(training, no_losses(), jnp.float32(1.0))
    correction = 1 / (1 - 0.9**2)
    scale = np.sqrt(0.4 * correction)
    want = [(1.0 - 0.3 * correction) / scale, (0.0 - 0.3 * correction) / scale]
    np.testing.assert_allclose(nothing, want, rtol=1e-5)
    validation = LossAverage(jnp.float32(0.1), jnp.float32(9.0), jnp.int32(1))
    both = loss_features(training, validation, jnp.float32(100.0))
    np.testing.assert_allclose(both, [5.0, (0.1 / 0.05 - 0.3 * correction) / scale], rtol=1e-4)


def test_the_first_bound_is_ten_and_follows_clipped_gradients() -> None:
    grads = {"a": jnp.asarray([1000.0, 0.0]), "b": jnp.asarray(-2.0)}
    clipped, clip = clip_dynamically(first_clip(), grads)
    np.testing.assert_allclose(clipped["a"], [10.0, 0.0], rtol=1e-4)
    assert float(clipped["b"]) == -2.0
    newest = np.sqrt((np.mean([100.0, 0.0]) + 4.0) / 2)
    np.testing.assert_allclose(clip.value, 0.99 * 0.01 + 0.01 * newest, rtol=1e-4)
    assert float(clip.iteration) == 2.0


def _leaf() -> Leaf:
    rng = np.random.default_rng(0)
    p, g, m = (rng.normal(size=s) for s in ((3, 5), (3, 5), (3, 5, 5)))
    rms = np.square(rng.normal(size=(3, 5, 5)))
    return Leaf(*(jnp.asarray(x, jnp.float32) for x in (p, g, m, rms)))


def test_the_network_on_blocks_equals_54_columns(
    theta: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wide_mlp, "_block_rows", lambda: 4)
    leaf, network = _leaf(), jax.tree.map(lambda x: x + 0.05, theta["ffmod_params"])
    from_lstm = jnp.linspace(-1.0, 1.0, 17)
    iteration = iteration_inputs(jnp.int32(40), leaves=6)

    run = jax.jit(
        lambda leaf: leaf_step(leaf, summarise(leaf), from_lstm, iteration, network, 0.5, 0.1),
        compiler_options=COMPILE_FAST,
    )
    step, told = run(leaf)

    p, g, m, rms = (np.asarray(x, np.float64) for x in leaf)
    inverse = 1 / np.sqrt(rms + 1e-6)
    first = [g, p, np.log(np.abs(p) + 1e-8)]
    x = np.concatenate([*(c[..., None] for c in first), m, rms, m * inverse, inverse], -1)
    x /= np.sqrt(1e-5 + np.mean(x**2, axis=(0, 1)))
    periods = np.asarray([1, 3, 10, 30, 100, 300, 1e3, 3e3, 1e4, 3e4, 1e5])
    constants = [*np.sin(40 / (np.pi * periods)), np.log(6) - 1, np.log(np.linalg.norm(p) + 1e-8)]
    constants = np.asarray([*constants, np.log(15), *from_lstm])
    h = np.concatenate([x, np.broadcast_to(constants, (3, 5, 31))], -1)
    assert h.shape[-1] == 54
    for i in range(3):
        layer = network[f"mlp/~/linear_{i}"]
        h = (np.maximum(h, 0) if i else h) @ np.asarray(layer["w"], np.float64) + layer["b"]
    want = h[..., 0] * np.exp(0.5 * h[..., 1]) * 0.1
    np.testing.assert_allclose(step, want, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(told, np.mean(h[..., 2:], axis=(0, 1)), rtol=1e-4, atol=1e-5)


def test_what_the_lstm_sees_of_a_tensor() -> None:
    leaf = _leaf()
    leaf = leaf._replace(p=leaf.p + 300.0)
    found = jax.jit(summarise)(leaf)
    p, g, m, rms = (np.asarray(x, np.float64) for x in leaf)

    def log(x: Any) -> Any:
        return np.clip(np.log(1e-8 + np.abs(x)), -5, 5)

    means = [f(x.mean()) for x in (m, rms, p) for f in (log, np.sign)]
    sizes = [np.log(3) - 1, np.log(5) - 1, -1, -1]
    first = [log(np.linalg.norm(g)), -1, *means, log(np.linalg.norm(p)), *sizes]
    np.testing.assert_allclose(found.first, first, rtol=1e-4)
    np.testing.assert_allclose(found.last, [log(x.var()) for x in (m, rms, p)], rtol=1e-3)


def test_it_runs_without_a_length_but_not_without_a_loss(theta: Any) -> None:
    optimizer = LOPT.opt_fn(theta)
    state = optimizer.init(PARAMS)
    with pytest.raises(UsageError, match="reads the training loss"):
        optimizer.update(state, GRADS)
