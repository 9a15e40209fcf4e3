"""The report as one HTML file that loads nothing: text, tables, charts and their library.

Tables are written here, so that they are there without JavaScript; charts are drawn by
`templates/page.js` when they come into view, from the JSON in the file.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from importlib import metadata, resources
from typing import Any

from celo.errors import CeloError
from celo.evaluation.metric_tables import published_table
from celo.evaluation.summary import Summary
from celo.evaluation.tables import to_json
from celo.report import charts, tables
from celo.report.document import (
    Sources,
    details,
    headlines,
    short_warning,
)
from celo.report.palette import styles
from celo.report.panels import Panel, encode, thin
from celo.text import jsonable

MOST_SHOWN = 8
"""Optimizers whose curves are drawn before anyone chooses."""
_SECTIONS = (
    ("headline", "Headline"),
    ("heat", "By task"),
    ("curves", "Learning curves"),
    ("profiles", "Performance profiles"),
    ("cost", "Speed and quality"),
    ("failures", "Failures"),
    ("provenance", "Provenance"),
    ("reproduce", "How to reproduce"),
)


def template_library() -> tuple[Any, Any]:
    """The module jinja2, and what marks text as HTML.

    Raises:
      CeloError: the libraries of the extra `plot` are not installed.
    """
    try:
        import jinja2
        from markupsafe import Markup
    except ImportError as error:
        raise CeloError(
            "the HTML report needs jinja2, which cannot be imported",
            hint="pip install 'celo[plot]'",
        ) from error
    return jinja2, Markup


def page(summary: Summary, panels: Sequence[Panel], sources: Sources | None = None) -> str:
    """The report as HTML.

    Args:
      summary: the comparison.
      panels: its curves (`celo.report.panels.learning_curves`).
      sources: where the results lie.

    Raises:
      CeloError: the libraries of the extra `plot` are not installed.
    """
    jinja2, raw = template_library()
    further = details(summary, panels, sources)
    shown = [*headlines(summary)]
    for value, headline in zip(further["headlines"], shown, strict=True):
        value["reference_line"] = headline.metric in ("final_loss", "speedup")
    report = {**to_json(summary), "details": further}
    names = list(summary.labels)
    drawn = thin(panels)
    groups = dict.fromkeys((p["metric"], p["form"]) for p in further["profiles"])
    warning = short_warning(summary)
    looks = styles(names, summary.reference)
    drawing = {
        "names": names,
        "labels": [summary.labels[name] for name in names],
        "styles": [asdict(looks[name]) for name in names],
        "specs": charts.specifications(),
        "panels": [encode(panel, names) for panel in drawn],
        "profile_groups": [tables.profile_axes(metric, form) for metric, form in groups],
        "best": _best(summary),
    }
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.filters["capfirst"] = lambda text: text[:1].upper() + text[1:]
    # Names of tasks are long: a line may end behind an underscore.
    environment.filters["breakable"] = lambda text: raw(
        str(raw.escape(text)).replace("_", "_<wbr>")
    )
    template = environment.from_string(_template("page.html.j2"))
    return template.render(
        title="Comparison of optimizers" + (f" ({warning})" if warning else ""),
        mark=f" ({warning})" if warning else "",
        version=metadata.version("celo"),
        css=raw(_template("page.css")),
        script=raw(_template("page.js")),
        vega=raw(_script(charts.javascript())),
        libraries=charts.library_versions(),
        licences=raw(_template("licences.txt")),
        report=report,
        details=further,
        report_json=raw(_json(report)),
        drawing_json=raw(_json(drawing)),
        reference=summary.labels.get(summary.reference or "", summary.reference),
        higher="More is better in final loss and speedup." if shown else "",
        labels=list(summary.labels.values()),
        sections=[s for s in _SECTIONS if s[0] != "profiles" or further["profiles"]],
        facts=tables.facts(summary),
        most_shown=min(MOST_SHOWN, len(names)),
        ema=summary.options.ema,
        curves_title="Learning curves",
        stride=max((panel.stride for panel in drawn), default=1),
        panels=panels,
        profile_groups=[
            ((metric, form), tables.profile_axes(metric, form)["title"]) for metric, form in groups
        ],
        lenient="" if summary.options.divergence == "strict" else " unless a finite loss remains",
        aggregate_tables=tables.aggregate_tables(summary),
        published=list(published_table(summary)),
        heat_maps=tables.heat_maps(summary, further["means"]),
        cost_fields=tables.COST_TITLES,
        cost_rows=tables.cost_rows(summary, further["costs"]),
        failure_rows=tables.failure_rows(summary, further["failures"]),
        provenance=tables.provenance(summary),
    )


def _best(summary: Summary) -> list[int]:
    """Indices of the optimizers drawn first: the best of the first headline, and the reference."""
    names = list(summary.labels)
    order = names
    for headline in headlines(summary)[:1]:
        values = {row.optimizer: row.value for row in headline.rows}
        order = sorted(names, key=lambda name: -(values.get(name) or 0.0))
    best = order[:MOST_SHOWN]
    if summary.reference in names and summary.reference not in best:
        best = [*best[:-1], summary.reference]
    return sorted(names.index(name) for name in best)


def _template(name: str) -> str:
    return resources.files("celo.report").joinpath("templates", name).read_text("utf-8")


def _json(value: Any) -> str:
    """JSON that cannot end the script element that it stands in."""
    text = json.dumps(jsonable(value), allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _script(text: str) -> str:
    return text.replace("</script", "<\\/script").replace("<!--", "<\\!--")
