"""NAdamW: Adam with Nesterov momentum and two kinds of weight decay.

Metz et al. 2020 (arXiv:2002.11887), appendix D.4. It differs from `optax.nadamw`: weight decay is
multiplied by the bias-corrected rate, epsilon joins the uncorrected root, and the Nesterov step is
corrected as the plain one is.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from celo.lopt.optimizer import check_num_steps
from celo.optim import scheduled
from celo.optim.schedules import Constant, Number, Schedule
from celo.protocol import ModelState, Optimizer, Params, PRNGKey, state_record
from celo.trees import cast_like, check_float_leaves, check_gradients


@state_record
class NAdamWState:
    """State of a run.

    Attributes:
      iteration: int32 (), updates done.
      params: the parameters being trained.
      state: the task's model state, carried untouched.
      grad_acc: first moments, like the parameters.
      grad_sqr_acc: second moments, like the parameters.
      num_steps: int32 (), length of the run.
    """

    iteration: jax.Array
    params: Params
    state: ModelState
    grad_acc: Params
    grad_sqr_acc: Params
    num_steps: jax.Array


@dataclasses.dataclass(frozen=True, eq=False)
class NAdamW(Optimizer):
    """NAdamW; every hyperparameter may be traced, `use_nesterov` included.

    Attributes:
      learning_rate: called with (updates done, length of the run).
      beta1: decay of the first moment.
      beta2: decay of the second moment.
      epsilon: added to the root of the uncorrected second moment.
      adamw_weight_decay: fraction of a parameter taken away, times the corrected rate.
      l2_weight_decay: this times the parameter leaves the gradient (the published sign: positive
        values make parameters grow).
      use_nesterov: look one step ahead.
      label: shown in tables.
    """

    learning_rate: Schedule = Constant(1e-4)
    beta1: Number = 0.9
    beta2: Number = 0.999
    epsilon: Number = 1e-8
    adamw_weight_decay: Number = 0.0
    l2_weight_decay: Number = 0.0
    use_nesterov: bool | jax.Array = True
    label: str = "NAdamW"

    @property
    def name(self) -> str:
        return self.label

    def init(
        self,
        params: Params,
        model_state: ModelState = None,
        num_steps: int | jax.Array | None = None,
        key: PRNGKey | None = None,
        **kwargs: Any,
    ) -> NAdamWState:
        check_num_steps(num_steps, self.name)
        check_float_leaves(params, self.name)
        params = cast_like(params, params)
        return NAdamWState(
            iteration=jnp.zeros((), jnp.int32),
            params=params,
            state=model_state,
            grad_acc=jax.tree.map(jnp.zeros_like, params),
            grad_sqr_acc=jax.tree.map(jnp.zeros_like, params),
            # A copy: the state may be donated, the caller's array must survive.
            num_steps=jnp.array(num_steps, jnp.int32),
        )

    def update(
        self,
        opt_state: NAdamWState,
        grad: Params,
        loss: jax.Array | None = None,
        model_state: ModelState = None,
        key: PRNGKey | None = None,
        is_valid: bool | jax.Array = False,
        **kwargs: Any,
    ) -> NAdamWState:
        check_gradients(opt_state.params, grad, self.name)
        b1, b2 = self.beta1, self.beta2
        rate = self.learning_rate(opt_state.iteration, opt_state.num_steps)
        t = jnp.asarray(opt_state.iteration + 1, jnp.float32)
        rate = rate * jnp.sqrt(1 - b2**t) / (1 - b1**t)

        def step(p: jax.Array, a: jax.Array, v: jax.Array, g: jax.Array) -> jax.Array:
            ahead = jnp.where(self.use_nesterov, b1 * a + (1 - b1) * g, a)
            return p - (rate * ahead / (jnp.sqrt(v) + self.epsilon)
                        + rate * self.adamw_weight_decay * p)  # fmt: skip

        params = opt_state.params
        grad = jax.tree.map(lambda g, p: g - self.l2_weight_decay * p, grad, params)
        first = jax.tree.map(lambda a, g: b1 * a + (1 - b1) * g, opt_state.grad_acc, grad)
        second = jax.tree.map(lambda v, g: b2 * v + (1 - b2) * g * g, opt_state.grad_sqr_acc, grad)
        return NAdamWState(
            iteration=opt_state.iteration + 1,
            params=cast_like(jax.tree.map(step, params, first, second, grad), params),
            state=model_state,
            grad_acc=cast_like(first, opt_state.grad_acc),
            grad_sqr_acc=cast_like(second, opt_state.grad_sqr_acc),
            num_steps=opt_state.num_steps,
        )


@scheduled
def nadamw(
    lr: Any = 1e-4,
    beta1: Number = 0.9,
    beta2: Number = 0.999,
    epsilon: Number = 1e-8,
    adamw_weight_decay: Number = 0.0,
    l2_weight_decay: Number = 0.0,
    use_nesterov: bool = True,
) -> Optimizer:
    """NAdamW with a schedule."""
    return NAdamW(lr, beta1, beta2, epsilon, adamw_weight_decay, l2_weight_decay, use_nesterov)
