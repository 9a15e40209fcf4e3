r"""Tables as LaTeX with booktabs, to be read by `\input`."""

from __future__ import annotations

import re
from collections.abc import Sequence

from celo.evaluation.summary import Summary
from celo.evaluation.tables import Table, remarks_of, tables

LONG = 40
"""Rows from which on a table may break across pages."""
_ESCAPES = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "_": r"\_\allowbreak{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    # Between digits and brackets a minus or a dash; elsewhere LaTeX's hyphen is right.
    "–": "--",
    "∞": r"\ensuremath{\infty}",
    "×": r"\ensuremath{\times}",
    "…": r"\ldots{}",
}


def latex(summary: Summary) -> str:
    r"""All tables of a summary as a fragment without preamble.

    Needs `booktabs` and, for tables of many rows, `longtable`.
    """
    shown = tables(summary)
    packages = ["booktabs", *(["longtable"] if any(len(t.rows) > LONG for t in shown) else [])]
    head = [
        f"% Written by celo, run {summary.run}.",
        "% In the preamble: " + " ".join(rf"\usepackage{{{name}}}" for name in packages),
    ]
    notes = [f"% note: {' '.join(note.split())}" for note in remarks_of(summary)]
    return "\n".join([*head, *notes, "", "\n\n".join(map(_table, shown))])


def escape(text: str) -> str:
    """Text that LaTeX prints as it stands; what pdfLaTeX's fonts lack becomes `?`."""
    plain = " ".join(text.split())
    escaped = "".join(_ESCAPES.get(char, char) for char in plain)
    # A space behind an empty group would be lost to nobody, but looks odd.
    escaped = re.sub(r"\\allowbreak\{\}$", "", escaped)
    return "".join(char if ord(char) < 0x250 else "?" for char in escaped)


def _table(table: Table) -> str:
    columns = "".join("r" if i in table.numeric else "l" for i in range(len(table.columns)))
    if table.group:
        columns, headings = columns[1:], table.columns[1:]
    else:
        headings = table.columns
    head = f"{_row(headings)} \\\\"
    body = _body(table, len(columns))
    caption = rf"\caption{{{escape(table.title)}}}"
    if len(table.rows) > LONG:
        lines = [
            rf"\begin{{longtable}}{{{columns}}}",
            rf"{caption} \\",
            rf"\toprule {head} \midrule \endfirsthead",
            rf"\toprule {head} \midrule \endhead",
            r"\bottomrule \endfoot",
            *body,
            r"\end{longtable}",
        ]
    else:
        lines = [
            r"\begin{table}[tb]",
            r"\centering",
            caption,
            rf"\begin{{tabular}}{{{columns}}}",
            r"\toprule",
            head,
            r"\midrule",
            *body,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
        ]
    return "\n".join(lines)


def _body(table: Table, width: int) -> list[str]:
    lines: list[str] = []
    group = None
    for row in table.rows:
        if not table.group:
            lines.append(rf"{_row(row)} \\")
            continue
        if row[0] != group:
            lines += [r"\addlinespace"] if group is not None else []
            group = row[0]
            lines.append(rf"\multicolumn{{{width}}}{{l}}{{{escape(group)}}} \\")
        lines.append(rf"\quad {_row(row[1:])} \\")
    return lines


def _row(cells: Sequence[str]) -> str:
    # Braces: a cell that begins with [ would be read as the option of the \\ before it.
    return " & ".join(
        f"{{{escape(cell)}}}" if cell.startswith(("[", "*")) else escape(cell) for cell in cells
    )
