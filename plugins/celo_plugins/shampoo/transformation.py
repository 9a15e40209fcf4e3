"""Shampoo: every axis of a gradient is preconditioned by an inverse root of its second moments.

Gupta et al. 2018 (arXiv:1802.09568) in the form of Anil et al. 2020 (arXiv:2002.09018): blocks,
grafting, Nesterov momentum. All blocks and matrices of one size are one stack, whatever leaf or
axis they belong to: the compiled program grows with the number of sizes, not of blocks.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from celo.errors import UsageError
from celo.optim.inverse_root import inverse_root
from celo.protocol import Params
from celo.trees import cast_like
from celo_plugins.shampoo.blocks import Blocking, plan_blocks
from celo_plugins.shampoo.graft import GRAFT_TYPES, graft, init_graft, with_norm_of
from celo_plugins.shampoo.stacks import plan_stacks, precondition

Number = float | jax.Array
Stacks = dict[str, jax.Array]

_AT_LEAST_ONE = (
    "block_size",
    "preconditioning_compute_steps",
    "statistics_compute_steps",
    "merge_small_dims_block_size",
)


@dataclasses.dataclass(frozen=True)
class ShampooConfig:
    """Everything but the learning rate; what is a `Number` may be traced.

    Attributes:
      block_size: rows of the largest preconditioner.
      b1: decay of the momentum.
      b2: decay of the statistics.
      diagonal_epsilon: added to the root of the grafted second moment.
      matrix_epsilon: ridge of a statistic, relative to its largest eigenvalue; what it starts from.
      weight_decay: this times the parameter joins the direction, before the momentum.
      start_preconditioning_step: earlier updates follow the grafted direction.
      preconditioning_compute_steps: updates from one computation of roots to the next.
      statistics_compute_steps: updates from one refresh of the statistics to the next.
      graft_type: whose length a step takes; one of `GRAFT_TYPES`.
      nesterov: Nesterov's form of momentum.
      moving_average_for_momentum: what joins the momentum is multiplied by 1 - b1.
      merge_small_dims_block_size: neighbouring axes are merged up to this size.
      skip_preconditioning_dim_size_gt: leaves with a longer axis follow the grafted direction.
      inverse_failure_threshold: a root with this residual or a larger one is not used.
    """

    block_size: int = 128
    b1: Number = 0.9
    b2: Number = 0.999
    diagonal_epsilon: Number = 1e-10
    matrix_epsilon: Number = 1e-6
    weight_decay: Number = 0.0
    start_preconditioning_step: int = 5
    preconditioning_compute_steps: int = 1
    statistics_compute_steps: int = 1
    graft_type: str = "SGD"
    nesterov: bool = True
    moving_average_for_momentum: bool = False
    merge_small_dims_block_size: int = 4096
    skip_preconditioning_dim_size_gt: int = 4096
    inverse_failure_threshold: Number = 0.1

    def __post_init__(self) -> None:
        if self.graft_type not in GRAFT_TYPES:
            raise UsageError(
                f"shampoo: graft_type is {self.graft_type!r}, expected one of "
                f"{', '.join(GRAFT_TYPES)}"
            )
        for name in _AT_LEAST_ONE:
            if getattr(self, name) < 1:
                raise UsageError(f"shampoo: {name} must be at least 1, got {getattr(self, name)}")


class ShampooState(NamedTuple):
    """State of `scale_by_shampoo`.

    Attributes:
      count: int32 (), updates done.
      statistics: stack -> float32 [n, b, b], second moments of the axes of the blocks.
      preconditioners: stack -> float32 [n, b, b], their inverse roots.
      diagonal_statistics: like the parameters, float32: second moments of the grafted optimizer;
        () where it has none.
      diagonal_momentum: like the parameters: momentum of the grafted direction.
      momentum: like the parameters: momentum of the preconditioned direction.
    """

    count: jax.Array
    statistics: Stacks
    preconditioners: Stacks
    diagonal_statistics: Params
    diagonal_momentum: Params
    momentum: Params


def shampoo(
    learning_rate: optax.ScalarOrSchedule, config: ShampooConfig | None = None
) -> optax.GradientTransformation:
    """Shampoo as an optax optimizer; the learning rate may be traced or a schedule."""
    return optax.chain(scale_by_shampoo(config), optax.scale_by_learning_rate(learning_rate))


def scale_by_shampoo(config: ShampooConfig | None = None) -> optax.GradientTransformation:
    """Turns gradients into the momentum of preconditioned gradients; float32 inside.

    With `*_compute_steps` above 1 the updates in between skip that work, but for a `vmap` over
    whole runs, where JAX turns the condition into a selection between both results.
    """
    settings = config or ShampooConfig()

    def init(params: Params) -> ShampooState:
        stacks = plan_stacks(_blocking(params, settings))
        identity = {name: stack.identity() for name, stack in stacks.items()}
        return ShampooState(
            count=jnp.zeros((), jnp.int32),
            statistics={name: settings.matrix_epsilon * eye for name, eye in identity.items()},
            preconditioners=identity,
            diagonal_statistics=init_graft(settings.graft_type, params),
            diagonal_momentum=jax.tree.map(jnp.zeros_like, params),
            momentum=jax.tree.map(jnp.zeros_like, params),
        )

    # Callers who compile nothing would wait for a compilation of every operation in it.
    @jax.jit
    def update(
        updates: Params, state: ShampooState, params: Params | None = None
    ) -> tuple[Params, ShampooState]:
        return _update(settings, updates, state, params)

    return optax.GradientTransformation(init, update)


def _update(
    config: ShampooConfig, updates: Params, state: ShampooState, params: Params | None
) -> tuple[Params, ShampooState]:
    grads = _float32(updates)
    leaves, structure = jax.tree.flatten(grads)
    blocking = _blocking(grads, config)
    stacks, blocks = plan_stacks(blocking), blocking.gather(leaves)
    # Python would subtract it from 1 in float64: a traced one shall give the same numbers.
    b2 = jnp.asarray(config.b2, jnp.float32)

    def accumulated(old: Stacks) -> Stacks:
        moments = {name: stack.products(blocks) for name, stack in stacks.items()}
        return {name: b2 * old[name] + (1 - b2) * moments[name] for name in stacks}

    # What is left of the identity that the statistics start from.
    refreshed = state.count // config.statistics_compute_steps + 1
    least = config.matrix_epsilon * b2**refreshed

    def inverted(old: Stacks) -> Stacks:
        return {
            name: _roots(config, stack.root, statistics[name], least, old[name])
            for name, stack in stacks.items()
        }

    statistics = _every(config.statistics_compute_steps, state.count, accumulated, state.statistics)
    preconditioners = _every(
        config.preconditioning_compute_steps, state.count, inverted, state.preconditioners
    )
    grafted, moments = graft(
        config.graft_type, grads, state.diagonal_statistics, b2, config.diagonal_epsilon
    )
    preconditioned = blocking.scatter(precondition(blocks, preconditioners, stacks))
    direction = structure.unflatten(
        with_norm_of(u, preconditioned[i]) if i in preconditioned else u
        for i, u in enumerate(jax.tree.leaves(grafted))
    )
    own_step, momentum = _momentum_step(config, direction, state.momentum, params)
    grafted_step, diagonal_momentum = _momentum_step(
        config, grafted, state.diagonal_momentum, params
    )
    started = state.count >= config.start_preconditioning_step
    step = jax.tree.map(lambda own, other: jnp.where(started, own, other), own_step, grafted_step)
    new = ShampooState(
        count=state.count + 1,
        statistics=statistics,
        preconditioners=preconditioners,
        diagonal_statistics=moments,
        diagonal_momentum=diagonal_momentum,
        momentum=momentum,
    )
    return cast_like(step, updates), cast_like(new, state)


def _blocking(tree: Params, config: ShampooConfig) -> Blocking:
    return plan_blocks(
        [jnp.shape(leaf) for leaf in jax.tree.leaves(tree)],
        config.block_size,
        config.merge_small_dims_block_size,
        config.skip_preconditioning_dim_size_gt,
    )


def _every(
    interval: int, count: jax.Array, compute: Callable[[Stacks], Stacks], old: Stacks
) -> Stacks:
    if interval == 1:
        return compute(old)
    return jax.lax.cond(count % interval == 0, compute, lambda kept: kept, old)


def _roots(
    config: ShampooConfig, p: int, statistics: jax.Array, least: jax.Array, old: jax.Array
) -> jax.Array:
    root, residual = inverse_root(statistics, p, config.matrix_epsilon, least=least)
    # A comparison with NaN is false.
    good = residual < config.inverse_failure_threshold
    return jnp.where(good[:, None, None], root, old)


def _momentum_step(
    config: ShampooConfig, direction: Params, momentum: Params, params: Params | None
) -> tuple[Params, Params]:
    """The step before the learning rate, and the new momentum."""
    if not (isinstance(config.weight_decay, int | float) and config.weight_decay == 0):
        if params is None:
            raise UsageError(
                "shampoo: weight decay needs the parameters, but params is None",
                hint="Call update(grads, state, params).",
            )
        direction = jax.tree.map(lambda d, p: d + config.weight_decay * p, direction, params)
    weight = 1 - config.b1 if config.moving_average_for_momentum else 1.0
    new = jax.tree.map(lambda m, d: config.b1 * m + weight * d, _float32(momentum), direction)
    if not config.nesterov:
        return new, new
    return jax.tree.map(lambda m, d: weight * d + config.b1 * m, new, direction), new


def _float32(tree: Params) -> Params:
    return jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), tree)
