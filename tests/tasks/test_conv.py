from __future__ import annotations

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from celo.tasks import conv

KEY = jax.random.PRNGKey(0)


@pytest.mark.parametrize("side", [(8, 8), (7, 5), (1, 2)])
def test_sliced_convolution_is_haikus(side: tuple[int, int]) -> None:
    """Same leaves, same initial values, same outputs and gradients, for both strides."""
    images = jax.random.normal(jax.random.PRNGKey(1), (2, *side, 3))

    def outcome(module, stride: int):
        network = hk.without_apply_rng(
            hk.transform(lambda x: module(4, 3, stride=stride, name="conv2_d")(x))
        )
        initial = network.init(KEY, images)
        shifted = jax.tree.map(lambda x: x + 0.1, initial)
        value, pull = jax.vjp(network.apply, shifted, images)
        weight = jnp.cos(jnp.arange(value.size, dtype=jnp.float32)).reshape(value.shape)
        return initial, value, pull(weight)

    ours, haikus = jax.jit(
        lambda: [[outcome(m, s) for s in (1, 2)] for m in (conv.SlicedConv2D, hk.Conv2D)]
    )()
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), ours, haikus)


@pytest.mark.parametrize(("side", "sliced"), [(8, True), (9, False), (32, False)])
def test_large_images_use_the_convolution(side: int, sliced: bool) -> None:
    network = hk.transform(lambda x: conv.conv_net(x, (4, 6), 10))
    images = jax.ShapeDtypeStruct((2, side, side, 1), jnp.float32)
    params = jax.eval_shape(network.init, KEY, images)
    assert {name: value["w"].shape for name, value in params.items()} == {
        "conv2_d": (3, 3, 1, 4),
        "conv2_d_1": (3, 3, 4, 6),
        "linear": (6, 10),
    }
    program = str(jax.make_jaxpr(network.apply)(params, KEY, images))
    assert ("conv_general_dilated" not in program) is sliced
