"""Several computers at once: every block once, everything heard in one thread, nothing left."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from celo.evaluation import isolation
from celo.evaluation.computing import Progress
from celo.evaluation.config import EvalConfig
from celo.evaluation.isolation import IsolatedComputer, Share
from celo.evaluation.limits import Limits
from celo.evaluation.parallel import compute_all
from celo.evaluation.plan import Block, make_plan
from celo.evaluation.recording import Failed, Machine
from celo.evaluation.runner import SilentObserver

Work = Callable[[Block, Any], Failed]


class Worker:
    """Computes by a function."""

    machine = Machine("cpu", "cpu", "platform default")

    def __init__(self, work: Work):
        self.work = work
        self.seen: list[Block] = []
        self.closed = threading.Event()

    def check_weights(self, entries: Any) -> None: ...

    def compute(self, block: Block, listener: Any) -> Failed:
        self.seen.append(block)
        return self.work(block, listener)

    def close(self) -> None:
        self.closed.set()


class Heard(SilentObserver):
    def __init__(self) -> None:
        self.threads: set[threading.Thread] = set()
        self.steps: list[int] = []

    def advanced(self, block: Block, progress: Progress) -> None:
        self.threads.add(threading.current_thread())
        self.steps.append(progress.step)


@pytest.fixture
def blocks(tmp_path: Path) -> list[tuple[int, Block]]:
    config = EvalConfig(
        optimizers=("sgd:lr=0.1",),
        tasks=("Digits_MLP_32",),
        seeds=tuple(range(0, 24, 3)),
        reference=None,
        output=tmp_path,
    )
    return list(enumerate(make_plan(config).blocks))


def always(index: int, block: Block) -> bool:
    return True


def nobody_died(block: Block, failed: Failed) -> None:
    raise AssertionError(failed)


def test_every_block_once_and_all_is_heard_here(blocks: list[tuple[int, Block]]) -> None:
    def work(block: Block, listener: Any) -> Failed:
        listener.advanced(block, Progress(block.seeds[0], 30, 0.1, 1.0))
        time.sleep(0.002 * (block.seeds[0] % 2))
        return Failed(f"seed {block.seeds[0]}", None)

    workers, heard = [Worker(work) for _ in range(3)], Heard()
    ended = list(compute_all(workers, blocks, always, heard, nobody_died))
    assert sorted(index for index, *_ in ended) == list(range(8))
    for index, block, worker, outcome in ended:
        assert blocks[index][1] is block and any(block is b for b in worker.seen)
        assert outcome == Failed(f"seed {block.seeds[0]}", None)
    assert sum(len(worker.seen) for worker in workers) == 8
    assert heard.threads == {threading.current_thread()}
    assert sorted(heard.steps) == [block.seeds[0] for _, block in blocks]
    assert all(worker.closed.is_set() for worker in workers)


def test_they_do_work_at_the_same_time(blocks: list[tuple[int, Block]]) -> None:
    together = threading.Barrier(3, timeout=20)

    def work(block: Block, listener: Any) -> Failed:
        together.wait()
        return Failed("fine", None)

    workers = [Worker(work) for _ in range(3)]
    assert len(list(compute_all(workers, blocks[:6], always, Heard(), nobody_died))) == 6
    assert [len(worker.seen) for worker in workers] == [2, 2, 2]


def test_a_block_that_is_there_is_not_started(blocks: list[tuple[int, Block]]) -> None:
    workers = [Worker(lambda block, listener: Failed("", None)) for _ in range(2)]
    ended = compute_all(workers, blocks, lambda i, block: i % 2 == 1, Heard(), nobody_died)
    assert sorted(index for index, *_ in ended) == [1, 3, 5, 7]


def test_a_block_whose_process_died_is_tried_again_alone(blocks: list[tuple[int, Block]]) -> None:
    """Once, at the end, when the others have given their memory back."""
    computing, alone, died = set(), [], []
    lock = threading.Lock()

    def work(block: Block, listener: Any) -> Failed:
        seed = block.seeds[0]
        with lock:
            computing.add(seed)
        again = seed in died
        if again:
            alone.append((set(computing), [worker.closed.is_set() for worker in workers]))
        time.sleep(0.005)
        with lock:
            computing.discard(seed)
        if seed == 3 and not again:
            return Failed("killed", 10, died=True)
        return Failed("killed again", 20, died=True) if seed == 6 else Failed("fine", None)

    workers = [Worker(work) for _ in range(2)]
    ended = list(
        compute_all(workers, blocks, always, Heard(), lambda b, failed: died.append(b.seeds[0]))
    )
    assert sorted(died) == [3, 6]
    assert [block.seeds[0] for _, block, *_ in ended[-2:]] == died
    assert alone == [({seed}, [False, True]) for seed in died]
    outcomes = {block.seeds[0]: outcome for _, block, _, outcome in ended}
    assert outcomes[3] == Failed("fine", None)
    assert outcomes[6] == Failed("killed again", 20, died=True)
    assert len(ended) == 8


def test_whoever_stops_listening_ends_them_all(blocks: list[tuple[int, Block]]) -> None:
    def work(block: Block, listener: Any) -> Failed:
        worker = next(w for w in workers if any(block is b for b in w.seen))
        if block.seeds[0] > 0:
            worker.closed.wait(20)  # a process that is killed answers no more
        return Failed("", None)

    workers = [Worker(work) for _ in range(3)]
    outcomes = compute_all(workers, blocks, always, Heard(), nobody_died)
    assert next(outcomes)[0] == 0
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        outcomes.throw(KeyboardInterrupt)  # pyright: ignore[reportAttributeAccessIssue]
    assert time.monotonic() - began < 10
    assert all(worker.closed.is_set() for worker in workers)


def test_what_a_computer_raises_is_raised_here(blocks: list[tuple[int, Block]]) -> None:
    def work(block: Block, listener: Any) -> Failed:
        raise AssertionError("a defect")

    workers = [Worker(work) for _ in range(2)]
    with pytest.raises(AssertionError, match="a defect"):
        list(compute_all(workers, blocks, always, Heard(), nobody_died))
    assert all(worker.closed.is_set() for worker in workers)


def test_each_worker_has_its_own_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {1, 2, 3, 5, 8, 13, 21}, raising=False)
    assert isolation._cpus(None) is None
    shares = [isolation._cpus(Share(n, 3)) for n in range(3)]
    assert shares == [[1, 2], [3, 5], [8, 13, 21]]
    assert [isolation._cpus(Share(n, 9)) for n in (0, 6, 7, 8)] == [[1], [21], [1], [2]]
    monkeypatch.delattr(os, "sched_getaffinity")
    assert isolation._cpus(Share(0, 3)) is None


def test_threads_are_counted_as_without_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sums are split over XLA's threads: their number must not depend on that of the workers."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(12)), raising=False)
    for name in ("PJRT_NPROC", "NPROC", "XLA_PYTHON_CLIENT_MEM_FRACTION"):
        monkeypatch.delenv(name, raising=False)
    shared = isolation._environment(Share(1, 3))
    assert shared["PJRT_NPROC"] == "12" and shared["XLA_PYTHON_CLIENT_MEM_FRACTION"] == "0.2500"
    assert isolation._environment(None) == dict(os.environ)
    monkeypatch.setenv("NPROC", "4")
    assert isolation._environment(Share(1, 3))["PJRT_NPROC"] == "4"
    monkeypatch.setenv("PJRT_NPROC", "5")
    monkeypatch.setenv("XLA_PYTHON_CLIENT_MEM_FRACTION", ".1")
    chosen = isolation._environment(Share(1, 3))
    assert (chosen["PJRT_NPROC"], chosen["XLA_PYTHON_CLIENT_MEM_FRACTION"]) == ("5", ".1")


def test_listed_gpus_go_round(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XLA_PYTHON_CLIENT_MEM_FRACTION", raising=False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,GPU-abc")
    shared = [isolation._environment(Share(n, 4)) for n in range(4)]
    assert [e["CUDA_VISIBLE_DEVICES"] for e in shared] == ["4", "GPU-abc", "4", "GPU-abc"]
    assert {e["XLA_PYTHON_CLIENT_MEM_FRACTION"] for e in shared} == {"0.3750"}
    for alone in ("", "3"):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", alone)
        environment = isolation._environment(Share(1, 2))
        assert environment["CUDA_VISIBLE_DEVICES"] == alone
        assert environment["XLA_PYTHON_CLIENT_MEM_FRACTION"] == "0.3750"


def test_a_closed_computer_starts_nothing(
    blocks: list[tuple[int, Block]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("a process was started")

    config = EvalConfig(optimizers=("sgd",), tasks=("Digits_MLP_32",), output=tmp_path)
    computer = IsolatedComputer(make_plan(config), Limits(), Share(0, 2))
    computer.close()
    monkeypatch.setattr(isolation.subprocess, "Popen", start)
    assert computer.compute(blocks[0][1], Heard()) == Failed("the command has ended", None)
