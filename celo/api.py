"""The Python interface: load, save, load_task, evaluate, compare, meta_train of `celo`."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

from celo.errors import UsageError
from celo.loading import build_learned, build_optimizer, constructor, find, find_task, reads_of

if TYPE_CHECKING:
    import optax

    from celo.evaluation.result import EvaluationResult
    from celo.evaluation.versus import Comparison
    from celo.metatrain.pipeline import MetaTrainResult
    from celo.metatrain.run import Observer
    from celo.protocol import LearnedOptimizer, MetaParams, Optimizer, Task


@overload
def load(text: str, *, as_optax: Literal[False] = False) -> Optimizer: ...


@overload
def load(
    text: str, *, as_optax: Literal[True], num_steps: int | None = None
) -> optax.GradientTransformationExtraArgs: ...


def load(
    text: str, *, as_optax: bool = False, num_steps: int | None = None
) -> Optimizer | optax.GradientTransformationExtraArgs:
    """A ready optimizer, learned or hand-crafted.

    Args:
      text: `NAME[@WEIGHTS][:key=value,...][+MODIFIER[:ARG]]...`, such as "celo", "adam:lr=3e-4" or
        "celo+l2:1e-4". A learned optimizer comes with its pretrained weights, fetched once from
        the hub if they are nowhere on this machine.
      as_optax: return an optax transformation instead, for loops that hold the parameters
        themselves. Its `update` takes `value=loss` where the optimizer reads the loss.
      num_steps: length of the training run; needed with `as_optax` by optimizers that read it
        (the others take it at `Optimizer.init`).

    Raises:
      UsageError: unknown name, hyperparameter or modifier, or `num_steps` is missing.
      WeightsError: the weights are missing, damaged or another optimizer's.
    """
    spec, found = find(text)
    optimizer = build_optimizer(spec, found)
    if not as_optax:
        if num_steps is not None:
            raise UsageError(
                "num_steps belongs to as_optax=True",
                hint="otherwise give it to the optimizer: opt.init(params, num_steps=...)",
            )
        return optimizer
    from celo.optim import to_optax

    return to_optax(optimizer, num_steps=num_steps, reads=reads_of(spec, found.record))


def load_learned(text: str) -> tuple[LearnedOptimizer, MetaParams]:
    """A learned optimizer and its weights, apart.

    Args:
      text: `NAME[@WEIGHTS][:key=value,...][+MODIFIER[:ARG]]...`; `NAME@random:SEED` gives untrained
        weights. Modifiers change what `opt_fn` returns, not theta.

    Returns:
      (lopt, theta) such that `lopt.opt_fn(theta)` is the optimizer.

    Raises:
      UsageError: unknown name, hyperparameter or modifier, or the optimizer is not a learned one.
      WeightsError: the weights are missing, damaged or another optimizer's.
    """
    spec, found = find(text)
    if found.record.kind != "learned":
        raise UsageError(
            f"{found.record.name!r} is hand-crafted: it has no weights",
            hint=f"use celo.load({text!r})",
        )
    return build_learned(spec, found)


def save(
    theta: MetaParams,
    path: str | Path,
    *,
    optimizer: str | None = None,
    overwrite: bool = False,
) -> Path:
    """Writes weights to a file, which `NAME@PATH` names from then on.

    Args:
      theta: weights of a learned optimizer: dictionaries, frozen dictionaries, named tuples and
        records of arrays.
      path: ends in `.safetensors`, or in `.state` for flax's msgpack, the published format.
      optimizer: text of the optimizer they belong to; they are held against it, and safetensors
        files remember it.
      overwrite: replace a file that is there.

    Returns:
      The path.

    Raises:
      UsageError: another suffix, a file that is there, or `optimizer` is no learned one.
      WeightsError: the weights are another optimizer's, or cannot be written.
    """
    import numpy as np

    from celo.lopt import theta_from_tree
    from celo.trees import named_leaves
    from celo_zoo import unflatten, write_weights

    leaves = {name: np.asarray(leaf) for name, leaf in named_leaves(theta).items()}
    metadata = {}
    if optimizer is not None:
        spec, found = find(optimizer)
        if found.record.kind != "learned":
            raise UsageError(f"{found.record.name!r} is hand-crafted: it has no weights to save")
        lopt = constructor(spec, found)(**dict(spec.hyperparameters))
        theta_from_tree(lopt, unflatten(leaves))
        metadata["optimizer"] = found.record.name
    return write_weights(path, leaves, metadata, overwrite=overwrite)


def load_task(name: str, *, data: str | None = None, published_splits: bool = False) -> Task:
    """A task by name, with its data (read when first used).

    Args:
      name: such as "ImageMLP_FashionMnist_Relu128x128"; `celo tasks list` shows all; `lo:NAME`
        is one of learned_optimization.
      data: None for real data, or "synthetic".
      published_splits: training splits of the published code (1 % for some sets).

    Raises:
      UnknownNameError: no installed task has this name.
      UsageError: `data` is not understood.
    """
    from celo.data.selection import DataSelection
    from celo.tasks import build_task

    selection = DataSelection.parse(data, published_splits=published_splits)
    return build_task(find_task(name).record, selection)


def evaluate(
    optimizers: str | Sequence[str],
    *,
    suite: str | None = None,
    tasks: str | Sequence[str] = (),
    steps: int | None = None,
    seeds: Sequence[int] = (0, 1, 2),
    output: str | Path | None = None,
    reference: str | None = "adam",
    data: str | None = None,
    fresh: bool = False,
    time_limit: float | None = None,
    memory_limit: int | str | None = None,
    workers: int = 1,
    **settings: Any,
) -> EvaluationResult:
    """Trains every optimizer on every task and seed; what `celo eval` does.

    Args:
      optimizers: texts of the grammar; a hand-crafted one by name alone is tuned over its grid.
      suite: name of a suite.
      tasks: names of tasks; with a suite, a selection of its tasks.
      steps: training steps; None means the suite's horizon, or 2000.
      seeds: of the runs.
      output: run folder, which is resumed and added to; None keeps nothing on disk.
      reference: the optimizer that scores are relative to; None for no scores.
      data: None for real data, or "synthetic".
      fresh: put an existing run folder aside and start over.
      time_limit: seconds that the computing of one block (an optimizer with its grid, a task, up to
        three seeds) may take; a longer one is stopped and recorded as failed.
      memory_limit: bytes, or a text such as "8G"; a block whose compiled loop would need more is
        recorded as failed. With a limit, or `isolate=True`, blocks are computed in another process.
      workers: processes that compute blocks at the same time; numbers do not depend on it.
      **settings: further fields of `celo.evaluation.config.EvalConfig`.

    Raises:
      CeloError: see `celo.evaluation.plan.make_plan` and `celo.evaluation.runner.run_plan`.
    """
    from celo.evaluation.config import EvalConfig
    from celo.evaluation.plan import make_plan
    from celo.evaluation.result import evaluation_result
    from celo.evaluation.runner import SilentObserver, run_plan

    with tempfile.TemporaryDirectory() as scratch:
        config = EvalConfig(
            optimizers=optimizers,  # pyright: ignore[reportArgumentType]
            suite=suite,
            tasks=tasks,  # pyright: ignore[reportArgumentType]
            steps=steps,
            seeds=seeds,  # pyright: ignore[reportArgumentType]
            output=Path(output) if output is not None else Path(scratch) / "run",
            reference=reference,
            data=data,
            fresh=fresh,
            time_limit=time_limit,
            memory_limit=memory_limit,
            workers=workers,
            **settings,
        )
        plan = make_plan(config)
        outcome = run_plan(
            plan, SilentObserver(), fresh=fresh, limits=config.limits(), workers=config.workers
        )
        result = evaluation_result(plan, outcome)
    if output is None:
        from dataclasses import replace

        result = replace(result, path=None)
    return result


def compare(
    a: str | Path,
    b: str | Path,
    *,
    runs: Sequence[str | Path] = (),
    optimizers: Sequence[str] = (),
    reference: str | None = "adam",
    **settings: Any,
) -> Comparison:
    """Is A better than B, where, by how much, and how sure is that? What `celo compare` does.

    Args:
      a: an optimizer, or a run folder.
      b: another one; of the same kind.
      runs: run folders that hold the results of two optimizers.
      optimizers: of two runs, which are compared; () for all that both have.
      reference: the optimizer that IQMs are relative to; None: B.
      **settings: fields of `celo.evaluation.scores.ScoreOptions`: split, ema, divergence,
        selection, horizon.

    Raises:
      CeloError: see `celo.evaluation.versus.compare`.
    """
    from celo.evaluation.scores import ScoreOptions
    from celo.evaluation.versus import compare

    return compare(
        a,
        b,
        runs=runs,
        optimizers=optimizers,
        reference=reference,
        options=ScoreOptions(**settings),
    )


def meta_train(
    plugin: str | None = None,
    *,
    phase: int | str | None = None,
    recipe: str | Path | None = None,
    init: str | Path | None = None,
    output: str | Path | None = None,
    evaluate_every: int | None = None,
    evaluate_suite: str | None = None,
    checkpoint_minutes: float = 5.0,
    loggers: Sequence[str] = (),
    devices: int | None = 1,
    workers: int = 1,
    observer: Observer | None = None,
    **settings: Any,
) -> MetaTrainResult:
    """Meta-trains a learned optimizer; what `celo meta-train` does.

    The run lies in a folder and goes on there when the call is repeated, bit for bit on a CPU.

    Args:
      plugin: text of a learned optimizer, such as "celo" or "celo2:step_mult=0.001"; a recipe names
        its own.
      phase: number of a phase, or "all"; None means the first, or all stages of the recipe.
      recipe: name of a recipe of the package, or a TOML file.
      init: weights to start from: zoo id, file or run folder; None means random ones in a first
        phase.
      output: run folder; None means one in `./celo-runs/meta`.
      evaluate_every: outer iterations between evaluations on `evaluate_suite`.
      evaluate_suite: suite on which the weights are evaluated meanwhile.
      checkpoint_minutes: minutes between checkpoints.
      loggers: names of loggers that get the metrics, besides the log in the folder.
      devices: among how many devices particles are spread; None means all.
      workers: processes that run starts, and the evaluations of the choice of weights, side by
        side; 0 means one a core on a CPU. Numbers do not depend on it.
      observer: hears how it goes (`celo.metatrain.run.Observer`).
      **settings: fields of `celo.metatrain.config.StageConfig` and `StagePlan`, for all stages:
        `suite`, `iterations`, `outer_lr`, `sigma`, `particles`, `seed`, ...

    Raises:
      UsageError: something is unknown, missing or out of range.
      StoreError: the folder holds another run, or cannot be written.
      InterruptedRunError: a signal came; the state is safe.
    """
    from celo.metatrain.plan import make_plan, read_recipe_file
    from celo.metatrain.plan import recipe as recipe_of

    found = None
    if recipe is not None:
        path = Path(recipe)
        is_file = path.suffix == ".toml" or path.exists()
        found = read_recipe_file(path) if is_file else recipe_of(str(recipe))
    plan = make_plan(
        plugin=plugin,
        phase=phase,
        recipe=found,
        init=None if init is None else str(init),
        output=None if output is None else Path(output),
        **settings,
    )
    from celo.metatrain.watching import watched

    return watched(
        plan,
        evaluate=_evaluate_weights,
        evaluate_every=evaluate_every,
        evaluate_suite=evaluate_suite,
        checkpoint_s=60 * checkpoint_minutes,
        loggers=loggers,
        devices=devices,
        workers=workers,
        observer=observer,
    )


def _evaluate_weights(
    texts: Sequence[str],
    tasks: Sequence[str],
    steps: int,
    seeds: Sequence[int],
    output: Path,
    workers: int = 1,
) -> dict[str, dict[str, float]]:
    """Mean final training loss of optimizers: text -> task -> loss; infinite where one diverged."""
    result = evaluate(
        texts,
        tasks=tasks,
        steps=steps,
        seeds=seeds,
        output=output,
        reference=None,
        workers=workers,
    )
    losses: dict[str, dict[str, list[float]]] = {text: {} for text in texts}
    names = {find(text)[0].text: text for text in texts}
    for cell in result.cells:
        diverged = cell.status != "done"
        loss = float("inf") if diverged else float(cell.curves["eval/train/loss"][-1])
        losses[names[cell.key.entry]].setdefault(cell.key.task, []).append(loss)
    return {
        text: {task: sum(found) / len(found) for task, found in by_task.items()}
        for text, by_task in losses.items()
    }
