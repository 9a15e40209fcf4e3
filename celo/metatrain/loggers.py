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
            from tensorboardX import SummaryWriter  # pyright: ignore[reportMissingImports]
        except ImportError:
            raise UsageError(
                "the logger tensorboard needs a package that is not installed: tensorboardX",
                hint="pip install 'celo[tensorboard]'",
            ) from None
        self._writer = SummaryWriter(str(folder / "tensorboard"))
        self._writer.add_text("config", str(dict(config)))

    def log(self, iteration: int, metrics: Mapping[str, float]) -> None:
        for name, value in metrics.items():
            self._writer.add_scalar(name, value, iteration)

    def close(self) -> None:
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
        folder.mkdir(parents=True, exist_ok=True)
        self._run = wandb.init(project="celo", dir=str(folder), config=dict(config))

    def log(self, iteration: int, metrics: Mapping[str, float]) -> None:
        self._run.log(dict(metrics), step=iteration)

    def close(self) -> None:
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
