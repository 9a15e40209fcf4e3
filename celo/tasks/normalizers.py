"""Maps from losses to a common scale, for curves and meta-losses (spec of the tasks, 1.1).

Never differentiated. They differ in their range and in what becomes of NaN, as published.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

Normalizer = Callable[[jax.Array], jax.Array]


def identity(loss: jax.Array) -> jax.Array:
    """N0: language models; infinities and NaN stay."""
    return loss


def mlp_classifier(num_classes: int) -> Normalizer:
    """N1: clipped to [0, 1.5 ln C]; NaN becomes the upper end."""
    top = 1.5 * jnp.log(num_classes)
    return lambda loss: jnp.clip(jnp.where(jnp.isnan(loss), top, loss), 0.0, top)


def conv_classifier(num_classes: int) -> Normalizer:
    """N2: clipped to [0, 1.5 ln C]; NaN stays."""
    return lambda loss: jnp.clip(loss, 0.0, 1.5 * jnp.log(num_classes))


def patch_classifier(num_classes: int) -> Normalizer:
    """N3: ViT and Mixer: 10 loss / ln(2C) clipped to [0, 10]; what is not finite becomes 10."""
    top = jnp.log(2.0 * num_classes)
    return lambda loss: jnp.clip(10.0 * jnp.where(jnp.isfinite(loss), loss, top) / top, 0.0, 10.0)


def autoencoder(loss: jax.Array) -> jax.Array:
    """N4: clipped to [0, 1]; NaN stays."""
    return jnp.clip(loss, 0.0, 1.0)


def mse_classifier(loss: jax.Array) -> jax.Array:
    """N5: 10 min(loss, 1), no lower end; what is not finite becomes 10."""
    return 10.0 * jnp.minimum(jnp.where(jnp.isfinite(loss), loss, 1.0), 1.0)
