"""What the machine can do: the bounds that an update is held against."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp

from celo.bench.timing import Turn, spread, take_turns

_COPY_BYTES = 1 << 28
MATMUL = 2048


@dataclass(frozen=True)
class Bounds:
    """Measured limits of a machine.

    Attributes:
      copy_gb_s: GB/s (1e9 bytes) of reading and writing a large float32 array.
      matmul_gflop_s: GFLOP/s of a float32 product of two 2048 x 2048 matrices.
    """

    copy_gb_s: float
    matmul_gflop_s: float


def describe() -> str:
    """The machine in one line."""
    kind = jax.devices()[0].device_kind
    where = f"{os.cpu_count()} cores, {platform.machine()}" if kind == "cpu" else kind
    return f"{where}, {platform.system()}, jax {jax.__version__}"


def copying() -> tuple[Turn, int]:
    """A turn that reads and writes a large array in place, and the bytes that it moves."""
    held = [jnp.ones((_COPY_BYTES // 4,), jnp.float32)]

    @partial(jax.jit, donate_argnums=0)
    def scale(x: jax.Array) -> jax.Array:
        return x * jnp.float32(0.999)

    def turn() -> None:
        held[0] = jax.block_until_ready(scale(held[0]))

    return turn, 2 * _COPY_BYTES


def multiplying(size: int = MATMUL) -> tuple[Turn, int]:
    """A turn that multiplies two square float32 matrices, and its floating-point operations."""
    a = jax.random.normal(jax.random.PRNGKey(0), (size, size))
    product: Callable[..., jax.Array] = jax.jit(partial(jnp.matmul, precision="highest"))
    return lambda: jax.block_until_ready(product(a, a)), 2 * size**3


def measure_bounds(turns: int = 15) -> Bounds:
    """Measures both limits, by turns."""
    copy, moved = copying()
    product, operations = multiplying()
    seconds = take_turns([copy, product], turns)
    return Bounds(
        copy_gb_s=moved / spread(seconds[:, 0]).median / 1e9,
        matmul_gflop_s=operations / spread(seconds[:, 1]).median / 1e9,
    )
