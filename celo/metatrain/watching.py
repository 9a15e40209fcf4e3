"""A plan run with everything that watches it: evaluations meanwhile, loggers, several devices."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from celo import registry
from celo.errors import UsageError
from celo.metatrain.checkpoints import write_errors
from celo.metatrain.config import StageConfig, text_with_weights
from celo.metatrain.loggers import scalars
from celo.metatrain.pipeline import MetaTrainResult, run_plan
from celo.metatrain.plan import MetaTrainPlan, Selection
from celo.metatrain.run import Habits, Observer, SilentObserver

EvaluateWeights = Callable[
    [Sequence[str], Sequence[str], int, Sequence[int], Path, int],
    Mapping[str, Mapping[str, float]],
]
"""(texts of optimizers, tasks, steps, seeds, folder, workers) -> text -> task -> final loss."""

EVALUATIONS_FILE = "evaluations.jsonl"


def watched(
    plan: MetaTrainPlan,
    *,
    evaluate: EvaluateWeights,
    evaluate_every: int | None = None,
    evaluate_suite: str | None = None,
    checkpoint_s: float = 300.0,
    loggers: Sequence[str] = (),
    devices: int | None = 1,
    workers: int = 1,
    observer: Observer | None = None,
) -> MetaTrainResult:
    """Runs a plan; see `celo.api.meta_train`.

    Raises:
      UsageError: an evaluation without a suite, more devices than there are, ...
      UnknownNameError: an unknown logger or suite.
    """
    observer = observer or SilentObserver()
    callback = None
    if (evaluate_every is None) != (evaluate_suite is None):
        raise UsageError(
            "evaluations while training need both how often and on what",
            hint="for example: --eval-every 100 --eval-suite quickstart",
        )
    if evaluate_every is not None and evaluate_every < 1:
        raise UsageError(f"--eval-every must be at least 1, got {evaluate_every}")
    if workers < 0:
        raise UsageError(f"--workers must be at least 0, got {workers}")
    if evaluate_suite is not None:
        callback = _evaluation(evaluate, evaluate_suite, observer)
    chosen = None
    if devices != 1:
        chosen = _devices(devices)
    workers = _workers(workers, devices)
    opened = [_open_logger(name, plan) for name in loggers]
    habits = Habits(
        checkpoint_s=checkpoint_s,
        call_every=evaluate_every,
        callback=callback,
        loggers=tuple(log for _, log in opened),
    )

    def select(
        texts: Sequence[str], selection: Selection, folder: Path
    ) -> Mapping[str, Mapping[str, float]]:
        settings = (selection.tasks, selection.steps, selection.seeds, folder)
        return evaluate(texts, *settings, workers)

    try:
        return run_plan(
            plan,
            habits=habits,
            observer=observer,
            evaluate=select,
            devices=chosen,
            workers=workers,
        )
    finally:
        for logger, _ in opened:
            logger.close()


def _evaluation(
    evaluate: EvaluateWeights, suite_name: str, observer: Observer
) -> Callable[[int, Path], None]:
    suite = registry.suite(suite_name).record

    def callback(iteration: int, weights: Path) -> None:
        config = StageConfig.from_json(_config_of(weights.parent))
        text = text_with_weights(config, str(weights))
        folder = weights.parent / "evaluations" / f"{iteration:09d}"
        losses = evaluate([text], suite.tasks, suite.steps, (0,), folder, 1)[text]
        line = {"iteration": iteration, "suite": suite.name, "final_loss": dict(losses)}
        with write_errors(weights.parent):
            path = weights.parent / EVALUATIONS_FILE
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
        shown = ", ".join(f"{task} {loss:.4f}" for task, loss in losses.items())
        observer.told(f"iteration {iteration}: final loss {shown}")

    return callback


def _config_of(run: Path) -> dict[str, Any]:
    """The configuration of the run that is under way."""
    return json.loads((run / "run.json").read_bytes())["config"]


def _workers(asked: int, devices: int | None) -> int:
    """How many processes run starts; 0 is a choice: the cores of a CPU, or one."""
    import jax

    if devices != 1 or jax.process_count() > 1:
        return 1
    if asked:
        return asked
    if jax.default_backend() != "cpu":
        return 1
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1


def _devices(count: int | None) -> list[Any]:
    import jax

    there = jax.devices()
    if count is not None and not 1 <= count <= len(there):
        raise UsageError(
            f"--devices must be from 1 to {len(there)}, the number of devices here, got {count}"
        )
    return there[:count]


def _open_logger(
    name: str, plan: MetaTrainPlan
) -> tuple[Any, Callable[[int, dict[str, Any]], None]]:
    build = registry.resolve(registry.logger(name).record.build)
    config = {f"stage-{i}": stage.config.to_json() for i, stage in enumerate(plan.stages, 1)}
    logger = build(folder=plan.output, config=config)
    return logger, lambda iteration, row: logger.log(iteration, scalars(row))
