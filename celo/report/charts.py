"""The charts of the page as Vega-Lite specifications, written and checked with Altair.

Data come in on the page: each specification names its data set, whose rows carry their own colour,
dash and marker (so the legend is the list of optimizers, and theme and selection are one redraw).
"""

from __future__ import annotations

import functools
from typing import Any

from celo.errors import CeloError

_MISSING = "the HTML report needs {}, which cannot be imported"
_HINT = "pip install 'celo[plot]'"


def specifications() -> dict[str, dict[str, Any]]:
    """Name -> Vega-Lite specification with the named data sets that it reads.

    Raises:
      CeloError: Altair is not installed.
    """
    try:
        import altair as alt
    except ImportError as error:
        raise CeloError(_MISSING.format("altair"), hint=_HINT) from error
    charts = {
        "interval": _interval(alt),
        "curves": _curves(alt),
        "profile": _profile(alt),
        "scatter": _scatter(alt),
    }
    return {name: _plain(chart.to_dict()) for name, chart in charts.items()}


def javascript() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script that loads nothing; it defines `vegaEmbed`.

    The other two are inside, but vl-convert's bundler exports no namespaces.

    Raises:
      CeloError: vl-convert is not installed.
    """
    try:
        import vl_convert  # noqa: F401
    except ImportError as error:
        raise CeloError(_MISSING.format("vl-convert-python"), hint=_HINT) from error
    return _bundle()


@functools.cache
def _bundle() -> str:
    """Takes a second or two, and is the same for every page."""
    import vl_convert

    return vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")


def library_versions() -> str:
    """Of what `javascript` contains."""
    import vl_convert

    versions = vl_convert.get_vegalite_versions()
    return f"Vega {vl_convert.get_vega_version()}, Vega-Lite {versions[-1]}"


def _plain(spec: dict[str, Any]) -> dict[str, Any]:
    """Without what Altair adds for itself: its own theme."""
    return {key: value for key, value in spec.items() if key not in ("config", "$schema")}


def _style(alt: Any) -> dict[str, Any]:
    return {"color": alt.Color("colour:N", scale=None, legend=None)}


def _interval(alt: Any) -> Any:
    """Estimates with their intervals, one row an optimizer."""
    rows = alt.Chart(alt.NamedData("rows"))
    y = alt.Y("label:N", sort=None, title=None, axis=alt.Axis(labelLimit=220, ticks=False))
    x = alt.X("low:Q", title=None, scale=alt.Scale(zero=False, nice=False, padding=14))
    tooltip = ["label:N", "value:Q", "low:Q", "high:Q", "cells:Q", "diverged:Q"]
    rule = alt.Chart(alt.NamedData("one")).mark_rule(strokeDash=[4, 3]).encode(x="x:Q")
    bars = rows.mark_rule(strokeWidth=3).encode(
        x=x, x2="high:Q", y=y, tooltip=tooltip, **_style(alt)
    )
    marks = rows.mark_point(filled=True, size=80, opacity=1).encode(
        x="value:Q",
        y=y,
        shape=alt.Shape("marker:N", scale=None, legend=None),
        tooltip=tooltip,
        **_style(alt),
    )
    return alt.layer(rule, bars, marks).properties(width="container", height=100)


def _curves(alt: Any) -> Any:
    """Median and range over seeds, and a cross where a run was lost."""
    rows, ends = alt.Chart(alt.NamedData("rows")), alt.Chart(alt.NamedData("ends"))
    x = alt.X("x:Q", title="x", scale=alt.Scale(nice=False))
    y = alt.Y("value:Q", title="y", scale=alt.Scale(zero=False, nice=False))
    by = {**_style(alt), "detail": "label:N"}
    dash = alt.StrokeDash("dash:N", scale=None, legend=None)
    band = rows.mark_area(opacity=0.16, clip=True, strokeWidth=0).encode(
        x=x, y=alt.Y("low:Q", title="y"), y2="high:Q", **by
    )
    line = rows.mark_line(clip=True, strokeWidth=1.8).encode(x=x, y=y, strokeDash=dash, **by)
    near = rows.mark_point(opacity=0, clip=True, size=60).encode(
        x=x,
        y=y,
        tooltip=["label:N", "x:Q", "value:Q", "low:Q", "high:Q"],
        detail="label:N",
    )
    lost = ends.mark_point(shape="cross", angle=45, size=90, filled=True, opacity=1).encode(
        x="x:Q", y="value:Q", tooltip=["label:N", "seed:Q", "status:N", "x:Q"], **_style(alt)
    )
    return alt.layer(band, line, near, lost).properties(width="container", height=230)


def _profile(alt: Any) -> Any:
    """Performance profiles."""
    rows = alt.Chart(alt.NamedData("rows"))
    x = alt.X("tau:Q", title="score τ", axis=alt.Axis(tickCount=8))
    y = alt.Y("value:Q", title="fraction of runs with score > τ", scale=alt.Scale(domain=[0, 1]))
    dash = alt.StrokeDash("dash:N", scale=None, legend=None)
    by = {**_style(alt), "detail": "label:N"}
    band = rows.mark_area(opacity=0.14, interpolate="step-after", strokeWidth=0).encode(
        x=x, y=alt.Y("low:Q", title="fraction of runs with score > τ"), y2="high:Q", **by
    )
    line = rows.mark_line(interpolate="step-after", strokeWidth=1.8).encode(
        x=x, y=y, strokeDash=dash, **by
    )
    near = rows.mark_point(opacity=0, size=60).encode(
        x=x, y=y, tooltip=["label:N", "tau:Q", "value:Q"], detail="label:N"
    )
    return alt.layer(band, line, near).properties(width="container", height=300)


def _scatter(alt: Any) -> Any:
    """What an optimizer costs against how good it is."""
    rows = alt.Chart(alt.NamedData("rows"))
    x = alt.X("cost:Q", title="cost", scale=alt.Scale(type="log", nice=False, padding=60))
    y = alt.Y("value:Q", title="score", scale=alt.Scale(zero=False, padding=12))
    tooltip = ["label:N", "cost:Q", "value:Q", "low:Q", "high:Q"]
    bars = rows.mark_rule(opacity=0.5).encode(
        x=x, y=alt.Y("low:Q", title="score"), y2="high:Q", **_style(alt)
    )
    marks = rows.mark_point(filled=True, size=110, opacity=1).encode(
        x=x,
        y=y,
        shape=alt.Shape("marker:N", scale=None, legend=None),
        tooltip=tooltip,
        **_style(alt),
    )
    text = rows.mark_text(align="left", dx=9, dy=-7, fontSize=11).encode(
        x=x, y=y, text="name:N", **_style(alt)
    )
    return alt.layer(bars, marks, text).properties(width="container", height=340)
