"""Runs other people's import code: nothing on stdout, and not for ever. Standard library only.

What this cannot stop: a plugin that ends the process itself (`os._exit`, a crash in C), and C code
that never returns to the interpreter.
"""

from __future__ import annotations

import contextlib
import io
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from types import FrameType

from celo.errors import UsageError

TIME_LIMIT_VARIABLE = "CELO_PLUGIN_TIME_LIMIT"
DEFAULT_TIME_LIMIT = 10.0
"""Seconds that one import may take; a slow disk and a busy machine are no reason to give up."""


class ImportTimeoutError(BaseException):
    """An import took longer than allowed.

    No `Exception`, so that an `except Exception` in the code that hangs does not swallow it.
    """


def time_limit() -> float:
    """Seconds that the import of a plugin may take; 0 means any time.

    Raises:
      UsageError: the environment says something that is no such number.
    """
    text = os.environ.get(TIME_LIMIT_VARIABLE, "")
    try:
        seconds = float(text or DEFAULT_TIME_LIMIT)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < 1e6:
        raise UsageError(
            f"{TIME_LIMIT_VARIABLE} must be a number of seconds, got {text!r}",
            hint=f"for example: {TIME_LIMIT_VARIABLE}=30, or 0 for no limit",
        )
    return seconds


@contextlib.contextmanager
def silent_stdout() -> Iterator[None]:
    """Drops what is written to stdout, by Python, by C or by child processes.

    The file descriptor is the process's: what other threads write meanwhile is dropped too.
    """
    real = sys.__stdout__
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError, ValueError):  # stdout may be closed: nothing to guard
            _flush(real)
            saved = os.dup(1)
            stack.callback(os.close, saved)
            with open(os.devnull, "wb") as sink:
                os.dup2(sink.fileno(), 1)
            stack.callback(os.dup2, saved, 1)
            # Before the descriptor comes back: what was written around `sys.stdout` is noise.
            stack.callback(_flush, real)
        stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
        yield


def _flush(stream: io.TextIOBase | object) -> None:
    with contextlib.suppress(OSError, ValueError, AttributeError):
        stream.flush()  # pyright: ignore[reportAttributeAccessIssue]


@contextlib.contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Interrupts the code inside after this time.

    An alarm on the main thread, because it really ends the import and leaves no half-made module
    behind: a thread that is abandoned keeps the import lock and a core for ever. On other threads,
    and where there is no such alarm (Windows), there is no limit. The alarm of whoever calls us is
    put back.

    Args:
      seconds: 0 means no limit.

    Raises:
      ImportTimeoutError: the time is over.
    """
    main = threading.current_thread() is threading.main_thread()
    if not seconds or not main or not hasattr(signal, "setitimer"):
        yield
        return
    running = True

    def interrupt(number: int, frame: FrameType | None) -> None:
        if running:
            raise ImportTimeoutError(f"still importing after {seconds:g} s")

    started = time.monotonic()
    handler = signal.signal(signal.SIGALRM, interrupt)
    # Repeated, for code that catches everything once.
    waiting, interval = signal.setitimer(signal.ITIMER_REAL, seconds, 0.5)
    try:
        yield
    finally:
        running = False
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, signal.SIG_DFL if handler is None else handler)
        if waiting:
            left = max(waiting - (time.monotonic() - started), 1e-3)
            signal.setitimer(signal.ITIMER_REAL, left, interval)
