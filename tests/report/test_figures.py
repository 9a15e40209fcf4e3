"""Figures: what is in them, that they are files of their kind, and that they repeat."""

from __future__ import annotations

import pytest

from celo.errors import UsageError
from celo.evaluation.cells import DataIdentity
from celo.report.figures import FIGURES, available, figure, save
from tests.evaluation.synthetic_cells import block
from tests.report.conftest import AWKWARD, Compared, compared

BEGINS = {"png": b"\x89PNG", "pdf": b"%PDF", "svg": b"<?xml"}


@pytest.mark.parametrize("format_", BEGINS)
def test_files_are_of_their_kind_and_repeat(small: Compared, format_: str) -> None:
    first = save(small.summary, small.panels, format_, ["headline"])
    assert first.startswith(BEGINS[format_])
    assert save(small.summary, small.panels, format_, ["headline"]) == first


def test_a_pdf_has_a_page_for_each_figure(small: Compared) -> None:
    data = save(small.summary, small.panels, "pdf")
    assert data.count(b"/Type /Page ") == len(FIGURES)


def test_headline_shows_every_optimizer_in_order(small: Compared) -> None:
    made = figure(small.summary, small.panels, "headline")
    names = [text.get_text() for text in made.axes[0].get_yticklabels()]
    assert set(names) == {*small.summary.labels.values()} and AWKWARD in names
    rows = [r for r in small.summary.aggregate if r.metric == "final_loss_iqm"]
    values = {row.optimizer: row.value for row in rows}
    drawn = [values[name] for name in names]
    assert drawn == sorted(drawn, key=lambda value: value or 0.0)
    # Each is a bar and a point; the last line is the reference's rule.
    points = [float(line.get_xdata()[0]) for line in made.axes[0].lines[1:-1:2]]
    assert points == drawn
    svg = save(small.summary, small.panels, "svg").decode()
    assert "lr=1e-3,b1=0.95" in svg, "names are text, and no mathematics"


def test_profiles_and_curves(small: Compared) -> None:
    made = figure(small.summary, small.panels, "profiles")
    assert len(made.axes) == 2 and len(made.axes[0].lines) == 10
    made = figure(small.summary, small.panels, "curves")
    assert len(made.axes) == 2
    assert made.axes[0].get_yscale() == "log"
    assert len(made.axes[0].lines) == 9  # the failed one has no curve
    legend = [text.get_text() for text in made.legends[0].get_texts()]
    assert AWKWARD in legend and "broken" not in legend


def test_titles_say_what_the_data_are() -> None:
    data = DataIdentity("lm1b", "substitute", "lm1b=wikitext2", "a" * 64)
    found = compared(block("celo", "T", [1.0] * 3, data=data), reference=None)
    made = figure(found.summary, found.panels, "curves")
    assert "substitute data" in made.get_suptitle()
    assert "substitute lm1b=wikitext2" in made.axes[0].get_title()


def test_what_cannot_be_drawn_is_said(small: Compared) -> None:
    found = compared(block("celo", "T", [1.0] * 3), reference=None)
    assert available(found.summary) == ["curves"]
    for name in ("headline", "profiles"):
        with pytest.raises(UsageError, match="no scores to draw"):
            figure(found.summary, found.panels, name)
    with pytest.raises(UsageError, match="no figure 'pie'"):
        figure(small.summary, small.panels, "pie")
    with pytest.raises(UsageError, match="holds one figure, and 2"):
        save(small.summary, small.panels, "png", ["headline", "curves"])
