"""The optimizers: one from optax, one learned."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax

from celo.optim import from_optax
from celo.protocol import (
    LearnedOptimizer,
    MetaParams,
    ModelState,
    Optimizer,
    Params,
    PRNGKey,
    state_record,
)
from celo.trees import cast_like, check_float_leaves, check_gradients


def lion(
    lr: float = 1e-4, b1: float = 0.9, b2: float = 0.99, weight_decay: float = 0.0
) -> Optimizer:
    """Lion; the hyperparameters are those of its record, `lr` may be traced."""
    transform = optax.lion(learning_rate=lr, b1=b1, b2=b2, weight_decay=weight_decay)
    return from_optax(transform, name="lion-cub")


class TensorSteps(LearnedOptimizer):
    """Momentum of unit size, times a learned step for the rank of the tensor.

    Theta is `{"log_step": float32 [3], "momentum": float32 []}`: the steps of scalars, vectors and
    all others, and the decay of the momentum before a sigmoid.
    """

    @property
    def name(self) -> str:
        return "tensor-steps"

    def init(self, key: PRNGKey) -> MetaParams:
        return {
            "log_step": jnp.log(0.01) + 0.3 * jax.random.normal(key, (3,)),
            "momentum": jnp.asarray(2.0),
        }

    def opt_fn(self, theta: MetaParams, is_training: bool = False) -> Optimizer:
        return _TensorSteps(theta)


@state_record
class TensorStepsState:
    """State of a run.

    Attributes:
      params: the parameters being trained.
      state: the task's model state, carried untouched.
      momentum: with the structure of the parameters.
      iteration: int32 (), updates done.
    """

    params: Params
    state: ModelState
    momentum: Params
    iteration: jax.Array


class _TensorSteps(Optimizer):
    def __init__(self, theta: MetaParams):
        self._steps = jnp.exp(theta["log_step"])
        self._decay = jax.nn.sigmoid(theta["momentum"])

    @property
    def name(self) -> str:
        return "tensor-steps"

    def init(
        self,
        params: Params,
        model_state: ModelState = None,
        num_steps: int | jax.Array | None = None,
        key: PRNGKey | None = None,
        **kwargs: Any,
    ) -> TensorStepsState:
        check_float_leaves(params, self.name)
        params = cast_like(params, params)
        momentum = jax.tree.map(jnp.zeros_like, params)
        return TensorStepsState(params, model_state, momentum, jnp.zeros((), jnp.int32))

    def update(
        self,
        opt_state: TensorStepsState,
        grad: Params,
        loss: jax.Array | None = None,
        model_state: ModelState = None,
        key: PRNGKey | None = None,
        is_valid: bool | jax.Array = False,
        **kwargs: Any,
    ) -> TensorStepsState:
        check_gradients(opt_state.params, grad, self.name)

        def step(param: jax.Array, momentum: jax.Array) -> jax.Array:
            size = jnp.sqrt(jnp.mean(jnp.square(momentum)))
            return param - self._steps[min(param.ndim, 2)] * momentum / (size + 1e-8)

        momentum = jax.tree.map(
            lambda m, g: self._decay * m + (1 - self._decay) * g, opt_state.momentum, grad
        )
        params = jax.tree.map(step, opt_state.params, momentum)
        return TensorStepsState(
            # The casts keep bfloat16 parameters bfloat16.
            params=cast_like(params, opt_state.params),
            state=model_state,
            momentum=cast_like(momentum, opt_state.momentum),
            iteration=opt_state.iteration + 1,
        )
