"""From a checked spec to a ready optimizer: weights found, theta built, plugin called.

The first half (weights) imports no JAX, the second half does.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from celo.errors import UsageError
from celo.modifiers import Modifier, argument_value, modifier
from celo.records import LEARNING_RATE_SCHEDULE, OptimizerPlugin, TaskPlugin
from celo.registry import Found, Origin, optimizer, resolve, task
from celo.spec import OptimizerSpec, check, parse

if TYPE_CHECKING:
    from celo.protocol import LearnedOptimizer, MetaParams, Optimizer
    from celo_zoo import Weights

OPTAX = "optax"
"""The source whose optimizers are those of the optax that is installed."""
LO = "lo"
"""The source whose optimizers and tasks are those of the learned_optimization installed."""
FOREIGN = (OPTAX, LO)
"""Sources that the grammar knows and that are no distributions of plugins."""


class BundledWeightsWarning(UserWarning):
    """Published weights were asked for, cannot be had, and those that come with celo stand in.

    `NAME@bundled` asks for the latter, and warns of nothing.
    """


def find(
    text: str | OptimizerSpec, *, complete: bool = True
) -> tuple[OptimizerSpec, Found[OptimizerPlugin]]:
    """The checked spec of an optimizer and the record that it names.

    Args:
      text: what was asked for. `optax:NAME` and `lo:NAME` are any optimizer of optax and of
        learned_optimization; to look there imports JAX.
      complete: refuse what cannot be built for want of a hyperparameter.

    Raises:
      UsageError: the text, the name, a hyperparameter or a value is wrong.
      BrokenPluginError: the optimizer is installed but cannot be used.
    """
    spec = parse(text) if isinstance(text, str) else text
    if spec.source == OPTAX:
        spec, found = _of_optax(spec)
    elif spec.source == LO:
        spec, found = _of_learned_optimization(spec)
    else:
        found = optimizer(spec.name, spec.source)
    spec = check(spec, found.record)
    if complete and spec.source in FOREIGN:
        from celo.optim.optax_catalogue import check_complete

        check_complete(found.record, dict(spec.hyperparameters), str(spec.source))
    named = [(m, argument and _named(m, argument)) for m, argument in spec.modifiers]
    return replace(spec, modifiers=tuple(named)), found


def find_task(text: str) -> Found[TaskPlugin]:
    """The record of a task.

    Args:
      text: name of an installed task, or `lo:NAME` for one of learned_optimization, which imports
        JAX to look.

    Raises:
      UnknownNameError: there is none of this name.
      UsageError, BrokenPluginError: it cannot be used.
    """
    source, colon, name = text.partition(":")
    if not (colon and source == LO):
        return task(text)
    from celo.interop import tasks

    return tasks.find(name)


def _of_learned_optimization(
    spec: OptimizerSpec,
) -> tuple[OptimizerSpec, Found[OptimizerPlugin]]:
    from celo.interop import learned_optimization as library
    from celo.optim.optax_catalogue import with_our_names

    record = library.record(spec.name)
    values = with_our_names(dict(spec.hyperparameters))
    origin = Origin(library.PACKAGE, library.version(), record.build)
    return replace(spec, hyperparameters=tuple(sorted(values.items()))), Found(record, origin)


def _of_optax(spec: OptimizerSpec) -> tuple[OptimizerSpec, Found[OptimizerPlugin]]:
    from celo.optim import optax_catalogue as catalogue

    record = catalogue.record(spec.name)
    values = catalogue.with_our_names(dict(spec.hyperparameters))
    origin = Origin(OPTAX, catalogue.VERSION, record.build)
    return replace(spec, hyperparameters=tuple(sorted(values.items()))), Found(record, origin)


def _named(name: str, argument: str) -> str:
    """The canonical argument of a modifier, an optimizer that it names looked up."""
    if _names_optimizer(modifier(name)):
        other, found = find(argument)
        if found.record.kind == "learned":
            raise UsageError(
                f"+{name} takes a hand-crafted optimizer, and {other.name!r} is learned",
                hint=f"for example: {other.name}{modifier(name).example}",
            )
        return other.text
    return argument


def _names_optimizer(found: Modifier) -> bool:
    return found.argument is not None and found.argument.type == "optimizer"


def _graft_partners(spec: OptimizerSpec) -> list[Found[OptimizerPlugin]]:
    """The optimizers that modifiers name."""
    named = [argument for name, argument in spec.modifiers if _names_optimizer(modifier(name))]
    return [find(argument)[1] for argument in named if argument is not None]


def reads_of(
    spec: OptimizerSpec, record: OptimizerPlugin
) -> tuple[Literal["num_steps", "loss"], ...]:
    """What an optimizer needs besides gradients, its modifiers included."""
    further = [modifier(name).reads for name, _ in spec.modifiers]
    further += [found.record.reads for found in _graft_partners(spec)]
    return tuple(dict.fromkeys((*record.reads, *(fact for reads in further for fact in reads))))


def numerics_version(spec: OptimizerSpec, record: OptimizerPlugin) -> int:
    """Raised whenever the numbers of an optimizer or of anything that modifies it change."""
    parts = [modifier(name).numerics_version for name, _ in spec.modifiers]
    parts += [found.record.numerics_version for found in _graft_partners(spec)]
    return record.numerics_version + sum(version - 1 for version in parts)


def constructor(spec: OptimizerSpec, found: Found[OptimizerPlugin]) -> Callable[..., Any]:
    """What makes the optimizer from hyperparameters: the plugin's `build`, its result modified.

    Args:
      spec: checked; its hyperparameters are not applied, its modifiers are.
      found: the record that it names.

    Returns:
      (**hyperparameters, which may be traced) -> LearnedOptimizer or Optimizer.

    Raises:
      BrokenPluginError: an implementation cannot be imported.
    """
    build = resolve(found.record.build)
    if not spec.modifiers:
        return build
    applied = [_application(name, argument) for name, argument in spec.modifiers]

    def modify(optimizer: Optimizer, lr: Any) -> Optimizer:
        for apply in applied:
            optimizer = apply(optimizer, lr)
        return optimizer

    def construct(**hyperparameters: Any) -> Any:
        built = build(**hyperparameters)
        if found.record.kind == "learned":
            from celo.optim.modifiers import with_modification

            return with_modification(built, lambda optimizer: modify(optimizer, None))
        return modify(built, _learning_rate(found.record, hyperparameters))

    return construct


def _learning_rate(record: OptimizerPlugin, hyperparameters: Mapping[str, Any]) -> Any:
    """The hyperparameter `lr` of an optimizer, its schedule if it has one, or None."""
    values = {h.name: h.default for h in record.hyperparameters} | dict(hyperparameters)
    scheduled = {h.name for h in LEARNING_RATE_SCHEDULE} <= set(values)
    if "lr" not in values or not scheduled or values["schedule"] == "constant":
        return values.get("lr")
    from celo.optim.schedules import make_schedule

    return make_schedule(values["lr"], values)


def _application(name: str, argument: str | None) -> Callable[[Optimizer, Any], Optimizer]:
    """(optimizer, its learning rate or None) -> the modified optimizer."""
    declared = modifier(name)
    build = resolve(declared.build)
    values: Sequence[Any] = ()
    if declared.argument is not None:
        value = argument_value(declared, argument)
        values = (build_optimizer(*find(str(value))) if _names_optimizer(declared) else value,)
    if declared.takes_lr:
        return lambda optimizer, lr: build(optimizer, *values, lr=lr)
    return lambda optimizer, lr: build(optimizer, *values)


def is_random(weights: str | None) -> bool:
    """Whether a locator asks for random weights."""
    return weights is not None and (weights == "random" or weights.startswith("random:"))


def random_seed(spec: OptimizerSpec) -> int:
    """The seed of `@random[:seed]`.

    Raises:
      UsageError: it is not a whole number.
    """
    _, _, seed = (spec.weights or "").partition(":")
    if seed and not (seed.isdigit() and int(seed) < 2**31):
        raise UsageError(
            f"the seed of random weights must be a whole number, got {seed!r}",
            hint=f"for example: {spec.name}@random:0",
        )
    return int(seed or 0)


def weights_of(spec: OptimizerSpec, record: OptimizerPlugin) -> Weights | None:
    """Weights of a learned optimizer: what stands behind `@`, else its zoo entry.

    None for random weights and for hand-crafted optimizers.

    Raises:
      UsageError: there is neither.
      WeightsError: they are missing, damaged or not what they claim to be.
    """
    if record.kind == "hand-crafted":
        return None
    if is_random(spec.weights):
        random_seed(spec)
        return None
    from celo_zoo import load_weights

    locator = spec.weights or record.zoo_id
    if spec.weights == "bundled":
        locator = f"bundled:{record.zoo_id or record.name}"
    if locator is None:
        raise UsageError(
            f"{record.name!r} has no published weights",
            hint=f"name some: {record.name}@PATH, or {record.name}@random for untrained ones",
        )
    return load_weights(locator)


def theta_of(spec: OptimizerSpec, lopt: LearnedOptimizer, weights: Weights | None) -> MetaParams:
    """Theta of a learned optimizer: from the zoo's tree, or random where there are no weights.

    Raises:
      WeightsError: the weights are another optimizer's; names every leaf that differs.
    """
    import jax

    from celo.lopt import theta_from_tree

    if weights is None:
        return lopt.init(jax.random.PRNGKey(random_seed(spec)))
    return theta_from_tree(lopt, weights.tree)


def build_learned(
    spec: OptimizerSpec, found: Found[OptimizerPlugin]
) -> tuple[LearnedOptimizer, MetaParams]:
    """A learned optimizer and its weights, apart.

    Warns:
      BundledWeightsWarning: published weights were asked for and bundled ones stand in.
    """
    weights = weights_of(spec, found.record)
    if weights is not None and weights.remark is not None:
        warnings.warn(weights.remark, BundledWeightsWarning, stacklevel=_outside())
    lopt = constructor(spec, found)(**dict(spec.hyperparameters))
    return lopt, theta_of(spec, lopt, weights)


def _outside() -> int:
    """The `stacklevel` of the first caller that is none of ours."""
    frame, level = sys._getframe(1), 1
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("celo."):
        frame, level = frame.f_back, level + 1
    return level


def build_optimizer(spec: OptimizerSpec, found: Found[OptimizerPlugin]) -> Optimizer:
    """A ready optimizer, learned (with its weights) or hand-crafted."""
    if found.record.kind == "hand-crafted":
        return constructor(spec, found)(**dict(spec.hyperparameters))
    lopt, theta = build_learned(spec, found)
    return lopt.opt_fn(theta)
