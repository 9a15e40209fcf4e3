"""`celo zoo`: pretrained weights: list, show, pull, push, add, convert, verify, path, rm."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from celo.cli.output import format_option, print_json, print_table, say

if TYPE_CHECKING:
    from celo_zoo import Check, PullResult


def _complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    from celo_zoo import entries

    return [name for name in entries() if name.startswith(incomplete)]


_NAME = click.argument("name", shell_complete=_complete)


@click.group("zoo")
def command() -> None:
    """Pretrained weights: where they are, what they are, whether they are what they claim.

    Looked for in CELO_ZOO_PATH (a folder of NAME/theta.state or NAME/theta.safetensors), in the
    cache, on the Hugging Face hub, and among the weights that come with celo, in this order.
    The last are our own, not the published ones; bundled:NAME means them alone.
    """


@command.command("list")
@format_option("table", "json")
def list_(format_: str) -> None:
    """List the weights of the zoo and where they are now."""
    from celo.cli.zoo_entries import size_text, state_of
    from celo_zoo import entries

    found = [state_of(name, card) for name, card in entries().items()]
    if format_ == "json":
        print_json(found)
        return
    rows = [
        [
            entry["name"],
            f"{entry['numbers']:,}",
            size_text(entry["bytes"]),
            entry["location"],
            entry["status"],
        ]
        for entry in found
    ]
    print_table(["name", "numbers", "file", "where", "status"], rows, numeric=(1, 2))
    for problem in dict.fromkeys(entry["problem"] for entry in found if entry["problem"]):
        say(problem)
    if any(entry["location"] == "not here" for entry in found):
        say("get weights with `celo zoo pull NAME`; `celo zoo show NAME` tells more")


@command.command("show")
@_NAME
@format_option("text", "json")
def show(name: str, format_: str) -> None:
    """Show what is known about the weights NAME."""
    from celo.cli.zoo_entries import details, fields, print_field, state_of
    from celo_zoo import card, entries, find_card, parse_locator

    known = find_card(name)
    locator = known.id if known is not None else parse_locator(name).text
    entry = entries().get(locator) or card(name)  # which names the nearest
    state = state_of(locator, entry)
    if format_ == "json":
        print_json({"schema": 1, **state, **details(entry)})
        return
    for key, value in fields(state, entry):
        print_field(key, value)
    for leaf in entry.leaves:
        click.echo(f"  {leaf.path}  {leaf}")
    if state["problem"]:
        say(state["problem"])


@command.command("pull")
@click.argument("names", nargs=-1, required=True, metavar="NAME...", shell_complete=_complete)
@click.option("--revision", help="Branch, tag or commit [default: the known one, else main].")
@click.option("--force", is_flag=True, help="Fetch again what is in the cache already.")
@format_option("text", "json")
def pull(names: tuple[str, ...], revision: str | None, force: bool, format_: str) -> None:
    """Fetch weights from the hub into the cache and check them.

    NAME is an entry of the zoo or hf:ORGANISATION/REPOSITORY[@REVISION].
    """
    import celo_zoo

    results = []
    for name in names:
        result = celo_zoo.pull(name, revision=revision, force=force)
        results.append(_pulled(result))
        _say_pulled(result)
        if format_ == "text":
            click.echo(str(result.path))
    if format_ == "json":
        print_json({"schema": 1, "weights": results})


@command.command("push")
@click.argument("path", metavar="DIR|FILE", type=click.Path(exists=True, path_type=Path))
@click.option("--repo", required=True, metavar="ORG/NAME", help="Made if there is none.")
@click.option("--licence", default="unknown", show_default=True, help="As the hub names it: mit, …")
@click.option("--optimizer", help="Optimizer these weights belong to, for the model card.")
@format_option("text", "json")
def push(path: Path, repo: str, licence: str, optimizer: str | None, format_: str) -> None:
    """Upload weights to the hub as safetensors with a model card, and read them back.

    Log in with `hf auth login` (or HF_TOKEN) first. Prints the name that others pull.
    """
    import celo_zoo

    result = celo_zoo.push(path, repo, licence=licence, optimizer=optimizer)
    say(f"pushed to {result.repository}, {result.bytes:,} bytes, read back and equal")
    if format_ == "json":
        print_json({"schema": 1, "locator": result.locator, **asdict(result)})
    else:
        click.echo(result.locator)


@command.command("add")
@click.argument("run", metavar="DIR", type=click.Path(exists=True, path_type=Path))
@click.option("--name", required=True, help="Of the entry: lower case, digits, -.")
@click.option(
    "--to",
    type=click.Path(path_type=Path),
    envvar="CELO_ZOO_PATH",
    help="Folder of entries.  [default: CELO_ZOO_PATH]",
)
@click.option("--licence", default="unknown", show_default=True, help="Of the weights.")
@click.option(
    "--evaluation",
    type=click.Path(exists=True, path_type=Path),
    help="What `celo eval --format json` printed, for the card.",
)
@format_option("text", "json")
def add(
    run: Path, name: str, to: Path | None, licence: str, evaluation: Path | None, format_: str
) -> None:
    """Make an entry of the weights in DIR, the folder of a finished meta-training.

    It comes with a card: recipe, curves, evaluation, data, cost, licence.
    """
    import json

    import celo_zoo
    from celo.errors import UsageError

    if to is None:
        raise UsageError("no folder of entries was named", hint="give --to, or set CELO_ZOO_PATH")
    facts = None
    if evaluation is not None:
        try:
            facts = json.loads(evaluation.read_bytes())
        except ValueError as error:
            raise UsageError(f"{evaluation} is no JSON: {error}") from error
    made = celo_zoo.add(run, to, name, licence=licence, evaluation=facts)
    if format_ == "json":
        print_json({"schema": 1, **{k: str(v) for k, v in asdict(made).items()}})
    else:
        click.echo(str(made.folder))
        if to.resolve() == celo_zoo.bundled_folder().resolve():
            say(f"it comes with celo now: {made.optimizer}@bundled:{made.name}")
        else:
            say(f"CELO_ZOO_PATH={to} makes it {made.optimizer}@{made.name}")


@command.command("convert")
@click.argument("source", metavar="IN", type=click.Path(exists=True, path_type=Path))
@click.argument("target", metavar="OUT", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--overwrite", is_flag=True, help="Replace OUT if it is there.")
def convert(source: Path, target: Path, overwrite: bool) -> None:
    """Write the weights in IN to OUT, in the format of OUT's suffix.

    OUT ends in .safetensors (ours) or .state (flax msgpack, as published). The numbers, and so the
    content hash, stay the same.
    """
    from celo_zoo import content_hash, read_weights, write_weights
    from celo_zoo.location import weights_in

    file = read_weights(weights_in(source))
    metadata = {key: value for key, value in file.metadata.items() if key != "content_hash"}
    click.echo(str(write_weights(target, file.leaves, metadata, overwrite=overwrite)))
    say(f"{file.format} to {target.suffix}, content {content_hash(file.leaves)[:12]} as before")


@command.command("verify")
@click.argument("names", nargs=-1, metavar="[NAME|PATH]...", shell_complete=_complete)
@format_option("table", "json")
@click.option("--all", "all_", is_flag=True, help="Every entry on this machine [the default].")
@click.pass_context
def verify(ctx: click.Context, names: tuple[str, ...], all_: bool, format_: str) -> None:
    """Check weights on this machine; without names, all of them. Exit code 1 if a check fails."""
    import celo_zoo
    from celo.cli.zoo_entries import is_here

    if names and all_:
        raise click.UsageError("--all and names exclude each other")
    chosen = names or tuple(name for name in celo_zoo.entries() if is_here(name))
    checks = [check for name in chosen for check in celo_zoo.verify(name)]
    ok = all(check.status != "failed" for check in checks)
    if format_ == "json":
        print_json({"schema": 1, "ok": ok, "checks": [_check(check) for check in checks]})
    else:
        _print_checks(checks)
        if not chosen:
            say("no weights of the zoo are on this machine; get some with `celo zoo pull NAME`")
    if not ok:
        ctx.exit(1)


@command.command("path")
@_NAME
@format_option("text", "json")
def path(name: str, format_: str) -> None:
    """Print the file that NAME means now."""
    from celo_zoo import weights_path

    found = weights_path(name)
    if format_ == "json":
        print_json({"schema": 1, "name": name, "path": str(found)})
    else:
        click.echo(str(found))


@command.command("rm")
@_NAME
@format_option("text", "json")
def rm(name: str, format_: str) -> None:
    """Remove NAME from the cache, with the record that later pulls are held against."""
    import celo_zoo

    where = celo_zoo.parse_locator(name)
    if where.kind not in ("zoo", "hub"):
        raise click.UsageError(f"{name} is not an entry of the cache; celo removes only those")
    folder = celo_zoo.remove(where.text)
    if format_ == "json":
        print_json({"schema": 1, "name": where.text, "removed": str(folder)})
    else:
        say(f"removed {folder}")


def _pulled(result: PullResult) -> dict[str, Any]:
    record = result.record
    return {
        "name": record.name,
        "path": str(result.path),
        "downloaded": result.downloaded,
        "verified": result.verified,
        "repository": record.repository,
        "file": record.file,
        "revision": record.revision,
        "bytes": record.bytes,
        "sha256": record.sha256,
        "content_hash": record.content_hash,
    }


def _say_pulled(result: PullResult) -> None:
    record = result.record
    done = "pulled" if result.downloaded else "already here"
    say(f"{record.name}: {done}, {record.repository}/{record.file}, {record.bytes:,} bytes")
    say(f"  revision {record.revision}")
    say(f"  sha256   {record.sha256}")
    if result.verified:
        say("  verified: the content is what the card says")
    else:
        say("  unverified: the card has no checksum; this one is recorded and enforced from now on")


def _check(check: Check) -> dict[str, str]:
    return {
        "name": check.name,
        "path": str(check.path),
        "what": check.what,
        "status": check.status,
        "detail": check.detail,
    }


def _print_checks(checks: list[Check]) -> None:
    file = None
    for check in checks:
        if (check.name, check.path) != file:
            file = (check.name, check.path)
            click.echo(f"{check.name}  {check.path}")
        click.echo(f"  {check.status:<7}  {check.what}: {check.detail}")
