"""`celo zoo verify`: every check of a file of weights, each with its result."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from celo.errors import UsageError, WeightsError
from celo_zoo import store, tree
from celo_zoo.catalogue import Card
from celo_zoo.formats import WeightsFile, read_weights
from celo_zoo.location import Place, card_of, missing, parse_locator, places

Status = Literal["ok", "failed", "unknown"]


@dataclass(frozen=True)
class Check:
    """One check of one file.

    Attributes:
      name: of the entry, or the path asked for.
      path: the file.
      what: what was checked.
      status: "unknown" where nothing is known to check against.
      detail: what was found, and what was expected where it differs.
    """

    name: str
    path: Path
    what: str
    status: Status
    detail: str


def verify(name: str) -> list[Check]:
    """Checks every file of a zoo entry on this machine, or the file at a path.

    Raises:
      WeightsMissingError: there is none.
      UsageError: `name` names random weights.
    """
    where = parse_locator(name)
    if where.kind == "random":
        raise UsageError(f"{where.text} is no file of weights")
    if where.path is not None:
        return _verify(where.text, Place(where.path, "path"), None)
    found = places(where.text)
    if not found:
        raise missing(where.text, "there is nothing to verify")
    checks = []
    for place in found:
        try:
            card = card_of(where, place)
        except WeightsError as error:
            checks.append(Check(name, place.path, "card", "failed", error.message))
            continue
        checks += _verify(where.text, place, card)
    return checks


def _verify(name: str, place: Place, card: Card | None) -> list[Check]:
    checks: list[Check] = []

    def note(what: str, status: Status, detail: str) -> None:
        checks.append(Check(name, place.path, what, status, detail))

    def compare(what: str, expected: str | None, found: str, whose: str) -> None:
        if expected is None:
            note(what, "unknown", f"{found}; the {whose} has none")
        elif expected == found:
            note(what, "ok", f"{found}, as in the {whose}")
        else:
            note(what, "failed", f"expected {expected} ({whose}), found {found}")

    try:
        file = read_weights(place.path)
    except WeightsError as error:
        note("format", "failed", error.message)
        return checks
    note("format", "ok", f"{file.format}, {file.bytes} bytes")
    record = None
    if place.origin == "cache":
        try:
            record = store.read_record(name)
            if record is None:
                note("record", "failed", "missing")
        except WeightsError as error:
            note("record", "failed", error.message)
    if record is not None:
        compare("cached file", record.cached_sha256, file.sha256, "record")
        compare("original sha256", card.sha256 if card else None, record.sha256, "card")
    elif card is not None and card.sha256 is not None:
        same = file.sha256 == card.sha256
        detail = "as in the card" if same else "not the published file; its content decides"
        note("sha256", "ok" if same else "unknown", f"{file.sha256}, {detail}")
    _check_leaves(file, card, note)
    content = tree.content_hash(file.leaves)
    if record is not None:
        compare("content hash", record.content_hash, content, "record")
    if card is not None:
        compare("content hash", card.content_hash, content, "card")
    elif record is None:
        note("content hash", "unknown", f"{content}; weights of your own have no card")
    return checks


def _check_leaves(
    file: WeightsFile, card: Card | None, note: Callable[[str, Status, str], None]
) -> None:
    numbers = sum(leaf.size for leaf in file.leaves.values())
    held = f"{len(file.leaves)} arrays, {numbers} numbers"
    if card is None or not card.leaves:
        note("leaves", "unknown", f"{held}; no card says which are expected")
    else:
        texts = tree.differences(file.leaves, card.leaves)
        note("leaves", "failed" if texts else "ok", tree.summarize(texts) or held)
    bad = tree.non_finite(file.leaves)
    note("finite", "failed" if bad else "ok", tree.summarize(bad) or "all numbers are finite")
