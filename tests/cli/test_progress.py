"""The display of several blocks in hand."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from celo.cli.progress import BarObserver
from celo.evaluation.computing import Progress
from celo.evaluation.config import EvalConfig
from celo.evaluation.plan import make_plan


@pytest.fixture
def shown(tmp_path: Path):
    config = EvalConfig(
        optimizers=("sgd:lr=0.1",),
        tasks=("Digits_MLP_32",),
        seeds=(0, 3, 6),
        reference=None,
        steps=60,
        output=tmp_path,
    )
    plan = make_plan(config)
    observer = BarObserver(plan)

    def text() -> list[str]:
        console = Console(file=io.StringIO(), width=80, force_terminal=False)
        with console.capture() as capture:
            console.print(observer._display.get_renderable())
        return capture.get().splitlines()

    yield plan, observer, text
    observer.stop()


def test_every_block_in_hand_has_its_bar(shown) -> None:
    plan, observer, text = shown
    first, second, third = plan.blocks
    observer.started(first)
    observer.started(second)
    observer.advanced(second, Progress(30, 60, 0.25, 100.0))
    lines = text()
    assert len(lines) == 5 and "0/3" in lines[0]
    assert "0/60" in lines[1] and "compiling" in lines[1] and "seed 0" in lines[2]
    assert "30/60" in lines[3] and "loss 0.25" in lines[3] and "seed 3" in lines[4]
    observer.finished(first, [_failed(first)])
    observer.started(third)
    lines = text()
    assert len(lines) == 5 and "1/3" in lines[0]
    assert "30/60" in lines[1] and "seed 3" in lines[2] and "seed 6" in lines[4]
    observer.advanced(first, Progress(60, 60, 0.1, 100.0))  # late: its bar is gone
    for block in (second, third):
        observer.finished(block, [_failed(block)])
    assert len(text()) == 1 and observer.blocks_done == 3


def _failed(block):
    from celo.evaluation.cells import Cell

    return Cell(block.keys("vmap")[0], "failed", reason="r")
