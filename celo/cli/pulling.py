"""`celo data pull`: which sets, what they are before anything is fetched, and how far it is."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

import click

from celo import registry
from celo.cli.names import names_of
from celo.cli.output import format_option, print_json, say
from celo.errors import CeloError, InterruptedRunError
from celo.records import DataSet

if TYPE_CHECKING:
    from celo.data.pulling import Offer, Pulled

_SECONDS_PER_LINE = 5.0


@click.command("pull")
@click.argument("names", metavar="[NAME]...", nargs=-1, shell_complete=names_of("data_sets"))
@click.option("--suite", help="Every set that the tasks of this suite need and that is not here.")
@click.option("--revision", help="Branch, tag or commit of the repository; for one NAME.")
@click.option("--force", is_flag=True, help="Fetch again what is in the cache already.")
@click.option("--dry-run", is_flag=True, help="Say what would be fetched, and fetch nothing.")
@format_option("text", "json")
@click.pass_context
def pull(
    ctx: click.Context,
    names: tuple[str, ...],
    suite: str | None,
    revision: str | None,
    force: bool,
    dry_run: bool,
    format_: str,
) -> None:
    """Fetch data sets from the Hugging Face hub into the cache and check them.

    Licence and size are shown first. What was interrupted goes on where it stopped when the same
    command is run again. With --suite, exit code 3 says that a set could not be had.
    """
    if bool(names) == bool(suite) or (revision and len(names) != 1):
        raise click.UsageError("give NAMEs or --suite, and --revision with one NAME only")
    records, here = [registry.data_set(name).record for name in names], 0
    if suite is not None:
        records, here = _needed(suite, force)
    failures: list[CeloError] = []
    results = []
    for record in records:
        try:
            results.append(_one(record, revision, force, dry_run))
        except InterruptedRunError:
            raise
        except CeloError as error:
            if suite is None:
                raise
            failures.append(error)
            say(f"{record.name}: {error.message}")
            if error.hint:
                say(f"  {error.hint}")
    if failures and not results and not here:
        raise failures[-1]
    if format_ == "json":
        print_json({"schema": 1, "data": results})
    else:
        for result in results:
            if result["folder"]:
                click.echo(result["folder"])
    ctx.exit(3 if failures else 0)


def _needed(suite: str, force: bool) -> tuple[list[DataSet], int]:
    """The sets of a suite that are not here, in the order of its tasks, and how many are."""
    from celo.data import sources
    from celo.data.selection import DataSelection

    tasks = [registry.task(name).record for name in registry.suite(suite).record.tasks]
    needed, here = [], 0
    for name in dict.fromkeys(task.data_set for task in tasks if task.data_set):
        record = registry.data_set(name).record
        state = sources.describe(name, DataSelection())
        if record.embedded or (state.missing is None and not force):
            say(f"{name}: already here, {state.label}, {state.location}")
            here += 1
        else:
            needed.append(record)
    return needed, here


def _one(record: DataSet, revision: str | None, force: bool, dry_run: bool) -> dict[str, Any]:
    from celo.data import pulling

    if dry_run:
        offer = pulling.offer(record, revision=revision)
        _say_offer(record, offer)
        return _as_json(record, offer)
    progress = _Progress()
    try:
        done = pulling.pull(
            record.name,
            revision=revision,
            force=force,
            offered=lambda offer: _say_offer(record, offer),
            advanced=progress.advanced,
            waiting=lambda: say(f"{record.name}: another process is pulling it; waiting"),
        )
    except KeyboardInterrupt:
        raise InterruptedRunError(
            f"interrupted while {record.name} was pulled; what has arrived is kept",
            hint="run the same command again: it goes on where it stopped",
        ) from None
    finally:
        progress.stop()
    _say_done(record, done)
    return _as_json(record, done)


def _say_offer(record: DataSet, offer: Offer) -> None:
    from celo.cli.zoo_entries import size_text

    count = f"{len(offer.files)} file" + "s" * (len(offer.files) != 1)
    say(f"{record.name}: {size_text(offer.size)} in {count} of {offer.source.repository}")
    say(f"  commit   {offer.commit}")
    say(f"  licence  {record.licence}")
    if offer.source.remark:
        say(f"  remark   {offer.source.remark}")
    if offer.here:
        say(f"  an earlier pull got {size_text(offer.here)} of it; this one goes on")


def _say_done(record: DataSet, done: Pulled) -> None:
    if not done.downloaded:
        say(f"{record.name}: already here, pulled from {done.repository}")
        say(f"  commit   {done.commit}")
    else:
        say(f"{record.name}: here, every file has the checksum that the hub states")


def _as_json(record: DataSet, what: Offer | Pulled) -> dict[str, Any]:
    from celo.data import pulling

    planned = isinstance(what, pulling.Offer)
    return {
        "name": record.name,
        "repository": what.source.repository if planned else what.repository,
        "commit": what.commit,
        "bytes": what.size if planned else what.bytes,
        "licence": record.licence,
        "remark": pulling.source_of(record).remark,
        "folder": None if planned else str(what.folder),
        "downloaded": False if planned else what.downloaded,
    }


class _Progress:
    """A bar on a terminal, a line every few seconds elsewhere."""

    def __init__(self) -> None:
        self._last = time.monotonic()
        self._bar: Any = None
        self._terminal = sys.stderr is not None and sys.stderr.isatty()

    def advanced(self, offer: Offer, here: int) -> None:
        if self._terminal:
            self._draw(offer, here)
        elif time.monotonic() - self._last > _SECONDS_PER_LINE:
            from celo.cli.zoo_entries import size_text

            self._last = time.monotonic()
            part = 100 * here / max(offer.size, 1)
            say(f"{offer.name}: {size_text(here)} of {size_text(offer.size)} ({part:.0f} %)")

    def stop(self) -> None:
        if self._bar is not None:
            self._bar.stop()

    def _draw(self, offer: Offer, here: int) -> None:
        if self._bar is None:
            from rich import progress
            from rich.console import Console

            self._bar = progress.Progress(
                progress.TextColumn("{task.description}"),
                progress.BarColumn(bar_width=20),
                progress.DownloadColumn(),
                progress.TransferSpeedColumn(),
                progress.TimeRemainingColumn(),
                console=Console(stderr=True),
                transient=True,
            )
            self._bar.start()
            self._bar.add_task(offer.name, total=offer.size)
        self._bar.update(self._bar.task_ids[0], completed=here)
