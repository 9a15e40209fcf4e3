from __future__ import annotations

import functools

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from celo.tasks import conv, convolution
from celo.testing.compiling import compiled

KEY = jax.random.PRNGKey(0)


@pytest.mark.parametrize("side", [(8, 8), (7, 5), (1, 2)])
def test_convolutions_are_haikus(side: tuple[int, int]) -> None:
    """Same leaves, same initial values, same outputs and gradients, for the kernels in use."""
    images = jax.random.normal(jax.random.PRNGKey(1), (2, *side, 3))

    def outcome(module, stride: int, kernel: int):
        layer = functools.partial(module, with_bias=kernel == 3)
        network = hk.without_apply_rng(hk.transform(lambda x: layer(4, kernel, stride)(x)))
        initial = network.init(KEY, images)
        shifted = jax.tree.map(lambda x: x + 0.1, initial)
        value, pull = jax.vjp(network.apply, shifted, images)
        weight = jnp.cos(jnp.arange(value.size, dtype=jnp.float32)).reshape(value.shape)
        return initial, value, pull(weight)

    def our_conv(channels: int, kernel: int, stride: int, **kwargs: bool) -> convolution.Conv2D:
        return convolution.Conv2D(channels, stride, kernel, **kwargs)

    sizes = ((1, 3), (2, 3), (2, 5), (2, 1))
    ours, theirs = compiled(
        lambda: [[outcome(m, *size) for size in sizes] for m in (our_conv, hk.Conv2D)]
    )()
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), ours, theirs)


@pytest.mark.parametrize("stride", [1, 2])
def test_both_ways_of_convolving_agree(stride: int) -> None:
    images = jax.random.normal(KEY, (2, 6, 5, 3))
    w = jax.random.normal(jax.random.PRNGKey(1), (3, 3, 3, 4))
    ours, xlas = (
        f(images, w, stride=stride)
        for f in (convolution.sliced_convolution, convolution.plain_convolution)
    )
    np.testing.assert_allclose(ours, xlas, rtol=1e-5, atol=1e-5)


def test_max_pool_is_haikus() -> None:
    """Values and gradients of both ways, ties included: the first of equals has the gradient."""
    images = jnp.round(jax.random.normal(KEY, (2, 6, 5, 3)))

    def outcome(pool):
        value, pull = jax.vjp(pool, images)
        weight = jnp.cos(jnp.arange(value.size, dtype=jnp.float32)).reshape(value.shape)
        return value, pull(weight)

    sizes = {"size": 3, "stride": 2}
    haikus = functools.partial(
        hk.max_pool, window_shape=(3, 3, 1), strides=(2, 2, 1), padding="SAME"
    )
    expected = outcome(haikus)
    for pool in (convolution.sliced_max_pool, convolution.plain_max_pool, convolution.max_pool):
        found = outcome(functools.partial(pool, **sizes))
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), found, expected)


def test_patches_are_a_convolution() -> None:
    images = jax.random.normal(KEY, (2, 8, 12, 3))
    w = jax.random.normal(jax.random.PRNGKey(1), (4, 4, 3, 5))
    layout = ("NHWC", "HWIO", "NHWC")
    expected = jax.lax.conv_general_dilated(
        images, w, (4, 4), "VALID", dimension_numbers=layout
    ).reshape(2, 6, 5)
    found = convolution.patches(images, 4) @ w.reshape(-1, 5)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("platform", "present"), [("cpu", False), ("cuda", True)])
def test_only_cpus_slice(platform: str, present: bool) -> None:
    network = hk.without_apply_rng(hk.transform(lambda x: conv.conv_net(x, (4, 6), 10)))
    images = jax.ShapeDtypeStruct((2, 8, 8, 1), jnp.float32)
    params = jax.eval_shape(network.init, KEY, images)
    assert {name: value["w"].shape for name, value in params.items()} == {
        "conv2_d": (3, 3, 1, 4),
        "conv2_d_1": (3, 3, 4, 6),
        "linear": (6, 10),
    }
    traced = jax.jit(network.apply).trace(params, images)
    program = traced.lower(lowering_platforms=(platform,)).as_text()
    assert ("stablehlo.convolution" in program) is present
