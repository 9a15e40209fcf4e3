"""A keyed permutation of 0 ... n - 1 that is computed at any position, without a table.

A Feistel network over the ceil(log2 n) bits of a position: its two parts are changed in turn by a
hash of the other one and of the round's key, which can be undone whatever the hash is, so the
network is a bijection of the next power of two. Positions that leave 0 ... n - 1 are sent through
it again until they come back ("cycle walking", Black and Rogaway, 2002); as the power of two is
below 2n, that is fewer than two passes on average. All arithmetic is on 32-bit integers: the same
bits on every platform.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax

from celo.protocol import PRNGKey

_ROUNDS = 8
LARGEST = 2**31 - 1
"""Positions are int32."""


def round_keys(key: PRNGKey) -> jax.Array:
    """The keys of one permutation: uint32 [8]."""
    return jax.random.bits(key, (_ROUNDS,), jnp.uint32)


def permuted(position: jax.Array, keys: jax.Array, size: int) -> jax.Array:
    """Where the permutation of 0 ... size - 1 sends a position.

    Args:
      position: int32, scalar or array, each within 0 ... size - 1.
      keys: uint32 [8] from `round_keys`.
      size: static, 2 to 2**31 - 1.

    Returns:
      int32, shaped as `position`.
    """
    bits = (size - 1).bit_length()
    low_bits = bits // 2
    low_mask, high_mask = jnp.uint32(2**low_bits - 1), jnp.uint32(2 ** (bits - low_bits) - 1)

    def network(value: jax.Array) -> jax.Array:
        low, high = value & low_mask, value >> low_bits
        for number in range(0, _ROUNDS, 2):
            high ^= _hash(low, keys[number]) & high_mask
            low ^= _hash(high, keys[number + 1]) & low_mask
        return (high << low_bits) | low

    def again(value: jax.Array) -> jax.Array:
        return jnp.where(value >= size, network(value), value)

    first = network(position.astype(jnp.uint32))
    inside = lax.while_loop(lambda value: jnp.any(value >= size), again, first)
    return inside.astype(jnp.int32)


def _hash(value: jax.Array, key: jax.Array) -> jax.Array:
    # The finalizer of MurmurHash3 (public domain): every bit of the input reaches every bit.
    value ^= key
    value = (value ^ (value >> 16)) * jnp.uint32(0x85EBCA6B)
    value = (value ^ (value >> 13)) * jnp.uint32(0xC2B2AE35)
    return value ^ (value >> 16)
