from __future__ import annotations

import functools

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from celo.tasks import conv

KEY = jax.random.PRNGKey(0)


@pytest.mark.parametrize("side", [(8, 8), (7, 5), (1, 2)])
def test_convolutions_are_haikus(side: tuple[int, int]) -> None:
    """Same leaves, same initial values, same outputs and gradients, for both strides."""
    images = jax.random.normal(jax.random.PRNGKey(1), (2, *side, 3))

    def outcome(module, stride: int):
        network = hk.without_apply_rng(hk.transform(lambda x: module(4, stride=stride)(x)))
        initial = network.init(KEY, images)
        shifted = jax.tree.map(lambda x: x + 0.1, initial)
        value, pull = jax.vjp(network.apply, shifted, images)
        weight = jnp.cos(jnp.arange(value.size, dtype=jnp.float32)).reshape(value.shape)
        return initial, value, pull(weight)

    haikus = functools.partial(hk.Conv2D, kernel_shape=3)
    ours, theirs = jax.jit(
        lambda: [[outcome(m, s) for s in (1, 2)] for m in (conv.Conv2D, haikus)]
    )()
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), ours, theirs)


@pytest.mark.parametrize("stride", [1, 2])
def test_both_ways_of_convolving_agree(stride: int) -> None:
    images = jax.random.normal(KEY, (2, 6, 5, 3))
    w = jax.random.normal(jax.random.PRNGKey(1), (3, 3, 3, 4))
    ours, xlas = (
        f(images, w, stride=stride) for f in (conv.sliced_convolution, conv.plain_convolution)
    )
    np.testing.assert_allclose(ours, xlas, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("platform", "convolution"), [("cpu", False), ("cuda", True)])
def test_only_cpus_slice(platform: str, convolution: bool) -> None:
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
    assert ("stablehlo.convolution" in program) is convolution
