"""LaTeX that compiles, whatever the names."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from celo.evaluation.cells import DataIdentity
from celo.report.latex import escape, latex
from tests.evaluation.synthetic_cells import block
from tests.report.conftest import Compared, compared

AWKWARD = r"a_b:lr=1e-3,b1=0.95 \cmd{x} 50% #1 & ~^ $x$ <b> " "'" + "∞–é"


def test_what_means_something_is_escaped() -> None:
    assert escape("a_b & 5%") == r"a\_\allowbreak{}b \& 5\%"
    assert escape("{x}\\y") == r"\{x\}\textbackslash{}y"
    assert escape("漢 é") == "? é"
    assert "$" not in escape(AWKWARD).replace(r"\$", "")


def test_tables_are_booktabs_with_everything_that_must_be_said() -> None:
    data = DataIdentity("lm1b", "substitute", "lm1b=wikitext2", "a" * 64)
    found = compared(block("celo@random", "T_1", [1.0, 2.0, None], data=data), reference=None)
    text = latex(found.summary)
    assert text.count(r"\begin{table}") == text.count(r"\end{table}") == 2
    assert text.count("substitute data") == 2
    assert r"\toprule" in text and r"\usepackage{booktabs}" in text
    assert "% note: celo@random has untrained weights" in text
    assert "|" not in text


def _compile(folder: Path, body: str) -> None:
    (folder / "tables.tex").write_text(body, "utf-8")
    (folder / "main.tex").write_text(
        "\\documentclass{article}\\usepackage[T1]{fontenc}\\usepackage[utf8]{inputenc}"
        "\\usepackage{booktabs}\\usepackage{longtable}"
        "\\begin{document}\\input{tables}\\end{document}"
    )
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "main.tex"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:]
    assert (folder / "main.pdf").stat().st_size > 10_000


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no pdflatex here")
def test_it_compiles(small: Compared, tmp_path: Path) -> None:
    tasks = [f"T_{i}&{AWKWARD}" for i in range(15)]
    cells = [c for t in tasks for o in (AWKWARD, "[x]", "*") for c in block(o, t, [1.0] * 3)]
    long = compared(cells, reference=None)
    assert r"\begin{longtable}" in latex(long.summary)
    _compile(tmp_path, f"{latex(small.summary)}\n\n{latex(long.summary)}")
