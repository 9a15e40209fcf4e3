"""`celo plugins`: which optimizers are installed and where they come from."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from celo.cli.listing import add_show, origin, print_list
from celo.cli.names import names_of
from celo.cli.output import format_option, print_json, print_table, say

if TYPE_CHECKING:
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


def _print_record(found: Found[OptimizerPlugin]) -> None:
    from celo.spec import format_value

    record = found.record
    facts = [
        ("name", ", ".join((record.name, *record.aliases))),
        ("kind", record.kind),
        ("summary", record.summary),
        ("reads", ", ".join(("gradients", *record.reads))),
        ("weights", record.zoo_id or "-"),
        ("citation", record.citation or "-"),
        ("from", origin(found)),
        ("code", record.build),
    ]
    for phase in record.phases:
        frozen = ", ".join(phase.frozen) or "nothing"
        facts.append((f"phase {phase.number}", f"{phase.summary} (frozen: {frozen})"))
    if record.grid:
        values = ", ".join(format_value(value) for value in record.grid.values)
        facts.append(("tuned over", f"{record.grid.hyperparameter} in {values}"))
        facts.append(("", f"source: {record.grid.source}"))
    if record.rounding:
        allowed = f"{record.rounding.tolerance:g} of the largest number in a leaf"
        facts.append(("rounding", f"{allowed}: {record.rounding.reason}"))
    facts += [(f"exempt from {e.rule}", e.reason) for e in record.exceptions]
    print_table(["", record.name], facts)
    if record.hyperparameters:
        rows = [
            (h.name, h.type, format_value(h.default), _range(h.low, h.high, h.choices), h.help)
            for h in record.hyperparameters
        ]
        click.echo("")
        print_table(["hyperparameter", "type", "default", "range", "meaning"], rows)


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


def _range(low: float | None, high: float | None, choices: tuple[str, ...]) -> str:
    if choices:
        return "|".join(choices)
    if low is None and high is None:
        return "-"
    return f"{'' if low is None else f'{low:g}'}..{'' if high is None else f'{high:g}'}"


def _as_json(found: Found[OptimizerPlugin]) -> dict[str, Any]:
    return {**asdict(found.record), "origin": asdict(found.origin), "status": "ok"}


add_show(
    command,
    "optimizers",
    _find,
    as_json=_as_json,
    as_text=_print_record,
    help="Everything that is declared about the optimizer NAME.",
)
