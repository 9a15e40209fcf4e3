"""Where weights are looked for, and what a text behind `@` means.

Standard library only: `celo zoo list` and the checks of names need nothing more.
"""

from __future__ import annotations

import contextlib
import os
import re
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from celo.errors import UsageError, WeightsError, WeightsMissingError
from celo.files import cache_dir
from celo_zoo.catalogue import Card, card, cards, find_card, read_card

FILE_NAMES = ("theta.safetensors", "theta.state")
"""Names of a file of weights in a folder, the first found counts."""

_BUNDLED = Path(__file__).parent / "weights"
_NAME = re.compile(r"[a-z0-9][a-z0-9-]*")
_REPOSITORY = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")
_REVISION = re.compile(r"[\w-][\w./-]*")
_SEED = re.compile(r"random(?::(\d+))?")

_EXPECTED = "expected a zoo id, a path, hf:org/name[@revision], bundled:NAME or random[:seed]"

Origin = Literal["zoo-path", "cache", "hub", "bundled", "path"]


@dataclass(frozen=True)
class Locator:
    """What a text such as `celo`, `./theta.state`, `hf:org/name@main` or `random:1` names.

    Attributes:
      kind: "zoo", "path", "hub", "bundled" or "random".
      text: canonical form.
      name: kinds zoo and bundled: name of the entry (kind zoo: also a folder of `CELO_ZOO_PATH`).
      path: kind path: the file of weights itself.
      repository: kind hub: `org/name`.
      revision: kind hub: branch, tag or commit, or None.
      seed: kind random: of the initial weights.
    """

    kind: Literal["zoo", "path", "hub", "bundled", "random"]
    text: str
    name: str | None = None
    path: Path | None = None
    repository: str | None = None
    revision: str | None = None
    seed: int | None = None


@dataclass(frozen=True)
class Place:
    """A file of weights that lies on this machine."""

    path: Path
    origin: Origin


def parse_locator(text: str) -> Locator:
    """Reads what stands behind `@`: a zoo id, an existing path, `hf:org/name[@revision]`,
    `bundled:NAME` (the weights that come with this package, and no others) or `random[:seed]`.

    An entry of the zoo comes before a file or folder of the same name (write `./celo` for that).

    Raises:
      UsageError: the text is none of these.
      WeightsMissingError: it is a path, but there are no weights there; nothing of this name is
        bundled.
    """
    text = text.strip()
    if not text:
        raise UsageError("the name of the weights is empty", hint=_EXPECTED)
    if text == "random" or text.startswith("random:"):
        match = _SEED.fullmatch(text)
        if match is None:
            raise UsageError(f"{text!r} has no valid seed", hint="expected random or random:SEED")
        seed = int(match[1] or 0)
        return Locator("random", f"random:{seed}", seed=seed)
    if text.startswith("hf:"):
        repository, _, revision = text[3:].partition("@")
        _check_hub_name(text, repository, revision)
        return Locator("hub", text, repository=repository, revision=revision or None)
    if text == "bundled" or text.startswith("bundled:"):
        name = _bundled_name(text[len("bundled:") :])
        return Locator("bundled", f"bundled:{name}", name=name)
    entry = find_card(text)
    if entry is not None:
        return Locator("zoo", entry.id, name=entry.id)
    path = Path(text).expanduser()
    if path.exists():
        return Locator("path", text, path=weights_in(path))
    if _looks_like_path(text):
        raise WeightsMissingError(f"there is no file or folder of weights at {path}")
    folder = zoo_folder()
    if folder is not None and (folder / text).is_dir():
        return Locator("zoo", text, name=text)
    return Locator("zoo", card(text).id)  # raises: names the nearest entries


def _check_hub_name(text: str, repository: str, revision: str) -> None:
    named = _REPOSITORY.fullmatch(repository) and ".." not in repository
    pinned = not revision or (_REVISION.fullmatch(revision) and ".." not in revision)
    if not (named and pinned) or text.endswith("@"):
        raise UsageError(f"{text!r} names no repository", hint="expected hf:org/name[@revision]")


def _bundled_name(text: str) -> str:
    entry = find_card(text)
    name = entry.id if entry is not None else text
    if bundled_file(name) is None:
        known = ", ".join(f"bundled:{name}" for name in bundled_names()) or "none"
        raise WeightsMissingError(
            f"no weights called {text!r} come with celo", hint=f"those that do: {known}"
        )
    return name


def _looks_like_path(text: str) -> bool:
    separators = [s for s in (os.sep, os.altsep) if s]
    return text.startswith(("~", ".")) or any(s in text for s in separators) or "." in text


def weights_in(path: Path) -> Path:
    """`path` if it is a file, else the file of weights in that folder.

    Raises:
      WeightsMissingError: the folder holds none.
    """
    if not path.is_dir():
        return path
    for name in FILE_NAMES:
        if (path / name).is_file():
            return path / name
    raise WeightsMissingError(f"the folder {path} holds neither {' nor '.join(FILE_NAMES)}")


def zoo_folder() -> Path | None:
    """The folder `CELO_ZOO_PATH`, or None when it is not set.

    Raises:
      WeightsError: it is set to something that is not a folder.
    """
    text = os.environ.get("CELO_ZOO_PATH")
    if not text:
        return None
    folder = Path(text).expanduser()
    if not folder.is_dir():
        raise WeightsError(
            f"CELO_ZOO_PATH is {text!r}, which is not a folder",
            hint="expected a folder with NAME/theta.state or NAME/theta.safetensors; or unset it",
        )
    return folder


def cache_folder(name: str) -> Path:
    """The folder of our cache that holds the entry `name` (a zoo id, or `hf:...`)."""
    return cache_dir() / "zoo" / urllib.parse.quote(name, safe="")


def bundled_folder() -> Path:
    """The folder of the weights that come with the package."""
    return _BUNDLED


def bundled_names() -> list[str]:
    """Names of the weights that come with the package, sorted."""
    folders = bundled_folder().iterdir() if bundled_folder().is_dir() else ()
    return sorted(folder.name for folder in folders if bundled_file(folder.name) is not None)


def bundled_file(name: str) -> Path | None:
    """The file of weights that comes with the package, or None."""
    path = bundled_folder() / name / FILE_NAMES[0]
    return path if _NAME.fullmatch(name) and path.is_file() else None


def places(name: str) -> list[Place]:
    """Every file of the entry `name` on this machine, in the order in which they are preferred.

    Raises:
      WeightsError: `CELO_ZOO_PATH` is not a folder, or its folder for `name` holds no weights.
    """
    if name.startswith("bundled:"):
        only = bundled_file(name.removeprefix("bundled:"))
        return [] if only is None else [Place(only, "bundled")]
    found = []
    folder = zoo_folder()
    try:
        if folder is not None and not name.startswith("hf:") and (folder / name).is_dir():
            found.append(Place(weights_in(folder / name), "zoo-path"))
        cached = cache_folder(name) / FILE_NAMES[0]
        if cached.is_file():
            found.append(Place(cached, "cache"))
    except OSError as error:
        reason = error.strerror or error
        raise WeightsError(f"cannot look for weights in {error.filename}: {reason}") from error
    bundled = bundled_file(name)
    if bundled is not None:
        found.append(Place(bundled, "bundled"))
    return found


def weights_path(name: str) -> Path:
    """The file that loading `name` (zoo id, path or `hf:...`) would read now, without a pull.

    Raises:
      WeightsMissingError: there is none on this machine.
      UsageError: `name` names random weights.
    """
    where = parse_locator(name)
    if where.kind == "random":
        raise UsageError(f"{where.text} is no file of weights")
    if where.path is not None:
        return where.path
    found = places(where.text)
    if not found:
        raise missing(where.text, "it was not pulled")
    return found[0].path


def source_card(locator: Locator) -> Card | None:
    """The card of a zoo entry, or one made up for a repository on the hub that has none."""
    if locator.kind == "zoo":
        return find_card(locator.name or "")
    if locator.kind == "hub" and locator.repository is not None:
        return Card(
            id=locator.text,
            optimizer="",
            summary="",
            repository=locator.repository,
            file="",
            revision=locator.revision,
        )
    return None


def card_of(locator: Locator, place: Place) -> Card | None:
    """The card that the file at `place` is held against, or None: weights by path have none.

    Bundled weights, and those that only `CELO_ZOO_PATH` knows, have their card beside them. Under
    the name of published weights nothing else counts as these, whatever card lies beside it.

    Raises:
      WeightsError: the card beside the weights is damaged, or bundled weights have none.
    """
    if place.origin == "path":
        return None
    if place.origin == "bundled":
        own = read_card(place.path.parent)
        if own is None:
            raise WeightsError(f"{place.path} has no card beside it", hint="install celo again")
        return own
    known = source_card(locator)
    if known is None and place.origin == "zoo-path":
        return read_card(place.path.parent)
    return known


def entries() -> Mapping[str, Card]:
    """Everything that has a name: published weights, bundled ones, and those of `CELO_ZOO_PATH`.

    Returns:
      card by what may stand behind `@`: `celo`, `bundled:celo`, `my-celo`. What lies in
      `CELO_ZOO_PATH` without a readable card has one without contents.
    """
    found = dict(cards())
    own = {f"bundled:{name}": bundled_folder() / name for name in bundled_names()}
    with contextlib.suppress(WeightsError, OSError):  # told where weights are looked for
        folder = zoo_folder()
        for entry in sorted(folder.iterdir()) if folder is not None else ():
            if find_card(entry.name) is None and any((entry / n).is_file() for n in FILE_NAMES):
                own[entry.name] = entry
    for name, entry in own.items():
        card = None
        with contextlib.suppress(WeightsError):
            card = read_card(entry)
        found[name] = card or Card(name, optimizer="", summary="", repository="", file="")
    return found


def missing(name: str, reason: str) -> WeightsMissingError:
    """The error for an entry that is nowhere on this machine; `reason`: why it was not pulled."""
    folder = os.environ.get("CELO_ZOO_PATH")
    looked = f"{folder} (CELO_ZOO_PATH) and {cache_folder(name)}" if folder else cache_folder(name)
    return WeightsMissingError(
        f"the weights {name} are not on this machine (looked in {looked}): {reason}",
        hint=how_to_get(name),
    )


def how_to_get(name: str) -> str:
    """What to do when the entry `name` is not here and cannot be pulled."""
    hint = f"run `celo zoo pull {name}` where there is a network and copy the cache ({cache_dir()})"
    if name.startswith("hf:"):
        return hint
    return f"{hint}, or set CELO_ZOO_PATH=FOLDER with FOLDER/{name}/theta.state"
