"""How the compiled loop makes an optimizer: weights and numbers are its arguments."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from celo.evaluation.plan import Entry
from celo.loading import constructor, theta_of

if TYPE_CHECKING:
    from celo.protocol import Optimizer, PyTree


def optimizer_factory(entry: Entry) -> tuple[Any, PyTree]:
    """((theta, traced hyperparameters) -> Optimizer, theta) of an entry.

    Raises:
      WeightsError: the weights do not fit the optimizer.
      BrokenPluginError: the plugin's implementation cannot be imported.
    """
    build = constructor(entry.spec, entry.found)
    traced = set(traced_names(entry))
    static = {k: v for k, v in entry.spec.hyperparameters if k not in traced}
    if entry.found.record.kind == "hand-crafted":

        def hand_crafted(_: PyTree, hypers: Mapping[str, Any]) -> Optimizer:
            return build(**static, **hypers)

        return hand_crafted, None
    theta = theta_of(entry.spec, build(**static), entry.weights)

    def learned(theta: PyTree, hypers: Mapping[str, Any]) -> Optimizer:
        return build(**static, **hypers).opt_fn(theta)

    return learned, theta


def traced_names(entry: Entry) -> list[str]:
    """Hyperparameters that are arrays in the compiled program, so that it fits any value."""
    declared = {h.name: h for h in entry.found.record.hyperparameters}
    given = dict(entry.members[0].hyperparameters)
    return [name for name in given if declared[name].traceable]


def traced_members(entry: Entry) -> dict[str, Any]:
    """Name -> array [members] of the traced hyperparameters."""
    import jax.numpy as jnp

    return {
        name: jnp.array([dict(m.hyperparameters)[name] for m in entry.members], jnp.float32)
        for name in traced_names(entry)
    }
