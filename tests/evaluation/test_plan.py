from __future__ import annotations

from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from celo.errors import CeloError, DataError, DataMissingError, UsageError
from celo.evaluation.config import EvalConfig
from celo.evaluation.plan import make_plan, seed_blocks


def plan_for(tmp_path: Path, **changes: Any):
    fields: dict[str, Any] = {
        "optimizers": ("sgd:lr=0.1",),
        "suite": "quickstart",
        "output": tmp_path / "run",
    }
    return make_plan(EvalConfig(**{**fields, **changes}))


def test_seeds_are_grouped_by_aligned_triple() -> None:
    assert seed_blocks((0, 1, 2)) == [(0, 1, 2)]
    assert seed_blocks((4, 0, 2)) == [(0, 2), (4,)]
    assert seed_blocks((7, 3, 5, 4)) == [(3, 4, 5), (7,)]


def test_the_suite_sets_horizon_and_folder(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    plan = plan_for(tmp_path, output=None)
    assert plan.settings.schedule.steps == 200
    assert plan.output == Path("celo-runs/quickstart")
    alone = plan_for(tmp_path, suite=None, tasks=("digits_mlp_32",), output=None)
    assert alone.settings.schedule.steps == 2000
    assert alone.output == Path("celo-runs/Digits_MLP_32")
    assert not (tmp_path / "celo-runs").exists()


def test_the_reference_is_tuned_and_added_first(tmp_path: Path) -> None:
    plan = plan_for(tmp_path)
    assert [entry.text for entry in plan.entries] == ["adam", "sgd:lr=0.1"]
    assert plan.reference == "adam" and plan.reference_added
    adam, sgd = plan.entries
    assert len(adam.members) == 15 and adam.tuned == "lr"
    assert adam.members[0].text == "adam:lr=1e-07" and adam.members[-1].text == "adam:lr=1.0"
    assert sgd.members == (sgd.spec,) and sgd.tuned is None
    named = plan_for(tmp_path, optimizers=("sgd:lr=0.1,adam",))
    assert not named.reference_added
    assert [e.text for e in plan_for(tmp_path, reference=None).entries] == ["sgd:lr=0.1"]


def test_another_hyperparameter_does_not_stop_the_tuning(tmp_path: Path) -> None:
    plan = plan_for(tmp_path, optimizers=("adam:b1=0.8",), reference=None)
    assert plan.entries[0].members[0].text == "adam:b1=0.8,lr=1e-07"


def test_a_cell_does_not_depend_on_company(tmp_path: Path) -> None:
    def digests(**changes: Any) -> set[str]:
        plan = plan_for(tmp_path, **changes)
        blocks = [b for b in plan.blocks if b.entry.text == "sgd:lr=0.1"]
        return {key.digest for block in blocks for key in block.keys("vmap")}

    alone = digests(reference=None)
    assert alone == digests(optimizers=("adamw", "sgdm", "sgd:lr=0.1"))
    assert alone == digests(seeds=(2, 1, 0, 5)) & alone
    assert not alone & digests(seeds=(0, 1))


def test_cells_of_optax_depend_on_its_version(tmp_path: Path) -> None:
    plan = plan_for(tmp_path, optimizers=("optax:adan:learning_rate=0.1", "adam:lr=1"))
    places = {block.entry.text: block.keys("vmap")[0].distribution for block in plan.blocks}
    assert places["adam:lr=1.0"] == "celo"
    assert places["optax:adan:lr=0.1"] == f"optax=={metadata.version('optax')}"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"optimizers": ("adamm",)}, "unknown optimizer 'adamm'"),
        ({"optimizers": ("optax:lion",)}, "optax:lion needs lr"),
        ({"optimizers": ("optax:adann:lr=1",)}, "unknown optimizer 'optax:adann'"),
        ({"optimizers": ("lo:adam",)}, "learned_optimization, which is not installed"),
        ({"suite": None, "tasks": ("lo:QuadraticTask",)}, "which is not installed"),
        ({"optimizers": ("sgd:rate=1",)}, "no hyperparameter 'rate'"),
        ({"suite": "quickstrat"}, "unknown suite"),
        ({"suite": None, "tasks": ("Digits_MLP_33",)}, "unknown task"),
        ({"tasks": ("FastVelo_mnist",)}, "not in the suite"),
        ({"reference": "adamm"}, "unknown optimizer 'adamm'"),
        ({"data": "imaginary"}, "imaginary"),
        ({"optimizers": ("celo@random:x",)}, "whole number"),
    ],
)
def test_wrong_names_are_refused_before_anything_runs(tmp_path, changes, message) -> None:
    with pytest.raises(UsageError, match=message) as error:
        plan_for(tmp_path, **changes)
    assert error.value.hint


def test_tasks_without_data_are_skipped_and_named(tmp_path: Path) -> None:
    plan = plan_for(tmp_path, suite=None, tasks=("Digits_MLP_32", "FastVelo_mnist"))
    assert [task.record.name for task in plan.tasks] == ["Digits_MLP_32"]
    assert [task.name for task in plan.skipped] == ["FastVelo_mnist"]
    with pytest.raises(DataMissingError, match="mnist"):
        plan_for(tmp_path, suite=None, tasks=("FastVelo_mnist",))


def test_tasks_with_damaged_data_are_skipped_like_those_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "mnist.npz").write_bytes(b"PK cut short")
    monkeypatch.setenv("CELO_DATA_DIR", str(folder))
    names = ("FastVelo_mnist", "Digits_MLP_32", "ImageMLP_Mnist_128x128x128_Relu")
    plan = plan_for(tmp_path, suite=None, tasks=names)
    assert [task.record.name for task in plan.tasks] == ["Digits_MLP_32"]
    assert [*plan.reasons] == [names[0], names[2]]
    (reason,) = set(plan.reasons.values())
    assert "mnist.npz" in reason and "cannot be read" in reason
    with pytest.raises(DataError, match="cannot be read") as caught:
        plan_for(tmp_path, suite=None, tasks=names[:1])
    assert not isinstance(caught.value, DataMissingError) and caught.value.hint


def test_missing_weights_say_how_to_get_them(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("CELO_ZOO_PATH", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(CeloError) as error:
        plan_for(tmp_path, optimizers=("velo-s",))
    assert "velo-s" in error.value.message
    assert "celo zoo pull velo-s" in str(error.value)


def test_synthetic_data_are_another_kind(tmp_path: Path) -> None:
    plan = plan_for(tmp_path, suite=None, tasks=("FastVelo_mnist",), data="synthetic")
    assert plan.blocks[0].data.kind == "synthetic"
    assert plan.settings.data == "synthetic"
