"""From a name to checked weights: find, read, hold against the card, pull where needed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from celo.errors import UsageError, WeightsError, WeightsMissingError
from celo_zoo import hub, store, tree
from celo_zoo.catalogue import Card, Leaf
from celo_zoo.formats import MAX_FILE_BYTES, WeightsFile, read_weights
from celo_zoo.location import (
    FILE_NAMES,
    Locator,
    Origin,
    Place,
    cache_folder,
    card_of,
    how_to_get,
    missing,
    parse_locator,
    places,
    source_card,
)


@dataclass(frozen=True, eq=False)
class Weights:
    """Weights that passed every check.

    Attributes:
      tree: nested dictionaries of read-only arrays; named tuples (Haiku's LSTM state) appear as
        dictionaries too.
      leaves: the same arrays by path (`rnn_params|rnn/linear|w`), sorted.
      content_hash: of the arrays, 64 hexadecimal digits.
      source: zoo id, path or `hf:...`, as asked for.
      origin: where the file was found.
      verified: whether a card holds this content hash; otherwise only the leaves were checked.
      card: that the file was held against, or None.
      path: the file that was read.
      sha256: of the original file, as it was published or written.
      stand_in: why bundled weights were taken although published ones were asked for; None where
        they were not.
    """

    tree: dict[str, Any]
    leaves: dict[str, np.ndarray]
    content_hash: str
    source: str
    origin: Origin
    verified: bool
    card: Card | None
    path: Path
    sha256: str
    stand_in: str | None = None

    @property
    def mark(self) -> str:
        """What shows in every result that bundled weights stand in: `[bundled]`, or nothing."""
        return "" if self.stand_in is None else "[bundled]"

    @property
    def label(self) -> str:
        """How results name these weights: `celo`, or `celo[bundled]`."""
        return f"{self.source}{self.mark}"

    @property
    def remark(self) -> str | None:
        """One line for people where bundled weights stand in: what is used, why, what to do."""
        if self.stand_in is None:
            return None
        return (
            f"{self.label}: weights {self.content_hash[:12]}, made by the celo project and bundled "
            f"with it; the published ones are not here ({self.stand_in}): "
            f"`celo zoo pull {self.source}` gets them"
        )


@dataclass(frozen=True)
class PullResult:
    """What `pull` did.

    Attributes:
      record: where the weights came from; revision and hashes as enforced from now on.
      path: the file in our cache.
      downloaded: False when they were there already.
      verified: whether a card holds their content hash.
    """

    record: store.Record
    path: Path
    downloaded: bool
    verified: bool


def load_weights(
    locator: str, *, expected: Iterable[Leaf] | None = None, allow_network: bool = True
) -> Weights:
    """Weights by zoo id, path (file or run folder) or `hf:org/name[@revision]`.

    A zoo id is looked for in `CELO_ZOO_PATH`, our cache, the hub, and among the bundled weights.
    `bundled:NAME` names the last alone.

    Args:
      locator: what stands behind `@`.
      expected: leaves the optimizer needs, checked besides those of the card.
      allow_network: whether weights that are not here may be pulled.

    Raises:
      UsageError: `locator` is none of these (random weights are made by the optimizer itself).
      WeightsMissingError: the weights are nowhere; the hint says how to get them.
      WeightsError: a file is damaged or holds other weights than its name says.
    """
    where = parse_locator(locator)
    if where.kind == "random":
        raise UsageError(f"{where.text} is no file of weights: the optimizer initialises them")
    place, stand_in = _place(where, allow_network=allow_network)
    card = card_of(where, place)
    file = check_place(place, where.text, card)
    if expected is not None:
        _refuse_differences(file, tree.differences(file.leaves, expected), "the optimizer")
    content = tree.content_hash(file.leaves)
    record = store.read_record(where.text) if place.origin in ("cache", "hub") else None
    return Weights(
        tree=tree.unflatten(file.leaves),
        leaves=file.leaves,
        content_hash=content,
        source=where.text,
        origin=place.origin,
        verified=_is_verified(card, file),
        card=None if where.kind == "hub" else card,
        path=place.path,
        sha256=record.sha256 if record is not None else file.sha256,
        stand_in=stand_in,
    )


def pull(name: str, *, revision: str | None = None, force: bool = False) -> PullResult:
    """Fetches an entry of the zoo, or `hf:org/name[@revision]`, into our cache.

    What the card does not pin (revision, checksum) the first pull records; later pulls and every
    load are held against that record until the entry is removed.

    Args:
      name: zoo id or `hf:...`.
      revision: branch, tag or commit; default: the card's, else the recorded one, else `main`.
      force: fetch again although the weights are in the cache.

    Raises:
      WeightsMissingError: there is no network.
      WeightsError: the hub has no such file, or not the one that card or record name.
    """
    where = parse_locator(name)
    card = source_card(where)
    if card is None:
        raise UsageError(f"{name!r} cannot be pulled", hint="expected a zoo id or hf:org/name")
    cached = Place(cache_folder(card.id) / FILE_NAMES[0], "cache")
    record = _record(card.id, force=force)
    if cached.path.is_file() and not force and record is not None:
        if revision in (None, record.revision):
            file = check_place(cached, card.id, card)
            return PullResult(record, cached.path, False, _is_verified(card, file))
    wanted = revision or card.revision or (record.revision if record else "main")
    try:
        file, record = _fetch(card, wanted, record)
    except WeightsMissingError as error:
        raise WeightsMissingError(
            f"cannot pull {card.id}: {error.message}", hint=how_to_get(card.id)
        ) from error
    except OSError as error:
        raise WeightsError(
            f"cannot pull {card.id}: no temporary folder for the download: {error}"
        ) from error
    return PullResult(record, cached.path, True, _is_verified(card, file))


def _is_verified(card: Card | None, file: WeightsFile) -> bool:
    return card is not None and card.content_hash == tree.content_hash(file.leaves)


def check_place(place: Place, name: str, card: Card | None) -> WeightsFile:
    """Reads a file and holds it against the card and, in our cache, against its record.

    Raises:
      WeightsError: naming the file, the leaf, what was expected and what was found.
    """
    if place.origin not in ("cache", "hub"):
        file = read_weights(place.path)
        return check(file, card if place.origin != "path" else None)
    record = store.read_record(name)
    try:
        if record is None:
            raise WeightsError(f"{place.path} has no record of its origin beside it")
        file = read_weights(place.path)
        _refuse_other(place.path, "sha256", record.cached_sha256, file.sha256)
        return check(file, card, record)
    except WeightsError as error:
        raise WeightsError(error.message, hint=store.mend(name)) from error


def check(file: WeightsFile, card: Card | None, record: store.Record | None = None) -> WeightsFile:
    """Leaves, finiteness and content hash of a file against card and record; returns `file`.

    Raises:
      WeightsError: they differ.
    """
    if card is not None and card.leaves:
        _refuse_differences(file, tree.differences(file.leaves, card.leaves), card.id)
    bad = tree.non_finite(file.leaves)
    if bad:
        raise WeightsError(f"{file.path} holds numbers that are not finite: {tree.summarize(bad)}")
    content = tree.content_hash(file.leaves)
    for wanted, whose in (
        (card.content_hash if card else None, "card"),
        (record.content_hash if record else None, "record"),
    ):
        if wanted is not None:
            _refuse_other(file.path, f"content hash (of the {whose})", wanted, content)
    return file


def _refuse_differences(file: WeightsFile, texts: list[str], owner: str) -> None:
    if texts:
        noun = "leaf differs" if len(texts) == 1 else "leaves differ"
        raise WeightsError(
            f"{file.path} does not hold the weights of {owner}: {len(texts)} {noun}: "
            f"{tree.summarize(texts)}"
        )


def _refuse_other(path: Path, what: str, expected: str | int, found: str | int) -> None:
    if expected != found:
        raise WeightsError(
            f"{path} is not the file it should be: {what}: expected {expected}, found {found}",
            hint="weights of your own are used by path: NAME@PATH",
        )


def _place(where: Locator, *, allow_network: bool) -> tuple[Place, str | None]:
    """Where the weights are, and why bundled ones stand in, if they do."""
    if where.path is not None:
        return Place(where.path, "path"), None
    found = places(where.text)
    if found and (found[0].origin != "bundled" or where.kind == "bundled"):
        return found[0], None
    reason = "the network was not to be used"
    if allow_network and source_card(where) is not None:
        try:
            if found:
                hub.refuse_unreachable()
            return Place(pull(where.text).path, "hub"), None
        except WeightsMissingError as error:
            reason = error.message.removeprefix(f"cannot pull {where.text}: ")
        except WeightsError as error:
            if not found:
                raise
            ours = f"OPTIMIZER@bundled:{where.name} uses the weights that come with celo"
            hint = ours if error.hint is None else f"{error.hint}; or {ours}"
            raise WeightsError(error.message, hint=hint) from error
    if found:
        return found[0], reason
    raise missing(where.text, reason)


def _record(name: str, *, force: bool) -> store.Record | None:
    try:
        return store.read_record(name)
    except WeightsError:
        if force:
            return None  # mended by this pull
        raise


def _fetch(
    card: Card, revision: str, record: store.Record | None
) -> tuple[WeightsFile, store.Record]:
    names = [card.file] if card.file else list(FILE_NAMES)
    with hub.temporary_folder() as folder:
        fetched = hub.download(card.repository, names, revision, folder, limit=MAX_FILE_BYTES)
        file = read_weights(fetched.path)
        check_published(file, fetched, card, record)
        check(file, card, record)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        return file, store.write(card, file, fetched.file, fetched.commit, pulled_at=now)


def check_published(
    file: WeightsFile, fetched: hub.Download, card: Card, record: store.Record | None
) -> None:
    """Size and sha256 of a file as it came from the hub against card and record.

    Raises:
      WeightsError: they differ.
    """
    label = f"{card.repository}/{fetched.file}@{fetched.commit}"
    for whose, known in (("card", card), ("record of the first pull", record)):
        for what in ("bytes", "sha256"):
            wanted, found = getattr(known, what, None), getattr(file, what)
            if wanted not in (None, found):
                raise WeightsError(
                    f"{label} is not the file it should be: {what}: "
                    f"expected {wanted} ({whose}), found {found}",
                    hint="nothing was stored; to use that file all the same: "
                    f"hf:{card.repository}@{fetched.commit}",
                )
