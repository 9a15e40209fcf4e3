"""Calls of the published package."""

from __future__ import annotations

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import celo
from celo.errors import UsageError, WeightsError
from celo.factory import get_optimizer
from celo.protocol import LearnedOptimizer, Optimizer
from celo.registry import optimizers
from celo.utils import init_lopt_from_ckpt
from tests.shared_folder import checkpoints_dir

# Names of the published packages, as their scripts spell them.
LEARNED = (
    *("celo", "celo_phase1", "celo_adam", "celo2", "celo2base"),
    *("rnn_mlp", "adafac_mlp", "velo_s", "velo", "velo_4000", "nnadam"),
)
HUB = ("celo-adam", "rnn-mlp-lopt", "adafac-mlp-lopt", "velo-s", "velo-4000", "celo2-base")
PARAMS = {"w": jnp.ones((2, 3)), "b": jnp.zeros(3)}


@pytest.mark.parametrize("name", [*LEARNED, *HUB])
def test_published_names_of_learned_optimizers(name: str) -> None:
    lopt = get_optimizer(name)
    assert isinstance(lopt, LearnedOptimizer)
    theta = jax.eval_shape(lopt.init, jax.random.PRNGKey(0))
    assert jax.tree.leaves(theta)


def test_handcrafted_optimizers_have_the_published_rate() -> None:
    names = set()
    for found in optimizers():
        if found.record.kind == "learned":
            continue
        optimizer = get_optimizer(found.record.name.replace("-", "_"))
        assert isinstance(optimizer, Optimizer)
        names.add(optimizer.name)
    assert {"SGD_lr0.001", "SGDM_lr0.001_m0.9", "AdamW_lr0.001_wd0.0001"} <= names
    state = get_optimizer("sgd").init(params=PARAMS, num_steps=3)  # pyright: ignore[reportCallIssue]
    optimizer = get_optimizer("sgd")
    assert isinstance(optimizer, Optimizer)
    new = optimizer.update(state, grad={"w": PARAMS["w"], "b": PARAMS["b"]}, loss=jnp.float32(1))
    np.testing.assert_allclose(new.params["w"], 1 - 1e-3, rtol=1e-6)
    given = get_optimizer("sgd:lr=0.5")
    assert isinstance(given, Optimizer) and "0.5" in given.name


def test_unknown_names_are_refused() -> None:
    with pytest.raises(UsageError, match="unknown optimizer 'celo-phase3'"):
        get_optimizer("celo_phase3")


def test_weights_of_a_file() -> None:
    path = checkpoints_dir() / "celo" / "theta.state"
    lopt = get_optimizer("celo")
    assert isinstance(lopt, LearnedOptimizer)
    optimizer = init_lopt_from_ckpt(lopt, path)
    state = {"bn": jnp.ones(2)}
    first = optimizer.init(PARAMS, model_state=state, num_steps=10)
    grad = jax.tree.map(jnp.ones_like, PARAMS)
    mine = optimizer.update(first, grad, loss=jnp.float32(1), model_state=state)
    loaded = celo.load(f"celo@{path}")
    other = loaded.update(first, grad, loss=jnp.float32(1), model_state=state)
    jax.tree.map(np.testing.assert_array_equal, mine, other)


def test_weights_of_another_optimizer_are_refused(tmp_path: Path) -> None:
    path = checkpoints_dir() / "celo" / "theta.state"
    lopt = get_optimizer("adafac_mlp")
    assert isinstance(lopt, LearnedOptimizer)
    with pytest.raises(WeightsError, match="adafac"):
        init_lopt_from_ckpt(lopt, path)
    with pytest.raises(WeightsError, match="nowhere"):
        init_lopt_from_ckpt(lopt, str(tmp_path / "nowhere" / "theta.state"))
