"""Tasks of google/learned_optimization as `lo:NAME`: their losses, our data.

NAME is a function of its `tasks.fixed` (`lo:ImageMLP_FashionMnist_Relu128x128`), or a class of task
that needs no argument (`lo:QuadraticTask`). Where a task asks for images, it is given the data set
of the same name here, cut and sampled as for our tasks, so that results have the data identity of
every other cell and nothing is downloaded. Tasks with other data are refused.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import math
import threading
from collections.abc import Iterator, Mapping
from typing import Any

import jax

from celo import registry
from celo.data.datasets import ArrayDatasets, image_datasets
from celo.data.selection import DataSelection
from celo.errors import BrokenPluginError, CeloError, UsageError
from celo.interop.learned_optimization import PACKAGE, SOURCE, imported, members, pick, version
from celo.protocol import Batch, ModelState, Params, PRNGKey, PyTree, Task
from celo.records import TaskPlugin
from celo.registry import Found, Origin

_ROOMS = ("tasks.fixed", "tasks.quadratics")
_IMAGES = (
    "tfds_image_classification_datasets",
    "preload_tfds_image_classification_datasets",
)
# What decides how fast rows arrive, not which.
_IGNORED = ("splits", "prefetch_batches", "shuffle_buffer_size")
_BUILDING = threading.Lock()


def find(name: str) -> Found[TaskPlugin]:
    """The record of one of its tasks.

    Args:
      name: behind `lo:`.

    Raises:
      UnknownNameError: it has none of this name, or the data set is not known here.
      UsageError: it is not installed, or the task cannot be run here.
      BrokenPluginError: it cannot be imported, or the task fails.
    """
    exact = pick("task", name, *_makers())
    maker = _makers()[0][exact]
    # Some of them draw a batch to learn its shape; a record must not need the real data.
    task = build(f"{SOURCE}:{exact}", DataSelection(synthetic=True), target=exact)
    params, _ = jax.eval_shape(task.init_with_state, jax.random.PRNGKey(0))
    target = f"{__name__}:build"
    record = TaskPlugin(
        name=f"{SOURCE}:{exact}",
        family=f"{PACKAGE}: {maker.__module__.rpartition('.')[2]}",
        summary=(inspect.getdoc(maker) or exact).splitlines()[0].rstrip("."),
        build=target,
        data_set=task.data_set,
        batch_size=_rows(task.datasets.abstract_batch) if task.data_set else 0,
        parameters=sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(params)),
        config={"target": exact},
        citation=f"{maker.__module__}.{exact} {version()}",
        # Nobody raises a version when its numbers change, so every build of it counts as another.
        numerics_version=int(version().rpartition("+")[2], 16) if "+" in version() else 0,
    )
    return Found(record, Origin(PACKAGE, version(), target))


def _rows(batch: PyTree) -> int:
    return jax.tree.leaves(batch)[0].shape[0]


def build(name: str, data: DataSelection, *, target: str) -> ForeignTask:
    """The task of a record; touches no data.

    Args:
      name: shown in tables.
      data: which data stands behind the names of data sets.
      target: exact name of the function or class.

    Raises:
      UsageError: it is no task, or has data that cannot be had here.
      BrokenPluginError: it fails.
    """
    maker = _makers()[0][target]
    missing = [
        p.name
        for p in inspect.signature(maker).parameters.values()
        if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    ]
    if missing:
        raise UsageError(
            f"{name} cannot be built from its name alone: it takes {', '.join(missing)}",
            hint="build it in Python: its tasks work where ours do",
        )
    served: list[tuple[str, ArrayDatasets]] = []
    refused: list[CeloError] = []
    try:
        with _serving(data, served, refused):
            made = maker()
    except Exception as error:
        if refused:  # as it was raised: gin writes more into what passes through it
            raise refused[0] from None
        reason = str(error).splitlines()[0] if str(error) else ""
        raise BrokenPluginError(
            f"{name} cannot be built: {type(error).__name__}: {reason}"
        ) from error
    if not isinstance(made, imported("tasks.base").Task):
        raise UsageError(
            f"{name} is no task but a {type(made).__name__}",
            hint="a family of tasks is for meta-training; name one task",
        )
    if made.datasets is None:
        return ForeignTask(made, name, "")
    sets = [set_name for set_name, datasets in served if datasets is made.datasets]
    if not sets:
        raise UsageError(
            f"{name} brings data of its own, which cannot be sampled here",
            hint="what runs: tasks on images, and tasks without data such as lo:QuadraticTask",
        )
    return ForeignTask(made, name, sets[0])


@functools.cache
def _makers() -> tuple[dict[str, Any], dict[str, str]]:
    task = imported("tasks.base").Task

    def wanted(value: Any) -> bool:
        if inspect.isclass(value):
            return issubclass(value, task)
        # The functions that make tasks are those of gin with a capital letter.
        return callable(value) and getattr(value, "__name__", "_")[0].isupper()

    return members(_ROOMS, wanted)


@contextlib.contextmanager
def our_images(data: str | None = None) -> Iterator[None]:
    """Tasks of learned_optimization that are built inside get their images from here.

        with our_images():
            task = image_mlp.ImageMLP_FashionMnist_Relu128x128()
        batch = next(task.datasets.train)

    Neither TensorFlow's data sets nor a download are needed. One thread at a time is inside.

    Args:
      data: None for real data, or "synthetic".

    Raises:
      UsageError: it is not installed, or `data` is not understood; from within, a task wants a set
        or a form of images that is not known here.
    """
    with _serving(DataSelection.parse(data), [], []):
        yield


@contextlib.contextmanager
def _serving(
    selection: DataSelection,
    served: list[tuple[str, ArrayDatasets]],
    refused: list[CeloError],
) -> Iterator[None]:
    """Its functions for image data answer with ours.

    Args:
      selection: which data stands behind the name of a set.
      served: takes (name of the set, what was given out).
      refused: takes what is raised, as it is raised.
    """
    base = imported("tasks.datasets.base")
    originals = {name: getattr(base, name) for name in _IMAGES}
    signature = inspect.signature(originals[_IMAGES[0]])

    def serve(*args: Any, **options: Any) -> ArrayDatasets:
        try:
            served.append(_images(selection, **signature.bind(*args, **options).arguments))
        except CeloError as error:
            refused.append(error)
            raise
        return served[-1][1]

    with _BUILDING:
        try:
            for name in _IMAGES:
                setattr(base, name, serve)
            base.dataset_lru_cache_clear()
            yield
        finally:
            base.dataset_lru_cache_clear()
            for name, original in originals.items():
                setattr(base, name, original)


def _images(
    selection: DataSelection,
    *,
    datasetname: str,
    batch_size: int,
    image_size: tuple[int, int],
    convert_to_black_and_white: bool = False,
    stack_channels: int = 1,
    **options: Any,
) -> tuple[str, ArrayDatasets]:
    others = {k: v for k, v in options.items() if k not in _IGNORED and v is not None}
    if stack_channels != 1:
        others["stack_channels"] = stack_channels
    if others:
        raise UsageError(
            f"it wants images of {datasetname} prepared in a way that is not available here: "
            f"{', '.join(f'{key}={value}' for key, value in others.items())}"
        )
    grayscale = bool(convert_to_black_and_white)
    height, width = image_size
    name = registry.data_set(datasetname).record.name
    return name, image_datasets(name, batch_size, (height, width), grayscale, selection)


class ForeignTask(Task):
    """One of theirs behind our contract, with our data.

    Attributes:
      data_set: name of the data set, or "" for tasks without data.
    """

    def __init__(self, task: Any, name: str, data_set: str):
        self._task = task
        self._name = name
        self.datasets = task.datasets
        self.data_set = data_set

    @property
    def name(self) -> str:
        return self._name

    def init(self, key: PRNGKey) -> Params:
        return self._task.init(key)

    def init_with_state(self, key: PRNGKey) -> tuple[Params, ModelState]:
        return self._task.init_with_state(key)

    def loss(self, params: Params, key: PRNGKey, data: Batch) -> jax.Array:
        return self._task.loss(params, key, data)

    def loss_and_aux(
        self, params: Params, key: PRNGKey, data: Batch
    ) -> tuple[jax.Array, Mapping[str, jax.Array]]:
        return self._task.loss_and_aux(params, key, data)

    def loss_with_state(
        self, params: Params, state: ModelState, key: PRNGKey, data: Batch
    ) -> tuple[jax.Array, ModelState]:
        return self._task.loss_with_state(params, state, key, data)

    def loss_with_state_and_aux(
        self, params: Params, state: ModelState, key: PRNGKey, data: Batch
    ) -> tuple[jax.Array, ModelState, Mapping[str, jax.Array]]:
        return self._task.loss_with_state_and_aux(params, state, key, data)

    def normalizer(self, loss: jax.Array) -> jax.Array:
        return self._task.normalizer(loss)
