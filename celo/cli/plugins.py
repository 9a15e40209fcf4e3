"""`celo plugins`: which optimizers are installed and where they come from."""

from __future__ import annotations

import sys
import textwrap
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from celo.cli.listing import origin, print_list
from celo.cli.names import names_of
from celo.cli.output import format_option, print_json, print_table, say

if TYPE_CHECKING:
    from celo.pages import Document
    from celo.records import OptimizerPlugin
    from celo.registry import Found


@click.group("plugins")
def command() -> None:
    """Installed optimizers."""


@command.command("list")
@format_option("auto", "json")
def list_(format_: str) -> None:
    """All optimizers, with the package each comes from."""
    from celo import registry

    columns = {
        "name": lambda found: found.name,
        "kind": lambda found: found.record.kind,
        "summary": lambda found: found.record.summary,
        "from": origin,
    }
    print_list(registry.optimizers(), format_, columns=columns, as_json=_as_json)


def _find(name: str) -> Found[OptimizerPlugin]:
    from celo.loading import find

    return find(name)[1]


@command.command("show")
@click.argument("name", shell_complete=names_of("optimizers"))
@click.option("--measure", is_flag=True, help="Measure the memory of its state too: imports JAX.")
@format_option("auto", "json")
def show(name: str, measure: bool, format_: str) -> None:
    """The page of the optimizer NAME: mathematics, settings, weights, limits, verification."""
    from celo.pages import as_text, document, page_of

    found = _find(name)
    memory = None
    if measure:
        from celo.pages.measuring import measure_memory

        memory = measure_memory(name)
    if format_ == "json":
        declared = {**_as_json(found), "page": asdict(page_of(found.record))}
        print_json({"schema": 1, **declared, "memory": memory and asdict(memory)})
        return
    page = document(found.record, memory=memory)
    if sys.stdout is not None and sys.stdout.isatty():
        _draw(page)
    else:
        click.echo(as_text(page), nl=False)
    click.echo(f"\nfrom {origin(found)}")


def _draw(page: Document) -> None:
    """A page on a terminal."""
    from rich.console import Console
    from rich.markdown import Markdown

    from celo.pages.document import Formulas, Table
    from celo.pages.rendering import markdown_block

    console = Console()
    console.print(Markdown(f"# {page.title}\n\n{page.summary}"))
    for section in page.sections:
        console.print("", Markdown(f"## {section.title}"))
        for block in section.blocks:
            if isinstance(block, Table):
                # Rich's Markdown would cut long names short.
                print_table(block.columns, block.rows, numeric=block.numeric)
            elif isinstance(block, Formulas):
                lines = textwrap.indent(block.text.rstrip(), "    ")
                console.print("", lines, sep="\n", markup=False, highlight=False, style="bold")
            else:
                console.print(Markdown(markdown_block(block)))


@command.command("modifiers")
@format_option("auto", "json")
def modifiers(format_: str) -> None:
    """What may stand behind a + in an optimizer's text, as in adam+clip:1.0."""
    from celo.modifiers import MODIFIERS

    if format_ == "json":
        print_json({"schema": 1, "modifiers": [asdict(m) for m in MODIFIERS]})
        return
    rows = [
        (
            f"+{m.name}",
            "-" if m.argument is None else m.argument.expected,
            "-" if m.argument is None or m.argument.default is None else str(m.argument.default),
            m.example,
            m.summary,
        )
        for m in MODIFIERS
    ]
    print_table(["modifier", "argument", "default", "example", "what it does"], rows)


@command.command("check")
@click.argument("name", shell_complete=names_of("optimizers"))
@format_option("auto", "json")
def check(name: str, format_: str) -> None:
    """Hold the optimizer, task or data set NAME against its contract, rule by rule."""
    import os

    from celo.testing.devices import with_devices

    # Before JAX starts its devices; the rule about sharding needs eight of them.
    os.environ["XLA_FLAGS"] = with_devices(os.environ.get("XLA_FLAGS"))
    from celo.testing import results_by_name

    kind, results = results_by_name(name)
    ok = all(result.status != "failed" for result in results)
    if format_ == "json":
        rules = [asdict(result) for result in results]
        print_json({"schema": 1, "name": name, "kind": kind, "ok": ok, "rules": rules})
    else:
        rows = [(result.rule, result.status, result.message) for result in results]
        print_table(["rule", "", "what failed, why it was skipped or is exempt, or a remark"], rows)
    if not ok:
        raise click.exceptions.Exit(1)


@command.command("new")
@click.argument("name")
@click.option("--learned", is_flag=True, help="A learned optimizer instead of an optax one.")
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    default=Path("."),
    show_default="this folder",
    help="Where the package's folder is made.",
)
@format_option("auto", "json")
def new(name: str, learned: bool, output: Path, format_: str) -> None:
    """Write a package with the optimizer NAME, to be installed and changed."""
    from celo.scaffold import write_package

    written = write_package(name, output, learned=learned)
    if format_ == "json":
        print_json({"schema": 1, **asdict(written), "folder": str(written.folder)})
        return
    for file in written.files:
        click.echo(str(written.folder / file))
    say(f"try it: pip install -e {written.folder} && celo plugins show {name}")


def _as_json(found: Found[OptimizerPlugin]) -> dict[str, Any]:
    return {**asdict(found.record), "origin": asdict(found.origin), "status": "ok"}
