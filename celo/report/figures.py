"""Figures for papers, by matplotlib: vector text, colour-blind-safe lines, nothing but the data.

Every figure carries in its title what its data are where they are not all of the real ones.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from celo.errors import CeloError, UsageError
from celo.evaluation.scores import smooth
from celo.evaluation.summary import Summary
from celo.report.document import headlines, short_warning
from celo.report.palette import Style, styles
from celo.report.panels import Panel
from celo.report.profiles import profiles
from celo.report.tables import profile_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FIGURES = ("headline", "profiles", "curves")
_WIDTH = 6.9
"""Inches: a page of two columns."""
STYLE: Mapping[str, Any] = {
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "legend.fontsize": 7,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.linewidth": 0.4,
    "grid.alpha": 0.4,
    "axes.axisbelow": True,
    # Text stays text: TrueType in PDF (Type 3 is refused by some publishers), letters in SVG.
    "pdf.fonttype": 42,
    "svg.fonttype": "none",
    "svg.hashsalt": "celo",
    "axes.formatter.useoffset": False,
    # Names such as adam:lr=$x$ are no mathematics.
    "text.parse_math": False,
    "text.usetex": False,
}


def figure(summary: Summary, panels: Sequence[Panel], name: str = "headline") -> Figure:
    """One figure, to be shown or saved.

    Args:
      summary: the comparison.
      panels: its curves.
      name: one of `FIGURES`.

    Raises:
      UsageError: there is no such figure, or the results have nothing for it.
      CeloError: matplotlib is not installed.
    """
    makers: dict[str, Callable[[], Figure]] = {
        "headline": lambda: _headline(summary),
        "profiles": lambda: _profiles(summary),
        "curves": lambda: _curves(summary, panels),
    }
    if name not in makers:
        raise UsageError(f"there is no figure {name!r}", hint=f"known: {', '.join(FIGURES)}")
    matplotlib = import_matplotlib()
    with matplotlib.rc_context(dict(STYLE)):
        return makers[name]()


def available(summary: Summary) -> list[str]:
    """The figures that these results have something for."""
    return [*(("headline", "profiles") if headlines(summary) else ()), "curves"]


def save(
    summary: Summary, panels: Sequence[Panel], format_: str, names: Sequence[str] = ()
) -> bytes:
    """Figures as the bytes of a file, the same bytes for the same results.

    Args:
      summary: the comparison.
      panels: its curves.
      format_: "png" or "svg" (one figure), or "pdf" (a page each).
      names: of the figures; () for all in a PDF, else for the first there is.

    Raises:
      UsageError: there is no such figure, or several for one picture.
      CeloError: matplotlib is not installed.
    """
    names = list(names) or available(summary)[: None if format_ == "pdf" else 1]
    if format_ != "pdf" and len(names) > 1:
        raise UsageError(
            f"a {format_} file holds one figure, and {len(names)} were asked for",
            hint="ask for a pdf, or write one file each",
        )
    return encode([figure(summary, panels, name) for name in names], format_)


def encode(made: Sequence[Figure], format_: str) -> bytes:
    """Figures as the bytes of a file: "pdf" (a page each), or "png" or "svg" (the first)."""
    matplotlib = import_matplotlib()
    buffer = io.BytesIO()
    with matplotlib.rc_context(dict(STYLE)):
        if format_ == "pdf":
            from matplotlib.backends.backend_pdf import PdfPages

            with PdfPages(buffer, metadata={"CreationDate": None}) as pages:
                for one in made:
                    pages.savefig(one, bbox_inches="tight")
        else:
            metadata = {"Date": None} if format_ == "svg" else {"Software": None}
            made[0].savefig(buffer, format=format_, dpi=200, bbox_inches="tight", metadata=metadata)
    return buffer.getvalue()


def import_matplotlib() -> Any:
    try:
        import matplotlib
    except ImportError as error:
        raise CeloError(
            "figures need matplotlib, which cannot be imported", hint="pip install 'celo[plot]'"
        ) from error
    return matplotlib


def new_figure(rows: int, columns: int, height: float) -> tuple[Figure, list[Axes]]:
    # Not pyplot: it keeps every figure for ever and may want a screen.
    from matplotlib.figure import Figure

    made = Figure(figsize=(_WIDTH, height), layout="constrained")
    axes = made.subplots(rows, columns, squeeze=False).ravel().tolist()
    return made, axes


def _title(summary: Summary, text: str) -> str:
    warning = short_warning(summary)
    return f"{text} ({warning})" if warning else text


def _drawn(style: Style) -> dict[str, Any]:
    dash: Any = (0, style.dash) if style.dash else "solid"
    return {"color": style.light, "linestyle": dash, "linewidth": 1.1}


def _headline(summary: Summary) -> Figure:
    shown = headlines(summary)
    _require(bool(shown), "scores")
    columns = min(2, len(shown))
    rows = math.ceil(len(shown) / columns)
    height = 0.7 + rows * (0.5 + 0.17 * len(summary.labels))
    made, axes = new_figure(rows, columns, height)
    looks = styles(list(summary.labels), summary.reference)
    for ax, headline in zip(axes, shown, strict=False):
        known = sorted(
            (row for row in headline.rows if row.value is not None), key=lambda row: row.value or 0
        )
        for place, row in enumerate(known):
            colour, value = looks[row.optimizer].light, float(row.value or 0.0)
            if row.low is not None and row.high is not None:
                ax.plot([row.low, row.high], [place, place], color=colour, linewidth=2)
            ax.plot([value], [place], marker="o", color=colour, markersize=4)
        if headline.metric in ("final_loss", "speedup"):
            ax.axvline(1.0, color="0.4", linewidth=0.8, linestyle=(0, (4, 3)), zorder=0)
        ax.set_yticks(range(len(known)), [summary.labels[row.optimizer] for row in known])
        ax.set_ylim(-0.6, len(known) - 0.4)
        ax.grid(axis="y", visible=False)
        ax.set_title(headline.title)
    hide_rest(axes, len(shown))
    made.suptitle(_title(summary, f"Relative to {summary.reference}, 95 % intervals"), fontsize=9)
    return made


def _profiles(summary: Summary) -> Figure:
    shown = profiles(summary)
    _require(bool(shown), "scores")
    groups = list(dict.fromkeys((profile.metric, profile.form) for profile in shown))
    made, axes = new_figure(math.ceil(len(groups) / 2), min(2, len(groups)), 2.8)
    looks = styles(list(summary.labels), summary.reference)
    for ax, (metric, form) in zip(axes, groups, strict=False):
        titles = profile_axes(metric, form)
        for profile in shown:
            if (profile.metric, profile.form) != (metric, form):
                continue
            look = looks[profile.optimizer]
            label = summary.labels[profile.optimizer]
            ax.step(profile.tau, profile.value, where="post", label=label, **_drawn(look))
            if profile.low:
                band = (profile.tau, profile.low, profile.high)
                ax.fill_between(*band, step="post", color=look.light, alpha=0.12, linewidth=0)
        ax.set(title=titles["title"], xlabel=titles["x"], ylabel=titles["y"], ylim=(-0.02, 1.02))
    hide_rest(axes, len(groups))
    add_legend(made, axes)
    made.suptitle(_title(summary, "Performance profiles"), fontsize=9)
    return made


def _curves(summary: Summary, panels: Sequence[Panel]) -> Figure:
    shown = [panel for panel in panels if any(line.xs.size for line in panel.lines)]
    _require(bool(shown), "curves")
    columns = min(3, len(shown))
    rows = math.ceil(len(shown) / columns)
    made, axes = new_figure(rows, columns, 0.7 + 1.6 * rows)
    looks = styles(list(summary.labels), summary.reference)
    for ax, panel in zip(axes, shown, strict=False):
        _panel(ax, panel, summary, looks)
    hide_rest(axes, len(shown))
    add_legend(made, axes)
    smoothing = f", EMA {summary.options.ema:g}" if summary.options.ema else ""
    text = f"Median and range over seeds{smoothing}"
    made.suptitle(_title(summary, text), fontsize=9)
    return made


def _panel(ax: Axes, panel: Panel, summary: Summary, looks: Mapping[str, Style]) -> None:
    starts = []
    for name, look in looks.items():
        lines = [line for line in panel.lines if line.name == name and line.xs.size]
        if not lines:
            continue
        grid = np.unique(np.concatenate([line.xs for line in lines]))
        values = np.full((len(lines), grid.size), np.inf)
        for row, line in zip(values, lines, strict=True):
            smoothed = smooth(line.ys, summary.options.ema)
            at = np.searchsorted(grid, line.xs)
            row[at] = np.where(np.isfinite(line.ys) & np.isfinite(smoothed), smoothed, np.inf)
            if np.isfinite(line.ys[0]):
                starts.append(float(line.ys[0]))
        ordered = np.sort(values, axis=0)
        middle = (ordered[(len(lines) - 1) // 2] + ordered[len(lines) // 2]) / 2
        finite = np.isfinite(middle)
        top = np.where(np.isfinite(ordered[-1]), ordered[-1], middle)
        ax.plot(grid[finite], middle[finite], label=summary.labels[name], **_drawn(look))
        ax.fill_between(
            grid[finite], ordered[0][finite], top[finite], color=look.light, alpha=0.15, linewidth=0
        )
    _limits(ax, starts)
    words = _wrapped(panel.title)
    ax.set_title(f"{words}\n{panel.subtitle}" if panel.subtitle != "real" else words, fontsize=7)
    ax.set(xlabel=panel.x, ylabel=panel.y)


def _wrapped(title: str, width: int = 30) -> str:
    """A long name on several lines, broken behind underscores."""
    lines = [""]
    for piece in title.replace("_", "_\0").split("\0"):
        if lines[-1] and len(lines[-1]) + len(piece) > width:
            lines.append("")
        lines[-1] += piece
    return "\n".join(lines)


def _limits(ax: Axes, starts: Sequence[float]) -> None:
    """What blew up does not press everything else flat."""
    low, high = ax.get_ylim()
    drawn = [np.asarray(line.get_ydata(), np.float64) for line in ax.lines]
    lowest = min((float(ys.min()) for ys in drawn if ys.size), default=0.0)
    if lowest > 0:
        from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

        ax.set_yscale("log")
        narrow = high < 100 * lowest
        ax.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if narrow else (1.0,)))
        # Plain numbers: matplotlib's own are mathematics, which names must never become.
        ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        ax.yaxis.set_minor_formatter(NullFormatter())
        low, high = ax.get_ylim()
    if starts and (start := max(starts)) > 0:
        ax.set_ylim(low, min(high, start * 3))


def add_legend(made: Figure, axes: Sequence[Axes]) -> None:
    found: dict[str, Any] = {}
    for ax in axes:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    widest = max(map(len, found), default=1)
    columns = max(1, min(len(found), int(_WIDTH * 14 / (widest + 8))))
    made.legend(
        list(found.values()), list(found), loc="outside lower center", ncols=columns, frameon=False
    )


def hide_rest(axes: Sequence[Axes], used: int) -> None:
    for ax in axes[used:]:
        ax.set_axis_off()


def _require(there: bool, what: str) -> None:
    if not there:
        raise UsageError(
            f"these results have no {what} to draw",
            hint="a figure of scores needs the reference's results; `--figure curves` needs any",
        )
