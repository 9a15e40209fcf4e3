"""Batches of tokens: what they hold, which documents each split has, stand-ins."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from celo.data import DataSelection, describe, fingerprint, sources, tokens
from celo.data.text_datasets import text_datasets
from celo.errors import DataError, DataMissingError, UsageError
from celo.records import Share

REAL = DataSelection()
SYNTHETIC = DataSelection(synthetic=True)
STAND_IN = DataSelection.parse("lm1b=wikitext2,wikipedia=wikitext2")


def _lines(count: int, what: str = "line") -> bytes:
    return b"".join(f"{what} {i}\n".encode() for i in range(count))


@pytest.fixture
def text_folder(data_folder: Path) -> Path:
    for part, rows in (("train", 300), ("valid", 40), ("test", 20)):
        path = data_folder / "wikitext2" / f"{part}.txt"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(_lines(rows, part))
    return data_folder


def _texts(ids: np.ndarray) -> list[str]:
    return [bytes(int(i) - 3 for i in row if i).decode() for row in ids]


def test_rows_are_the_first_tokens_padded(text_folder: Path) -> None:
    datasets = text_datasets("wikitext2", "bytes", 4, 8, REAL)
    table = datasets.table("test")
    assert table.arrays["tokens"].dtype == np.uint16 and table.rows == 20
    assert _texts(table.arrays["tokens"])[:2] == ["test 0", "test 1"]
    batch = table.decode({"tokens": table.arrays["tokens"][:1]})
    whole = [ord(c) + 3 for c in "test 0"]
    np.testing.assert_array_equal(batch["obs"], [[*whole, 0, 0]])
    np.testing.assert_array_equal(batch["target"], [[*whole[1:], 0, 0, 0]])
    batch = next(datasets.train)
    assert {name: (x.shape, x.dtype) for name, x in batch.items()} == {
        name: (x.shape, x.dtype) for name, x in datasets.abstract_batch.items()
    }
    long = text_datasets("wikitext2", "bytes", 4, 3, REAL).table("test").arrays["tokens"]
    assert _texts(long)[0] == "test"  # T + 1 tokens


def test_splits_are_ranges_of_the_parts(text_folder: Path) -> None:
    (text_folder / "lm1b").mkdir()
    (text_folder / "lm1b" / "train.txt").write_bytes(_lines(1000))
    (text_folder / "lm1b" / "test.txt").write_bytes(_lines(5, "test"))
    (text_folder / "wikipedia").mkdir()
    (text_folder / "wikipedia" / "train.txt").write_bytes(_lines(1000))

    def ends(name: str) -> dict[str, list[str]]:
        datasets = text_datasets(name, "bytes", 1, 20, REAL)
        splits = ("train", "inner_valid", "outer_valid", "test")
        found = {split: _texts(datasets.table(split).arrays["tokens"]) for split in splits}
        return {split: [texts[0], texts[-1]] for split, texts in found.items()}

    assert ends("lm1b") == {
        "train": ["line 20", "line 999"],
        "inner_valid": ["line 0", "line 9"],
        "outer_valid": ["line 10", "line 19"],
        "test": ["test 0", "test 4"],
    }
    assert ends("wikipedia") == {
        "train": ["line 30", "line 999"],
        "inner_valid": ["line 0", "line 9"],
        "outer_valid": ["line 10", "line 19"],
        "test": ["line 20", "line 29"],
    }
    assert ends("wikitext2")["outer_valid"] == ["valid 20", "valid 39"]
    assert tokens.rows_of(Share("train", 2, 100), 30_301_028) == slice(606_021, 30_301_028)


def test_a_stand_in_is_labelled_and_learns_its_own_vocabulary(text_folder: Path) -> None:
    state = describe("lm1b", STAND_IN, "32k")
    assert state.kind == "substitute"
    parts = "300 of 17556 train documents, 20 of 2185 test documents"
    assert state.label == f"substitute wikitext2, partial ({parts})"
    datasets = text_datasets("lm1b", "32k", 4, 8, STAND_IN)
    assert datasets.extra_info["vocab_size"] == 32_100
    ids = datasets.table("train").arrays["tokens"]
    assert ids.shape == (300, 9) and 3 <= ids[ids > 0].min() and ids.max() < 32_000
    same = text_datasets("wikipedia", "32k", 4, 8, STAND_IN).table("train").arrays["tokens"]
    np.testing.assert_array_equal(ids, same)
    prints = {fingerprint("lm1b", STAND_IN, v) for v in ("32k", "bytes", "")}
    assert len(prints) == 3
    assert describe("wikitext2", STAND_IN).kind == "partial"


def test_the_real_set_needs_the_published_vocabulary(text_folder: Path) -> None:
    for part in ("train", "test"):
        path = text_folder / "lm1b" / f"{part}.txt"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(_lines(300))
    assert describe("lm1b", REAL, "bytes").missing is None
    state = describe("lm1b", REAL, "32k")
    assert state.missing is not None and "32k vocabulary" in state.missing
    with pytest.raises(DataMissingError, match="32k vocabulary"):
        text_datasets("lm1b", "32k", 4, 8, REAL).table("train")


def test_tokens_are_made_once_and_anew_when_files_change(text_folder: Path) -> None:
    before = fingerprint("wikitext2", REAL, "bytes")
    kept = sorted((text_folder.parent / "cache" / "tokens").glob("*.npy"))
    times = [path.stat().st_mtime_ns for path in kept]
    assert len(kept) == 3 and fingerprint("wikitext2", REAL, "bytes") == before
    assert [path.stat().st_mtime_ns for path in kept] == times
    kept[0].write_bytes(b"damaged")
    assert fingerprint("wikitext2", REAL, "bytes") == before
    (text_folder / "wikitext2" / "test.txt").write_bytes(_lines(20, "Test"))
    assert fingerprint("wikitext2", REAL, "bytes") != before


def test_more_documents_than_one_block(text_folder: Path) -> None:
    (text_folder / "wikitext2" / "train.txt").write_bytes(_lines(2500))
    found = sources.find_text("wikitext2", "bytes", REAL)
    texts = _texts(tokens.load(found)["train"])
    assert texts == [f"line {i}" for i in range(2500)]
    assert isinstance(tokens.load(found)["train"], np.memmap)


def test_synthetic_tokens_are_uniform_and_whole() -> None:
    datasets = text_datasets("lm1b", "32k", 256, 32, SYNTHETIC)
    ids = datasets.table("inner_valid").arrays["tokens"]
    assert ids.shape == (328, 33) and ids.min() >= 3
    assert abs(ids.mean() / 16_051 - 1) < 0.03
    assert describe("lm1b", SYNTHETIC).kind == "synthetic"
    assert fingerprint("lm1b", SYNTHETIC, "32k") != fingerprint("wikipedia", SYNTHETIC, "32k")


def test_wrong_requests(text_folder: Path) -> None:
    with pytest.raises(UsageError, match="mnist is a set of images, a language task needs"):
        text_datasets("mnist", "bytes", 4, 8, REAL)
    with pytest.raises(UsageError, match="no vocabulary 'words'"):
        text_datasets("wikitext2", "words", 4, 8, REAL)
    with pytest.raises(UsageError, match="a row has 129 tokens, expected 1 to 128"):
        text_datasets("wikitext2", "bytes", 4, 129, REAL)
    with pytest.raises(DataError, match="the test split of wikitext2 has 20 rows"):
        text_datasets("wikitext2", "bytes", 32, 8, REAL).table("test")


def test_a_cache_that_cannot_be_written(text_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (text_folder / "file").write_bytes(b"")
    found = sources.find_text("wikitext2", "bytes", REAL)
    monkeypatch.setenv("CELO_CACHE_DIR", str(text_folder / "file"))
    with pytest.raises(DataError, match="tokens of wikitext2 cannot be kept in") as caught:
        tokens.load(found)
    assert "CELO_CACHE_DIR" in (caught.value.hint or "")
