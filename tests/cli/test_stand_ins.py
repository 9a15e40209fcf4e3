"""`celo eval --data lm1b=wikitext2` as users run it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.process import celo

BYTES = "RNNLM_lm1bbytes_Patch32_IRNN128_Embed64"
PIECES = "TransformerLM_LM1B_MultiRuntime_0"
MISSING = "RNNLM_wikipediaenbytes_Patch32_GRU256_Embed128"
SHORT = [
    *("--steps", "2", "--eval-batches", "1", "--last-eval-batches", "1", "--seeds", "0"),
    *("--optimizers", "sgd:lr=0.1", "--reference", "none"),
]


def _tasks(*names: str) -> list[str]:
    return [word for name in names for word in ("--task", name)]


@pytest.mark.slow
def test_stand_ins_are_labelled_and_what_is_missing_is_skipped(tmp_path: Path) -> None:
    folder = tmp_path / "data" / "wikitext2"
    folder.mkdir(parents=True)
    for part in ("train", "valid", "test"):
        lines = (f"{part} paragraph {i} of a long article \n" for i in range(300))
        (folder / f"{part}.txt").write_text(" = Title = \n\n" + "".join(lines))
    environment = {"CELO_DATA_DIR": str(tmp_path / "data"), "CELO_CACHE_DIR": str(tmp_path / "c")}

    def run(*arguments: str):
        return celo(*arguments, cwd=tmp_path, **environment)

    tasks = _tasks(BYTES, PIECES, "Digits_MLP_32", MISSING)
    done = run("eval", *tasks, *SHORT, "--data", "lm1b=wikitext2", "--output", "run")
    assert done.returncode == 3, done.stderr
    assert f"skipped {MISSING}" in done.stderr and "`--data wikipedia=wikitext2`" in done.stderr
    assert "MIXED DATA: real (1 tasks) and substitute (2 tasks)" in done.stdout
    assert "substitute wikitext2, partial (300 of 17556 train documents" in done.stdout

    value = json.loads(run("report", "run", "--format", "json").stdout)
    losses = {result["task"]: result["final_loss"] for result in value["tasks"]}
    assert losses[PIECES] == pytest.approx(10.7, abs=0.7)
    data = value["provenance"]["data"]
    assert {task: data[task]["kind"] for task in losses} == {
        BYTES: "substitute",
        PIECES: "substitute",
        "Digits_MLP_32": "real",
    }
    assert data[BYTES]["fingerprint"] != data[PIECES]["fingerprint"]
    refused = run("report", "run", "--format", "html", "--output", "r.html")
    assert refused.returncode == 2 and "real and substitute data" in refused.stderr
    only = run("report", "run", "--data-kind", "substitute")
    assert "SUBSTITUTE DATA" in only.stdout and "Digits" not in only.stdout
    none = run("report", "run", "--data-kind", "synthetic")
    assert none.returncode == 2 and "no results on synthetic data" in none.stderr
    assert len(list((tmp_path / "c" / "vocabularies").iterdir())) == 1


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("lm1b=wikitext3", "unknown data set 'wikitext3'"),
        ("lm1b=mnist", "mnist cannot stand in for lm1b: it is a set of images"),
        ("mnist=lm1b", "lm1b cannot stand in for mnist: it is a set of text"),
    ],
)
def test_what_cannot_stand_in(data: str, message: str, tmp_path: Path) -> None:
    done = celo("eval", *_tasks(BYTES), *SHORT, "--data", data, cwd=tmp_path)
    assert done.returncode == 2 and message in done.stderr
    assert "Traceback" not in done.stderr and list(tmp_path.iterdir()) == []
