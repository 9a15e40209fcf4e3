"""Stages: initial weights, missing data, what does not fit."""

from __future__ import annotations

from pathlib import Path

import jax
import numpy as np
import pytest

import celo
from celo.errors import DataMissingError, UsageError, WeightsError, WeightsMissingError
from celo.estimators import FullES
from celo.metatrain import memory
from celo.metatrain.config import StageConfig
from celo.metatrain.describing import describe_plan
from celo.metatrain.families import make_groups
from celo.metatrain.inner import InnerTraining
from celo.metatrain.lengths import Lengths
from celo.metatrain.loggers import TensorBoard, WeightsAndBiases, scalars
from celo.metatrain.plan import make_plan
from celo.metatrain.processes import join_processes
from celo.metatrain.stage import compile_stage, initial_theta, open_stage
from tests.estimators.toy_problems import InfluenceBalancing
from tests.shared_folder import checkpoints_dir


def digits(plugin: str, phase: int = 1, **settings: object):
    return open_stage(StageConfig(plugin, phase, suite="digits", **settings))  # type: ignore[arg-type]


def test_a_first_phase_starts_from_random_weights() -> None:
    one, other = (initial_theta(digits("celo", seed=seed), None) for seed in (0, 1))
    assert one.content == "random:0" and "random weights (seed 0)" in one.note
    leaves = zip(jax.tree.leaves(one.theta), jax.tree.leaves(other.theta), strict=True)
    assert any(not np.array_equal(a, b) for a, b in leaves)


def test_phase_2_starts_from_the_update_rule_of_the_zoo(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CELO_ZOO_PATH", str(checkpoints_dir()))
    stage = digits("celo", 2)
    initial = initial_theta(stage, None)
    assert "ff_mod_stack of celo" in initial.note and "the rest is fresh" in initial.note
    published = celo.load_learned("celo")[1]
    fresh = stage.lopt.init(jax.random.PRNGKey(0))
    for key, source in (("ff_mod_stack", published), ("rnn_params", fresh)):
        jax.tree.map(np.testing.assert_array_equal, initial.theta[key], source[key])


def test_phase_2_without_weights_says_how_to_make_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CELO_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.delenv("CELO_ZOO_PATH", raising=False)
    monkeypatch.setattr("celo_zoo.location._BUNDLED", tmp_path)
    with pytest.raises(WeightsMissingError, match="celo meta-train --plugin celo --phase 1"):
        initial_theta(digits("celo", 2), None)
    stage = digits("celo", 2)
    object.__setattr__(stage.subject.found.record, "zoo_id", None)
    try:
        with pytest.raises(UsageError, match="starts from weights of phase 1, and there are none"):
            initial_theta(stage, None)
    finally:
        object.__setattr__(stage.subject.found.record, "zoo_id", "celo")


def test_weights_of_another_plugin_are_refused(tmp_path: Path) -> None:
    lopt, theta = celo.load_learned("learnable-sgd@random")
    path = celo.save(theta, tmp_path / "sgd.safetensors")
    with pytest.raises(WeightsError, match="do not fit celo.*ff_mod_stack"):
        initial_theta(digits("celo"), str(path))


def test_sets_that_are_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CELO_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("CELO_CACHE_DIR", str(tmp_path))
    with pytest.raises(DataMissingError, match="none of the tasks has its data here"):
        open_stage(StageConfig("celo"))
    shape = {"train": 200, "test": 20}
    arrays = {f"{p}_images": np.zeros((n, 28, 28), np.uint8) for p, n in shape.items()}
    arrays |= {f"{p}_labels": (np.arange(n) % 10).astype(np.uint8) for p, n in shape.items()}
    np.savez(tmp_path / "mnist.npz", **arrays)
    stage = open_stage(StageConfig("celo"))
    assert [task.name for task in stage.tasks] == ["FastVelo_mnist"]
    assert set(stage.missing) == {"FastVelo_cifar10", "FastVelo_fashion_mnist", "FastVelo_svhn"}
    [described] = describe_plan(make_plan(plugin="celo"))["stages"]
    assert "FastVelo_svhn: data set svhn_cropped is not on this machine" in described["missing"]


def test_the_diverse_suite_has_a_language_model_where_there_is_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CELO_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("CELO_CACHE_DIR", str(tmp_path / "cache"))
    shape = {"train": 200, "test": 20}
    arrays = {f"{p}_images": np.zeros((n, 28, 28), np.uint8) for p, n in shape.items()}
    arrays |= {f"{p}_labels": (np.arange(n) % 10).astype(np.uint8) for p, n in shape.items()}
    np.savez(tmp_path / "mnist.npz", **arrays)
    name = "Meta_RNNLM_bytes_Patch8_GRU16_Embed8"
    config = StageConfig("learnable-sgdm", suite="diverse", particles=2)
    without = open_stage(config)
    assert "tinyshakespeare is not on this machine" in without.missing[name]
    assert "tinyshakespeare:bytes" not in without.data
    (tmp_path / "tinyshakespeare").mkdir()
    lines = [f"line {i:04d} of the play" for i in range(400)]
    (tmp_path / "tinyshakespeare" / "train.txt").write_text("\n".join(lines))
    stage = open_stage(config)
    assert name in [task.name for task in stage.tasks] and "tinyshakespeare:bytes" in stage.data
    assert stage.identity()["data"].keys() == {"mnist", "tinyshakespeare:bytes"}
    [record] = [task for task in stage.tasks if task.name == name]
    [group] = make_groups([record], stage.selection)
    lengths = Lengths(3, 7, "log-uniform", offset=7)
    problem = InnerTraining(
        *(stage.lopt, group.family, group.pool, group.pool.table.arrays, 2, lengths),
        lambda loss, task, step, length: loss,
    )
    theta = stage.lopt.init(jax.random.PRNGKey(0))

    @jax.jit
    def first_loss(key: jax.Array) -> jax.Array:
        state = problem.init(theta, key, np.int32(0))
        constants, inputs = problem.draw(key, np.int32(0), 1)
        inputs = jax.tree.map(lambda x: x[0], inputs)
        return problem.step(theta, state, constants, inputs)[1].loss

    # An untrained network knows nothing about 256 bytes and a few special ones.
    assert 5.0 < float(first_loss(jax.random.PRNGKey(1))) < 6.5


def test_more_particles_than_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available_bytes", lambda: 10**6)
    with pytest.raises(
        UsageError, match=r"(?s)64 particles a family need .*--particles \d"
    ) as error:
        compile_stage(digits("learnable-sgdm", particles=64))
    assert "would fit" in str(error.value)
    monkeypatch.undo()
    assert memory.available_bytes()


def test_full_es_needs_complete_unrolls() -> None:
    problem = InfluenceBalancing(np.zeros((23, 23)), np.zeros(23), 2)
    with pytest.raises(UsageError, match="complete unrolls, which InfluenceBalancing cannot do"):
        FullES().init(problem, 0.0, jax.random.PRNGKey(0))  # type: ignore[arg-type]


def test_loggers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row = {"iteration": 5, "iterations": 5, "loss": 2.0, "family_loss": {"a": 1.0}}
    assert scalars(row) == {"loss": 2.0, "family_loss/a": 1.0}
    for name, logger in (("tensorboardX", TensorBoard), ("wandb", WeightsAndBiases)):
        monkeypatch.setitem(__import__("sys").modules, name, None)
        with pytest.raises(UsageError, match=f"not installed: {name}"):
            logger(folder=tmp_path, config={})


def test_processes_that_cannot_be_joined(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAX_NUM_PROCESSES", "two")
    with pytest.raises(UsageError, match="processes of this run cannot be joined"):
        join_processes()


def test_a_first_phase_may_start_from_momentum() -> None:
    stage = digits("celo", start="momentum", seed=4)
    initial = initial_theta(stage, None)
    assert initial.content == "momentum:4" and "follow normalised momentum" in initial.note
    assert "ff_mod_stack" in initial.theta
    with pytest.raises(UsageError, match="'learnable-sgdm' knows no start from momentum"):
        initial_theta(digits("learnable-sgdm", start="momentum"), None)
