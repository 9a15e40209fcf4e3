from __future__ import annotations

import json

import pytest

from celo.evaluation.cells import CellKey, DataIdentity, Schedule
from tests.evaluation.example_cells import DATA, KEY, key


def test_json_and_back() -> None:
    assert CellKey.from_json(json.loads(json.dumps(KEY.to_json()))) == KEY


@pytest.mark.parametrize(
    "change",
    [
        {"optimizer": "adam:lr=0.003"},
        {"entry": "adam:lr=0.001"},
        {"weights": "ab"},
        {"task": "other"},
        {"data": DataIdentity("digits", "synthetic", "synthetic", "f" * 64)},
        {"data": DataIdentity("digits", "real", "real", "e" * 64)},
        {"data": DataIdentity("digits", "real", "real", "f" * 64, published_splits=True)},
        {"seed": 1},
        {"schedule": Schedule(steps=30)},
        {"schedule": Schedule(steps=20, eval_every=5)},
        {"block_seeds": (0,)},
        {"grid": ()},
        {"batching": "map"},
        {"numerics": (1, 1, 2)},
        {"distribution": "celo-lion"},
    ],
)
def test_everything_that_matters_is_in_the_digest(change) -> None:
    assert key(**change).digest != KEY.digest


def test_labels_are_no_part_of_the_identity() -> None:
    renamed = DataIdentity("digits", "real", "8x8 digits", DATA.fingerprint)
    assert key(data=renamed).digest == KEY.digest


def test_the_digest_is_pinned() -> None:
    """Changing how keys are hashed orphans every result on disk: raise SCHEMA instead."""
    assert KEY.digest[:16] == "0e0ed481cc976bc5"
