"""The page in a real Chromium: nothing complains, what is promised is there and works."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from tests.report.browser import Browser
from tests.report.conftest import AWKWARD, Compared

SECTIONS = ["headline", "heat", "curves", "profiles", "cost", "failures", "provenance", "reproduce"]
DRAWN = "document.querySelectorAll('#curves .chart[data-drawn=yes] canvas').length"


@pytest.fixture
def window(chrome: Browser, page_file: Path) -> Browser:
    """The page just opened, at the size of a laptop."""
    chrome.size(1280, 900)
    chrome.dark(False)
    chrome.open(page_file)
    chrome.complaints()
    return chrome


def _show(window: Browser, section: str) -> None:
    window.js(f"document.getElementById('{section}').scrollIntoView()")
    window.settle()
    window.settle()


def _pixels(window: Browser, chart: str) -> str:
    return window.js(f"return document.querySelector('{chart} canvas').toDataURL()")


def test_nothing_complains_and_all_sections_are_there(window: Browser) -> None:
    for section in SECTIONS:
        assert window.js("return document.getElementById(arguments[0]).innerText", section)
        _show(window, section)
    charts = "[...document.querySelectorAll('.chart')]"
    window.wait(f"{charts}.every(e => e.dataset.drawn === 'yes' && e.querySelector('canvas'))")
    assert window.complaints() == []


def test_nothing_is_loaded_from_anywhere(window: Browser, page_file: Path) -> None:
    names = window.js("return performance.getEntriesByType('resource').map(e => e.name)")
    assert [name for name in names if not name.startswith("data:")] == []
    blocked = window.driver.execute_async_script(
        "const done = arguments[0];"
        "fetch('http://127.0.0.1:9/x').then(() => done('loaded'), (e) => done(String(e)));"
    )
    assert "TypeError" in blocked
    assert any("Content Security Policy" in text for text in window.complaints())


def test_only_what_is_in_view_is_drawn(window: Browser) -> None:
    window.size(1280, 500)
    window.open(Path(window.js("return decodeURIComponent(location.pathname)")))
    assert window.js("return document.querySelector('#headline .chart').dataset.drawn") == "yes"
    assert window.js(f"return {DRAWN}") == 0
    _show(window, "curves")
    window.wait(f"{DRAWN} === 2")


def test_optimizers_are_toggled(window: Browser) -> None:
    _show(window, "curves")
    boxes = "[...document.querySelectorAll('#optimizers input')]"
    assert window.js(f"return {boxes}.filter(b => b.checked).length") == 8
    before = _pixels(window, "#curves .chart")
    window.js("document.getElementById('chooser').open = true")
    window.js(f"{boxes}.find(b => b.checked).click()")
    window.settle()
    assert window.js("return document.getElementById('chosen').innerText").startswith("7 of 10")
    assert _pixels(window, "#curves .chart") != before
    window.js("document.getElementById('none').click()")
    window.settle()
    assert "nothing finite" in window.js(
        "return document.querySelector('#curves .chart').innerText"
    )
    window.js("document.getElementById('all').click()")
    window.settle()
    window.wait(f"{DRAWN} === 2")
    assert window.complaints() == []


@pytest.mark.parametrize("control", ["log-x", "log-y", "bands", "ema"])
def test_curves_follow_the_controls(window: Browser, control: str) -> None:
    _show(window, "curves")
    before = _pixels(window, "#curves .chart")
    window.js(
        "const e = document.getElementById(arguments[0]);"
        "if (e.type !== 'range') e.click();"
        "else { e.value = 0; e.dispatchEvent(new Event('input')); }",
        control,
    )
    window.settle()
    window.wait("document.querySelector('#curves .chart').dataset.drawn === 'yes'")
    assert _pixels(window, "#curves .chart") != before
    assert window.complaints() == []


def test_scatter_and_heat_map_follow_their_choices(window: Browser) -> None:
    _show(window, "cost")
    before = _pixels(window, "#cost .chart")
    choose = (
        "const e = document.getElementById(arguments[0]); e.selectedIndex = 1;"
        "e.dispatchEvent(new Event('change'))"
    )
    window.js(choose, "cost-field")
    window.settle()
    assert _pixels(window, "#cost .chart") != before
    shown = "return [...document.querySelectorAll('figure.heat')].map(e => !e.hidden)"
    assert window.js(shown) == [True, False, False]
    window.js(choose, "heat-metric")
    assert window.js(shown) == [False, True, False]


def test_light_and_dark(window: Browser, tmp_path: Path) -> None:
    colour = "return getComputedStyle(document.body).backgroundColor"
    assert window.js(colour) == "rgb(255, 255, 255)"
    light = _pixels(window, "#headline .chart")
    window.dark(True)
    window.settle()
    assert window.js(colour) == "rgb(20, 23, 28)"
    assert _pixels(window, "#headline .chart") != light
    window.js("document.getElementById('theme').click()")
    window.settle()
    assert window.js(colour) == "rgb(255, 255, 255)"
    assert _pixels(window, "#headline .chart") == light
    window.open(Path(window.js("return decodeURIComponent(location.pathname)")))
    assert window.js(colour) == "rgb(255, 255, 255)", "the choice is kept"
    window.js("localStorage.clear()")
    window.screenshot(tmp_path / "light.png")
    assert (tmp_path / "light.png").stat().st_size > 20_000


@pytest.mark.parametrize("width", [320, 768])
def test_the_page_never_scrolls_sideways(window: Browser, page_file: Path, width: int) -> None:
    window.size(width, 800)
    for _ in range(2):  # resized, then opened so
        for section in SECTIONS:
            _show(window, section)
            assert window.js("return document.documentElement.scrollWidth") <= width
        window.open(page_file)


def test_printing_draws_everything_light_and_comes_back(window: Browser) -> None:
    window.dark(True)
    window.settle()
    data = window.pdf()
    assert data.startswith(b"%PDF") and len(data) > 50_000
    window.settle()
    window.js("window.dispatchEvent(new Event('beforeprint'))")
    window.wait("[...document.querySelectorAll('.chart')].every(e => e.querySelector('svg'))")
    assert window.js("return document.documentElement.dataset.theme") == "light"
    assert window.js("return document.querySelectorAll('details:not([open])').length") == 0
    window.js("window.dispatchEvent(new Event('afterprint'))")
    window.settle()
    assert window.js("return document.documentElement.dataset.theme || ''") == ""
    assert window.js("return document.querySelectorAll('details:not([open])').length") > 0
    assert window.complaints() == []


def test_names_are_text_and_never_code(window: Browser) -> None:
    assert window.js("return document.querySelectorAll('b').length") == 0
    rows = window.js("return [...document.querySelectorAll('#headline th')].map(e => e.innerText)")
    assert AWKWARD in rows
    labels = window.js(
        "return [...document.querySelectorAll('#optimizers label')].map(e => e.innerText)"
    )
    assert AWKWARD in [label.strip() for label in labels]


def test_curves_on_the_page_are_those_that_were_measured(window: Browser, small: Compared) -> None:
    """The page decodes what `encode` wrote to a relative error of 0.1 %."""
    values = window.js(
        "const d = JSON.parse(document.getElementById('drawing').textContent);"
        "return d.panels.map(p => p.lines.map(l => {"
        "  const b = Uint8Array.from(atob(l.ys), c => c.charCodeAt(0)), v = new DataView(b.buffer);"
        "  return Array.from({length: b.length / 2}, (_, i) => {"
        "    const q = v.getUint16(2 * i, true);"
        "    return q > 65533 ? null : p.unit * Math.sinh(p.low + q * p.step); }); }))"
    )
    compared = 0
    for panel, lines in zip(small.panels, values, strict=True):
        for line, ys in zip(panel.lines, lines, strict=True):
            assert len(ys) == line.ys.size
            for shown, measured in zip(ys, line.ys.tolist(), strict=True):
                if math.isfinite(measured):
                    assert shown == pytest.approx(measured, rel=1e-3)
                    compared += 1
                else:
                    assert shown is None
    assert compared > 500


def test_the_keyboard_reaches_the_controls(window: Browser) -> None:
    unnamed = window.js(
        "return [...document.querySelectorAll('button, select, input')].filter("
        "e => !(e.innerText || e.getAttribute('aria-label') || (e.labels && e.labels.length)))"
        ".map(e => e.id)"
    )
    assert unnamed == []
    assert window.js("return [...document.querySelectorAll('.chart')].every(e => e.ariaLabel)")
    headings = window.js("return [...document.querySelectorAll('h1,h2,h3')].map(e => e.tagName)")
    assert headings.count("H1") == 1 and headings[0] == "H1"
