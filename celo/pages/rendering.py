"""A page as Markdown, for the documentation and terminals, and as text, for pipes."""

from __future__ import annotations

import textwrap

from celo.pages.document import Block, Bullets, Document, Formulas, Table
from celo.text import aligned

_WIDTH = 80


def as_markdown(page: Document) -> str:
    """A page in GitHub's Markdown, a newline at its end."""
    blocks = [f"# {page.title}", page.summary]
    for section in page.sections:
        blocks += [f"## {section.title}", *map(markdown_block, section.blocks)]
    return "\n\n".join(blocks) + "\n"


def markdown_block(block: Block) -> str:
    """One block of a page in GitHub's Markdown."""
    if isinstance(block, Formulas):
        return f"```text\n{block.text.strip()}\n```"
    if isinstance(block, Bullets):
        return "\n".join(f"- {item}" for item in block.items)
    if isinstance(block, Table):
        rules = ("--:" if i in block.numeric else "---" for i in range(len(block.columns)))
        rows = [[cell.replace("|", r"\|") for cell in row] for row in (block.columns, *block.rows)]
        rows.insert(1, list(rules))
        return "\n".join(f"| {' | '.join(row)} |" for row in rows)
    return block


def as_text(page: Document, width: int = _WIDTH) -> str:
    """A page as plain text, a newline at its end.

    Args:
      page: of `document`.
      width: no line is longer, but for words that are and for formulas.
    """
    blocks = [page.title, textwrap.fill(page.summary, width)]
    for section in page.sections:
        body = "\n\n".join(_text_block(block, width) for block in section.blocks)
        blocks.append(f"{section.title.upper()}\n\n{body}")
    return "\n\n".join(blocks).replace("`", "") + "\n"


def _text_block(block: Block, width: int) -> str:
    if isinstance(block, Formulas):
        return textwrap.indent(block.text.strip(), "    ")
    if isinstance(block, Bullets):
        return "\n".join(
            textwrap.fill(
                item, width, initial_indent="- ", subsequent_indent="  ", break_on_hyphens=False
            )
            for item in block.items
        )
    if isinstance(block, Table):
        return "\n".join(_text_table(block, width))
    return textwrap.fill(block, width, break_on_hyphens=False)


def _text_table(table: Table, width: int) -> list[str]:
    """An aligned table whose widest columns, but for the first, are wrapped until it fits."""
    columns = list(zip(table.columns, *table.rows, strict=True))
    widths = [max(map(len, column)) for column in columns]
    # A column is at least as wide as its longest word, and the first holds names.
    floors = [max(len(w) for cell in column for w in cell.split() or [""]) for column in columns]
    floors[0] = widths[0]
    while sum(widths) + 2 * (len(widths) - 1) > width:
        slack = [i for i, floor in enumerate(floors) if widths[i] > floor]
        if not slack:
            break
        widths[max(slack, key=lambda i: widths[i])] -= 1
    heading, *rows = (_wrapped(row, widths) for row in (table.columns, *table.rows))
    lines = aligned(heading[0], [*heading[1:], *(line for row in rows for line in row)])
    rule = lines.pop(1)
    lines.insert(len(heading), rule)
    return lines


def _wrapped(row: tuple[str, ...], widths: list[int]) -> list[tuple[str, ...]]:
    cells = [
        textwrap.wrap(cell, width, break_on_hyphens=False) or [""]
        for cell, width in zip(row, widths, strict=True)
    ]
    height = max(map(len, cells))
    padded = [cell + [""] * (height - len(cell)) for cell in cells]
    return list(zip(*padded, strict=True))
