"""Live progress of an evaluation: bars on a terminal, a line every few seconds elsewhere."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from celo.cli.output import say
from celo.text import duration

if TYPE_CHECKING:
    from rich.progress import Progress as Bars

    from celo.evaluation.cells import Cell
    from celo.evaluation.plan import Block, Plan
    from celo.evaluation.runner import Progress

_SECONDS_PER_LINE = 5.0


@contextlib.contextmanager
def observer_for(plan: Plan, *, quiet: bool = False) -> Iterator[LineObserver]:
    """The observer that suits where stderr goes; stops its display at the end."""
    terminal = sys.stderr is not None and sys.stderr.isatty() and not quiet
    observer = BarObserver(plan) if terminal else LineObserver(plan, quiet=quiet)
    try:
        yield observer
    finally:
        observer.stop()


class LineObserver:
    """Progress as lines on stderr."""

    def __init__(self, plan: Plan, *, quiet: bool = False):
        self.blocks = len(plan.own)
        self.blocks_done = 0
        self.blocks_found = 0
        self._quiet = quiet
        self._began = self._last_line = time.monotonic()

    def found(self, block: Block) -> None:
        self.blocks_done += 1
        self.blocks_found += 1

    def started(self, block: Block) -> None:
        pass

    def compiled(self, block: Block, seconds: float) -> None:
        pass

    def advanced(self, block: Block, progress: Progress) -> None:
        now = time.monotonic()
        if now - self._last_line >= _SECONDS_PER_LINE:
            self._last_line = now
            self._say(
                f"{self._position(block)} step {progress.step}/{progress.steps}  "
                f"loss {progress.loss:.4g}  {progress.steps_per_second:.0f} steps/s"
            )

    def finished(self, block: Block, cells: list[Cell]) -> None:
        self._say(f"{self._position(block)} {_verdict(cells)}")
        self.blocks_done += 1
        self._last_line = time.monotonic()

    def told(self, message: str) -> None:
        self._say(message)

    def stop(self) -> None:
        """Ends the display; may be called twice."""

    def eta_s(self) -> float | None:
        """Expected seconds to the end, from the blocks computed so far."""
        computed = self.blocks_done - self.blocks_found
        if computed == 0:
            return None
        return (time.monotonic() - self._began) / computed * (self.blocks - self.blocks_done)

    def _position(self, block: Block) -> str:
        number = f"[{self.blocks_done + 1}/{self.blocks}]"
        return f"{number} {block.task.record.name}  {describe(block)}"

    def _say(self, text: str) -> None:
        if not self._quiet:
            say(text)


class BarObserver(LineObserver):
    """Progress on a terminal: all blocks, and of each in hand its name and how far it is."""

    def __init__(self, plan: Plan):
        super().__init__(plan)
        from rich.console import Console
        from rich.live import Live

        self._bars = _bars()
        self._all = self._bars.add_task("blocks", total=self.blocks, note="")
        # By identity: two workers never have the same block, and blocks have no hash.
        self._rows: dict[int, _Row] = {}
        self._display = Live(console=Console(stderr=True), transient=True)
        self._draw()
        self._display.start()

    def found(self, block: Block) -> None:
        super().found(block)
        self._bars.update(self._all, completed=self.blocks_done, note="")

    def started(self, block: Block) -> None:
        self._rows[id(block)] = _Row(block)
        self._draw()

    def advanced(self, block: Block, progress: Progress) -> None:
        rate = f"{progress.steps_per_second:.0f} steps/s"
        if id(block) in self._rows:
            self._rows[id(block)].show(progress.step, f"loss {progress.loss:.4g}  {rate}")

    def finished(self, block: Block, cells: list[Cell]) -> None:
        super().finished(block, cells)
        eta = self.eta_s()
        note = "" if eta is None else f"about {duration(eta)} left"
        self._bars.update(self._all, completed=self.blocks_done, note=note)
        self._rows.pop(id(block), None)
        self._draw()

    def stop(self) -> None:
        self._display.stop()

    def _draw(self) -> None:
        from rich.console import Group

        rows = [part for row in self._rows.values() for part in (row.bars, row.name)]
        self._display.update(Group(self._bars, *rows))

    def _say(self, text: str) -> None:
        self._display.console.print(text, markup=False, highlight=False)


class _Row:
    """A block in hand."""

    def __init__(self, block: Block):
        from rich.text import Text

        self.bars = _bars()
        self._steps = self.bars.add_task("steps ", total=block.schedule.steps, note="compiling")
        # Names of tasks are long: a line of their own, cut rather than wrapped.
        name = f"{block.task.record.name}  {describe(block)}"
        self.name = Text(name, no_wrap=True, overflow="ellipsis")

    def show(self, step: int, note: str) -> None:
        self.bars.update(self._steps, completed=step, note=note)


def _bars() -> Bars:
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
    from rich.progress import Progress as Bars

    return Bars(
        TextColumn("{task.description}"),
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}"),
    )


def describe(block: Block) -> str:
    """An optimizer and how much of it a block runs."""
    members = len(block.entry.members)
    trials = f" x{members} trials" if members > 1 else ""
    first, last = block.seeds[0], block.seeds[-1]
    seeds = (
        f"{first}-{last}"
        if last - first == len(block.seeds) - 1 > 0
        else ",".join(map(str, block.seeds))
    )
    noun = "seed" if len(block.seeds) == 1 else "seeds"
    return f"{block.entry.label}{trials}  {noun} {seeds}"


def _verdict(cells: list[Cell]) -> str:
    import numpy as np

    failed = [cell for cell in cells if cell.status == "failed"]
    if failed:
        return f"FAILED: {failed[0].reason}"
    diverged = sum(cell.status == "diverged" for cell in cells)
    finals = [float(cell.curves["eval/train/loss"][-1]) for cell in cells]
    finite = [value for value in finals if np.isfinite(value)]
    loss = f"loss {min(finite):.4g}" if finite else "no finite loss"
    ms = cells[0].cost.get("ms_per_step", float("nan"))
    note = f", {diverged}/{len(cells)} diverged" if diverged else ""
    compile_s = cells[0].cost.get("compile_s", 0.0)
    return f"{loss}  {ms:.2f} ms/step, compiled in {compile_s:.1f} s{note}"
