"""From the folder of a meta-training to an entry: weights, card, curves, a page for people.

FOLDER/NAME/theta.safetensors   the weights; with CELO_ZOO_PATH=FOLDER they are `OPTIMIZER@NAME`
FOLDER/NAME/card.toml           what is known of them, in the form of the cards of this package
FOLDER/NAME/recipe.json         every setting of every stage
FOLDER/NAME/curves.jsonl        the log of the last stage, at most 400 of its lines
FOLDER/NAME/README.md           the card for people, and for the hub

The weights that come with this package are such entries in `celo_zoo/weights/`. They have the names
of the published ones that they stand in for; other entries may not.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from celo.errors import UsageError, WeightsError
from celo.files import write_atomically
from celo_zoo import tree
from celo_zoo.catalogue import CARD_FILE, find_card
from celo_zoo.formats import WeightsFile, encode_safetensors, read_weights
from celo_zoo.location import FILE_NAMES, bundled_folder, weights_in

README_FILE = "README.md"
_NAME = re.compile(r"[a-z0-9][a-z0-9-]*")
_MAX_LINES = 400


@dataclass(frozen=True)
class Added:
    """An entry that was made.

    Attributes:
      folder: of the entry.
      name: of the entry.
      optimizer: the weights belong to.
      content_hash: of the arrays.
    """

    folder: Path
    name: str
    optimizer: str
    content_hash: str


def add(
    run: Path,
    folder: Path,
    name: str,
    *,
    licence: str = "unknown",
    evaluation: Mapping[str, Any] | None = None,
) -> Added:
    """Makes an entry of the weights that a meta-training has chosen.

    Args:
      run: folder of a finished meta-training (it has a summary.json).
      folder: of entries; what `CELO_ZOO_PATH` names.
      name: of the entry: lower case, digits, `-`.
      licence: of the weights.
      evaluation: what `celo eval --format json` printed.

    Raises:
      UsageError: the name is none, or is taken.
      WeightsError: the folder holds no finished meta-training.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} is no name of an entry", hint="expected lower case letters, digits and -"
        )
    if find_card(name) is not None and folder.resolve() != bundled_folder().resolve():
        raise UsageError(
            f"{name!r} is the name of published weights", hint="choose another name with --name"
        )
    target = folder / name
    if target.exists():
        raise UsageError(f"{target} exists already", hint="choose another name with --name")
    try:
        summary = json.loads((run / "summary.json").read_bytes())
        stages = summary["stages"]
        last = run / summary["runs"][-1]
        identity = json.loads((last / "run.json").read_bytes())
        began = json.loads((run / summary["runs"][0] / "run.json").read_bytes())["init"]
        curves = (last / "log.jsonl").read_bytes()
    except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
        raise WeightsError(
            f"{run} holds no finished meta-training: {error}",
            hint="give the folder that `celo meta-train --output` wrote, when it has ended",
        ) from error
    file = read_weights(weights_in(run))
    bad = tree.non_finite(file.leaves)
    if bad:
        raise WeightsError(f"{file.path} holds numbers that are not finite: {tree.summarize(bad)}")
    optimizer = str(file.metadata.get("optimizer", stages[-1]["config"]["plugin"]))
    facts = _facts(name, optimizer, file, summary, identity, _start(began), licence)
    data = encode_safetensors(file.leaves, {"name": name, "optimizer": optimizer})
    card = _card(facts, optimizer, file)
    page = _page(facts, optimizer, file, curves, evaluation)
    recipe = json.dumps(stages, indent=2)
    for file_name, content in (
        (FILE_NAMES[0], data),
        (CARD_FILE, card.encode()),
        ("recipe.json", recipe.encode()),
        ("curves.jsonl", _thinned(curves)),
        (README_FILE, page.encode()),
    ):
        write_atomically(target / file_name, lambda out, content=content: out.write(content))
    return Added(target, name, optimizer, tree.content_hash(file.leaves))


def _facts(
    name: str,
    optimizer: str,
    file: WeightsFile,
    summary: Mapping[str, Any],
    identity: Mapping[str, Any],
    start: str,
    licence: str,
) -> dict[str, str]:
    configs = [stage["config"] for stage in summary["stages"]]
    work = "; ".join(
        f"phase {c['phase']}: {iterations} iterations, {c['estimator']}, lr {c['outer_lr']:g} "
        f"{c['outer_schedule']}, sigma {c['sigma']:g}, {c['particles']} particles, "
        f"windows of {c['trunc']}, unrolls {c['unroll']}, aug {c['aug']}, suite {c['suite']}"
        + (f", late weight {c['late_weight']:g}" if c["late_weight"] else "")
        for c, iterations in zip(configs, summary["iterations"], strict=True)
    )
    named = f"recipe {summary['recipe']}; " if summary["recipe"] else ""
    sets = ", ".join(f"{set_name} ({digest[:12]})" for set_name, digest in identity["data"].items())
    losses = ", ".join(f"{loss:.4f}" for loss in summary["losses"])
    return {
        "id": name,
        "optimizer": optimizer,
        "summary": f"{optimizer}, meta-trained with celo",
        "repository": "",
        "file": FILE_NAMES[0],
        "licence": licence,
        "recipe": f"{named}{work}; seed {configs[0]['seed']}; {start}; "
        f"meta-loss at the end {losses}; weights chosen: {summary['chosen']}",
        "data": f"tasks {', '.join(identity['tasks'])}; rows of {sets}",
        "cost": f"{summary['device_hours']:g} device-hours, compiling left out",
        "content_hash": tree.content_hash(file.leaves),
    }


def _start(content: str) -> str:
    """What the identity of a first stage says about its initial weights."""
    kind, found, _ = content.partition(":")
    if found and kind == "momentum":
        return "from a hand-made optimizer (normalised momentum)"
    return "from random weights" if kind == "random" else f"from weights {content[:12]}"


def _card(facts: Mapping[str, str], optimizer: str, file: WeightsFile) -> str:
    known = find_card(optimizer)
    lines = [f"{key} = {_text(value)}" for key, value in facts.items()]
    lines += ["", "[leaves]"]
    lines += [f"{_text(path)} = {list(leaf.shape)}" for path, leaf in file.leaves.items()]
    if known is not None and {leaf.path for leaf in known.leaves} == set(file.leaves):
        lines += ["", "[named_tuples]"]
        lines += [
            f"{_text(path)} = [{', '.join(map(_text, fields))}]"
            for path, fields in known.named_tuples.items()
        ]
    return "\n".join(lines) + "\n"


def _text(value: str) -> str:
    """A basic string of TOML; those of JSON without escapes of surrogates are."""
    return json.dumps(value, ensure_ascii=False)


def _page(
    facts: Mapping[str, str],
    optimizer: str,
    file: WeightsFile,
    curves: bytes,
    evaluation: Mapping[str, Any] | None,
) -> str:
    numbers = sum(leaf.size for leaf in file.leaves.values())
    lines = [
        f"# {facts['id']}\n",
        f"Weights of the learned optimizer `{optimizer}`: {len(file.leaves)} arrays, "
        f"{numbers:,} numbers.\n",
        *(f"- {key}: {facts[key]}" for key in ("recipe", "data", "cost", "licence")),
        f"- content hash: `{facts['content_hash']}`\n",
        "## Meta-loss of the last stage\n",
        "| iteration | meta-loss |\n| --- | --- |",
        *_curve(curves),
    ]
    if evaluation is not None:
        lines += ["\n## Evaluation\n", "| metric | optimizer | value | interval |"]
        lines += ["| --- | --- | --- | --- |", *_evaluation(evaluation)]
    return "\n".join(lines) + "\n"


def _thinned(curves: bytes) -> bytes:
    """Every k-th line and the last, so that an entry stays small."""
    lines = curves.splitlines(keepends=True)
    step = -(-len(lines) // _MAX_LINES) or 1
    return b"".join(lines[(len(lines) - 1) % step :: step])


def _curve(curves: bytes, points: int = 12) -> Sequence[str]:
    rows = [json.loads(line) for line in curves.decode().splitlines()]
    step = max(len(rows) // points, 1)
    chosen = [*rows[step - 1 :: step]]
    return [f"| {row['iteration']} | {row['loss']} |" for row in chosen]


def _evaluation(evaluation: Mapping[str, Any]) -> Sequence[str]:
    try:
        return [
            f"| {e['metric']} ({e['split']}) | {e['optimizer']} | {e['value']} "
            f"| {e['low']} to {e['high']} |"
            for e in evaluation["aggregate"]
        ]
    except (KeyError, TypeError) as error:
        raise UsageError(
            f"this is no evaluation: {error} is missing", hint="expected `celo eval --format json`"
        ) from error
