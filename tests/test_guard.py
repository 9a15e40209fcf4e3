from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from celo.errors import UsageError
from celo.guard import DEFAULT_TIME_LIMIT, ImportTimeoutError, at_most, silent_stdout, time_limit


def test_the_limit_ends_loops_and_waits() -> None:
    for wait in (lambda: time.sleep(30), lambda: threading.Event().wait(30)):
        started = time.monotonic()
        with pytest.raises(ImportTimeoutError, match=r"after 0\.05 s"), at_most(0.05):
            wait()
        assert time.monotonic() - started < 10


def test_the_callers_alarm_is_put_back() -> None:
    rang: list[int] = []
    before = signal.signal(signal.SIGALRM, lambda number, frame: rang.append(number))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        with at_most(60):
            time.sleep(0.2)  # the caller's alarm is due, but must not interrupt this
            assert not rang
        time.sleep(0.1)
        assert rang == [signal.SIGALRM]
        signal.setitimer(signal.ITIMER_REAL, 60)
        with at_most(30):
            pass
        assert 30 < signal.getitimer(signal.ITIMER_REAL)[0] <= 60
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_there_is_no_limit_at_0_and_on_other_threads() -> None:
    done: list[str] = []

    def work() -> None:
        with at_most(0.01):
            time.sleep(0.1)
        done.append("thread")

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    with at_most(0):
        time.sleep(0.05)
    assert done == ["thread"]


def test_the_environment_sets_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CELO_PLUGIN_TIME_LIMIT", raising=False)
    assert time_limit() == DEFAULT_TIME_LIMIT
    monkeypatch.setenv("CELO_PLUGIN_TIME_LIMIT", "2.5")
    assert time_limit() == 2.5
    for wrong in ("soon", "-1", "nan", "inf"):
        monkeypatch.setenv("CELO_PLUGIN_TIME_LIMIT", wrong)
        with pytest.raises(UsageError, match=f"got '{wrong}'"):
            time_limit()


def test_stdout_is_silent_inside_and_whole_outside(capfd: pytest.CaptureFixture[str]) -> None:
    print("before", flush=False)
    with silent_stdout():
        print("print")
        os.write(1, b"descriptor\n")
        subprocess.run(["echo", "child"], check=True)
    print("after", flush=True)
    assert capfd.readouterr().out == "before\nafter\n"


def test_a_closed_stdout_is_no_problem() -> None:
    code = (
        "import os, sys; from celo.guard import silent_stdout\n"
        "os.close(1)\n"
        "with silent_stdout(): print('x')\n"
        "sys.stderr.write('fine')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr.startswith("fine")
