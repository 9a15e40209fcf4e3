"""Celo2 as optax transformations, which give directions: learning rate and decay are the caller's.

    optax.chain(
        scale_by_celo2(theta),
        optax.add_decayed_weights(0.01),
        optax.scale_by_learning_rate(schedule),
    )

Celo2's Adam for some leaves is `optax.partition` over `scale_by_celo2` and `scale_by_adam`.
"""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

import jax
import optax

from celo.errors import UsageError
from celo.lopt import theta_from_tree
from celo.protocol import MetaParams, Params
from celo.trees import cast_like, check_float_leaves, check_gradients
from celo_plugins.celo2.adam import adam_directions, init_adam
from celo_plugins.celo2.base import Celo2Base
from celo_plugins.celo2.rule import Celo2Rule, RuleState, init_rule, rule_directions
from celo_zoo import load_weights


def load_checkpoint(path: str | os.PathLike[str], **config: Any) -> MetaParams:
    """The weights in a file, ready for `scale_by_celo2`.

    Args:
      path: file in the format of the published `theta.state` (flax msgpack) or of our zoo.
      **config: as for `scale_by_celo2`; all of these configurations have the same weights.

    Raises:
      WeightsError: there is no such file, it is damaged, or it holds another optimizer's weights.
      UsageError: `config` has an unknown keyword.
    """
    _rule(config)
    # Absolute, so that no file is taken for the entry of the zoo with the same name.
    weights = load_weights(str(Path(path).expanduser().absolute()), allow_network=False)
    return theta_from_tree(Celo2Base(), weights.tree)


def scale_by_celo2(theta: MetaParams, **config: Any) -> optax.GradientTransformationExtraArgs:
    """Replaces gradients by learned directions of mean square one; descent subtracts them.

    All leaves are treated alike, and those of rank >= 2 are orthogonalised unless
    `orthogonalize=False` (Celo2-base). Updates have the dtype of the gradients, the state
    (`RuleState`) that of the parameters.

    Args:
      theta: weights, such as those of `load_checkpoint`; may be traced.
      **config: fields of `Celo2Rule`, by default those of Celo2.

    Returns:
      A transformation whose `update(grads, state, params)` needs the parameters and ignores
      further keywords.

    Raises:
      WeightsError: `theta` are other weights.
      UsageError: `config` has an unknown keyword; later: parameters are missing or do not fit.
    """
    rule = _rule(config)
    base = Celo2Base()
    base.check(theta)

    def init(params: Params) -> Any:
        check_float_leaves(params, "scale_by_celo2")
        return init_rule(params)

    @jax.jit
    def step(
        theta: MetaParams, grads: Params, state: RuleState, params: Params
    ) -> tuple[Params, RuleState]:
        directions, new = rule_directions(rule, theta, state, params, grads)
        return cast_like(directions, grads), cast_like(new, state)

    def update(
        updates: Params, state: Any, params: Params | None = None, **ignored: Any
    ) -> tuple[Params, Any]:
        if params is None:
            raise UsageError(
                "scale_by_celo2 needs the parameters, but params is None",
                hint="Call update(grads, state, params).",
            )
        check_gradients(params, updates, "scale_by_celo2")
        return step(theta, updates, state, params)

    return optax.GradientTransformationExtraArgs(init, update)


def scale_by_adam(
    b1: float | jax.Array = 0.9,
    b2: float | jax.Array = 0.999,
    epsilon: float | jax.Array = 1e-8,
    bias_correction: bool = True,
) -> optax.GradientTransformationExtraArgs:
    """Adam with `epsilon` under the root: m / sqrt(v + epsilon).

    Celo2 itself has b2 = 0.95 and no bias correction, and 20 times the step of its other leaves.

    Args:
      b1: decay of the first moment.
      b2: decay of the second moment.
      epsilon: added to the second moment.
      bias_correction: whether moments are divided by 1 - decay^t.

    Returns:
      A transformation with the state `AdamState`; further keywords of `update` are ignored.
    """

    def init(params: Params) -> Any:
        check_float_leaves(params, "scale_by_adam")
        return init_adam(params)

    def update(
        updates: Params, state: Any, params: Params | None = None, **ignored: Any
    ) -> tuple[Params, Any]:
        directions, new = adam_directions(
            state, updates, b1=b1, b2=b2, eps=epsilon, bias_correction=bias_correction
        )
        return cast_like(directions, updates), cast_like(new, state)

    return optax.GradientTransformationExtraArgs(init, update)


def _rule(config: dict[str, Any]) -> Celo2Rule:
    known = [field.name for field in dataclasses.fields(Celo2Rule)]
    unknown = sorted(set(config) - set(known))
    if unknown:
        raise UsageError(
            f"scale_by_celo2 has no setting {unknown[0]!r}",
            hint=f"It has: {', '.join(known)}. Step size and weight decay follow it in the chain.",
        )
    return Celo2Rule(**config)
