"""Every rule about text sets: a good one keeps it, a broken twin does not."""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from celo.data_parts import Share, TextSplits
from celo.records import DataSet
from celo.testing import DATA_RULES, TEXT_RULES, Rule, check_data, data_results
from celo.testing.text_rules import TextSubject
from tests.cli.process import celo

RECORD = DataSet(
    name="tiny",
    summary="a few words",
    load="nowhere:load",
    kind="text",
    train_rows=200,
    test_rows=20,
    licence="none",
)
GOOD = {"train": [f"line {i}" for i in range(200)], "test": ["the end"] * 20}


def _subject(splits: TextSplits | None = None, **parts: Iterable[Any]) -> TextSubject:
    documents = {**GOOD, **parts}
    record = dataclasses.replace(RECORD, splits=splits or RECORD.splits)
    return TextSubject(record, lambda part: iter(documents[part]))


def _changing() -> TextSubject:
    count = itertools.count()
    return TextSubject(RECORD, lambda part: [f"read {next(count)} times"] * 100)


# rule -> [(the twin, what its message must name)]
TWINS: dict[str, list[tuple[TextSubject, str]]] = {
    "documents": [
        (_subject(train=["a", " ", "b"]), "document 1 of the part 'train' is empty"),
        (_subject(test=["a", b"b"]), "document 1 of the part 'test' is bytes"),
        (_subject(test=["\ud800"]), "UTF-8: '\\ud800'"),
        (_subject(test=[]), "'test' has no documents"),
    ],
    "counts": [(_subject(test=["too many"] * 21), "has 21 documents, 20 are declared")],
    "splits": [
        (_subject(train=["few"] * 9), "the split inner_valid has no documents"),
        (_subject(TextSplits(test=Share("train", 50, 60))), "test shares documents with train"),
        (_subject(TextSplits(train=Share("train", 2, 101))), "from 2 % to 101 %"),
    ],
    "fingerprint": [(_changing(), "'train' is another text")],
}


def test_a_good_set_keeps_every_rule() -> None:
    assert {result.status for result in data_results(_subject())} == {"ok"}


@pytest.mark.parametrize("rule", TEXT_RULES)
def test_broken_twins_fail(rule: Rule) -> None:
    for subject, words in TWINS[rule.name]:
        (result,) = data_results(subject, rule)
        assert result.status == "failed"
        assert words in result.message


def test_every_rule_has_a_broken_twin() -> None:
    assert set(TWINS) == {rule.name for rule in TEXT_RULES}


def test_a_rule_of_the_other_kind_is_skipped() -> None:
    assert data_results("digits", TEXT_RULES[0])[0].message == "a set of images has no documents"
    assert "no rows of images" in data_results("wikitext2", DATA_RULES[0])[0].message


def test_a_registered_text_set_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CELO_DATA_DIR", str(tmp_path))
    (tmp_path / "wikitext2").mkdir()
    for part in ("train", "valid", "test"):
        (tmp_path / "wikitext2" / f"{part}.txt").write_text(
            f" = {part} = \n\n words \n and more \n"
        )
    assert [result.status for result in check_data("wikitext2")] == ["ok"] * len(TEXT_RULES)
    (tmp_path / "wikitext2" / "valid.txt").write_text("\n")
    failed = {result.rule: result.message for result in data_results("wikitext2")}
    assert "valid.txt: expected documents, one a line, found none" in failed["documents"]


_PLUGIN = """
from celo.records import DataSet

VERSES = DataSet(
    name="verses", summary="two lines", load="verses:load", kind="text", train_rows=200,
    test_rows=1, licence="none", embedded=True,
)

def load(path, part):
    yield from (f"{part} {i}" for i in range(200 if part == "train" else 1))
    if part == "test":
        yield "   "
"""


def test_a_plugins_text_set_is_checked_by_name(tmp_path: Path) -> None:
    info = tmp_path / "verses-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: verses\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[celo.data]\nverses = verses:VERSES\n")
    (tmp_path / "verses.py").write_text(_PLUGIN)
    path = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")]))
    done = celo("plugins", "check", "verses", "--format", "json", PYTHONPATH=path)
    assert done.returncode == 1, done.stderr
    report = json.loads(done.stdout)
    assert report["kind"] == "data set"
    messages = {rule["rule"]: rule["message"] for rule in report["rules"]}
    assert messages["documents"] == "document 1 of the part 'test' is empty"
    assert list(messages) == [rule.name for rule in TEXT_RULES]
