"""Tables that stay on the host give the numbers of tables on the device."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from celo.data.datasets import stacked
from celo.evaluation import batches, feeding, loop
from celo.evaluation.batches import Rows, open_batches, points_per_window
from celo.protocol import SplitTable, Task
from tests.evaluation.test_loop import SCHEDULE, _adam, _program, _run, _task
from tests.shared_folder import REPOSITORY


def _fed(window_points: int, monkeypatch: pytest.MonkeyPatch) -> loop.Program:
    # 3 seeds x (2 + 3) batches x 64 rows of 64 pixels and a label of 4 bytes, a point
    monkeypatch.setattr(batches, "WINDOW_BYTES", window_points * 3 * 5 * 64 * 68)
    start = loop.prepare(_task(), open_batches(_task(), device_bytes=0), (0, 1, 2), SCHEDULE)
    assert start.window == window_points and start.batches.host is not None
    members = {"lr": jnp.array((1e-3, 1e-2), jnp.float32)}
    return loop.compile_program(start, _adam, None, members, "vmap")


def _in_windows(program: loop.Program) -> tuple[np.ndarray, np.ndarray]:
    calls = [program.window] * (program.points // program.window)
    rest = program.points - sum(calls)
    return _run(program, calls + [rest] * (rest > 0))


def test_fed_runs_are_those_of_a_table_on_the_device(monkeypatch) -> None:
    expected = _run(_program(), [20, 3])
    program = _fed(7, monkeypatch)
    assert program.points == 23
    for _ in range(2):  # the second run finds its first window ready
        for ours, theirs in zip(_in_windows(program), expected, strict=True):
            np.testing.assert_array_equal(ours, theirs)


class _InPairs(Task):
    """Two consecutive batches make one, as where inner steps are stacked."""

    def __init__(self):
        self.one = _task()
        self.datasets = stacked(self.one.datasets, 2)
        self.init_with_state, self.normalizer = self.one.init_with_state, self.one.normalizer

    def loss_with_state(self, params, state, key, data):
        losses = jax.vmap(lambda batch: self.one.loss_with_state(params, state, key, batch)[0])
        return jnp.mean(losses(data) * jnp.array([0.9, 0.1])), state


@pytest.mark.slow
def test_stacked_batches_are_fed_as_they_lie_on_the_device(monkeypatch) -> None:
    monkeypatch.setattr(batches, "WINDOW_BYTES", 7 * 2 * 5 * 2 * 64 * 68)
    task, losses = _InPairs(), []
    for limit, window in ((None, 20), (0, 7)):
        start = loop.prepare(task, open_batches(task, limit), (0, 1), SCHEDULE)
        assert start.window == window and start.abstract.rows.training.shape[2:] == (2, 64)
        members = {"lr": jnp.array((1e-2,), jnp.float32)}
        losses.append(_in_windows(loop.compile_program(start, _adam, None, members, "vmap")))
    assert np.isfinite(losses[0][0]).all()
    for ours, theirs in zip(*losses, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_windows_are_as_long_as_their_rows_allow(monkeypatch) -> None:
    fed, here = open_batches(_task(), device_bytes=0), open_batches(_task())
    assert points_per_window(fed, 3, SCHEDULE) == points_per_window(here, 3, SCHEDULE) == 20
    monkeypatch.setattr(batches, "WINDOW_BYTES", 1)
    assert points_per_window(fed, 3, SCHEDULE) == 1
    assert points_per_window(here, 3, SCHEDULE) == 20


def test_small_tables_are_on_the_device_and_large_ones_are_not(monkeypatch) -> None:
    assert open_batches(_task()).host is None
    size = sum(
        a.nbytes for s in batches.EVAL_SPLITS for a in _task().datasets.table(s).arrays.values()
    )
    assert open_batches(_task(), device_bytes=size).host is None
    monkeypatch.setattr(batches, "DEVICE_BYTES", size - 1)
    assert open_batches(_task()).host is not None


def _tables() -> tuple[SplitTable, ...]:
    tables = []
    for split in range(3):
        x = np.arange(5000, dtype=np.float32)[:, None] + 10_000 * split
        tables.append(SplitTable({"x": np.repeat(x, 3, 1)}, 4, lambda rows: rows))
    return tuple(tables)


def _draw(number: int) -> Rows:
    random = np.random.RandomState(number)
    return Rows(
        jnp.asarray(random.randint(0, 5000, (2, 30, 4)), jnp.int32),
        jnp.asarray(random.randint(0, 5000, (2, 3, 600, 4)), jnp.int32),
    )


@pytest.mark.parametrize("workers", [1, 3])
def test_rows_do_not_depend_on_the_number_of_workers(workers: int) -> None:
    feed = feeding.Feed(_tables(), _draw, windows=4, workers=workers)
    for number in (0, 1, 2, 3, 0, 2):
        window, rows = feed(number), _draw(number)
        x = window.arrays["x"]
        np.testing.assert_array_equal(x[window.rows.training][..., 1], rows.training)
        for split in range(3):
            found = x[window.rows.evaluation[:, split]][..., 0]
            np.testing.assert_array_equal(found, rows.evaluation[:, split] + 10_000 * split)
        assert window.rows.evaluation.shape == (2, 3, 600, 4)


def test_the_next_window_is_gathered_before_it_is_asked_for(monkeypatch) -> None:
    gathered = threading.Semaphore(0)
    gather = feeding._gather

    def noted(*arguments):
        window = gather(*arguments)
        gathered.release()
        return window

    monkeypatch.setattr(feeding, "_gather", noted)
    drawn: list[int] = []
    feed = feeding.Feed(_tables(), lambda n: drawn.append(n) or _draw(n), windows=5)
    feed(0)
    # Window 1 comes by itself, and what window 2 needs from the device was already asked for.
    assert gathered.acquire(timeout=20) and gathered.acquire(timeout=20)
    assert drawn == [0, 1, 2]
    feed(1)
    assert gathered.acquire(timeout=20) and drawn == [0, 1, 2, 3]


def test_a_feed_that_nobody_needs_ends_its_threads() -> None:
    feed = feeding.Feed(_tables(), _draw, windows=2)
    feed(0)
    mine = [t for t in threading.enumerate() if t.name.startswith(("celo-feed", "celo-rows"))]
    assert mine
    del feed
    deadline = time.monotonic() + 20
    while any(thread.is_alive() for thread in mine) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not any(thread.is_alive() for thread in mine)


def test_what_fails_while_rows_are_gathered_is_raised() -> None:
    tables = tuple(SplitTable({"x": np.zeros((10, 1))}, 4, lambda rows: rows) for _ in range(3))
    with pytest.raises(IndexError, match="out of bounds"):
        feeding.Feed(tables, _draw, windows=1)(0)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from /proc")
def test_twenty_gigabytes_stream_through_less_than_one(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.evaluation.huge_set", str(tmp_path)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    (tmp_path / "tokens.npy").unlink()
    found = json.loads(done.stdout)
    assert found["apparent_bytes"] > 20e9 and found["stored_bytes"] < 50e6
    assert found["peak_bytes"] < 1e9
    assert found["losses"] == [100, 101, 102, 0, 0] and found["steps"] == 410
    assert found["batch"] == [128, 33]
