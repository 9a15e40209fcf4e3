"""The outer optimizer: AdamW on the leaves of theta that a phase trains."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
import optax

from celo.errors import UsageError
from celo.protocol import MetaParams, PyTree

ScheduleName = Literal["constant", "cosine"]

WEIGHT_DECAY = 1e-4


def schedule(
    value: float, name: ScheduleName, iterations: int, warmup: int = 0, end: float = 0.0
) -> Callable[[Any], Any]:
    """A value over outer steps.

    Args:
      value: reached after the warm-up.
      name: how it goes on.
      iterations: outer steps of the whole run.
      warmup: outer steps of a linear rise; the first step has value / warmup.
      end: last value of the cosine.
    """
    if name == "cosine":
        rest = max(iterations - warmup, 1)
        after = optax.cosine_decay_schedule(value, rest, alpha=end / value if value else 0.0)
    else:
        after = optax.constant_schedule(value)
    if not warmup:
        return after
    rise = optax.linear_schedule(value / warmup, value, max(warmup - 1, 1))
    return optax.join_schedules([rise, after], [warmup])


def adamw(
    learning_rate: float | Callable[[Any], Any],
    *,
    weight_decay: float = WEIGHT_DECAY,
    clip: float | None = None,
) -> optax.GradientTransformation:
    """AdamW with b1 0.9, b2 0.999, eps 1e-8 outside the root, the decay scaled by the rate.

    Args:
      learning_rate: or a schedule of it.
      weight_decay: of every leaf, biases too.
      clip: largest global norm of the gradient, or None.
    """
    steps = optax.adamw(learning_rate, b1=0.9, b2=0.999, eps=1e-8, weight_decay=weight_decay)
    return steps if clip is None else optax.chain(optax.clip_by_global_norm(clip), steps)


@dataclass(frozen=True)
class Partition:
    """Which leaves of theta a phase trains.

    Attributes:
      structure: of theta.
      trained: for each leaf in flattening order.
    """

    structure: Any
    trained: tuple[bool, ...]

    def split(self, theta: MetaParams) -> tuple[list[Any], list[Any]]:
        """The trained leaves and the frozen ones."""
        leaves = self.structure.flatten_up_to(theta)
        pairs = list(zip(leaves, self.trained, strict=True))
        return [x for x, yes in pairs if yes], [x for x, yes in pairs if not yes]

    def join(self, trained: Sequence[Any], frozen: Sequence[Any]) -> MetaParams:
        """Theta from what `split` returned."""
        sources = {True: iter(trained), False: iter(frozen)}
        return self.structure.unflatten([next(sources[yes]) for yes in self.trained])

    def masked(self, gradient: MetaParams) -> MetaParams:
        """The gradient times 1 for trained and 0 for frozen leaves."""
        leaves = self.structure.flatten_up_to(gradient)
        pairs = zip(leaves, self.trained, strict=True)
        return self.structure.unflatten([x * jnp.float32(yes) for x, yes in pairs])


def partition(theta: MetaParams, frozen: Sequence[str]) -> Partition:
    """Freezes every leaf whose path `/key/key/...` contains one of the names.

    Raises:
      UsageError: nothing is left to train.
    """
    paths, structure = jax.tree_util.tree_flatten_with_path(theta)
    trained = tuple(not any(name in _path(path) for name in frozen) for path, _ in paths)
    if not any(trained):
        raise UsageError(
            f"nothing is left to meta-train: {', '.join(frozen) or 'theta'} is frozen, "
            f"and theta has {len(trained)} leaves",
            hint="choose another phase, or a plugin whose weights are trained",
        )
    return Partition(structure, trained)


def _path(entries: tuple[Any, ...]) -> str:
    return "/" + "/".join(
        str(getattr(e, "key", getattr(e, "name", getattr(e, "idx", e)))) for e in entries
    )


def global_norm(tree: PyTree) -> jax.Array:
    """Euclidean norm of all leaves together."""
    # optax calls it by another name in every other release.
    return jnp.sqrt(sum(jnp.sum(jnp.square(leaf)) for leaf in jax.tree.leaves(tree)))
