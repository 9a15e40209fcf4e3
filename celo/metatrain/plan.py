"""Stages one after the other: recipes as data, and what flags make of them. Imports no JAX."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from importlib import resources
from pathlib import Path
from typing import Any

from celo.errors import UnknownNameError, UsageError
from celo.metatrain.config import StageConfig, phases_of
from celo.records import canonical_name

_STAGE_SETTINGS = {f.name for f in fields(StageConfig)}


@dataclass(frozen=True)
class StagePlan:
    """A stage and how it is tried.

    Attributes:
      config: of the stage; its seed is that of the first start.
      restarts: initial thetas; the better half goes on at `rung` iterations, the better half of
        these at twice as many, and so on until as many as `finalists` are left. A stage after one
        with several finalists has at least one start for each of them.
      rung: outer iterations before the first choice.
      finalists: starts that run to the end.
      keep_every: outer iterations between weights that are kept for the choice at the end.
    """

    config: StageConfig
    restarts: int = 1
    rung: int = 150
    finalists: int = 1
    keep_every: int | None = None

    def __post_init__(self) -> None:
        for name in ("restarts", "rung", "finalists"):
            if getattr(self, name) < 1:
                raise UsageError(f"--{name} must be at least 1, got {getattr(self, name)}")
        if self.keep_every is not None and self.keep_every < 1:
            raise UsageError(f"--keep-every must be at least 1, got {self.keep_every}")
        if self.restarts > 1 and self.rung < self.config.log_every:
            raise UsageError(
                f"--rung {self.rung} chooses among the starts before the first line of their logs "
                f"(--log-every {self.config.log_every})",
                hint="raise --rung or lower --log-every",
            )


@dataclass(frozen=True)
class Selection:
    """How the weights are chosen among those that were kept: by final loss.

    Attributes:
      tasks: neither trained on nor reported.
      steps: of their training runs.
      seeds: of these.
    """

    tasks: tuple[str, ...]
    steps: int = 2000
    seeds: tuple[int, ...] = (0,)


@dataclass(frozen=True)
class Recipe:
    """A named list of stages.

    Attributes:
      name: what users type behind `--recipe`.
      summary: one line.
      provenance: where the settings come from.
      plugin: text of the optimizer.
      stages: settings of each stage, those common to all included.
      selection: how weights are chosen, or None for the last ones.
    """

    name: str
    summary: str
    provenance: str
    plugin: str
    stages: tuple[Mapping[str, Any], ...]
    selection: Selection | None = None


@dataclass(frozen=True)
class MetaTrainPlan:
    """Everything a command asks for.

    Attributes:
      stages: in order; each starts from what the one before has made.
      init: what the first stage starts from, or None.
      selection: how weights are chosen at the end, or None.
      output: run folder.
      name: of the recipe, or what stands for one.
    """

    stages: tuple[StagePlan, ...]
    init: str | None
    selection: Selection | None
    output: Path
    name: str

    @property
    def single(self) -> bool:
        """Whether the output folder itself is the run of the only stage."""
        return len(self.stages) == 1 and self.stages[0].restarts == 1 and self.selection is None


def recipes() -> dict[str, Recipe]:
    """The recipes of this package by name."""
    folder = resources.files("celo.metatrain").joinpath("recipes")
    files = sorted((f for f in folder.iterdir() if f.name.endswith(".toml")), key=lambda f: f.name)
    found = [read_recipe(file.read_text("utf-8"), file.name) for file in files]
    return {recipe.name: recipe for recipe in found}


def recipe(name: str) -> Recipe:
    """The recipe of this name.

    Raises:
      UnknownNameError: there is none.
    """
    known = recipes()
    found = known.get(canonical_name(name))
    if found is None:
        raise UnknownNameError(
            f"there is no recipe called {name!r}", hint=f"there are: {', '.join(known)}"
        )
    return found


def read_recipe_file(path: Path) -> Recipe:
    """The recipe in a file.

    Raises:
      UsageError: it cannot be read, or is no recipe.
    """
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"the recipe {path} cannot be read: {error}") from error
    return read_recipe(text, str(path))


def read_recipe(text: str, where: str) -> Recipe:
    """Reads a recipe: TOML with `plugin`, common `[settings]`, `[[stages]]`, `[selection]`.

    Raises:
      UsageError: not TOML, or a key is missing or unknown.
    """
    try:
        table = tomllib.loads(text)
        common = dict(table.pop("settings", {}))
        own = table.pop("stages", [{}])
        chosen = table.pop("selection", None)
        unknown = sorted({k for s in (common, *own) for k in s} - _known())
        if unknown:
            raise TypeError(f"unknown setting {', '.join(unknown)}")
        if chosen is not None:
            lists: dict[str, Any] = {
                k: tuple(v) if isinstance(v, list) else v for k, v in chosen.items()
            }
            chosen = Selection(**lists)
        return Recipe(
            name=canonical_name(table.pop("name", Path(where).stem)),
            summary=table.pop("summary", ""),
            provenance=table.pop("provenance", ""),
            plugin=table.pop("plugin"),
            stages=tuple({**common, **stage} for stage in own),
            selection=chosen,
            **table,
        )
    except (tomllib.TOMLDecodeError, TypeError, KeyError, AttributeError, ValueError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise UsageError(
            f"{where} is no recipe: {reason}",
            hint="expected TOML with plugin, [settings], [[stages]], [selection]; known settings: "
            + ", ".join(sorted(_known())),
        ) from error


def make_plan(
    *,
    plugin: str | None = None,
    phase: int | str | None = None,
    recipe: Recipe | None = None,
    init: str | None = None,
    output: Path | None = None,
    **settings: Any,
) -> MetaTrainPlan:
    """The plan of a command.

    Args:
      plugin: text of the optimizer; a recipe has one.
      phase: a number, or "all" for every phase of the plugin, one after the other.
      recipe: stages; `phase` chooses among them.
      init: weights that the first stage starts from.
      output: run folder; None means one in `./celo-runs`.
      **settings: fields of `StageConfig` and `StagePlan`, for all stages; None where not given.

    Raises:
      UsageError: something is missing, unknown or out of range.
    """
    given = {key: value for key, value in settings.items() if value is not None}
    unknown = sorted(set(given) - _known())
    if unknown:
        raise UsageError(
            f"unknown setting of a meta-training: {', '.join(unknown)}",
            hint=f"known are: {', '.join(sorted(_known()))}",
        )
    subject = plugin or (recipe.plugin if recipe is not None else None)
    if subject is None:
        raise UsageError("no plugin was given", hint="for example: --plugin celo, or --recipe")
    stages = [dict(stage) for stage in recipe.stages] if recipe is not None else []
    wanted = _phases(phase, subject, stages)
    if not stages:
        stages = [{"phase": number} for number in wanted]
    stages = [stage for stage in stages if stage.get("phase", 1) in wanted]
    plans = tuple(_stage_plan({"plugin": subject, **stage, **given}) for stage in stages)
    label = recipe.name if recipe is not None else f"{canonical_name(subject.partition(':')[0])}"
    if phase is not None:
        label += f"-phase-{phase}"
    seed = plans[0].config.seed
    return MetaTrainPlan(
        stages=plans,
        init=init,
        selection=recipe.selection if recipe is not None else None,
        output=output or Path("celo-runs") / "meta" / f"{label}-seed-{seed}",
        name=recipe.name if recipe is not None else "",
    )


def start_seed(seed: int, number: int) -> int:
    """The seed of one of several starts; the first has the seed that was given."""
    return (seed + number * 7919) % 2**31


def start_config(plan: StagePlan, number: int) -> StageConfig:
    """The configuration of one of a stage's starts."""
    return replace(plan.config, seed=start_seed(plan.config.seed, number))


def _known() -> set[str]:
    return {*_STAGE_SETTINGS, "restarts", "rung", "finalists", "keep_every"}


def _phases(
    phase: int | str | None, plugin: str, stages: Sequence[Mapping[str, Any]]
) -> tuple[int, ...]:
    there = tuple(stage.get("phase", 1) for stage in stages) or phases_of(plugin)
    if phase is None and stages:
        return there
    if phase is None:
        return there[:1]
    if phase == "all":
        return there
    try:
        number = int(phase)
    except ValueError:
        number = -1
    if number not in there:
        raise UsageError(
            f"unknown phase {phase!r}",
            hint=f"expected {', '.join(map(str, dict.fromkeys(there)))} or all",
        )
    return (number,)


def _stage_plan(settings: Mapping[str, Any]) -> StagePlan:
    own = {k: v for k, v in settings.items() if k in _STAGE_SETTINGS}
    rest = {k: v for k, v in settings.items() if k not in _STAGE_SETTINGS}
    return StagePlan(StageConfig(**own), **rest)
