"""The contracts: Optimizer, LearnedOptimizer, Task, TaskFamily, Datasets.

Duck-type compatible with the classes of the same names in google/learned_optimization, so that an
object of either library works in the other. Everything here is a pure function over pytrees:
`jit`, `vmap` (over seeds, traceable hyperparameters and theta), `scan`, sharding and donation all
work, and no method may branch in Python on the value of an array.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar, dataclass_transform

import jax
import jax.numpy as jnp

PyTree = Any
Params = PyTree
ModelState = PyTree
MetaParams = PyTree
Batch = PyTree
PRNGKey = jax.Array

SPLITS = ("train", "inner_valid", "outer_valid", "test")

T = TypeVar("T")


@dataclass_transform(frozen_default=True, field_specifiers=(dataclasses.field,))
def state_record(cls: type[T]) -> type[T]:
    """Makes a class an immutable pytree record with `.replace(**fields)`.

    Fields are pytree children in the order of declaration, except those declared with
    `dataclasses.field(metadata={"static": True})`, which are part of the structure. A class that
    has a `replace` of its own keeps it.
    """
    record = dataclasses.dataclass(frozen=True)(cls)
    fields = dataclasses.fields(record)  # pyright: ignore[reportArgumentType]
    static = [f.name for f in fields if f.metadata.get("static")]
    children = [f.name for f in fields if not f.metadata.get("static")]
    if not hasattr(record, "replace"):
        record.replace = dataclasses.replace  # type: ignore[attr-defined]
    jax.tree_util.register_dataclass(record, data_fields=children, meta_fields=static)
    return record


class Optimizer:
    """Training rule whose state holds the parameters.

    The state is an immutable record with at least the fields `params`, `state` (the task's model
    state, carried untouched) and `iteration` (int32 scalar); the state returned by `update` has the
    structure, shapes and dtypes of the one given to it.
    """

    @property
    def name(self) -> str:
        return "UnnamedOptimizer"

    def init(
        self,
        params: Params,
        model_state: ModelState = None,
        num_steps: int | jax.Array | None = None,
        key: PRNGKey | None = None,
        **kwargs: Any,
    ) -> Any:
        """Returns the state before the first update.

        Args:
          params: any pytree of floating-point arrays.
          model_state: any pytree (batch statistics, ...) or None.
          num_steps: length of the training run; a Python int or a traced int scalar.
          key: PRNG key for randomised optimizers.
          **kwargs: unknown keywords are accepted and ignored.
        """
        raise NotImplementedError

    def update(
        self,
        opt_state: Any,
        grad: Params,
        loss: jax.Array | None = None,
        model_state: ModelState = None,
        key: PRNGKey | None = None,
        is_valid: bool | jax.Array = False,
        **kwargs: Any,
    ) -> Any:
        """Returns the state after one step.

        Args:
          opt_state: state returned by `init` or `update`.
          grad: gradient, with the structure of the parameters.
          loss: scalar loss at the parameters of `opt_state`.
          model_state: replaces the stored one (None included).
          key: PRNG key for randomised optimizers.
          is_valid: the loss comes from validation data.
          **kwargs: unknown keywords are accepted and ignored.
        """
        raise NotImplementedError

    def get_params(self, opt_state: Any) -> Params:
        return opt_state.params

    def get_state(self, opt_state: Any) -> ModelState:
        return opt_state.state

    def get_params_state(self, opt_state: Any) -> tuple[Params, ModelState]:
        return self.get_params(opt_state), self.get_state(opt_state)

    def get_eval_params(self, opt_state: Any) -> Params:
        """The parameters to evaluate, where these differ from those being trained.

        Methods that average their iterates override this. Foreign optimizers may lack it:
        `eval_params` calls it where it exists.
        """
        return self.get_params(opt_state)

    def set_params(self, opt_state: Any, params: Params) -> Any:
        return opt_state.replace(params=params)


def eval_params(optimizer: Any, opt_state: Any) -> Params:
    """The parameters at which an optimizer, ours or a foreign one, is to be evaluated."""
    return getattr(optimizer, "get_eval_params", optimizer.get_params)(opt_state)


class LearnedOptimizer:
    """A family of optimizers indexed by meta-parameters (weights) theta."""

    @property
    def name(self) -> str | None:
        return None

    def init(self, key: PRNGKey) -> MetaParams:
        """Draws random meta-parameters: a pytree of float32 arrays."""
        raise NotImplementedError

    def opt_fn(self, theta: MetaParams, is_training: bool = False) -> Optimizer:
        """The optimizer with these weights; pure in theta, which may be traced."""
        raise NotImplementedError


class Datasets:
    """The four splits of a task's data as endless, thread-safe iterators of batches.

    Attributes:
      extra_info: facts such as `num_classes`.
      abstract_batch: tree of `jax.ShapeDtypeStruct`; available without touching any data.
    """

    extra_info: Mapping[str, Any]
    abstract_batch: PyTree

    def __init__(self, extra_info: Mapping[str, Any] | None = None, abstract_batch: PyTree = None):
        self.extra_info = dict(extra_info or {})
        self.abstract_batch = abstract_batch

    def split(self, name: str) -> Iterator[Batch]:
        """The endless iterator of a split; the same object at every call.

        Args:
          name: one of `SPLITS`.

        Raises:
          ValueError: no split has this name.
        """
        raise NotImplementedError

    def table(self, name: str) -> SplitTable:
        """The rows of a split, for sampling by key inside compiled code."""
        raise NotImplementedError

    @property
    def train(self) -> Iterator[Batch]:
        return self.split("train")

    @property
    def inner_valid(self) -> Iterator[Batch]:
        return self.split("inner_valid")

    @property
    def outer_valid(self) -> Iterator[Batch]:
        return self.split("outer_valid")

    @property
    def test(self) -> Iterator[Batch]:
        return self.split("test")


@dataclasses.dataclass(frozen=True)
class SplitTable:
    """All rows of one split and how a batch is made of some of them.

    Attributes:
      arrays: name -> array [rows, ...]; compact (uint8 pixels, flattened rows).
      batch_size: rows of a batch.
      decode: pure function from gathered rows (name -> [*rows_shape, ...]) to a batch, traced
        inside compiled code.
      stack: a batch is so many consecutive ones of `batch_size` rows, stacked in front; None means
        a plain one.
    """

    arrays: Mapping[str, Any]
    batch_size: int
    decode: Callable[[Mapping[str, jax.Array]], Batch]
    stack: int | None = None

    @property
    def rows(self) -> int:
        return next(iter(self.arrays.values())).shape[0]

    @property
    def rows_shape(self) -> tuple[int, ...]:
        """Shape of the row numbers of one batch."""
        return (self.batch_size,) if self.stack is None else (self.stack, self.batch_size)


class Task:
    """Something to train: parameters, a loss and data.

    Hashed by identity, so that a task can be a static argument of `jax.jit`.

    Attributes:
      datasets: None for tasks that need no data; their batches are empty tuples.
    """

    # Declared as what nearly every task has, so that loops need not narrow it.
    datasets: Datasets = None  # pyright: ignore[reportAssignmentType]

    @property
    def name(self) -> str:
        return type(self).__name__

    def init(self, key: PRNGKey) -> Params:
        raise NotImplementedError

    def init_with_state(self, key: PRNGKey) -> tuple[Params, ModelState]:
        return self.init(key), None

    def loss(self, params: Params, key: PRNGKey, data: Batch) -> jax.Array:
        raise NotImplementedError

    def loss_and_aux(
        self, params: Params, key: PRNGKey, data: Batch
    ) -> tuple[jax.Array, Mapping[str, jax.Array]]:
        return self.loss(params, key, data), {}

    def loss_with_state(
        self, params: Params, state: ModelState, key: PRNGKey, data: Batch
    ) -> tuple[jax.Array, ModelState]:
        _refuse_state(self, state)
        return self.loss(params, key, data), None

    def loss_with_state_and_aux(
        self, params: Params, state: ModelState, key: PRNGKey, data: Batch
    ) -> tuple[jax.Array, ModelState, Mapping[str, jax.Array]]:
        _refuse_state(self, state)
        loss, aux = self.loss_and_aux(params, key, data)
        return loss, None, aux

    def normalizer(self, loss: jax.Array) -> jax.Array:
        """Maps a loss to a common scale, for curves and meta-losses; not differentiated."""
        return loss


def _refuse_state(task: Task, state: ModelState) -> None:
    if state is not None:
        raise ValueError(
            f"{task.name} has no model state, but got one: pass None, or override loss_with_state"
        )


class TaskFamily:
    """A distribution over tasks that share parameter structure and data."""

    datasets: Datasets | None = None
    _name: str | None = None

    @property
    def name(self) -> str:
        return self._name or type(self).__name__

    @property
    def eval_datasets(self) -> Datasets | None:
        return self.datasets

    def sample(self, key: PRNGKey) -> PyTree:
        """Draws a task configuration: any pytree of arrays; works under jit and vmap."""
        raise NotImplementedError

    def task_fn(self, cfg: PyTree) -> Task:
        """The task of a configuration, which may be traced."""
        raise NotImplementedError

    def eval_task_fn(self, cfg: PyTree) -> Task:
        return self.task_fn(cfg)

    def sample_task(self, key: PRNGKey) -> Task:
        return self.task_fn(self.sample(key))


class SingleTaskFamily(TaskFamily):
    """The family whose every member is the same task."""

    def __init__(self, task: Task, name: str | None = None, eval_task: Task | None = None):
        self.task = task
        self.eval_task = eval_task or task
        self.datasets = task.datasets
        self._name = name or task.name

    def sample(self, key: PRNGKey) -> jax.Array:
        return jnp.asarray(0)

    def task_fn(self, cfg: PyTree) -> Task:
        return self.task

    def eval_task_fn(self, cfg: PyTree) -> Task:
        return self.eval_task


def single_task_to_family(
    task: Task, name: str | None = None, eval_task: Task | None = None
) -> TaskFamily:
    """Wraps one task as a family; its name is `name`, else the task's."""
    return SingleTaskFamily(task, name, eval_task)
