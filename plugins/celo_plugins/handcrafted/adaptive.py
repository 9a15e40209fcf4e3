"""Optimizers with a rate for every parameter, from optax."""

from __future__ import annotations

import optax

from celo.optim import handcrafted
from celo.optim.schedules import Number
from celo_plugins.handcrafted.scalars import ScalarsAsVectors


@handcrafted("RMSProp_lr{lr}_d{decay}_eps{eps}_m{momentum}_nesterov{nesterov}")
def rmsprop(
    lr: Number = 1e-3,
    decay: Number = 0.9,
    eps: Number = 1e-8,
    momentum: Number = 0.0,
    nesterov: bool = False,
) -> optax.GradientTransformation:
    """RMSProp; a momentum of 0 still has a buffer, as published."""
    return optax.rmsprop(lr, decay=decay, eps=eps, momentum=momentum, nesterov=nesterov)


@handcrafted("AdaGrad")
def adagrad(
    lr: Number = 1e-3, initial_accumulator_value: Number = 0.1, eps: Number = 1e-7
) -> optax.GradientTransformation:
    """AdaGrad."""
    return optax.adagrad(lr, initial_accumulator_value=initial_accumulator_value, eps=eps)


@handcrafted("SM3", wrap=ScalarsAsVectors)
def sm3(
    lr: Number = 1e-3, momentum: Number = 0.9, b2: float = 1.0, eps: Number = 1e-8
) -> optax.GradientTransformation:
    """SM3, whose accumulators belong to slices, of which a scalar has none."""
    moments = optax.scale_by_sm3(momentum, b2=b2, eps=eps)  # pyright: ignore[reportArgumentType]
    return optax.chain(moments, optax.scale_by_learning_rate(lr))


@handcrafted("AdaBelief")
def adabelief(
    lr: Number = 1e-3,
    b1: Number = 0.9,
    b2: Number = 0.999,
    eps: Number = 1e-16,
    eps_root: Number = 1e-16,
) -> optax.GradientTransformation:
    """AdaBelief."""
    return optax.adabelief(lr, b1=b1, b2=b2, eps=eps, eps_root=eps_root)


@handcrafted("Yogi")
def yogi(
    lr: Number = 1e-3, b1: Number = 0.9, b2: Number = 0.999, eps: Number = 1e-3
) -> optax.GradientTransformation:
    """Yogi; both moments start at 1e-6."""
    return optax.yogi(lr, b1=b1, b2=b2, eps=eps)


@handcrafted("RAdam")
def radam(
    lr: Number = 1e-3,
    b1: Number = 0.9,
    b2: Number = 0.999,
    eps: Number = 1e-8,
    eps_root: Number = 0.0,
    threshold: Number = 5.0,
) -> optax.GradientTransformation:
    """RAdam."""
    return optax.radam(lr, b1=b1, b2=b2, eps=eps, eps_root=eps_root, threshold=threshold)


@handcrafted("Adafactor")
def adafactor(
    lr: Number = 1e-3,
    min_dim_size_to_factor: int = 128,
    decay_rate: Number = 0.8,
    decay_offset: int = 0,
    multiply_by_parameter_scale: bool = True,
    clipping_threshold: Number = 1.0,
    momentum: float = 0.0,
    weight_decay_rate: float = 0.0,
    eps: Number = 1e-30,
    factored: bool = True,
) -> optax.GradientTransformation:
    """Adafactor; without momentum or weight decay it has no state for them."""
    return optax.adafactor(
        lr,
        min_dim_size_to_factor=min_dim_size_to_factor,
        decay_rate=decay_rate,
        decay_offset=decay_offset,
        multiply_by_parameter_scale=multiply_by_parameter_scale,
        clipping_threshold=clipping_threshold,
        momentum=momentum or None,
        weight_decay_rate=weight_decay_rate or None,
        eps=eps,
        factored=factored,
    )
