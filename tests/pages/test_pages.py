"""Pages of optimizers: complete for ours, readable for everybody's, and never stale."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from celo import registry
from celo.errors import BrokenPluginError, UsageError
from celo.pages import Cost, as_markdown, as_text, document, page_of, read_costs, write_costs
from celo.pages.document import Document, Section, Table
from celo.pages.measuring import Memory, measure_memory
from celo.records import Hyperparameter, OptimizerPlugin, Page, RuleException
from tests.cli.process import celo
from tests.shared_folder import REPOSITORY

STRANGER = OptimizerPlugin("stranger", "hand-crafted", "somebody's", build="strange:build")
COST = Cost("adam", "cpu", 1.5, 2.0, 3.0, 10, "2 cores, x86_64", "2026-01-31")


def _generate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", REPOSITORY / "docs" / "generate.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


GENERATE = _generate()
OURS: list[OptimizerPlugin] = GENERATE.ours()


def test_the_documentation_is_what_the_records_say() -> None:
    """To refresh: `python docs/generate.py`."""
    want = GENERATE.pages(GENERATE.measured(), read_costs(GENERATE.COSTS))
    found = {path.name: path.read_text("utf-8") for path in GENERATE.FOLDER.glob("*.md")}
    stale = sorted(name for name in {*want, *found} if want.get(name) != found.get(name))
    assert not stale, f"run `python docs/generate.py`: {stale} are not what it writes"


@pytest.mark.parametrize("record", OURS, ids=lambda record: record.name)
def test_pages_of_ours_are_complete_and_fit_a_terminal(record: OptimizerPlugin) -> None:
    page = page_of(record)
    assert page.mathematics.strip() and page.limits and page.verified and record.citation
    text = as_text(document(record))
    assert max(map(len, text.splitlines())) <= 80
    if record.kind == "learned":
        assert "zoo: " in text and "phase 1: " in text
        if record.zoo_id:
            assert "licence: " in text and "recipe: " in text


def test_pages_name_settings_that_exist() -> None:
    """Formulas speak of the hyperparameters by their names; most appear."""
    for record in OURS:
        formulas = page_of(record).mathematics
        tuned = record.grid.hyperparameter if record.grid else "step_mult"
        if tuned in {h.name for h in record.hyperparameters}:
            assert tuned in formulas, record.name


def test_all_files_of_pages_belong_to_a_record() -> None:
    folder = REPOSITORY / "plugins" / "celo_plugins" / "pages"
    files = {f"celo_plugins:pages/{path.name}" for path in folder.iterdir()}
    assert files == {record.page for record in OURS}


def test_memory_is_that_of_the_state_alone() -> None:
    assert measure_memory("adam").state_bytes_per_parameter == pytest.approx(8, abs=0.01)
    assert measure_memory("sgd").state_bytes_per_parameter == pytest.approx(0, abs=0.01)
    celo_ = measure_memory("celo")
    assert celo_.weights == 37_089
    # Momenta and a second moment for every parameter, sums for every row and column.
    assert celo_.state_bytes_per_parameter == pytest.approx(4 * (3 + 1), abs=0.1)


def test_a_stranger_needs_no_page() -> None:
    text = as_text(document(STRANGER))
    assert "somebody's" in text and "strange:build" in text
    assert "MATHEMATICS" not in text and "KNOWN LIMITS" not in text and "MEMORY" not in text


def test_a_stranger_may_write_it_into_the_record() -> None:
    page = Page(mathematics="p <- p - g", limits=("it is slow",), recipe="none")
    exempt = (RuleException("key", "it is random"),)
    record = dataclasses.replace(STRANGER, page=page, exceptions=exempt, numerics_version=2)
    markdown = as_markdown(document(record))
    assert "```text\np <- p - g\n```" in markdown and "\n- it is slow\n" in markdown
    assert "does not keep the rule `key`: it is random" in markdown
    assert "version of its numbers: 2" in markdown


@pytest.mark.parametrize(
    "content", ["mathematics = 3", "colour = 'red'", "limits = 'one'", "limits = [1]", "[", None]
)
def test_a_damaged_page_is_the_plugins_fault(
    content: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "strange_pages"
    package.mkdir()
    (package / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    if content is not None:
        (package / "page.toml").write_text(content)
    for target in ("strange_pages:page.toml", "strange_pages", "nowhere_at_all:page.toml"):
        with pytest.raises(BrokenPluginError, match="cannot be read"):
            page_of(dataclasses.replace(STRANGER, page=target))
    sys.modules.pop("strange_pages", None)


def test_costs_are_added_to_and_replaced(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "cost.csv"
    assert read_costs(path) == ()
    other = dataclasses.replace(COST, device="gpu", machine='a "big" one, new')
    write_costs(path, [COST, other])
    newer = dataclasses.replace(COST, adam_ratio=1.25)
    write_costs(path, [newer])
    assert read_costs(path) == (newer, other)
    path.write_text("optimizer,price\nadam,3\n")
    with pytest.raises(UsageError, match="has the columns"):
        read_costs(path)


def test_costs_and_memory_are_shown_where_they_are_known() -> None:
    adam = registry.optimizer("adam").record
    memory = Memory(8.0, "MLP", 0)
    assert "Not measured." in as_markdown(document(adam, memory=memory))
    slow = dataclasses.replace(COST, device="gpu", adam_ratio=123.4)
    stranger = dataclasses.replace(COST, optimizer="celo")
    markdown = as_markdown(document(adam, memory=memory, costs=(COST, slow, stranger)))
    assert "| cpu | 1.5 | 2.0 | 3.0 s |" in markdown and "| gpu | 123 |" in markdown
    assert markdown.count("2026-01-31") == 2


def test_values_of_settings_in_words() -> None:
    hyperparameters = (
        Hyperparameter("a", "float", 1.0, low=0.0, high=2.0),
        Hyperparameter("b", "int", 1, low=1),
        Hyperparameter("c", "float", 1.0, high=2.0),
        Hyperparameter("d", "str", "x", choices=("x", "y|z")),
    )
    markdown = as_markdown(document(dataclasses.replace(STRANGER, hyperparameters=hyperparameters)))
    for values in ("float 0 to 2", "int >= 1", "float <= 2", r"x, y\|z"):
        assert f" | {values} | " in markdown


def test_tables_are_wrapped_between_words_and_names_are_not() -> None:
    table = Table(
        ("name", "meaning"), (("a name", "word " * 9 + "end"), ("b", "one_very_long_one"))
    )
    page = Document("t", "s", (Section("Table", (table,)),))
    assert as_text(page, width=30).split("TABLE\n\n")[1].splitlines() == [
        "name    meaning",
        "------  -------------------",
        "a name  word word word word",
        "        word word word word",
        "        word end",
        "b       one_very_long_one",
    ]
    assert max(map(len, as_text(page, width=10).splitlines())) == len("a name  one_very_long_one")


def test_show_prints_the_page() -> None:
    done = celo("plugins", "show", "nnadam", "--measure")
    assert done.returncode == 0, done.stderr
    assert "MATHEMATICS" in done.stdout and "b2" in done.stdout and "8.0 bytes" in done.stdout
    value = json.loads(celo("plugins", "show", "celo", "--format", "json").stdout)
    assert value["page"]["limits"] and value["memory"] is None


def test_show_on_a_terminal_is_drawn() -> None:
    code = (
        "import sys, os\nos.environ['COLUMNS'] = '120'\nsys.stdout.isatty = lambda: True\n"
        "from celo.cli.main import main\nmain(['plugins', 'show', 'adam'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "Mathematics" in done.stdout and "##" not in done.stdout, done.stderr
    assert "m <- b1 m + (1-b1) g" in done.stdout and "tuned over" in done.stdout
    assert "min_learning_rate_mult" in done.stdout
