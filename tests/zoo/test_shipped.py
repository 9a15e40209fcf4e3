"""The weights that come with the package are small, whole, ours, and say how they were made."""

from __future__ import annotations

import json
import math
import warnings
from pathlib import Path

import jax
import numpy as np
import pytest

import celo
import celo_zoo
from celo_zoo import find_card, load_weights, verify

SHIPPED = Path(celo_zoo.__file__).parent / "weights"
NAMES = sorted(folder.name for folder in SHIPPED.glob("*") if folder.is_dir())
FILES = {"theta.safetensors", "card.toml", "recipe.json", "curves.jsonl", "README.md"}


@pytest.fixture(autouse=True)
def shipped(bundled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("celo_zoo.location._BUNDLED", SHIPPED)


def test_there_are_some_and_they_are_small() -> None:
    assert "celo" in NAMES and celo_zoo.bundled_names() == NAMES
    assert sum(path.stat().st_size for path in SHIPPED.rglob("*")) < 1_000_000


@pytest.mark.parametrize("name", NAMES)
def test_they_load_strictly(name: str) -> None:
    published = find_card(name)
    assert published is not None, "what they stand in for"
    weights = load_weights(f"bundled:{name}", expected=published.leaves)
    card = weights.card
    assert card is not None and weights.verified
    assert (card.id, card.optimizer) == (name, published.optimizer)
    assert dict(card.named_tuples) == dict(published.named_tuples)
    assert {check.status for check in verify(f"bundled:{name}")} == {"ok"}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        lopt, theta = celo.load_learned(f"{published.optimizer}@bundled:{name}")
    fresh = lopt.init(jax.random.PRNGKey(0))
    assert jax.tree.structure(theta) == jax.tree.structure(fresh)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(theta))


@pytest.mark.parametrize("name", NAMES)
def test_they_are_ours_and_say_how_they_were_made(name: str) -> None:
    folder = SHIPPED / name
    assert {path.name for path in folder.iterdir()} == FILES
    weights = load_weights(f"bundled:{name}")
    card, published = weights.card, find_card(name)
    assert card is not None and published is not None
    assert card.licence == "Apache-2.0" and card.repository == ""
    assert card.content_hash not in (None, published.content_hash)
    assert "iterations" in card.recipe and "meta-loss at the end" in card.recipe
    assert "rows of" in card.data and "device-hours" in card.cost
    stages = json.loads((folder / "recipe.json").read_text())
    phases = [stage["config"]["phase"] for stage in stages]
    assert phases == sorted(phases) and phases
    for stage in stages:
        assert stage["config"]["plugin"].split(":")[0] in (card.optimizer, name)
        # Data that others can have, under the names that everybody's have.
        assert stage["config"]["data"] in (None, "real")
    rows = [json.loads(line) for line in (folder / "curves.jsonl").read_text().splitlines()]
    iterations = [row["iteration"] for row in rows]
    assert iterations == sorted(set(iterations)) and len(rows) > 1
    assert all(math.isfinite(row["loss"]) for row in rows)
    assert card.content_hash in (folder / "README.md").read_text()
