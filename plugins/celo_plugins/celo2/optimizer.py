"""Celo2: Celo2-base with orthogonalised directions for matrices and Adam for chosen leaves.

Which leaves go to Adam is said by a regular expression on their names. The length of a run does not
matter: a schedule of `step_mult` is the caller's. Weights of Celo2-base serve here and the other
way round.
"""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import jax
import jax.numpy as jnp

from celo.errors import UsageError
from celo.lopt.optimizer import ThetaOptimizer
from celo.protocol import MetaParams, ModelState, Params, PyTree, state_record
from celo_plugins.celo2.adam import AdamState, adam_directions, init_adam
from celo_plugins.celo2.base import Celo2Base, Celo2BaseConfig, descend
from celo_plugins.celo2.rule import Number, RuleState, init_rule, rule_directions


@dataclasses.dataclass(frozen=True)
class Celo2Config(Celo2BaseConfig):
    """Hyperparameters of Celo2; the defaults are the published ones.

    Attributes:
      adam_regex: leaves in whose path (`leaf_paths`) it is found go to Adam; empty or None: none.
      adam_mult: learning rate of these leaves, in units of `step_mult`.
      adam_b1: decay of Adam's first moment.
      adam_b2: decay of Adam's second moment.
      adam_eps: added to Adam's second moment under the root.
    """

    orthogonalize: bool = True
    adam_regex: str | None = r"/b$"
    adam_mult: Number = 20.0
    adam_b1: Number = 0.9
    adam_b2: Number = 0.95
    adam_eps: Number = 1e-8

    def __post_init__(self) -> None:
        try:
            re.compile(self.adam_regex or "")
        except re.error as error:
            raise UsageError(
                f"adam_regex {self.adam_regex!r} is no regular expression: {error}",
                hint="It is searched for in paths such as mlp/linear_0/b.",
            ) from error


@state_record
class Celo2State:
    """State of a run with Celo2.

    Attributes:
      params: the parameters being trained.
      state_1d: Adam's, of the leaves it has; the others are None in its trees.
      state_2d: the learned rule's, of all other leaves.
      state: the task's model state, carried untouched.
      step_mult: float32 (), learning rate of the learned rule.
      step_mult_1d: float32 (), learning rate of Adam.
    """

    params: Params
    state_1d: AdamState
    state_2d: RuleState
    state: ModelState
    step_mult: jax.Array
    step_mult_1d: jax.Array

    @property
    def iteration(self) -> jax.Array:
        """int32 (), updates done."""
        return self.state_2d.iteration


class Celo2(Celo2Base):
    """Celo2 with any weights, which are those of Celo2-base."""

    config: Celo2Config

    def __init__(self, config: Celo2Config | None = None):
        super().__init__(config or Celo2Config())

    @property
    def name(self) -> str:
        return "celo2"

    def opt_fn(self, theta: MetaParams, is_training: bool = False) -> Celo2Optimizer:
        self.check(theta)
        return Celo2Optimizer(self.name, theta, self.config)


@dataclasses.dataclass(frozen=True, eq=False)
class Celo2Optimizer(ThetaOptimizer):
    """Celo2 with given weights."""

    config: Celo2Config

    def compute(
        self, opt_state: Celo2State, grad: Params
    ) -> tuple[Params, tuple[AdamState, RuleState]]:
        """Directions and averages after one gradient; nothing is cast yet."""
        config, params = self.config, opt_state.params
        to_adam = self._to_adam(params)
        adam_grad, rule_grad = split_leaves(grad, to_adam)
        _, rule_params = split_leaves(params, to_adam)
        adam, state_1d = adam_directions(
            opt_state.state_1d,
            adam_grad,
            b1=config.adam_b1,
            b2=config.adam_b2,
            eps=config.adam_eps,
            bias_correction=False,
        )
        rule, state_2d = rule_directions(
            config, self.theta, opt_state.state_2d, rule_params, rule_grad
        )
        of_adam, of_rule = iter(jax.tree.leaves(adam)), iter(jax.tree.leaves(rule))
        leaves = [next(of_adam if routed else of_rule) for routed in to_adam]
        return jax.tree.structure(params).unflatten(leaves), (state_1d, state_2d)

    def first_state(
        self, params: Params, model_state: ModelState, num_steps: int | jax.Array | None
    ) -> Celo2State:
        adam_params, rule_params = split_leaves(params, self._to_adam(params))
        step_mult = jnp.array(self.config.step_mult, jnp.float32)
        return Celo2State(
            params=params,
            state_1d=init_adam(adam_params),
            state_2d=init_rule(rule_params),
            state=model_state,
            step_mult=step_mult,
            step_mult_1d=step_mult * self.config.adam_mult,
        )

    def next_state(
        self, opt_state: Celo2State, grad: Params, loss: Any, model_state: Any, is_valid: Any
    ) -> Celo2State:
        return self.advance(opt_state, *self.compute(opt_state, grad), model_state)

    def advance(
        self,
        opt_state: Celo2State,
        directions: Params,
        averages: tuple[AdamState, RuleState],
        model_state: ModelState,
    ) -> Celo2State:
        """Takes the steps and remembers the averages."""
        params, structure = jax.tree.flatten(opt_state.params)
        new = [
            descend(
                p,
                s,
                opt_state.step_mult_1d if routed else opt_state.step_mult,
                self.config.weight_decay,
            )
            for p, s, routed in zip(
                params, jax.tree.leaves(directions), self._to_adam(opt_state.params), strict=True
            )
        ]
        state_1d, state_2d = averages
        return Celo2State(
            params=structure.unflatten(new),
            state_1d=state_1d,
            state_2d=state_2d,
            state=model_state,
            step_mult=opt_state.step_mult,
            step_mult_1d=opt_state.step_mult_1d,
        )

    def _to_adam(self, params: Params) -> list[bool]:
        regex = self.config.adam_regex
        return [bool(regex and re.search(regex, path)) for path in leaf_paths(params)]


def leaf_paths(tree: PyTree) -> list[str]:
    """Where each leaf is, as routing sees it: `mlp/~/linear_0/b`, `layers/[0]/.weight`.

    Keys of dictionaries are joined by slashes; elements of sequences are `[0]`, attributes `.name`.
    """
    paths = (path for path, _ in jax.tree_util.tree_leaves_with_path(tree))
    return ["/".join(_level(entry) for entry in path) for path in paths]


def _level(entry: Any) -> str:
    return str(entry.key if isinstance(entry, jax.tree_util.DictKey) else entry)


def split_leaves(tree: PyTree, first: list[bool]) -> tuple[PyTree, PyTree]:
    """The tree twice: with None for the leaves that are not `first`, and for those that are."""
    leaves, structure = jax.tree.flatten(tree)
    pairs = [(x, None) if f else (None, x) for x, f in zip(leaves, first, strict=True)]
    return structure.unflatten([a for a, _ in pairs]), structure.unflatten([b for _, b in pairs])


def build(**hyperparameters: Any) -> Celo2:
    """Celo2."""
    return Celo2(Celo2Config(**hyperparameters))
