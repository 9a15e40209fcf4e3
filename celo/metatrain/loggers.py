"""Where metrics can go besides the log of a run; imports neither library.

A logger of somebody else is a record under the entry point `celo.loggers`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from celo.errors import UsageError
from celo.meta_records import LoggerPlugin

LOGGERS: tuple[LoggerPlugin, ...] = (
    LoggerPlugin(
        name="tensorboard",
        summary="event files in RUN/tensorboard",
        build="celo.metatrain.loggers:TensorBoard",
    ),
    LoggerPlugin(
        name="wandb",
        summary="Weights & Biases; WANDB_MODE=offline keeps everything in RUN/wandb",
        build="celo.metatrain.loggers:WeightsAndBiases",
    ),
)


class TensorBoard:
    """Writes scalars as TensorBoard reads them."""

    def __init__(self, *, folder: Path, config: Mapping[str, Any]):
        try:
            import tensorboardX  # pyright: ignore[reportMissingImports]
        except ImportError:
            raise UsageError(
                "the logger tensorboard needs a package that is not installed: tensorboardX",
                hint="pip install 'celo[tensorboard]'",
            ) from None
        self._open = lambda: tensorboardX.SummaryWriter(str(folder / "tensorboard"))
        self._config = dict(config)
        self._writer: Any = None

    def log(self, iteration: int, metrics: Mapping[str, float]) -> None:
        if self._writer is None:
            self._writer = self._open()
            self._writer.add_text("config", str(self._config))
        for name, value in metrics.items():
            self._writer.add_scalar(name, value, iteration)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()


class WeightsAndBiases:
    """Sends scalars to Weights & Biases, or keeps them offline."""

    def __init__(self, *, folder: Path, config: Mapping[str, Any]):
        try:
            import wandb  # pyright: ignore[reportMissingImports]
        except ImportError:
            raise UsageError(
                "the logger wandb needs a package that is not installed: wandb",
                hint="pip install 'celo[wandb]'",
            ) from None
        self._open = lambda: wandb.init(project="celo", dir=str(folder), config=dict(config))
        self._run: Any = None

    def log(self, iteration: int, metrics: Mapping[str, float]) -> None:
        if self._run is None:
            self._run = self._open()
            # Not the step of wandb, which drops what is not later than all before: iterations are
            # counted anew in every stage, and those after the last checkpoint when a run goes on.
            self._run.define_metric("*", step_metric="iteration")
        self._run.log({"iteration": iteration, **metrics})

    def close(self) -> None:
        if self._run is not None:
            self._run.finish()


def scalars(row: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of a line of the log, levels joined by `/`."""
    found = {}
    for name, value in row.items():
        if isinstance(value, Mapping):
            found |= {f"{name}/{key}": number for key, number in scalars(value).items()}
        elif isinstance(value, (int, float)) and name not in ("iteration", "iterations"):
            found[name] = float(value)
    return found
