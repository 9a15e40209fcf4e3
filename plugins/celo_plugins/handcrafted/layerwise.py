"""Optimizers whose steps have a size for every tensor, from optax."""

from __future__ import annotations

import optax
import optax.contrib

from celo.optim import handcrafted
from celo.optim.schedules import Number


@handcrafted("Fromage")
def fromage(lr: Number = 1e-3, min_norm: Number = 1e-6) -> optax.GradientTransformation:
    """Fromage."""
    return optax.fromage(lr, min_norm=min_norm)


@handcrafted("LARS")
def lars(
    lr: Number = 1e-3,
    weight_decay: Number = 0.0,
    trust_coefficient: Number = 1e-3,
    eps: Number = 0.0,
    momentum: Number = 0.9,
    nesterov: bool = False,
) -> optax.GradientTransformation:
    """LARS on every leaf, biases included."""
    return optax.lars(
        lr,
        weight_decay=weight_decay,
        trust_coefficient=trust_coefficient,
        eps=eps,
        momentum=momentum,
        nesterov=nesterov,
    )


@handcrafted("LAMB")
def lamb(
    lr: Number = 1e-3,
    b1: Number = 0.9,
    b2: Number = 0.999,
    eps: Number = 1e-6,
    eps_root: Number = 0.0,
    weight_decay: Number = 0.0,
) -> optax.GradientTransformation:
    """LAMB on every leaf."""
    return optax.lamb(lr, b1=b1, b2=b2, eps=eps, eps_root=eps_root, weight_decay=weight_decay)


@handcrafted("Muon")
def muon(
    lr: Number = 0.02,
    beta: Number = 0.95,
    ns_steps: int = 5,
    eps: Number = 1e-8,
    weight_decay: Number = 0.0,
    nesterov: bool = True,
    adam_b1: Number = 0.9,
    adam_b2: Number = 0.999,
) -> optax.GradientTransformation:
    """Muon for leaves of rank 2, AdamW for all others."""
    return optax.contrib.muon(
        lr,
        ns_steps=ns_steps,
        beta=beta,
        eps=eps,
        weight_decay=weight_decay,
        nesterov=nesterov,
        adam_b1=adam_b1,
        adam_b2=adam_b2,
    )
