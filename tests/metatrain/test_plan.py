"""Plans: what flags and recipes mean, and what is refused before anything runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from celo.errors import CeloError, UnknownNameError, UsageError
from celo.metatrain.augmentation_text import parse_augmentation
from celo.metatrain.config import StageConfig, estimator_settings, subject_of
from celo.metatrain.plan import (
    make_plan,
    read_recipe,
    read_recipe_file,
    recipe,
    recipes,
    start_config,
)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"trunc": 1}, "--trunc must be at least 2"),
        ({"trunc": "many"}, "--trunc must be a whole number"),
        ({"sigma": "x"}, "--sigma must be a number"),
        ({"sigma": float("nan")}, "--sigma must be at least"),
        ({"unroll": "100"}, "is no range"),
        ({"unroll": "200:100"}, "is impossible"),
        ({"outer_schedule": "linear"}, "--outer-schedule must be one of constant, cosine"),
        ({"aug": "everything"}, "unknown augmentation 'everything'"),
        ({"aug": "global:1"}, "has no range"),
        ({"aug": "global:10:1"}, "positive and rising"),
        ({"seed": -1}, "--seed must be at least 0"),
        ({"restarts": 0}, "--restarts must be at least 1"),
        ({"restarts": 2, "rung": 9}, "--rung 9 chooses among the starts before the first line"),
        ({"finalists": 0}, "--finalists must be at least 1"),
        ({"start": "adam"}, "--start must be one of random, momentum"),
        ({"keep_every": 0}, "--keep-every must be at least 1"),
        ({"rate": 1}, "unknown setting of a meta-training: rate"),
        ({"plugin": None}, "no plugin was given"),
        ({"phase": "3"}, "unknown phase '3'"),
        ({"phase": "first"}, "unknown phase 'first'"),
    ],
)
def test_wrong_settings(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make_plan(**{"plugin": "celo", **settings})


@pytest.mark.parametrize(
    ("plugin", "phase", "message"),
    [
        ("adam", 1, "hand-crafted: it has no weights to meta-train"),
        ("celo@random", 1, "without weights and modifiers"),
        ("celo+l2:1e-4", 1, "without weights and modifiers"),
        ("celo-adam", 2, "has no phase 2"),
        ("cello", 1, "unknown optimizer"),
    ],
)
def test_plugins_that_cannot_be_meta_trained(plugin: str, phase: int, message: str) -> None:
    with pytest.raises(CeloError, match=message):
        subject_of(plugin, phase)


def test_unknown_estimator_and_recipe() -> None:
    with pytest.raises(UnknownNameError, match="unknown estimator 'pess'"):
        estimator_settings(StageConfig("celo", estimator="pess"))
    with pytest.raises(UnknownNameError, match="no recipe called 'laptop'"):
        recipe("laptop")


def test_phases_of_a_plugin_are_chained() -> None:
    plan = make_plan(plugin="celo", phase="all", sigma=0.5)
    assert [stage.config.phase for stage in plan.stages] == [1, 2]
    assert not plan.single and plan.stages[1].config.sigma == 0.5
    assert make_plan(plugin="celo").single
    assert dict(subject_of("celo", 1).spec.hyperparameters) == {"train_phase": 1}
    assert not subject_of("celo", 2).spec.hyperparameters
    assert subject_of("learnable-sgd", 1).phase.frozen == ()


def test_every_recipe_makes_a_plan() -> None:
    for name, found in recipes().items():
        plan = make_plan(recipe=found)
        assert found.name == name and found.summary and found.provenance
        for stage in plan.stages:
            subject_of(stage.config.plugin, stage.config.phase)
        if name.endswith("published"):
            assert all(stage.config.published for stage in plan.stages)
            assert {stage.config.iterations for stage in plan.stages} == {100_001}
    laptop = make_plan(recipe=recipe("celo-laptop"), phase=2, seed=5)
    assert [(s.config.phase, s.config.seed) for s in laptop.stages] == [(2, 5)]


def test_a_recipe_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('plugin = "celo"\n[settings]\nsigma = 0.2\n[[stages]]\nphase = 2\n')
    plan = make_plan(recipe=read_recipe_file(path), iterations=7)
    [stage] = plan.stages
    assert (stage.config.phase, stage.config.sigma, stage.config.iterations) == (2, 0.2, 7)
    with pytest.raises(UsageError, match="cannot be read"):
        read_recipe_file(tmp_path / "none.toml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = ", "is no recipe"),
        ("name = 'x'", "'plugin' is missing"),
        ("plugin = 'celo'\n[settings]\nsigmma = 1", "unknown setting sigmma"),
        ("plugin = 'celo'\nlicence = 'mit'", "licence"),
        ("plugin = 'celo'\n[selection]\nsteps = 3", "tasks"),
    ],
)
def test_what_is_no_recipe(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read_recipe(text, "file")


def test_starts_have_seeds_of_their_own() -> None:
    [stage] = make_plan(plugin="celo", restarts=4, seed=3).stages
    seeds = [start_config(stage, number).seed for number in range(4)]
    assert seeds[0] == 3 and len(set(seeds)) == 4


def test_configurations_survive_json() -> None:
    config = StageConfig("celo", outer_clip=1, unroll="5:9")
    assert StageConfig.from_json(config.to_json()) == config
    assert config.differences(StageConfig("celo", outer_clip=2, unroll="5:9")) == [
        "outer_clip: 1.0 here, 2.0 asked"
    ]
    with pytest.raises(UsageError, match="unknown setting of a meta-training: sigmma"):
        StageConfig.from_json({"plugin": "celo", "sigmma": 1})


def test_augmentations_as_text() -> None:
    assert parse_augmentation("none") is None
    for text in ("list", "global:0.001:1000", "parameter:0.1:10"):
        found = parse_augmentation(text)
        assert found is not None and found.text == text
    assert parse_augmentation("Tensor") == parse_augmentation("tensor:0.001:1000")
