"""Options of every command that scores curves: `celo report` and `celo compare`."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import click

_OPTIONS = (
    click.option(
        "--split",
        type=click.Choice(["train", "outer_valid", "test"]),
        default="train",
        show_default=True,
        help="Which losses count (and judge the tuning).",
    ),
    click.option(
        "--ema",
        type=float,
        default=0.9,
        show_default=True,
        help="Smoothing of the curves; 0: none.",
    ),
    click.option(
        "--selection",
        type=click.Choice(["mean", "per-seed"]),
        default="mean",
        show_default=True,
        help="Tuned: the best grid point per task by the mean over seeds, or per task and seed.",
    ),
    click.option(
        "--lenient",
        is_flag=True,
        help="The published rule: a diverged run keeps its last finite loss instead of scoring 0.",
    ),
    click.option(
        "--horizon",
        type=int,
        metavar="STEP",
        help="Take the runs at this evaluated step, as if they had ended there.  "
        "[default: the end]",
    ),
)


def score_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options; the command is called with what they say as `options: ScoreOptions`."""

    @functools.wraps(command)
    def wrapper(*args: Any, **values: Any) -> Any:
        from celo.evaluation.scores import ScoreOptions

        lenient = values.pop("lenient")
        given = {name: values.pop(name) for name in ("split", "ema", "selection", "horizon")}
        options = ScoreOptions(divergence="published" if lenient else "strict", **given)
        return command(*args, options=options, **values)

    for option in reversed(_OPTIONS):
        wrapper = option(wrapper)
    return wrapper
