"""Descent and Adam, from optax.

Names shown in tables spell out the hyperparameters, as those of learned_optimization do.
"""

from __future__ import annotations

import optax

from celo.optim import handcrafted
from celo.optim.schedules import Number


@handcrafted("SGD_lr{lr}")
def sgd(lr: Number = 1e-3) -> optax.GradientTransformation:
    """Gradient descent."""
    return optax.sgd(lr)


@handcrafted("SGDM_lr{lr}_m{momentum}")
def sgdm(
    lr: Number = 1e-3, momentum: Number = 0.9, nesterov: bool = False
) -> optax.GradientTransformation:
    """Gradient descent with undamped momentum: buffer = gradient + momentum * buffer."""
    return optax.sgd(lr, momentum=momentum, nesterov=nesterov)  # pyright: ignore[reportArgumentType]


@handcrafted("Adam_lr{lr}_b1{b1}_b2{b2}_eps{eps}_epsroot{eps_root}")
def adam(
    lr: Number = 1e-3,
    b1: Number = 0.9,
    b2: Number = 0.999,
    eps: Number = 1e-8,
    eps_root: Number = 1e-8,
) -> optax.GradientTransformation:
    """Adam; note eps_root, which is 0 in optax."""
    return optax.adam(lr, b1=b1, b2=b2, eps=eps, eps_root=eps_root)


@handcrafted("AdamW_lr{lr}_wd{weight_decay}")
def adamw(
    lr: Number = 1e-3,
    b1: Number = 0.9,
    b2: Number = 0.999,
    eps: Number = 1e-8,
    eps_root: Number = 0.0,
    weight_decay: Number = 1e-4,
) -> optax.GradientTransformation:
    """Adam with decoupled weight decay on every leaf."""
    return optax.adamw(lr, b1=b1, b2=b2, eps=eps, eps_root=eps_root, weight_decay=weight_decay)
