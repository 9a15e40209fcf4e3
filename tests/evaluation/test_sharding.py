"""Shards: the same division everywhere, together the whole, about equally costly."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import celo
from celo.errors import UsageError
from celo.evaluation.config import EvalConfig
from celo.evaluation.plan import make_plan
from celo.evaluation.sharding import Shard, assign, parse_shard
from tests.evaluation.disk import OPTIMIZERS, SETTINGS, Known, made_up


@pytest.mark.parametrize(("text", "shard"), [("1/1", (1, 1)), (" 3 / 12 ", (3, 12))])
def test_shards_are_read(text: str, shard: tuple[int, int]) -> None:
    assert parse_shard(text) == Shard(*shard)
    assert str(Shard(3, 12)) == "3/12"


@pytest.mark.parametrize(
    "value", ["3/2", "0/2", "1/0", "-1/2", "1", "1/2/3", "", "a/b", "1.0/2", "٣/٤", 2, None, True]
)
def test_other_shards_are_refused(value: Any) -> None:
    with pytest.raises(UsageError, match="NUMBER/COUNT") as error:
        parse_shard(value)
    assert repr(value) in error.value.message and "--shard 2/8" in (error.value.hint or "")


@given(
    costs=st.lists(st.floats(0.001, 1e6), max_size=60),
    count=st.integers(1, 12),
)
def test_every_piece_has_one_shard_and_none_has_much_more_than_the_others(costs, count) -> None:
    shards = assign(costs, count)
    assert len(shards) == len(costs) and set(shards) <= set(range(1, count + 1))
    loads = [sum(c for c, s in zip(costs, shards, strict=True) if s == n + 1) for n in range(count)]
    # No shard could start its last piece while another had less: they differ by one piece at most.
    for number, load in enumerate(loads):
        own = [c for c, s in zip(costs, shards, strict=True) if s == number + 1]
        if own:
            assert load - min(own) <= min(loads) * (1 + 1e-9)


def plan(output: Path, **changes: Any):
    fields: dict[str, Any] = {
        "optimizers": ("sgd:lr=0.1,adam,celo@random:1",),
        "suite": "quickstart",
        "seeds": (0, 1, 2, 3),
        "output": output,
    }
    return make_plan(EvalConfig(**{**fields, **changes}))


@pytest.mark.parametrize("count", [1, 2, 3, 7, 50])
def test_the_shards_of_a_plan_are_the_whole(tmp_path: Path, count: int) -> None:
    whole = plan(tmp_path)
    assert whole.own == whole.blocks
    parts = [plan(tmp_path, shard=f"{n}/{count}") for n in range(1, count + 1)]
    names = [(b.task.record.name, b.entry.text, b.seeds) for part in parts for b in part.own]
    assert len(names) == len(set(names)) == len(whole.blocks) == 24
    for part in parts:
        assert part.blocks == whole.blocks
        assert [block for block in whole.blocks if block in part.own] == list(part.own)
    sizes = [len(part.own) for part in parts]
    assert max(sizes) <= 24 or count == 1


def test_tuned_optimizers_do_not_meet_in_one_shard(tmp_path: Path) -> None:
    """15 trials cost more than one, so that they are shared out first."""
    parts = [plan(tmp_path, shard=f"{n}/8", steps=10_000) for n in range(1, 9)]
    assert [sum(b.entry.text == "adam" for b in part.own) for part in parts] == [1] * 8


def test_a_task_without_data_here_moves_no_block(tmp_path: Path, monkeypatch) -> None:
    """Elsewhere the data may be there: the division must be the same."""
    fields = {"suite": None, "tasks": ("Digits_MLP_32", "FastVelo_mnist", "Digits_Conv_16x32")}

    def digits(part: Any) -> set[tuple[str, str, tuple[int, ...]]]:
        names = {(b.task.record.name, b.entry.text, b.seeds) for b in part.own}
        return {name for name in names if name[0].startswith("Digits")}

    numbers = range(1, 4)
    without = [plan(tmp_path, shard=f"{n}/3", **fields) for n in numbers]
    assert all([task.name for task in part.skipped] == ["FastVelo_mnist"] for part in without)
    images = monkeypatch
    images.setattr("celo.evaluation.plan._identities", _everything)
    with_data = [plan(tmp_path, shard=f"{n}/3", **fields) for n in numbers]
    assert [digits(part) for part in without] == [digits(part) for part in with_data]
    assert sum(len(part.own) for part in with_data) == len(with_data[0].blocks) == 18


def _everything(tasks, selection, note):
    from celo.evaluation.cells import DataIdentity

    identity = DataIdentity("any", "real", "real", "f" * 64)
    return {task.record.name: identity for task in tasks}, ()


def test_shards_on_one_folder_make_the_whole(tmp_path: Path) -> None:
    clean = made_up(tmp_path / "clean")
    known = Known(clean)
    with known.instead():
        for number in (2, 1, 3):
            fields = {**SETTINGS, "shard": f"{number}/3", "output": tmp_path / "run"}
            celo.evaluate(OPTIMIZERS, **fields)
        assert sorted(known.computed) == sorted(cell.key.digest for cell in clean)
        known.computed.clear()
        result = celo.evaluate(OPTIMIZERS, output=tmp_path / "run", **SETTINGS)
    assert known.computed == [] and len(result.cells) == len(clean)


def test_shards_do_not_put_each_other_aside(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--fresh with --shard"):
        plan(tmp_path, shard="1/2", fresh=True)
