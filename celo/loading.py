"""From a checked spec to a ready optimizer: weights found, theta built, plugin called.

The first half (weights) imports no JAX, the second half does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from celo.errors import UsageError
from celo.records import OptimizerPlugin
from celo.registry import Found, optimizer, resolve
from celo.spec import OptimizerSpec, check, parse

if TYPE_CHECKING:
    from celo.protocol import LearnedOptimizer, MetaParams, Optimizer
    from celo_zoo import Weights

FOREIGN = ("optax", "lo")
"""Sources that the grammar knows and that are no distributions."""


def find(text: str | OptimizerSpec) -> tuple[OptimizerSpec, Found[OptimizerPlugin]]:
    """The checked spec of an optimizer and the record that it names.

    Raises:
      UsageError: the text, the name, a hyperparameter or a value is wrong.
      BrokenPluginError: the optimizer is installed but cannot be used.
    """
    spec = parse(text) if isinstance(text, str) else text
    if spec.source in FOREIGN:
        raise UsageError(
            f"optimizers of {spec.source!r} are not supported by this version of celo",
            hint="`celo plugins list` shows the installed ones",
        )
    found = optimizer(spec.name, spec.source)
    return check(spec, found.record), found


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
    """A learned optimizer and its weights, apart."""
    weights = weights_of(spec, found.record)
    lopt = resolve(found.record.build)(**dict(spec.hyperparameters))
    return lopt, theta_of(spec, lopt, weights)


def build_optimizer(spec: OptimizerSpec, found: Found[OptimizerPlugin]) -> Optimizer:
    """A ready optimizer, learned (with its weights) or hand-crafted."""
    if found.record.kind == "hand-crafted":
        return resolve(found.record.build)(**dict(spec.hyperparameters))
    lopt, theta = build_learned(spec, found)
    return lopt.opt_fn(theta)
