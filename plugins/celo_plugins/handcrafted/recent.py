"""Optimizers of recent years, from optax."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax
import optax.contrib

from celo.errors import UsageError
from celo.optim import handcrafted
from celo.optim.schedules import Number


@handcrafted("Lion")
def lion(
    lr: Number = 1e-4, b1: Number = 0.9, b2: Number = 0.99, weight_decay: Number = 1e-3
) -> optax.GradientTransformation:
    """Lion."""
    return optax.lion(lr, b1=b1, b2=b2, weight_decay=weight_decay)


@handcrafted("ScheduleFreeAdamW", eval_params=optax.contrib.schedule_free_eval_params)
def schedule_free_adamw(
    lr: Number = 2.5e-3,
    warmup_steps: int = 0,
    b1: Number = 0.9,
    b2: Number = 0.999,
    eps: Number = 1e-8,
    weight_decay: Number = 0.0,
    weight_lr_power: Number = 2.0,
) -> optax.GradientTransformation:
    """Schedule-free AdamW; trained between the average and the newest iterate, evaluated at the
    average.
    """
    if callable(lr) and warmup_steps:
        raise UsageError(
            "warmup_steps is a schedule of its own",
            hint="leave warmup_steps out, or schedule",
        )
    return optax.contrib.schedule_free_adamw(
        lr,
        warmup_steps=warmup_steps or None,
        b1=b1,
        b2=b2,
        eps=eps,
        weight_decay=weight_decay,
        weight_lr_power=weight_lr_power,
    )


@handcrafted("Prodigy")
def prodigy(
    lr: Number = 1.0,
    b1: Number = 0.9,
    b2: Number = 0.999,
    eps: Number = 1e-8,
    estim_lr0: Number = 1e-6,
    estim_lr_coef: Number = 1.0,
    weight_decay: Number = 0.0,
    safeguard_warmup: bool = False,
) -> optax.GradientTransformation:
    """Prodigy."""
    return _still_without_gradient(
        optax.contrib.prodigy(
            lr,
            betas=(b1, b2),
            eps=eps,
            estim_lr0=estim_lr0,
            estim_lr_coef=estim_lr_coef,
            weight_decay=weight_decay,
            safeguard_warmup=safeguard_warmup,
        )
    )


def _still_without_gradient(inner: optax.GradientTransformation) -> optax.GradientTransformation:
    """Prodigy that stands still before the first gradient, where optax divides 0 by 0."""

    update_inner = optax.with_extra_args_support(inner).update

    def update(updates: Any, state: Any, params: Any = None, **extra: Any) -> tuple[Any, Any]:
        steps, inner_state = update_inner(updates, state, params, **extra)
        new: Any = inner_state
        begun = optax.tree.sum(jax.tree.map(jnp.abs, new.grad_sum)) != 0
        steps = jax.tree.map(lambda step: jnp.where(begun, step, 0), steps)
        return steps, new._replace(estim_lr=jnp.where(begun, new.estim_lr, state.estim_lr))

    return optax.GradientTransformationExtraArgs(inner.init, update)
