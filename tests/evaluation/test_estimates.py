"""What a dry run says: from recorded cells where there are any, else from the model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from celo import registry
from celo.evaluation.cells import Cell, Schedule
from celo.evaluation.config import EvalConfig
from celo.evaluation.cost_model import model_seconds
from celo.evaluation.estimates import estimate, most_memory, seconds_left
from celo.evaluation.plan import Block, Plan, make_plan


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    config = EvalConfig(
        optimizers=("sgd:lr=0.1,adam,celo@random:1",),
        tasks=("Digits_MLP_32", "Digits_Conv_16x32"),
        steps=1000,
        seeds=(0, 1, 2, 3),
        output=tmp_path,
    )
    return make_plan(config)


def cells_of(block: Block, **cost: float) -> list[Cell]:
    return [Cell(key, "done", cost=cost) for key in block.keys("vmap")]


def by_name(plan: Plan, cells: list[Cell]) -> dict[tuple[str, str, int], Any]:
    return {
        (one.block.entry.text, one.block.task.record.name, one.block.seeds[0]): one
        for one in estimate(plan, cells)
    }


def test_without_cells_the_model_speaks(plan: Plan) -> None:
    found = by_name(plan, [])
    assert len(found) == 12 and {one.seconds_from for one in found.values()} == {"model"}
    assert not any(one.present for one in found.values())
    adam = found["adam", "Digits_MLP_32", 0]
    assert adam.cells == 45
    record = adam.block.task.record
    optimizer = adam.block.entry.found.record
    assert adam.seconds == model_seconds(record, optimizer, 45, Schedule(1000))
    assert adam.seconds > found["adam", "Digits_MLP_32", 3].seconds
    sgd = found["sgd:lr=0.1", "Digits_MLP_32", 0]
    assert adam.memory_bytes > sgd.memory_bytes > 1e8


def test_the_model_grows_with_what_there_is_to_do() -> None:
    small, conv = (registry.task(n).record for n in ("Digits_MLP_32", "Digits_Conv_16x32"))
    large = registry.task("ImageMLP_Cifar10_128x128x128_LayerNorm_Relu").record
    adam, celo = registry.optimizer("adam").record, registry.optimizer("celo").record

    def seconds(task: Any = small, optimizer: Any = adam, runs: int = 3, steps: int = 1000):
        return model_seconds(task, optimizer, runs, Schedule(steps))

    assert seconds(large) > seconds()
    assert seconds(conv) - seconds() > 0
    assert seconds(optimizer=celo) > seconds()
    assert seconds(runs=45) > seconds()
    assert seconds(steps=2000) > seconds()
    assert model_seconds(small, adam, 3, Schedule(1000, eval_batches=50)) > seconds()


def test_recorded_cells_speak_for_their_optimizer_and_task(plan: Plan) -> None:
    """And correct the model where there are none."""
    block = next(b for b in plan.blocks if b.entry.text == "sgd:lr=0.1" and b.seeds == (0, 1, 2))
    cost = {"ms_per_step": 4.0, "compile_s": 7.0, "peak_memory_bytes": 3e9}
    later = {**cost, "peak_memory_bytes": 5e9}
    guesses = by_name(plan, [])
    found = by_name(plan, [*cells_of(block, **cost), *cells_of(block, **later)])
    here = found["sgd:lr=0.1", block.task.record.name, 0]
    assert here.present and here.seconds_from == here.memory_from == "recorded"
    assert here.seconds == pytest.approx(4e-3 * 1000 * 3 + 7)
    other = found["sgd:lr=0.1", block.task.record.name, 3]
    assert not other.present
    assert other.seconds == pytest.approx(4e-3 * 1000 * 1 + 7) and other.memory_bytes == 3e9
    elsewhere = ("adam", "Digits_Conv_16x32", 0)
    assert found[elsewhere].seconds_from == "scaled" and found[elsewhere].memory_from == "model"
    ratio = here.seconds / guesses["sgd:lr=0.1", block.task.record.name, 0].seconds
    assert found[elsewhere].seconds == pytest.approx(ratio * guesses[elsewhere].seconds)


def test_failed_and_half_blocks_are_still_to_do(plan: Plan) -> None:
    block = plan.blocks[0]
    half = cells_of(block, ms_per_step=1.0)[:-1]
    failed = [Cell(key, "failed", reason="r") for key in block.keys("vmap")[-1:]]
    assert not estimate(plan, [*half, *failed])[0].present


def test_workers_share_what_is_left(plan: Plan) -> None:
    estimates = estimate(plan, cells_of(plan.blocks[0], ms_per_step=1.0))
    left = [one for one in estimates if not one.present]
    assert len(left) == len(estimates) - 1
    one = seconds_left(estimates)
    assert one == pytest.approx(sum(e.seconds for e in left))
    two = seconds_left(estimates, 2)
    assert one / 2 <= two <= one / 2 + max(e.seconds for e in left)
    assert seconds_left([]) == most_memory([]) == 0
    needs = sorted(e.memory_bytes for e in left)
    assert most_memory(estimates) == needs[-1]
    assert most_memory(estimates, 2) == pytest.approx(needs[-1] + needs[-2])
