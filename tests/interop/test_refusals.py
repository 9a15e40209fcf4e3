"""What of learned_optimization cannot be used here is refused with a reason."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import pytest

import celo
from celo.errors import BrokenPluginError, CeloError, UnknownNameError, UsageError
from celo.interop import learned_optimization as library
from celo.interop import tasks
from celo.interop.conversion import convert_state
from tests.interop import small_library

_CACHES = (library.version, library._optimizers, tasks._makers)


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A small learned_optimization is the installed one."""
    small_library.write(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    _forget()
    yield
    _forget()


def _forget() -> None:
    for cached in _CACHES:
        cached.cache_clear()
    for name in [n for n in sys.modules if n.partition(".")[0] == library.PACKAGE]:
        del sys.modules[name]


@pytest.mark.parametrize(
    ("load", "text", "kind", "message", "hint"),
    [
        (
            celo.load,
            "lo:SGDD:lr=1",
            UnknownNameError,
            "unknown optimizer 'lo:sgdd': learned_optimization has none of this name",
            "did you mean lo:SGD? These of its modules cannot be imported here: "
            "research.general_lopt.hyper_v2 (No module named 'nonesuch').",
        ),
        (
            celo.load,
            "lo:Accumulator:num_steps=2",
            UsageError,
            "lo:Accumulator cannot be used here: its opt is nothing that a text can say",
            "build it in Python",
        ),
        (
            celo.load_task,
            "lo:Bowl",
            UsageError,
            "lo:Bowl cannot be built from its name alone: it takes width",
            "build it in Python",
        ),
        (
            celo.load_task,
            "lo:Broken",
            BrokenPluginError,
            "lo:Broken cannot be built: ValueError: no more ideas",
            "",
        ),
        (
            celo.load_task,
            "lo:Family",
            UsageError,
            "lo:Family is no task but a _Family",
            "a family of tasks is for meta-training",
        ),
        (
            celo.load_task,
            "lo:Stream",
            UsageError,
            "lo:Stream brings data of its own, which cannot be sampled here",
            "lo:QuadraticTask",
        ),
        (
            celo.load_task,
            "lo:Stacked",
            UsageError,
            "it wants images of mnist prepared in a way that is not available here: "
            "crop=yes, stack_channels=3",
            "",
        ),
    ],
)
def test_what_cannot_run_is_refused(
    small: None,
    load: Callable[[str], Any],
    text: str,
    kind: type[CeloError],
    message: str,
    hint: str,
) -> None:
    with pytest.raises(kind) as error:
        load(text)
    assert error.value.message == message
    assert hint in (error.value.hint or "")


def test_a_module_that_cannot_be_imported_says_what_it_lacks(small: None) -> None:
    name = "research.general_lopt.hyper_v2"
    with pytest.raises(BrokenPluginError) as error:
        library.imported(name)
    assert error.value.message == (
        f"learned_optimization.{name} cannot be imported: No module named 'nonesuch'"
    )
    assert error.value.hint == "install nonesuch"


def test_no_attribute_of_the_room_is_made_up(small: None) -> None:
    assert callable(library.SGD)
    with pytest.raises(AttributeError, match="has no attribute 'Momentum'"):
        library.Momentum  # noqa: B018


def test_the_state_of_another_optimizer_does_not_fit() -> None:
    state = celo.load("adam:lr=0.01").init({"w": jnp.ones(3)}, num_steps=1)
    with pytest.raises(UsageError, match=f"a {type(state).__name__} does not fit SGD") as error:
        convert_state(state, celo.load("sgd:lr=0.01"))
    assert "the two implementations of one optimizer" in (error.value.hint or "")
