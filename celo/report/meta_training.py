"""The curves of a meta-training: what `celo report` shows of a folder of `celo meta-train`.

Read from the JSON that lies in the folder, while the run goes on or afterwards; nothing of JAX or
of meta-training itself is imported.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata, resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from celo.errors import CeloError, StoreError, UsageError
from celo.report.panels import Line, Panel
from celo.text import aligned, duration, jsonable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMATS = ("table", "json", "csv", "html", "png", "pdf", "svg")
_LOG, _RUN, _EVALUATIONS = "log.jsonl", "run.json", "evaluations.jsonl"


@dataclass(frozen=True)
class MetaRun:
    """One run of one stage.

    Attributes:
      name: its place in the folders that were asked for.
      config: its settings.
      data: name of a data set -> fingerprint.
      rows: lines of its log, in order.
      evaluations: lines of its evaluations.
    """

    name: str
    config: Mapping[str, Any]
    data: Mapping[str, str]
    rows: tuple[Mapping[str, Any], ...]
    evaluations: tuple[Mapping[str, Any], ...]


def is_meta_training(folder: Path) -> bool:
    """Whether `celo meta-train` wrote this folder."""
    return bool(_folders(folder))


def read_meta_runs(folders: Sequence[Path]) -> list[MetaRun]:
    """Every stage and start in folders of meta-trainings.

    Raises:
      StoreError: a folder is none, or cannot be read.
      UsageError: nothing has been logged yet.
    """
    found = []
    for folder in folders:
        inside = _folders(folder)
        if not inside:
            raise StoreError(
                f"{folder} was not written by `celo meta-train`, others of these folders were",
                hint="report evaluations and meta-trainings separately",
            )
        for run in inside:
            place = "" if run == folder else run.relative_to(folder).as_posix()
            parts = [place] if len(folders) == 1 else [str(folder), place]
            found.append(_read(run, "/".join(filter(None, parts))))
    found = [run for run in found if run.rows]
    if not found:
        raise UsageError(
            f"{folders[0]} has no line in its log yet",
            hint="there is one every --log-every iterations",
        )
    return found


def _folders(folder: Path) -> list[Path]:
    inside = sorted([*folder.glob("stage-*"), *folder.glob("stage-*/start-*")])
    candidates = [folder, *inside]
    return [path for path in candidates if (path / _LOG).is_file() and (path / _RUN).is_file()]


def _read(folder: Path, name: str) -> MetaRun:
    try:
        facts = json.loads((folder / _RUN).read_bytes())
        rows, evaluations = _lines(folder / _LOG), _lines(folder / _EVALUATIONS)
        return MetaRun(name, facts["config"], facts["data"], rows, evaluations)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(
            f"{folder} cannot be read: {type(error).__name__}: {error}",
            hint="the weights in it are not concerned: they are checked when they are used",
        ) from error


def _lines(path: Path) -> tuple[Mapping[str, Any], ...]:
    """The whole lines; the last may be about to be written."""
    found = []
    if path.is_file():
        for line in path.read_text("utf-8").splitlines():
            with contextlib.suppress(ValueError):
                found.append(json.loads(line))
    return tuple(found)


def meta_panels(runs: Sequence[MetaRun]) -> tuple[Panel, ...]:
    """Meta-loss, norm of the meta-gradient, the loss of every family, evaluations meanwhile."""

    def panel(title: str, y: str, values: Sequence[tuple[MetaRun, list[tuple[int, Any]]]]) -> Panel:
        lines = [
            Line(
                name=run.name or "run",
                member=0,
                xs=np.asarray([x for x, _ in pairs], np.float64),
                ys=np.asarray([y for _, y in pairs], np.float64),
            )
            for run, pairs in values
            if pairs
        ]
        return Panel(title, "", "outer iteration", y, tuple(lines))

    def logged(*keys: str) -> list[tuple[MetaRun, list[tuple[int, Any]]]]:
        return [(run, [(r["iteration"], _number(r, keys)) for r in run.rows]) for run in runs]

    def evaluated(task: str) -> list[tuple[MetaRun, list[tuple[int, Any]]]]:
        return [
            (run, [(e["iteration"], _number(e, ("final_loss", task))) for e in run.evaluations])
            for run in runs
        ]

    families = list(
        dict.fromkeys(f for run in runs for row in run.rows for f in row["family_loss"])
    )
    tasks = list(dict.fromkeys(t for run in runs for e in run.evaluations for t in e["final_loss"]))
    return (
        panel("Meta-loss", "mean loss of a window", logged("loss")),
        panel("Norm of the meta-gradient", "norm", logged("gradient_norm")),
        *(panel(f"Meta-loss on {f}", "loss", logged("family_loss", f)) for f in families),
        *(panel(f"Evaluation on {t}", "final loss", evaluated(t)) for t in tasks),
    )


def _number(row: Mapping[str, Any], keys: Sequence[str]) -> float:
    value: Any = row
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return math.nan if value is None else float(value)  # null stands for what is not finite


def summary_rows(runs: Sequence[MetaRun]) -> list[dict[str, Any]]:
    """What the table says of each run, as JSON values."""
    return [
        {
            "run": run.name or "run",
            "plugin": run.config["plugin"],
            "phase": run.config["phase"],
            "suite": run.config["suite"],
            "iterations": run.rows[-1]["iteration"],
            "of": run.config["iterations"],
            "first_loss": _number(run.rows[0], ("loss",)),
            "last_loss": _last_loss(run),
            "non_finite": sum(row["non_finite"] for row in run.rows),
            "seconds": _number(run.rows[-1], ("time", "seconds")),
        }
        for run in runs
    ]


def _last_loss(run: MetaRun, iterations: int = 50) -> float:
    """Mean over the last lines that cover 50 iterations, or all; as the run itself reports it."""
    weights, total = 0, 0.0
    for row in reversed(run.rows):
        weights += row["iterations"]
        total += row["iterations"] * _number(row, ("loss",))
        if weights >= iterations:
            break
    return total / weights


def produce_meta(runs: Sequence[MetaRun], format_: str) -> str | bytes:
    """The report in one of `FORMATS`.

    Raises:
      UsageError: another format.
      CeloError: the libraries of the extra `plot` are not installed.
    """
    if format_ not in FORMATS:
        raise UsageError(
            f"a meta-training has no report in the format {format_}",
            hint=f"known: {', '.join(FORMATS)}",
        )
    if format_ == "table":
        return "\n".join(_table(runs))
    if format_ == "json":
        value = {"schema": 1, "runs": summary_rows(runs), "log": {r.name: r.rows for r in runs}}
        return json.dumps(jsonable(value), indent=2, allow_nan=False)
    if format_ == "csv":
        return _csv(runs)
    if format_ == "html":
        return _page(runs)
    from celo.report.figures import encode

    return encode([meta_figure(meta_panels(runs))], format_)


_COLUMNS = ("run", "phase", "iterations", "first", "last loss", "not finite", "time")


def _cells(runs: Sequence[MetaRun]) -> list[list[str]]:
    return [
        [
            row["run"],
            f"{row['plugin']} {row['phase']}",
            f"{row['iterations']}/{row['of']}",
            f"{row['first_loss']:.4f}",
            f"{row['last_loss']:.4f}",
            str(row["non_finite"]),
            duration(row["seconds"]),
        ]
        for row in summary_rows(runs)
    ]


def _table(runs: Sequence[MetaRun]) -> list[str]:
    return [
        *aligned(_COLUMNS, _cells(runs), numeric=(2, 3, 4, 5, 6)),
        "",
        "losses: mean meta-loss of the first line of the log, of the last 50 iterations",
    ]


def _csv(runs: Sequence[MetaRun]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["run", "panel", "iteration", "value"])
    for panel in meta_panels(runs):
        for line in panel.lines:
            for x, y in zip(line.xs.tolist(), line.ys.tolist(), strict=True):
                writer.writerow([line.name, panel.title, f"{x:g}", repr(y)])
    return text.getvalue().rstrip("\n")


def meta_figure(panels: Sequence[Panel]) -> Figure:
    """All panels in one figure.

    Raises:
      CeloError: matplotlib is not installed.
    """
    from celo.report.figures import STYLE, add_legend, hide_rest, import_matplotlib, new_figure
    from celo.report.palette import styles

    matplotlib = import_matplotlib()
    names = list(dict.fromkeys(line.name for panel in panels for line in panel.lines))
    looks = styles(names, None)
    with matplotlib.rc_context(dict(STYLE)):
        rows = math.ceil(len(panels) / 2)
        made, axes = new_figure(rows, min(2, len(panels)), 0.5 + 1.7 * rows)
        for ax, panel in zip(axes, panels, strict=False):
            for line in panel.lines:
                look = looks[line.name]
                dash: Any = (0, look.dash) if look.dash else "solid"
                drawn = {"color": look.light, "linestyle": dash, "linewidth": 1.1}
                # A single point is no line, and there it is nonetheless.
                marker = "o" if line.xs.size == 1 else None
                ax.plot(line.xs, line.ys, label=line.name, marker=marker, markersize=3, **drawn)
            ax.set(title=panel.title, xlabel=panel.x, ylabel=panel.y)
        axes[1].set_yscale("log")
        # Plain numbers: matplotlib's own are mathematics, which names must never become.
        axes[1].yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        hide_rest(axes, len(panels))
        if len(names) > 1:
            add_legend(made, axes)
    return made


def _page(runs: Sequence[MetaRun]) -> str:
    """One HTML file that loads nothing and needs no JavaScript: the figure is part of it."""
    from celo.report.figures import encode

    try:
        import jinja2
        from markupsafe import Markup as raw
    except ImportError as error:
        raise CeloError(
            "the HTML report needs jinja2, which cannot be imported",
            hint="pip install 'celo[plot]'",
        ) from error
    svg = encode([meta_figure(meta_panels(runs))], "svg").decode()
    folder = resources.files("celo.report").joinpath("templates")
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, undefined=jinja2.StrictUndefined
    )
    return environment.from_string(folder.joinpath("meta.html.j2").read_text("utf-8")).render(
        css=raw(folder.joinpath("page.css").read_text("utf-8")),
        version=metadata.version("celo"),
        plugins=", ".join(dict.fromkeys(run.config["plugin"] for run in runs)),
        columns=_COLUMNS,
        rows=_cells(runs),
        figure=raw(svg[svg.index("<svg") :]),
        runs=[
            (run.name or "run", sorted(run.config.items()), sorted(run.data.items()))
            for run in runs
        ],
    )
