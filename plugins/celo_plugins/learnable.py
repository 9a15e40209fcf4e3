"""Hand-crafted optimizers whose hyperparameters are meta-parameters.

Theta holds logarithms, so that every value of it is a valid setting. It starts from the usual
values and draws nothing at random.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import optax

from celo.lopt.theta import CheckedLopt
from celo.optim import from_optax
from celo.protocol import MetaParams, Optimizer, PRNGKey


@dataclasses.dataclass(frozen=True)
class LearnableSgdConfig:
    """Where meta-training starts.

    Attributes:
      initial_lr: learning rate.
    """

    initial_lr: float = 0.01


@dataclasses.dataclass(frozen=True)
class LearnableSgdmConfig:
    """Where meta-training starts.

    Attributes:
      initial_lr: learning rate.
      initial_momentum: decay of the gradient buffer.
    """

    initial_lr: float = 0.01
    initial_momentum: float = 0.9


@dataclasses.dataclass(frozen=True)
class LearnableAdamConfig:
    """Where meta-training starts.

    Attributes:
      initial_lr: learning rate.
      initial_beta1: decay of the first moment.
      initial_beta2: decay of the second moment.
      initial_epsilon: added to the root of the second moment.
    """

    initial_lr: float = 1e-3
    initial_beta1: float = 0.9
    initial_beta2: float = 0.999
    initial_epsilon: float = 1e-8


class LearnableSgd(CheckedLopt):
    """Gradient descent with a learned learning rate."""

    def __init__(self, config: LearnableSgdConfig | None = None):
        self.config = config or LearnableSgdConfig()

    @property
    def name(self) -> str:
        return "learnable-sgd"

    def init(self, key: PRNGKey) -> MetaParams:
        return {"log_lr": _log(self.config.initial_lr)}

    def opt_fn(self, theta: MetaParams, is_training: bool = False) -> Optimizer:
        self.check(theta)
        return from_optax(optax.sgd(jnp.exp(theta["log_lr"])), self.name)


class LearnableSgdm(CheckedLopt):
    """Gradient descent with a learned learning rate and momentum, which is not damped."""

    def __init__(self, config: LearnableSgdmConfig | None = None):
        self.config = config or LearnableSgdmConfig()

    @property
    def name(self) -> str:
        return "learnable-sgdm"

    def init(self, key: PRNGKey) -> MetaParams:
        return {
            "log_lr": _log(self.config.initial_lr),
            "one_minus_momentum": _log(1 - self.config.initial_momentum),
        }

    def opt_fn(self, theta: MetaParams, is_training: bool = False) -> Optimizer:
        self.check(theta)
        momentum = 1 - jnp.exp(theta["one_minus_momentum"])
        return from_optax(optax.sgd(jnp.exp(theta["log_lr"]), momentum=momentum), self.name)


class LearnableAdam(CheckedLopt):
    """Adam with four learned hyperparameters."""

    def __init__(self, config: LearnableAdamConfig | None = None):
        self.config = config or LearnableAdamConfig()

    @property
    def name(self) -> str:
        return "learnable-adam"

    def init(self, key: PRNGKey) -> MetaParams:
        config = self.config
        return {
            "log_lr": _log(config.initial_lr),
            "one_minus_beta1": _log(1 - config.initial_beta1),
            "one_minus_beta2": _log(1 - config.initial_beta2),
            "log_epsilon": _log(config.initial_epsilon),
        }

    def opt_fn(self, theta: MetaParams, is_training: bool = False) -> Optimizer:
        self.check(theta)
        adam = optax.adam(
            jnp.exp(theta["log_lr"]),
            b1=1 - jnp.exp(theta["one_minus_beta1"]),
            b2=1 - jnp.exp(theta["one_minus_beta2"]),
            eps=jnp.exp(theta["log_epsilon"]),
            # As in the hand-crafted Adam; also what keeps the derivative by theta finite.
            eps_root=1e-8,
        )
        return from_optax(adam, self.name)


def _log(value: float) -> jax.Array:
    return jnp.log(jnp.asarray(value, jnp.float32))


def build_sgd(**hyperparameters: Any) -> LearnableSgd:
    """Gradient descent with a learned learning rate."""
    return LearnableSgd(LearnableSgdConfig(**hyperparameters))


def build_sgdm(**hyperparameters: Any) -> LearnableSgdm:
    """Gradient descent with momentum, both learned."""
    return LearnableSgdm(LearnableSgdmConfig(**hyperparameters))


def build_adam(**hyperparameters: Any) -> LearnableAdam:
    """Adam with learned hyperparameters."""
    return LearnableAdam(LearnableAdamConfig(**hyperparameters))
