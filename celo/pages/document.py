"""What a page says, section by section; `celo.pages.rendering` says how it looks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from celo.pages.costs import Cost
from celo.pages.reading import page_of
from celo.records import LEARNING_RATE_SCHEDULE, Grid, Hyperparameter, OptimizerPlugin, Page
from celo.spec import format_value

if TYPE_CHECKING:
    from celo.pages.measuring import Memory
    from celo_zoo import Card


@dataclass(frozen=True)
class Formulas:
    """Lines that are shown as they are."""

    text: str


@dataclass(frozen=True)
class Bullets:
    """A list of sentences."""

    items: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """Cells by row; `numeric` are the columns that are aligned on the right."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numeric: tuple[int, ...] = ()


Block = str | Formulas | Bullets | Table


@dataclass(frozen=True)
class Section:
    """A heading and what stands under it."""

    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Document:
    """A page: its title, one line about it, and sections."""

    title: str
    summary: str
    sections: tuple[Section, ...]


def document(
    record: OptimizerPlugin, *, memory: Memory | None = None, costs: Sequence[Cost] = ()
) -> Document:
    """The page of an optimizer.

    Args:
      record: of the optimizer.
      memory: measured by `celo.pages.measuring`; without it nothing is said about memory.
      costs: measured ones; those of other optimizers are passed over.

    Raises:
      BrokenPluginError: the file that the record names as its page cannot be read.
    """
    page = page_of(record)
    mine = [cost for cost in costs if cost.optimizer == record.name]
    sections = (
        ("Mathematics", [Formulas(page.mathematics)] if page.mathematics else []),
        ("What it reads", [Bullets(_reads(record))]),
        ("Memory", _memory(memory)),
        ("Cost of an update", _costs(mine) if costs or memory else []),
        ("Settings", _settings(record)),
        ("Weights", _weights(record, page)),
        ("Known limits", _bullets(_limits(record, page))),
        ("How far it was verified", _bullets(_verified(record, page))),
        ("Where it comes from", [Bullets(_origin(record))]),
    )
    return Document(
        title=record.name,
        summary=f"{record.kind.capitalize()}: {record.summary}.",
        sections=tuple(Section(title, tuple(blocks)) for title, blocks in sections if blocks),
    )


_READS = {
    "num_steps": "`num_steps`, the length of the run, at `init`",
    "loss": "`loss`, that of the current batch, at every `update`",
}


def _reads(record: OptimizerPlugin) -> tuple[str, ...]:
    return ("gradients and parameters", *(_READS.get(fact, fact) for fact in record.reads))


def _memory(memory: Memory | None) -> list[Block]:
    if memory is None:
        return []
    said = f"{memory.state_bytes_per_parameter:.1f} bytes of state for every parameter, besides "
    said += f"the parameters themselves ({memory.tree}, float32)."
    if memory.weights:
        said += f" Its weights are {memory.weights:,} numbers."
    return [said]


def _costs(costs: Iterable[Cost]) -> list[Block]:
    rows = tuple(
        (
            cost.device,
            f"{cost.adam_ratio:.2g}" if cost.adam_ratio < 10 else f"{cost.adam_ratio:.0f}",
            f"{cost.temp_bytes_per_parameter:.1f}",
            f"{cost.compile_seconds:.1f} s",
            f"{cost.parameters:,} parameters; {cost.machine}; {cost.date}",
        )
        for cost in costs
    )
    if not rows:
        return ["Not measured."]
    columns = ("device", "x Adam", "temporary bytes/parameter", "compilation, 100 leaves", "where")
    return [Table(columns, rows, numeric=(1, 2, 3))]


def _settings(record: OptimizerPlugin) -> list[Block]:
    own = [h for h in record.hyperparameters if h not in LEARNING_RATE_SCHEDULE]
    schedule = [h for h in record.hyperparameters if h in LEARNING_RATE_SCHEDULE]
    blocks: list[Block] = [_hyperparameters(own)] if own else ["None."]
    if schedule:
        blocks += ["What changes `lr` during a run:", _hyperparameters(schedule)]
    if record.grid:
        blocks.append(_grid(record.grid, record.name))
    return blocks


def _hyperparameters(hyperparameters: Iterable[Hyperparameter]) -> Table:
    rows = tuple((h.name, format_value(h.default), _values(h), h.help) for h in hyperparameters)
    return Table(("name", "default", "values", "meaning"), rows)


def _values(h: Hyperparameter) -> str:
    """What a hyperparameter may be, in words: `float >= 0`."""
    if h.choices:
        return ", ".join(h.choices)
    if h.low is None or h.high is None:
        low = "" if h.low is None else f" >= {h.low:g}"
        return h.type + low + ("" if h.high is None else f" <= {h.high:g}")
    return f"{h.type} {h.low:g} to {h.high:g}"


def _grid(grid: Grid, name: str) -> str:
    values = ", ".join(format_value(value) for value in grid.values)
    return (
        f"`{name}` alone is tuned over {grid.hyperparameter} in {values}. "
        f"Source of this grid: {grid.source}."
    )


def _weights(record: OptimizerPlugin, page: Page) -> list[Block]:
    if record.kind != "learned":
        return []
    card = _card(record)
    items = [f"zoo: {f'`{record.zoo_id}`' if record.zoo_id else 'no published weights'}"]
    if card and card.licence:
        items.append(f"licence: {card.licence}")
    recipe = page.recipe or (card.recipe if card else "")
    if recipe:
        items.append(f"recipe: {recipe}")
    for phase in record.phases:
        frozen = ", ".join(f"`{part}`" for part in phase.frozen) or "nothing"
        items.append(f"phase {phase.number}: {phase.summary}; frozen: {frozen}")
    return [Bullets(tuple(items))]


def _limits(record: OptimizerPlugin, page: Page) -> tuple[str, ...]:
    exempt = [f"does not keep the rule `{e.rule}`: {e.reason}" for e in record.exceptions]
    card = _card(record)
    of_weights = [f"weights: {limit}" for limit in (card.limits if card else ())]
    return (*page.limits, *exempt, *of_weights)


def _verified(record: OptimizerPlugin, page: Page) -> tuple[str, ...]:
    if record.rounding is None:
        return page.verified
    allowed = (
        f"programs that compute the same update may differ by {record.rounding.tolerance:g} of the "
        f"largest number in a leaf: {record.rounding.reason}"
    )
    return (*page.verified, allowed)


def _card(record: OptimizerPlugin) -> Card | None:
    if not record.zoo_id:
        return None
    from celo_zoo import cards

    return cards().get(record.zoo_id)


def _bullets(items: tuple[str, ...]) -> list[Block]:
    return [Bullets(items)] if items else []


def _origin(record: OptimizerPlugin) -> tuple[str, ...]:
    items = [f"paper: {record.citation}"] if record.citation else []
    items.append(f"code: `{record.build}`")
    if record.aliases:
        items.append(f"other names: {', '.join(f'`{alias}`' for alias in record.aliases)}")
    if record.numerics_version != 1:
        items.append(f"version of its numbers: {record.numerics_version}")
    return tuple(items)
