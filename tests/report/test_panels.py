"""Curves: which are drawn, how they are thinned and packed."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from celo.report.panels import Line, Panel, encode, learning_curves, thin
from tests.evaluation.synthetic_cells import XS, block, curve, tuned
from tests.report.conftest import Compared, compared


def _panel(*ys: Any) -> Panel:
    lines = tuple(
        Line("a", i, np.arange(len(y), dtype=np.float64), np.array(y, np.float64))
        for i, y in enumerate(ys)
    )
    return Panel("T", "real", "step", "loss", lines)


def _decoded(value: dict[str, Any], line: int) -> np.ndarray:
    codes = np.frombuffer(base64.b64decode(value["lines"][line]["ys"]), "<u2").astype(np.float64)
    found = value["unit"] * np.sinh(value["low"] + codes * value["step"])
    return np.where(codes == 65535, np.nan, np.where(codes == 65534, np.inf, found))


def test_the_selected_grid_point_is_drawn_unsmoothed() -> None:
    cells = tuned("adam", "T", [[5.0] * 3, [2.0] * 3, [9.0] * 3])
    (panel,) = compared([*cells, *block("celo", "T", [1.0] * 3)]).panels
    assert [(line.name, line.member) for line in panel.lines] == [
        *(("adam", s) for s in range(3)),
        *(("celo", s) for s in range(3)),
    ]
    assert panel.lines[0].ys.tolist() == curve(2.0).tolist()
    assert panel.lines[0].xs.tolist() == XS.tolist()
    assert (panel.title, panel.x, panel.y) == ("T", "step", "train loss")


def test_failures_say_when_and_why() -> None:
    broken = curve(1.0)
    broken[6:] = np.nan
    cells = [*block("celo", "T", [1.0, broken, 2.0]), *block("sgd", "T", [None] * 3)]
    (panel,) = compared(cells, reference=None).panels
    ends = [(line.status, line.ended) for line in panel.lines if line.name == "celo"]
    assert ends == [("done", None), ("diverged", 60.0), ("done", None)]
    assert panel.lines[-1].reason == "out of memory"
    assert panel.lines[-1].ys.size == 0


def test_thinning_leaves_points_out_and_moves_none(small: Compared) -> None:
    assert thin(small.panels) == small.panels
    points = sum(line.xs.size for panel in small.panels for line in panel.lines)
    thinned = thin(small.panels, points // 4)
    assert {panel.stride for panel in thinned} == {5}
    for before, after in zip(small.panels, thinned, strict=True):
        for whole, part in zip(before.lines, after.lines, strict=True):
            if whole.xs.size:
                assert part.xs[0] == whole.xs[0] and part.xs[-1] == whole.xs[-1]
                at = np.searchsorted(whole.xs, part.xs)
                np.testing.assert_array_equal(whole.ys[at], part.ys)
    assert sum(line.xs.size for panel in thinned for line in panel.lines) < points // 3


@pytest.mark.parametrize(
    "ys",
    [
        [1e-6, 0.5, 3.0, 1e30, np.inf, np.nan],
        [-2.0, -0.001, 0.0, 0.5, 100.0],
        [0.0, 0.0],
        [7.0],
        [np.nan, np.nan],
        [],
    ],
)
def test_packed_losses_come_back(ys: list[float]) -> None:
    value = encode(_panel(ys, [1.0, 2.0]), ["b", "a"])
    np.testing.assert_allclose(_decoded(value, 0), ys, rtol=2e-3, atol=1e-3 * value["unit"])
    assert value["lines"][0]["name"] == 1
    assert ("xs" in value["lines"][1]) == (len(ys) > 2), "only what is not common"


def test_packing_over_ten_decades_is_exact_to_what_is_promised() -> None:
    ys = np.geomspace(1e-5, 1e5, 5000)
    found = _decoded(encode(_panel(ys), ["a"]), 0)
    assert np.max(np.abs(found / ys - 1)) < 3e-4


def test_other_splits_are_drawn_when_they_are_scored() -> None:
    from celo.evaluation.scores import ScoreOptions

    cells = block("celo", "T", [1.0] * 3)
    found = compared(cells, reference=None, options=ScoreOptions(split="test"))
    (panel,) = learning_curves(found.summary, [replace(cell) for cell in cells])
    assert panel.y == "test loss"
    assert panel.lines[0].ys.tolist() == (curve(1.0) + 1).tolist()
