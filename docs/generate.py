"""Writes `docs/optimizers/`: a page per optimizer of this package, and the list of them.

    python docs/generate.py

Everything comes from records, cards and `docs/optimizers/cost.csv`; memory is measured from shapes.
A test fails where a page is not what this writes.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from celo import registry
from celo.files import write_atomically
from celo.pages import Cost, as_markdown, document, read_costs
from celo.pages.document import Table
from celo.pages.measuring import Memory, measure_memory
from celo.pages.rendering import markdown_block
from celo.records import OptimizerPlugin

FOLDER = Path(__file__).parent / "optimizers"
COSTS = FOLDER / "cost.csv"
INDEX = "README.md"

_INTRODUCTION = """\
# The optimizers

One page each, written by `python docs/generate.py` from what the package declares; not edited by
hand. `celo plugins show NAME` prints the same, for other people's optimizers too.

How to read them: `p` is a leaf of the parameters, `g` its gradient, `t` the number of updates done
before this one unless said otherwise; `<-` assigns; products, roots and quotients are elementwise.
Golden files hold inputs and results of the published implementations (float32, CPU); the tests
compare with them where they are. All optimizers keep the rules of `celo plugins check`, but for
exceptions that their pages name.

Memory is that of the state without the parameters, in bytes for every parameter, on float32
parameters of an {tree}. Cost is the time of one update over that of
`optax.adam`, measured side by side by
`python benchmarks/update.py --mlp --write docs/optimizers/cost.csv`."""


def ours() -> list[OptimizerPlugin]:
    """The optimizers that this package brings, learned ones first."""
    found = registry.optimizers()
    records = [f.record for f in found if f.origin.distribution == registry.FIRST_PARTY]
    return sorted(records, key=lambda record: (record.kind != "learned", record.name))


def pages(memories: Mapping[str, Memory], costs: tuple[Cost, ...]) -> dict[str, str]:
    """File name -> contents.

    Args:
      memories: by the optimizer's name.
      costs: what has been measured.
    """
    texts = {
        f"{record.name}.md": as_markdown(
            document(record, memory=memories[record.name], costs=costs)
        )
        for record in ours()
    }
    return {INDEX: _index(memories, costs), **texts}


def _index(memories: Mapping[str, Memory], costs: tuple[Cost, ...]) -> str:
    rows = []
    for record in ours():
        mine = [f"{c.adam_ratio:.2g} ({c.device})" for c in costs if c.optimizer == record.name]
        rows.append(
            (
                f"[{record.name}]({record.name}.md)",
                record.kind,
                record.summary,
                ", ".join(record.reads) or "-",
                f"{memories[record.name].state_bytes_per_parameter:.1f}",
                ", ".join(mine) or "not measured",
            )
        )
    columns = ("name", "kind", "what it is", "reads besides gradients", "memory", "cost")
    tree = next(iter(memories.values())).tree
    table = markdown_block(Table(columns, tuple(rows), numeric=(4,)))
    return f"{_INTRODUCTION.format(tree=tree)}\n\n{table}\n"


def measured() -> dict[str, Memory]:
    """The memory of all our optimizers."""
    return {record.name: measure_memory(record.name) for record in ours()}


def main() -> None:
    for name, text in pages(measured(), read_costs(COSTS)).items():
        write_atomically(FOLDER / name, lambda file, text=text: file.write(text.encode()))
    for path in FOLDER.glob("*.md"):
        if path.stem not in {record.name for record in ours()} and path.name != INDEX:
            path.unlink()


if __name__ == "__main__":
    main()
