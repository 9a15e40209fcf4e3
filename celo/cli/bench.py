"""`celo bench`: what updates, training steps and meta-training cost on this machine."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import click

from celo.cli.names import names_of
from celo.cli.output import format_option, print_json, print_table, say
from celo.errors import CeloError, UsageError

_DEFAULT = "celo,celo-phase1,velo-s,adafac-mlp-lopt,celo2-base,celo2,rnn-mlp-lopt,nn-adam,celo-adam"
_TASKS = ("ImageMLP_FashionMnist_Relu128x128", "Conv_Cifar10_32x64x64", "VIT_Cifar100_skinnydeep")
_META = "celo"


@dataclasses.dataclass(frozen=True)
class _Kind:
    """A kind of measurement, as it is shown.

    Attributes:
      ratio: field of the rows that counts.
      unit: what it is a multiple of.
      columns: heading -> field.
      title: of the table, from one of its rows.
    """

    ratio: str
    unit: str
    columns: Mapping[str, str]
    title: Callable[[Mapping[str, Any]], str]


_KINDS = {
    "update": _Kind(
        "ratio_to_adam",
        "x adam",
        {
            "optimizer": "optimizer",
            "ms": "ms",
            "x adam": "ratio_to_adam",
            "state B": "state_bytes_per_param",
            "temp": "temp_ratio",
            "of copy": "fraction_of_bandwidth",
            "compile s": "compile_s",
        },
        lambda row: f"update, {row['params']:,} parameters",
    ),
    "loop": _Kind(
        "ratio_to_adam",
        "x adam",
        {
            "optimizer": "optimizer",
            "ms/step": "ms_per_step",
            "x adam": "ratio_to_adam",
            "share": "optimizer_share",
            "compile s": "compile_s",
        },
        lambda row: f"{row['task']}, {row['params']:,} parameters",
    ),
    "meta-train": _Kind(
        "ratio_to_matmul",
        "x matmul",
        {
            "optimizer": "optimizer",
            "phase": "phase",
            "ms": "ms",
            "x matmul": "ratio_to_matmul",
            "steps/s": "inner_steps_per_second",
            "MB": "memory_mb",
            "compile s": "compile_s",
        },
        lambda row: f"meta-training, {row['inner_steps']:,} inner steps an iteration",
    ),
}


def _options(command: Any) -> Any:
    options = (
        click.option(
            "--optimizers",
            "-o",
            metavar="LIST",
            shell_complete=names_of("optimizers"),
            help="Optimizers, separated by commas.  [default: the learned ones of Celo's papers; "
            "celo to meta-train]",
        ),
        click.option("--turns", default=15, show_default=True, help="Rounds of each measurement."),
        click.option(
            "--against",
            type=click.Path(path_type=Path),
            help="An earlier --format json: leave with 1 if something is slower beyond noise.",
        ),
        click.option(
            "--tolerance", default=0.1, show_default=True, help="Relative change to let pass."
        ),
        click.option(
            "--trace", type=click.Path(path_type=Path), help="Folder for a profile of it all."
        ),
        format_option("auto", "json"),
    )
    for option in reversed(options):
        command = option(command)
    return command


@click.group("bench")
def command() -> None:
    """What an optimizer costs: one update, one training step, its meta-training.

    Everything is measured by turns in one process, as a ratio to jitted `optax.adam`
    (meta-training: to a 2048 x 2048 x 2048 matrix product): medians, with quartiles
    in the JSON. Leave the machine alone meanwhile.

    Of updates: state in bytes a parameter, temporary memory over that of the
    parameters, and what an update cannot but move over what a copy moves meanwhile.
    """


@command.command("update")
@_options
@click.option("--params", type=int, help="Parameters of an MLP of eight equal layers.")
@click.option("--task", shell_complete=names_of("tasks"), help="The parameters of this task.")
def bench_update(params: int | None, task: str | None, **settings: Any) -> int:
    """One update, on an MLP 3072-1024(x7)-10 of 9.45 M parameters by default."""
    if params is not None and (task or params < 1):
        raise UsageError(
            "--params is a number of parameters above 0, or --task names where they come from",
            hint="for example: celo bench update --params 1000000",
        )
    return _run({"update": partial(_updates, params=params, task=task)}, **settings)


@command.command("loop")
@_options
@click.option(
    "--task", "-t", "tasks", multiple=True, shell_complete=names_of("tasks"), help="Repeatable."
)
@click.option("--steps", default=10, show_default=True, help="Training steps of a turn.")
@click.option("--data", default="real", help="`synthetic`, or SET=SOURCE,...  [default: real]")
def bench_loop(tasks: tuple[str, ...], steps: int, data: str, **settings: Any) -> int:
    """Training steps of whole tasks; the optimizer's share of them."""
    if steps < 1:
        raise UsageError("--steps is a number of training steps above 0", hint="try --steps 10")
    return _run({"loop": partial(_training, tasks=tasks, steps=steps, data=data)}, **settings)


@command.command("meta-train")
@_options
@click.option("--particles", default=8, show_default=True, help="Pairs of inner runs a family.")
@click.option(
    "--data", default="synthetic", show_default=True, help="`real`, or SET=SOURCE,... to train on."
)
def bench_meta_train(particles: int, data: str, **settings: Any) -> int:
    """Outer iterations: 4 families of 8x8 MLPs, windows of 50 steps, batches of 64."""
    if particles < 1:
        raise UsageError("--particles is a number above 0", hint="try --particles 8")
    return _run({"meta-train": partial(_meta, particles=particles, data=data)}, **settings)


@command.command("all")
@_options
def bench_all(**settings: Any) -> int:
    """All three with their defaults, on synthetic data; most of an hour on two cores."""
    return _run(
        {
            "update": partial(_updates, params=None, task=None),
            "loop": partial(_training, tasks=(), steps=10, data="synthetic"),
            "meta-train": partial(_meta, particles=8, data="synthetic", only_learned=True),
        },
        **settings,
    )


def _updates(
    optimizers: list[str] | None, turns: int, *, params: int | None, task: str | None
) -> Iterator[Any]:
    from celo.bench.trees import MLP, mlp_parameters, widths_for
    from celo.bench.update import measure_updates

    if task:
        tree = _task_parameters(task)
    else:
        tree = mlp_parameters(widths_for(params) if params else MLP)
    return measure_updates(optimizers or _names(_DEFAULT), tree, turns=turns)


def _training(
    optimizers: list[str] | None, turns: int, *, tasks: tuple[str, ...], steps: int, data: str
) -> Iterator[Any]:
    from celo.bench.training import measure_training

    names = optimizers or _names(_DEFAULT)
    for task in tasks or _TASKS:
        yield from measure_training(names, task, data=data, steps=steps, turns=turns)


def _meta(
    optimizers: list[str] | None,
    turns: int,
    *,
    particles: int,
    data: str,
    only_learned: bool = False,
) -> Iterator[Any]:
    from celo.bench.meta_training import measure_meta_training, phases_of

    names = optimizers or _names(_META)
    if only_learned:
        names = [name for name in names if phases_of(name)]
    return measure_meta_training(names, data=data, particles=particles, turns=turns)


def _names(text: str) -> list[str]:
    from celo.spec import parse_list

    return [spec.text for spec in parse_list([text])]


def _run(
    measured: Mapping[str, Callable[[list[str] | None, int], Iterable[Any]]],
    *,
    optimizers: str | None,
    turns: int,
    against: Path | None,
    tolerance: float,
    trace: Path | None,
    format_: str,
) -> int:
    from celo.bench.comparison import compare, read_rows
    from celo.bench.machine import describe, measure_bounds

    if turns < 1 or tolerance < 0:
        raise UsageError("--turns is at least 1 and --tolerance at least 0")
    before = read_rows(against) if against else []
    names = _names(optimizers) if optimizers is not None else None
    with _traced(trace):
        bounds = measure_bounds(turns)
        say(
            f"{describe()}: copies {bounds.copy_gb_s:.1f} GB/s, multiplies "
            f"{bounds.matmul_gflop_s:.0f} GFLOP/s"
        )
        tables = {
            kind: list(_heard(_KINDS[kind], rows(names, turns))) for kind, rows in measured.items()
        }
    rows = [row for table in tables.values() for row in table]
    changes = compare(rows, before, tolerance)
    if format_ == "json":
        machine = {"machine": describe(), **dataclasses.asdict(bounds)}
        print_json({"schema": 1, "machine": machine, "rows": rows})
    else:
        for kind, table in tables.items():
            _print(_KINDS[kind], table)
    for change in changes:
        if change.slower or change.faster:
            word = "slower" if change.slower else "faster"
            say(f"{word}: {change.name}, {change.before:.2f} -> {change.now:.2f} {change.unit}")
    slower = [change.name for change in changes if change.slower]
    if slower:
        raise CeloError(
            f"{len(slower)} of {len(changes)} measurements are slower than in {against}",
            hint="they are listed above; --tolerance says how much may pass",
        )
    return 0


def _heard(kind: _Kind, rows: Iterable[Any]) -> Iterator[dict[str, Any]]:
    for row in rows:
        shown = dataclasses.asdict(row)
        phase = f", phase {shown['phase']}" if "phase" in shown else ""
        say(f"  {row.optimizer}{phase}: {shown[kind.ratio]:.2f} {kind.unit}")
        yield shown


def _print(kind: _Kind, rows: list[dict[str, Any]]) -> None:
    for title in dict.fromkeys(map(kind.title, rows)):
        of_title = [row for row in rows if kind.title(row) == title]
        cells = [[_cell(row[field]) for field in kind.columns.values()] for row in of_title]
        print_table(list(kind.columns), cells, title=title, numeric=range(1, len(kind.columns)))
        click.echo()


def _cell(value: Any) -> str:
    return value if isinstance(value, str) else f"{value:.3g}" if value < 100 else f"{value:.0f}"


def _traced(folder: Path | None) -> Any:
    if folder is None:
        return contextlib.nullcontext()
    import jax

    return jax.profiler.trace(str(folder))


def _task_parameters(name: str) -> Any:
    import jax

    from celo.api import load_task

    task = load_task(name, data="synthetic")
    return jax.jit(task.init_with_state)(jax.random.PRNGKey(0))[0]
