"""Hand-crafted optimizers, all from optax.

Names shown in tables spell out the hyperparameters, as those of learned_optimization do.
"""

from __future__ import annotations

import jax
import optax

from celo.optim import from_optax
from celo.protocol import Optimizer

Number = float | jax.Array


def adam(
    lr: Number = 1e-3,
    b1: Number = 0.9,
    b2: Number = 0.999,
    eps: Number = 1e-8,
    eps_root: Number = 1e-8,
) -> Optimizer:
    """Adam; note eps_root, which is 0 in optax."""
    name = (
        f"Adam_lr{_text(lr)}_b1{_text(b1)}_b2{_text(b2)}_eps{_text(eps)}_epsroot{_text(eps_root)}"
    )
    return from_optax(optax.adam(lr, b1=b1, b2=b2, eps=eps, eps_root=eps_root), name)


def adamw(
    lr: Number = 1e-3,
    b1: Number = 0.9,
    b2: Number = 0.999,
    eps: Number = 1e-8,
    eps_root: Number = 0.0,
    weight_decay: Number = 1e-4,
) -> Optimizer:
    """Adam with decoupled weight decay on every leaf."""
    transform = optax.adamw(lr, b1=b1, b2=b2, eps=eps, eps_root=eps_root, weight_decay=weight_decay)
    return from_optax(transform, f"AdamW_lr{_text(lr)}_wd{_text(weight_decay)}")


def sgd(lr: Number = 1e-3) -> Optimizer:
    """Gradient descent."""
    return from_optax(optax.sgd(lr), f"SGD_lr{_text(lr)}")


def sgdm(lr: Number = 1e-3, momentum: Number = 0.9, nesterov: bool = False) -> Optimizer:
    """Gradient descent with undamped momentum: buffer = gradient + momentum * buffer."""
    transform = optax.sgd(lr, momentum=momentum, nesterov=nesterov)
    return from_optax(transform, f"SGDM_lr{_text(lr)}_m{_text(momentum)}")


def _text(value: Number) -> str:
    return str(value) if isinstance(value, int | float) else "*"
