"""What an entry point resolves to: declarations, no implementation, no JAX.

A record says what a thing is called, what it needs and where its implementation is (a string
target such as `"celo_plugins.celo:build"`, imported on first use). Commands that only list or
check names import records and nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from celo.data_parts import HubSource as HubSource
from celo.data_parts import Share as Share
from celo.data_parts import TextSplits as TextSplits
from celo.hyperparameters import LEARNING_RATE_SCHEDULE as LEARNING_RATE_SCHEDULE
from celo.hyperparameters import Hyperparameter as Hyperparameter

API_VERSION = 1
"""Version of the contracts in this module and in `celo.protocol`."""

Kind = Literal["learned", "hand-crafted"]
Batching = Literal["vmap", "map"]


def canonical_name(name: str) -> str:
    """The form under which names are compared: lower case, `-` for `_` and spaces."""
    return re.sub(r"[_\s]+", "-", name.strip()).lower()


@dataclass(frozen=True)
class Grid:
    """What "tuned" means for a hand-crafted optimizer.

    Attributes:
      hyperparameter: name of the tuned hyperparameter.
      values: its values, in increasing order.
      source: where this choice of values comes from.
    """

    hyperparameter: str
    values: tuple[float, ...]
    source: str


@dataclass(frozen=True)
class Phase:
    """One stage of meta-training.

    Attributes:
      number: as in `--phase N`.
      frozen: substrings of theta's leaf paths `/key/key/...` that this phase does not train.
      summary: one line.
      hyperparameters: what `build` is given in this phase besides what the user says.
    """

    number: int
    frozen: tuple[str, ...]
    summary: str
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Page:
    """What people should know of an optimizer beyond its settings; plain text, lines of <= 76.

    Attributes:
      mathematics: one update, in a few lines of formulas.
      limits: what it cannot do, one sentence each.
      verified: what this implementation was held against and how near it came, one sentence each.
      recipe: learned: how published weights were meta-trained; empty means what their card says.
    """

    mathematics: str = ""
    limits: tuple[str, ...] = ()
    verified: tuple[str, ...] = ()
    recipe: str = ""


@dataclass(frozen=True)
class Rounding:
    """How far the numbers of an optimizer depend on how its update was compiled.

    The conformance suite allows this between programs that compute the same update, on top of its
    own tolerance, and shows it wherever it was needed.

    Attributes:
      tolerance: fraction of the largest number in a leaf of the state.
      reason: why the suite's own tolerance is too small.
    """

    tolerance: float
    reason: str


@dataclass(frozen=True)
class RuleException:
    """A rule of the conformance suite that an optimizer does not keep, for a reason.

    It is still applied: an exception from a rule that is kept is reported as a failure.

    Attributes:
      rule: its name, as in `celo plugins check`.
      reason: shown instead of a failure.
    """

    rule: str
    reason: str


@dataclass(frozen=True)
class OptimizerPlugin:
    """An optimizer, learned or hand-crafted.

    Attributes:
      name: what users type; canonical form (`canonical_name`).
      kind: learned optimizers need weights (theta); hand-crafted ones have a tuning grid.
      summary: one line.
      build: string target. Called with hyperparameters as keywords; returns a
        `celo.protocol.LearnedOptimizer` (learned) or `celo.protocol.Optimizer`.
      aliases: other names, such as those of the published code.
      citation: paper and section.
      api_version: of the contracts it was written for.
      numerics_version: raised whenever its numbers change; part of every result's identity.
      hyperparameters: what may stand behind the colon in `name:key=value`.
      reads: what it needs besides gradients: "num_steps" at init, "loss" at update.
      zoo_id: learned: the zoo entry that `name` without `@` means.
      phases: learned: the stages of meta-training.
      grid: hand-crafted: what `name` alone (tuned) runs.
      page: what `celo plugins show` says beyond all this: a `Page`, or where one lies as TOML,
        `"package:folder/file.toml"`, which is read on first use.
      rounding: declared where rounding errors grow beyond the conformance suite's tolerance.
      exceptions: rules of the conformance suite that it does not keep.
    """

    name: str
    kind: Kind
    summary: str
    build: str
    aliases: tuple[str, ...] = ()
    citation: str = ""
    api_version: int = API_VERSION
    numerics_version: int = 1
    hyperparameters: tuple[Hyperparameter, ...] = ()
    reads: tuple[Literal["num_steps", "loss"], ...] = ()
    zoo_id: str | None = None
    phases: tuple[Phase, ...] = ()
    grid: Grid | None = None
    page: Page | str = Page()
    rounding: Rounding | None = None
    exceptions: tuple[RuleException, ...] = ()


@dataclass(frozen=True)
class TaskPlugin:
    """A task: a network, a loss and the data it is trained on.

    Attributes:
      name: exact spelling shown in tables; compared by `canonical_name`.
      family: the kind of network, for grouping ("MLP classifier", ...).
      summary: one line.
      build: string target. Called as `build(name=..., data=..., **config)`; returns a
        `celo.protocol.Task`. `data` is a `celo.data.DataSelection`.
      config: keywords of `build`: the typed configuration.
      data_set: name of the data set it needs; "" for none, its batches are then empty tuples.
      batch_size: rows of a training batch.
      parameters: number of trainable parameters.
      aliases: other names.
      citation: where it is defined.
      api_version: of the contracts it was written for.
      numerics_version: raised whenever its numbers change; part of every result's identity.
      vocabulary: how the documents of a text set become tokens: "32k" or "bytes".
      batching: how a block of runs is laid out, by platform ("cpu", "gpu", "tpu"; "default"):
        one vmapped axis or one run after the other. A property of the task, measured, never
        chosen by free memory.
      stack: of a task that trains an optimizer: inner batches that make one training batch, one
        for each inner step. None for all others.
    """

    name: str
    family: str
    summary: str
    build: str
    data_set: str
    batch_size: int
    parameters: int
    config: Mapping[str, Any] = field(default_factory=dict)
    aliases: tuple[str, ...] = ()
    citation: str = ""
    api_version: int = API_VERSION
    numerics_version: int = 1
    vocabulary: str = ""
    batching: Mapping[str, Batching] = field(default_factory=lambda: {"default": "vmap"})
    stack: int | None = None

    @property
    def rows_shape(self) -> tuple[int, ...]:
        """The leading axes of a training batch."""
        return (self.batch_size,) if self.stack is None else (self.stack, self.batch_size)


@dataclass(frozen=True)
class Suite:
    """A named, versioned list of tasks with the horizon at which they are compared.

    Attributes:
      name: what users type.
      tasks: names of tasks, in table order.
      steps: default number of training steps (the horizon).
      summary: one line.
      version: raised whenever the list or the horizon changes.
      provenance: where the list comes from and how sure it is.
      publishable_steps: horizon from which its results may be published; None means `steps`, 0
        never (a suite for trying things out). Shorter runs are labelled so everywhere.
      left_out: what might be expected in it and is not, with the reason; one sentence each.
    """

    name: str
    tasks: tuple[str, ...]
    steps: int
    summary: str
    version: int = 1
    provenance: str = ""
    publishable_steps: int | None = None
    left_out: tuple[str, ...] = ()
    api_version: int = API_VERSION


@dataclass(frozen=True)
class DataSet:
    """A data set and where it may come from.

    Attributes:
      name: as in file names and `CELO_DATA_DIR`.
      summary: one line.
      load: string target. Of images: called with the folder of the original files (None for
        embedded sets); returns `{train,test}_{images,labels}` as integer arrays [N, H, W(, C)]
        and [N]; `NAME.npz` with the same arrays is read without it. Of text: called with a file
        and the name of the part it belongs to (`(None, part)` for embedded sets); yields
        documents.
      kind: "image" or "text".
      train_rows: rows (documents) of the complete training part.
      test_rows: rows (documents) of the complete test part; 0 for a text set without one.
      licence: of the data.
      image_shape: of images: height, width, channels.
      num_classes: of images: how many labels there are.
      splits: of text: which documents are for what.
      published_vocabulary: of text: the 32k tasks read it through the published vocabulary file;
        otherwise through one that is learned from its own training documents.
      edition: what it is where that is not exactly what the published tasks used; part of its
        label.
      citation: authors and year.
      folders: where its original files may lie, relative to a data folder; the first that
        exists is used.
      files: what these files are, for messages.
      largest_pixel: the pixel value that becomes 1.
      embedded: comes with an installed distribution; needs no files.
      carrier: the distribution that brings an embedded set; None means the plugin's own.
      resized: of images: files of any size are resized to `image_shape`.
      hub: where `celo data pull` gets it (ours: `celo.data.hub_sources`); None for nowhere.
    """

    name: str
    summary: str
    load: str
    kind: Literal["image", "text"]
    train_rows: int
    test_rows: int
    licence: str
    image_shape: tuple[int, int, int] = (0, 0, 0)
    num_classes: int = 0
    splits: TextSplits = TextSplits()
    published_vocabulary: bool = False
    edition: str = ""
    citation: str = ""
    folders: tuple[str, ...] = ()
    files: str = ""
    largest_pixel: int = 255
    embedded: bool = False
    carrier: str | None = None
    resized: bool = False
    hub: HubSource | None = None
    api_version: int = API_VERSION

    def __post_init__(self) -> None:
        """Raises ValueError for images without shape or classes."""
        if self.kind == "image" and not (min(self.image_shape) > 0 and self.num_classes > 0):
            raise ValueError(f"data set {self.name!r}: images need image_shape and num_classes")


@dataclass(frozen=True)
class Metric:
    """A figure that says how good an optimizer is.

    Attributes:
      name: what users type; in JSON with `_` for `-` and its statistic behind it.
      summary: one line.
      compute: string target. Of a "run" metric, called as `compute(run, reference, **options)`
        with two `celo.metrics.views.RunView` (None where the reference has no such run); returns a
        finite number, or None for no score. Of a "comparison" metric, called as
        `compute(results, **options)` with a `celo.metrics.views.Results`; returns a
        `celo.metrics.views.Result`.
      kind: "run": a score of every run, aggregated over tasks and seeds like Celo's own;
        "comparison": figures of every optimizer, computed from all runs at once.
      better: which end is good.
      options: its constants, as in `NAME:key=value,...`.
      depends_on_company: an optimizer's figure changes with the others it is compared with.
      citation: where it is defined.
      aliases: other names.
      api_version: of the contracts it was written for.
    """

    name: str
    summary: str
    compute: str
    kind: Literal["run", "comparison"] = "run"
    better: Literal["higher", "lower"] = "higher"
    options: tuple[Hyperparameter, ...] = ()
    depends_on_company: bool = False
    citation: str = ""
    aliases: tuple[str, ...] = ()
    api_version: int = API_VERSION


Record = OptimizerPlugin | TaskPlugin | Suite | DataSet | Metric
