"""`celo meta-train`: new weights for a learned optimizer."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import click

from celo.cli.names import names_of
from celo.cli.output import format_option, print_json, say

_SETTINGS: tuple[tuple[str, Any, str], ...] = (
    ("suite", str, "Suite of meta-training tasks.  [default: fast-velo]"),
    ("estimator", str, "Estimator of meta-gradients: pes, es, full-es.  [default: pes]"),
    ("aug", str, "LEVEL[:LOW:HIGH], list or none.  [default: global:0.001:1000]"),
    ("outer-lr", float, "Learning rate of AdamW.  [default: 3e-4]"),
    ("iterations", int, "Outer iterations of a stage.  [default: 100000]"),
    ("particles", int, "Independent pairs a family of tasks.  [default: 8]"),
    ("trunc", int, "Inner steps of a window.  [default: 50]"),
    ("unroll", str, "SHORTEST:LONGEST unroll in inner steps.  [default: 100:2000]"),
    ("unroll-law", str, "log-uniform or uniform.  [default: log-uniform]"),
    ("sigma", float, "Standard deviation of perturbations.  [default: 0.01]"),
    ("sigma-end", float, "Its last value, along a cosine."),
    ("outer-schedule", str, "constant or cosine.  [default: constant]"),
    ("outer-lr-end", float, "Last learning rate of the cosine.  [default: 0]"),
    ("warmup", int, "Outer iterations of a linear rise of the rate.  [default: 0]"),
    ("outer-clip", float, "Largest global norm of the meta-gradient."),
    ("weight-decay", float, "Of AdamW.  [default: 1e-4]"),
    ("late-weight", float, "How much more the end of an unroll weighs.  [default: 0]"),
    ("patience", int, "Stop after so many non-finite meta-gradients in a row.  [default: 20]"),
    ("log-every", int, "Outer iterations of a line of the log.  [default: 10]"),
    ("start", str, "random, or momentum: from a hand-made optimizer.  [default: random]"),
    ("restarts", int, "Initial thetas, the better half of which goes on.  [default: 1]"),
    ("rung", int, "Outer iterations before the first choice among them.  [default: 150]"),
    ("finalists", int, "Initial thetas that run to the end.  [default: 1]"),
    ("keep-every", int, "Keep the weights every so many outer iterations."),
    ("data", str, "`synthetic`, or SET=SOURCE,...; results are labelled so."),
    ("seed", int, "Of everything random.  [default: 0]"),
)


def _settings(command: Any) -> Any:
    for name, kind, text in reversed(_SETTINGS):
        command = click.option(f"--{name}", type=kind, help=text)(command)
    return command


@click.command("meta-train")
@click.option(
    "--plugin",
    shell_complete=names_of("optimizers"),
    help="Learned optimizer: NAME[:key=value,...].",
)
@click.option("--phase", help="Number of a phase, or `all`.  [default: the first]")
@click.option("--init", help="Weights to start from: zoo id, file or run folder.")
@click.option("--recipe", help="A recipe by name; --phase chooses among its stages.")
@click.option(
    "--config", type=click.Path(path_type=Path), help="A recipe of your own, TOML; flags win."
)
@_settings
@click.option(
    "--published", is_flag=True, default=None, help="As the published code does it, bias included."
)
@click.option("--balance", is_flag=True, default=None, help="Families count alike.")
@click.option("--output", type=click.Path(path_type=Path), help="Run folder.")
@click.option("--eval-every", type=int, help="Outer iterations between evaluations.")
@click.option("--eval-suite", shell_complete=names_of("suites"), help="On which they are made.")
@click.option("--checkpoint-minutes", type=float, default=5.0, show_default=True)
@click.option("--log-to", "loggers", multiple=True, help="tensorboard, wandb, ...; repeatable.")
@click.option("--devices", type=int, default=1, show_default=True, help="0 means all.")
@click.option(
    "--workers",
    type=int,
    default=0,
    help="Processes that run starts side by side.  [default: one a core, on a CPU]",
)
@click.option(
    "--distributed",
    is_flag=True,
    help="Join the processes of jax.distributed; implies --devices 0.",
)
@click.option("--dry-run", is_flag=True, help="Say what would be done, and stop.")
@format_option("auto", "json", "quiet")
def command(
    plugin: str | None,
    phase: str | None,
    init: str | None,
    recipe: str | None,
    config: Path | None,
    output: Path | None,
    eval_every: int | None,
    eval_suite: str | None,
    checkpoint_minutes: float,
    loggers: tuple[str, ...],
    devices: int,
    workers: int,
    distributed: bool,
    dry_run: bool,
    format_: str,
    **settings: Any,
) -> int:
    """Meta-train a learned optimizer: new weights, from nothing or from others.

    The run lies in its output folder; the same command again goes on where it stopped, after a kill
    too. The folder is usable at any time as NAME@FOLDER.

    \b
    Examples:
      celo meta-train --recipe celo-laptop
      celo meta-train --plugin celo --phase 1 --iterations 300 \\
          --outer-lr 6e-3 --sigma 0.1
      celo meta-train --plugin celo --phase 2 --init RUN --iterations 300
    """
    if recipe and config:
        raise click.UsageError("--recipe and --config exclude each other")
    given = {key: value for key, value in settings.items() if value is not None}
    chosen = recipe or config
    if dry_run:
        return _dry_run(plugin, phase, init, chosen, output, given, format_)
    import celo
    from celo.evaluation.compilation import enable_compilation_cache

    enable_compilation_cache()
    leads = True
    if distributed:
        from celo.metatrain.processes import is_leader, join_processes

        join_processes()
        devices, leads = 0, is_leader()
    quiet = format_ == "quiet" or not leads
    observer = LineObserver(quiet=quiet)
    bars = sys.stderr is not None and sys.stderr.isatty() and not quiet
    if bars:
        observer = BarObserver()
    try:
        result = celo.meta_train(
            plugin,
            phase=phase,
            recipe=chosen,
            init=init,
            output=output,
            evaluate_every=eval_every,
            evaluate_suite=eval_suite,
            checkpoint_minutes=checkpoint_minutes,
            loggers=loggers,
            devices=devices or None,
            workers=workers,
            observer=observer,
            **given,
        )
    finally:
        observer.stop()
    if format_ == "json" and leads:
        print_json(
            {
                "schema": 1,
                "folder": str(result.folder),
                "weights": str(result.weights),
                "losses": list(result.losses),
                "chosen": result.chosen,
                "device_hours": result.seconds / 3600,
            }
        )
    elif not quiet:
        click.echo(str(result.folder))
        say(f"meta-loss at the end {result.losses[-1]:.4f}, {result.seconds / 60:.1f} minutes")
    return 0


def _dry_run(
    plugin: str | None,
    phase: str | None,
    init: str | None,
    recipe: str | Path | None,
    output: Path | None,
    given: dict[str, Any],
    format_: str,
) -> int:
    from celo.metatrain.describing import describe_plan
    from celo.metatrain.plan import make_plan, read_recipe_file
    from celo.metatrain.plan import recipe as recipe_of

    found = None
    if recipe is not None:
        found = recipe_of(recipe) if isinstance(recipe, str) else read_recipe_file(recipe)
    plan = make_plan(plugin=plugin, phase=phase, recipe=found, init=init, output=output, **given)
    facts = describe_plan(plan)
    if format_ == "json":
        print_json({"schema": 1, **facts})
        return 0
    click.echo(f"output    {facts['output']}")
    for number, stage in enumerate(facts["stages"], 1):
        title = f"stage {number:<4}{stage['optimizer']} phase {stage['phase']}: {stage['summary']}"
        click.echo(click.wrap_text(title, 79, "", " " * 10))
        for key in ("start", "tasks", "missing", "trained", "work", "settings"):
            if stage[key]:
                click.echo(click.wrap_text(f"  {key:<9} {stage[key]}", 79, "", " " * 12))
    return 0


class LineObserver:
    """Progress as lines on stderr."""

    def __init__(self, *, quiet: bool = False):
        self._quiet = quiet
        self._last = time.monotonic()
        self._first: tuple[int, float] | None = None

    def advanced(self, iteration: int, until: int, row: dict[str, Any] | None) -> None:
        now = time.monotonic()
        if self._first is None or iteration < self._first[0]:
            self._first = (iteration, now)
        if row is not None and (now - self._last >= 5.0 or iteration == until):
            self._last = now
            self.told(f"[{iteration}/{until}] {self._figures(row)}{self._eta(iteration, until)}")

    def told(self, message: str) -> None:
        if not self._quiet:
            say(message)

    def stop(self) -> None:
        """Ends the display; may be called twice."""

    def _figures(self, row: dict[str, Any]) -> str:
        loss = float("nan") if row["loss"] is None else row["loss"]
        text = (
            f"meta-loss {loss:.4f}  gradient {row['gradient_norm']:.3g}  "
            f"{row['time']['inner_steps_per_second']:,.0f} inner steps/s"
        )
        return text + (f"  {row['non_finite']} NOT FINITE" if row["non_finite"] else "")

    def _eta(self, iteration: int, until: int) -> str:
        assert self._first is not None
        first, began = self._first
        if iteration == first or iteration >= until:
            return ""
        left = (time.monotonic() - began) / (iteration - first) * (until - iteration)
        minutes, seconds = divmod(round(left), 60)
        return f"  {minutes} min {seconds:02d} s left"


class BarObserver(LineObserver):
    """Progress on a terminal."""

    def __init__(self) -> None:
        super().__init__()
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        self._bars = Progress(
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}"),
            console=Console(stderr=True),
            transient=True,
        )
        self._task = self._bars.add_task("iterations", total=None, note="compiling")
        self._bars.start()

    def advanced(self, iteration: int, until: int, row: dict[str, Any] | None) -> None:
        if self._first is None or iteration < self._first[0]:
            self._first = (iteration, time.monotonic())
        self._bars.update(self._task, completed=iteration, total=until)
        if row is not None:
            note = self._figures(row) + self._eta(iteration, until)
            self._bars.update(self._task, note=note)

    def told(self, message: str) -> None:
        self._bars.console.print(message, markup=False, highlight=False)

    def stop(self) -> None:
        self._bars.stop()
