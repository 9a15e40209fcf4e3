"""Files of text sets in the forms in which real ones come, and damaged ones."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from celo import registry
from celo.data import DataSelection, describe, text
from celo.errors import DataError

REAL = DataSelection()
WIKITEXT = registry.data_set("wikitext2").record
LM1B = registry.data_set("lm1b").record
SHAKESPEARE = registry.data_set("tinyshakespeare").record
LINES = b" \n = A title = \n\n First  paragraph . \n = = Deeper = = \n Second .\n"


def _write(folder: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)


@pytest.mark.parametrize(
    "form",
    [
        "wikitext2/{}.txt",
        "text/wikitext2/{}.txt.gz",
        "wikitext-2/wiki.{}.tokens",
        "wikitext2_{}.txt.gz",
        "text/wikitext2-{}.txt",
    ],
)
def test_forms_of_files(data_folder: Path, form: str) -> None:
    _write(data_folder, {form.format(part): LINES for part in ("train", "valid", "test")})
    _write(data_folder, {"wikitext2/README.txt": b"no part", "lm1b_train.txt": b"another set"})
    files = text.locate(WIKITEXT)
    assert files is not None
    for part in ("train", "valid", "test"):
        assert list(text.documents(WIKITEXT, files, part)) == ["First  paragraph .", "Second ."]


def test_original_folders_of_lm1b(data_folder: Path) -> None:
    root = LM1B.folders[0]
    train, held = (
        "training-monolingual.tokenized.shuffled",
        "heldout-monolingual.tokenized.shuffled",
    )
    _write(
        data_folder,
        {
            f"{root}/README": b"words about it\n",
            f"{root}/{train}/news.en-00002-of-00100": b"third\n= kept =\n",
            f"{root}/{train}/news.en-00001-of-00100": b"first\n\nsecond\n",
            f"{root}/{held}/news.en.heldout-00000-of-00050": b"held out\n",
        },
    )
    files = text.locate(LM1B)
    assert files is not None
    assert list(text.documents(LM1B, files, "train")) == ["first", "second", "third", "= kept ="]
    assert list(text.documents(LM1B, files, "test")) == ["held out"]


def test_one_file_of_a_set_of_one_part(data_folder: Path) -> None:
    _write(data_folder, {"text/tinyshakespeare.txt": b"To be\nor not\n"})
    files = text.locate(SHAKESPEARE)
    assert files is not None
    assert list(text.documents(SHAKESPEARE, files, "train")) == ["To be", "or not"]
    assert describe("tinyshakespeare", REAL).label == "partial (2 of 32777 train documents)"


def test_a_set_without_one_of_its_parts_is_missing(data_folder: Path) -> None:
    _write(data_folder, {"wikitext2/train.txt": LINES, "wikitext2/test.txt": LINES})
    state = describe("wikitext2", REAL)
    assert state.label == "missing"
    assert state.missing is not None and str(data_folder) in state.missing
    assert state.hint is not None and "train.txt, valid.txt, test.txt" in state.hint
    lm1b = describe("lm1b", REAL)
    assert lm1b.hint is not None and "`--data lm1b=wikitext2`" in lm1b.hint


def _documents(data_folder: Path, name: str, content: bytes) -> list[str]:
    (data_folder / "text").mkdir(exist_ok=True)
    (data_folder / "text" / name).write_bytes(content)
    files = text.locate(SHAKESPEARE)
    assert files is not None
    return list(text.documents(SHAKESPEARE, files, "train"))


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("tinyshakespeare.txt", b"good\nbad \xff\xfe\n", "line 2 is not UTF-8 text"),
        ("tinyshakespeare.txt", b" \n\n", "expected documents, one a line, found none"),
        ("tinyshakespeare.txt.gz", gzip.compress(b"line\n" * 999)[:-9], "cannot be read"),
        ("tinyshakespeare.txt.gz", b"no archive", "cannot be read"),
    ],
    ids=["not UTF-8", "empty", "cut short", "no gzip"],
)
def test_damage_is_one_sentence_with_the_file(
    data_folder: Path, name: str, content: bytes, complaint: str
) -> None:
    with pytest.raises(DataError, match=complaint) as caught:
        _documents(data_folder, name, content)
    assert name in caught.value.message and caught.value.hint


def test_files_that_vanish(data_folder: Path) -> None:
    _write(data_folder, {"tinyshakespeare.txt": b"To be\n"})
    files = text.locate(SHAKESPEARE)
    assert files is not None
    before = files.stat_key
    (data_folder / "tinyshakespeare.txt").write_bytes(b"To be or\n")
    assert files.stat_key != before
    (data_folder / "tinyshakespeare.txt").unlink()
    with pytest.raises(DataError, match="cannot be read"):
        assert files.stat_key
