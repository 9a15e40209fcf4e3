"""A stage made ready: its optimizer, its data, its initial weights, its compiled program."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from celo import data as data_sets
from celo import registry
from celo.data import DataSelection
from celo.errors import UsageError, WeightsMissingError
from celo.loading import constructor, find_task
from celo.lopt import theta_from_tree, theta_template
from celo.metatrain.augmentation import augmented
from celo.metatrain.augmentation_text import parse_augmentation
from celo.metatrain.config import StageConfig, Subject, estimator_settings, subject_of
from celo.metatrain.families import Group, make_groups, present
from celo.metatrain.inner import InnerTraining
from celo.metatrain.lengths import Lengths
from celo.metatrain.outer import Partition, adamw, partition, schedule
from celo.metatrain.program import MESH_AXIS, GroupProblem, Program, make_program
from celo.protocol import LearnedOptimizer, MetaParams
from celo.records import TaskPlugin
from celo_zoo import load_weights

NUMERICS_VERSION = 1
"""Raised whenever meta-training's numbers change; part of every run's identity."""


@dataclass(frozen=True)
class Initial:
    """Where a run starts.

    Attributes:
      theta: the weights.
      note: one sentence on where they come from.
      content: content hash of the weights that were read, or "random".
    """

    theta: MetaParams
    note: str
    content: str


@dataclass(frozen=True)
class Stage:
    """A stage before anything is compiled.

    Attributes:
      config: what was asked for.
      subject: the learned optimizer.
      lopt: built for the phase.
      part: which weights are trained.
      tasks: the tasks that are trained on.
      missing: name of every other task of the suite -> why not.
      data: name of a data set -> fingerprint.
      labels: name of a data set -> "real", "synthetic", ...
    """

    config: StageConfig
    subject: Subject
    lopt: LearnedOptimizer
    part: Partition
    tasks: tuple[TaskPlugin, ...]
    missing: dict[str, str]
    data: dict[str, str]
    labels: dict[str, str]

    @property
    def selection(self) -> DataSelection:
        return _selection(self.config)

    def identity(self) -> dict[str, Any]:
        """What a folder that holds this run cannot differ in, initial weights left out."""
        return {
            "numerics_version": NUMERICS_VERSION,
            "optimizer_numerics_version": self.subject.found.record.numerics_version,
            "optimizer": self.subject.spec.text,
            "config": self.config.to_json(),
            "tasks": [task.name for task in self.tasks],
            "data": self.data,
        }


def open_stage(config: StageConfig) -> Stage:
    """Checks a configuration against what is installed and reads the fingerprints of its data.

    Raises:
      CeloError: an unknown name, missing data, nothing to train, ...
    """
    subject = subject_of(config.plugin, config.phase)
    estimator_settings(config)
    selection = _selection(config)
    records = [find_task(name).record for name in registry.suite(config.suite).record.tasks]
    tasks, missing = present(records, selection)
    lopt = constructor(subject.spec, subject.found)(**dict(subject.spec.hyperparameters))
    forms = sorted({(task.data_set, task.vocabulary) for task in tasks if task.data_set})
    return Stage(
        config=config,
        subject=subject,
        lopt=lopt,
        part=partition(theta_template(lopt), subject.phase.frozen),
        tasks=tuple(tasks),
        missing=missing,
        data={_form(*form): data_sets.fingerprint(form[0], selection, form[1]) for form in forms},
        labels={
            _form(*form): data_sets.describe(form[0], selection, form[1]).label for form in forms
        },
    )


def _form(name: str, vocabulary: str) -> str:
    """A data set as it is read."""
    return f"{name}:{vocabulary}" if vocabulary else name


def initial_theta(stage: Stage, init: str | None) -> Initial:
    """The weights a run of this stage starts from.

    Args:
      stage: whose seed random weights are drawn with.
      init: what stands behind `@` of an optimizer (a zoo id, a file, a run folder), or None: random
        weights in a first phase, or what its setting `start` says; in a later one the zoo's for
        what is frozen, random ones for the rest.

    Raises:
      WeightsError: they are another optimizer's (names the leaves), damaged, or missing.
      UsageError: a later phase of an optimizer that has no weights, or a start it does not know.
    """
    record, spec = stage.subject.found.record, stage.subject.spec
    fresh = stage.lopt.init(jax.random.PRNGKey(stage.config.seed))
    if init is not None:
        weights = load_weights(init)
        theta = theta_from_tree(stage.lopt, weights.tree)
        return Initial(theta, f"starts from {weights.label} ({weights.path})", weights.content_hash)
    if stage.config.phase == min((p.number for p in record.phases), default=stage.config.phase):
        if stage.config.start == "momentum":
            return _momentum_start(stage)
        note = f"starts from random weights (seed {stage.config.seed})"
        return Initial(fresh, note, f"random:{stage.config.seed}")
    earlier = stage.config.phase - 1
    hint = (
        f"make them with: celo meta-train --plugin {spec.name} --phase {earlier}, then --init DIR"
    )
    if record.zoo_id is None:
        raise UsageError(
            f"phase {stage.config.phase} of {record.name!r} starts from weights of phase "
            f"{earlier}, and there are none",
            hint=hint,
        )
    try:
        weights = load_weights(record.zoo_id)
    except WeightsMissingError as error:
        raise WeightsMissingError(error.message, hint=f"{error.hint}; or {hint}") from error
    known = theta_from_tree(stage.lopt, weights.tree)
    trained, _ = stage.part.split(fresh)
    _, frozen = stage.part.split(known)
    names = ", ".join(stage.subject.phase.frozen)
    note = f"starts from {names} of {weights.label} ({weights.path}); the rest is fresh"
    return Initial(stage.part.join(trained, frozen), note, f"{weights.content_hash}:frozen")


def _momentum_start(stage: Stage) -> Initial:
    make = getattr(stage.lopt, "momentum_start", None)
    if make is None:
        raise UsageError(
            f"{stage.subject.found.record.name!r} knows no start from momentum",
            hint="leave --start out: random weights",
        )
    seed = stage.config.seed
    note = f"starts from weights that follow normalised momentum (seed {seed})"
    return Initial(make(jax.random.PRNGKey(seed)), note, f"momentum:{seed}")


def compile_stage(
    stage: Stage, devices: Sequence[Any] | None = None, *, estimator: Any = None
) -> Program:
    """Reads the data and compiles the program of a stage.

    Args:
      stage: what to run.
      devices: particles are spread over them; None means one device.
      estimator: of meta-gradients; None means the one that the configuration names.

    Raises:
      UsageError: memory is too small for so many particles.
    """
    config = stage.config
    low, high = config.unroll_bounds()
    augmentation = parse_augmentation(config.aug)
    lengths = Lengths(low, high, config.unroll_law, offset=high)

    def problem(group: Group) -> GroupProblem:
        family = augmented(group.family, augmentation)
        meta_loss = _meta_loss(config, group)

        def make(arrays: Any) -> InnerTraining:
            return InnerTraining(
                stage.lopt, family, group.pool, arrays, config.particles, lengths, meta_loss
            )

        return GroupProblem(make, group.pool.table.arrays, group.names)

    groups = make_groups(stage.tasks, stage.selection)
    mesh = None
    if devices is not None and len(devices) > 1:
        # Not jax.make_mesh, whose axes are explicit today: the compiler shall spread what it can.
        mesh = Mesh(np.asarray(devices), (MESH_AXIS,))
    return make_program(
        [problem(group) for group in groups],
        estimator or make_estimator(config),
        make_outer_optimizer(config),
        theta_template(stage.lopt),
        stage.part,
        published=config.published,
        patience=config.patience,
        particles=config.particles,
        mesh=mesh,
    )


def make_estimator(config: StageConfig) -> Any:
    """The estimator of a stage.

    Raises:
      UnknownNameError, BrokenPluginError: there is none of this name, or it cannot be used.
    """
    record, values = estimator_settings(config)
    if config.sigma_end is not None and "sigma" in values:
        values["sigma"] = schedule(config.sigma, "cosine", config.iterations, end=config.sigma_end)
    return registry.resolve(record.build)(**values)


def make_outer_optimizer(config: StageConfig) -> Any:
    rate = schedule(
        config.outer_lr,
        config.outer_schedule,
        config.iterations,
        config.warmup,
        config.outer_lr_end,
    )
    return adamw(rate, weight_decay=config.weight_decay, clip=config.outer_clip)


def _meta_loss(config: StageConfig, group: Group) -> Callable[..., jax.Array]:
    """From a training loss to what is minimised."""
    facts = getattr(group.family.datasets, "extra_info", None) or {}
    cap = 1.5 * math.log(facts["vocab_size"]) if "vocab_size" in facts else None
    weight = config.late_weight
    scale = math.log(10.0) / _first_loss(group) if config.balance else 1.0

    def meta_loss(loss: jax.Array, task: Any, step: jax.Array, length: jax.Array) -> jax.Array:
        value = task.normalizer(loss)
        if not config.published:
            # One run that diverges must neither hide all others nor outweigh them.
            top = task.normalizer(jnp.full_like(loss, jnp.inf))
            if cap is not None:
                top = jnp.minimum(top, cap)
            value = jnp.where(jnp.isnan(value), top, jnp.minimum(value, top))
        if weight:
            fraction = jnp.clip(step / length, 0.0, 1.0)
            value = value * (1.0 + weight * fraction**3) / (1.0 + weight / 4.0)
        return value * scale if config.balance else value

    return meta_loss


def _first_loss(group: Group) -> float:
    """Mean normalised loss of a few fresh networks on a batch, at least a small number."""
    table = group.pool.table
    batch = table.decode({n: jnp.asarray(a[: table.batch_size]) for n, a in table.arrays.items()})

    def one(key: jax.Array) -> jax.Array:
        task = group.family.sample_task(key)
        params, state = task.init_with_state(key)
        return task.normalizer(task.loss_with_state(params, state, key, batch)[0])

    losses = jax.jit(jax.vmap(one))(jax.random.split(jax.random.PRNGKey(0), 4))
    return max(float(jnp.mean(losses)), 1e-6)


def _selection(config: StageConfig) -> DataSelection:
    return DataSelection.parse(config.data, published_splits=config.published)
