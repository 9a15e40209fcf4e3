"""What entry points of meta-training resolve to: estimators and loggers; no JAX."""

from __future__ import annotations

from dataclasses import dataclass

from celo.records import API_VERSION, Hyperparameter


@dataclass(frozen=True)
class EstimatorPlugin:
    """An estimator of meta-gradients.

    Attributes:
      name: what users type behind `--estimator`.
      summary: one line.
      build: string target. Called with hyperparameters as keywords; returns an object with the
        methods of `celo.estimators.Estimator`.
      citation: paper and section.
      hyperparameters: keywords of `build`. Those called `trunc`, `sigma` and `published` get the
        values of the flags of the same names; `sigma` may then be a schedule.
    """

    name: str
    summary: str
    build: str
    citation: str = ""
    hyperparameters: tuple[Hyperparameter, ...] = ()
    api_version: int = API_VERSION


@dataclass(frozen=True)
class LoggerPlugin:
    """Somewhere the metrics of a meta-training run go besides its own log.

    Attributes:
      name: what users type behind `--log-to`.
      summary: one line.
      build: string target. Called as `build(folder=..., config=...)`; returns an object with
        `log(iteration, metrics)` and `close()`. Nothing may be written into the folder before the
        first call of `log`: until then it is not a run's.
    """

    name: str
    summary: str
    build: str
    api_version: int = API_VERSION
