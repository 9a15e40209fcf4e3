"""What `celo zoo list`, `show` and `celo doctor` tell about an entry of the zoo."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from celo_zoo import Card, Place

_UNKNOWN = "not known; the first pull records it"


def state_of(name: str, card: Card) -> dict[str, Any]:
    """Card and state of an entry.

    Args:
      name: what may stand behind `@`.
      card: its own. Where bundled weights stand in for those of a card, they are not these.
    """
    import celo_zoo
    from celo.errors import WeightsError

    location, status, problem, file, revision = "not here", "-", None, None, card.revision
    sha256, size, content, numbers = card.sha256, card.bytes, card.content_hash, card.numbers
    try:
        found = _own(name)
        if found:
            location, status, file = found[0].origin, "damaged", str(found[0].path)
            weights = celo_zoo.load_weights(name, allow_network=False)
            status = "verified" if weights.verified else "unverified"
            content = weights.content_hash
            numbers = numbers or sum(leaf.size for leaf in weights.leaves.values())
            if location != "cache" and size is None:
                sha256, size = weights.sha256, weights.path.stat().st_size
        record = celo_zoo.read_record(name) if location == "cache" else None
        if record is not None:
            sha256, size, revision = record.sha256, record.bytes, record.revision
    except WeightsError as error:
        problem = str(error)
    return {
        "name": name,
        "optimizer": card.optimizer,
        "summary": card.summary,
        "arrays": len(card.leaves),
        "numbers": numbers,
        "bytes": size,
        "location": location,
        "status": status,
        "path": file,
        "revision": revision,
        "sha256": sha256,
        "content_hash": content,
        "problem": problem,
    }


def is_here(name: str) -> bool:
    """Whether weights of this name, not others that stand in for them, are on this machine."""
    return bool(_own(name))


def _own(name: str) -> list[Place]:
    import celo_zoo

    found = celo_zoo.places(name)
    return [p for p in found if p.origin != "bundled" or name.startswith("bundled:")]


def details(card: Card) -> dict[str, Any]:
    """What only `show` tells, as JSON values."""
    return {
        "aliases": card.aliases,
        "repository": card.repository,
        "file": card.file,
        "licence": card.licence,
        "citation": card.citation,
        "recipe": card.recipe,
        "data": card.data,
        "cost": card.cost,
        "limits": card.limits,
        "leaves": [{"path": x.path, "shape": x.shape, "dtype": x.dtype} for x in card.leaves],
        "named_tuples": dict(card.named_tuples),
    }


def fields(state: dict[str, Any], card: Card) -> Iterator[tuple[str, str]]:
    """(label, text) of everything that is known, for people."""
    published = bool(card.repository)
    yield "name", " or ".join([state["name"], *card.aliases])
    yield "what", card.summary or "weights without a card"
    yield "optimizer", card.optimizer
    yield "where", f"{state['location']} ({state['status']})"
    yield "path", state["path"] or "-"
    if published:
        yield "hub", f"{card.repository}, file {card.file}"
        yield "revision", state["revision"] or _UNKNOWN
    size = state["bytes"]
    yield "bytes", _UNKNOWN if size is None else f"{size:,}"
    yield "sha256", state["sha256"] or _UNKNOWN
    yield "content hash", state["content_hash"] or _UNKNOWN
    yield "leaves", f"{state['arrays']} arrays, {state['numbers']:,} numbers"
    yield "licence", card.licence
    for key in ("citation", "recipe", "data", "cost"):
        if getattr(card, key):
            yield key, getattr(card, key)
    for limit in card.limits:
        yield "limit", limit


def print_field(key: str, value: str) -> None:
    """One field of `fields`, wrapped."""
    import shutil

    width = min(shutil.get_terminal_size().columns, 100)
    click.echo(
        click.wrap_text(
            f"{key:<12}  {value}", width=width, initial_indent="", subsequent_indent=" " * 14
        )
    )


def size_text(number: int | None) -> str:
    """A number of bytes for people: `149.2 kB`; `?` where it is not known."""
    if number is None:
        return "?"
    for unit, size in (("GB", 1e9), ("MB", 1e6)):
        if number >= size:
            return f"{number / size:.1f} {unit}"
    return f"{number / 1e3:.1f} kB"
