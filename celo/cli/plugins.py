"""`celo plugins`: which optimizers are installed and where they come from."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from celo.cli.names import names_of
from celo.cli.output import format_option, print_json, print_table, say


@click.group("plugins")
def command() -> None:
    """Installed optimizers."""


@command.command("list")
@format_option("auto", "json")
def list_(format_: str) -> None:
    """All optimizers, with the package each comes from."""
    from celo import registry

    group = registry.optimizers()
    if format_ == "json":
        print_json(
            [_json(found, "ok") for found in group] + [_broken_json(b) for b in group.broken]
        )
        return
    rows = [
        (
            found.record.name,
            found.record.kind,
            found.record.summary,
            f"{found.origin.distribution} {found.origin.version}",
        )
        for found in group
    ]
    rows += [
        (b.name, "-", f"broken: {b.reason}", f"{b.origin.distribution} {b.origin.version}")
        for b in group.broken
    ]
    rows += [
        (
            f"{found.origin.distribution}:{found.record.name}",
            found.record.kind,
            f"{found.record.summary} (the name belongs to another package)",
            f"{found.origin.distribution} {found.origin.version}",
        )
        for found in group.shadowed
    ]
    print_table(["name", "kind", "summary", "from"], rows)


@command.command("show")
@click.argument("name", shell_complete=names_of("optimizers"))
@format_option("auto", "json")
def show(name: str, format_: str) -> None:
    """Everything that is declared about the optimizer NAME."""
    from celo.loading import find
    from celo.spec import format_value

    _, found = find(name)
    if format_ == "json":
        print_json({"schema": 1, **_json(found, "ok")})
        return
    record = found.record
    facts = [
        ("name", ", ".join((record.name, *record.aliases))),
        ("kind", record.kind),
        ("summary", record.summary),
        ("reads", ", ".join(("gradients", *record.reads))),
        ("weights", record.zoo_id or "-"),
        ("citation", record.citation or "-"),
        ("from", f"{found.origin.distribution} {found.origin.version}"),
        ("code", record.build),
    ]
    for phase in record.phases:
        frozen = ", ".join(phase.frozen) or "nothing"
        facts.append((f"phase {phase.number}", f"{phase.summary} (frozen: {frozen})"))
    if record.grid:
        values = ", ".join(format_value(value) for value in record.grid.values)
        facts.append(("tuned over", f"{record.grid.hyperparameter} in {values}"))
        facts.append(("", f"source: {record.grid.source}"))
    print_table(["", record.name], facts)
    if record.hyperparameters:
        rows = [
            (h.name, h.type, format_value(h.default), _range(h.low, h.high, h.choices), h.help)
            for h in record.hyperparameters
        ]
        click.echo("")
        print_table(["hyperparameter", "type", "default", "range", "meaning"], rows)


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
        print_table(["rule", "", "what failed, or why it was skipped"], rows)
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


def _json(found: Any, status: str) -> dict[str, Any]:
    return {**asdict(found.record), "origin": asdict(found.origin), "status": status}


def _broken_json(broken: Any) -> dict[str, Any]:
    reason = f"broken: {broken.reason}"
    return {"name": broken.name, "origin": asdict(broken.origin), "status": reason}
