"""Shampoo beside first-order optimizers on a VGG-like network of 4.7 M parameters (CIFAR-10).

    CELO_DATA_DIR=... python benchmarks/shampoo.py [--steps 100] [--optimizers TEXT ...]

Every optimizer starts from the same parameters and sees the same batches, one compiled step at a
time (convolutions inside a loop are slow on a CPU). Prints the loss on the way, seconds a step, and
how many roots of which size one update of Shampoo computes.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import statistics
import time
from typing import Any

import jax
import jax.numpy as jnp

import celo
from celo.data.datasets import image_datasets
from celo.data.selection import DataSelection
from celo.protocol import Batch, Optimizer, Params
from celo.tasks.convolution import plain_convolution
from celo.tasks.image_task import cross_entropy

WIDTHS = ((64, 64), (128, 128), (256, 256), (512, 512))
OPTIMIZERS = ["sgd:lr=0.03", "adam:lr=0.0003", "shampoo:lr=0.003"]


def init(key: jax.Array) -> Params:
    he = jax.nn.initializers.he_normal()
    widths = [3, *itertools.chain.from_iterable(WIDTHS)]
    keys = jax.random.split(key, len(widths))
    layers = {
        f"conv_{i}": {"w": he(keys[i], (3, 3, a, b)), "b": jnp.zeros(b)}
        for i, (a, b) in enumerate(itertools.pairwise(widths))
    }
    return {
        **layers,
        "linear": {"w": 0.05 * jax.random.normal(keys[-1], (512, 10)), "b": jnp.zeros(10)},
    }


def loss_of(params: Params, batch: Batch) -> jax.Array:
    features, layer = batch["image"], 0
    for block in WIDTHS:
        for _ in block:
            weights = params[f"conv_{layer}"]
            features = plain_convolution(features, weights["w"], stride=1) + weights["b"]
            features, layer = jax.nn.relu(features), layer + 1
        n, height, width, channels = features.shape
        pairs = features.reshape(n, height // 2, 2, width // 2, 2, channels)
        features = jnp.max(pairs, axis=(2, 4))
    features = jnp.mean(features, axis=(1, 2))
    logits = features @ params["linear"]["w"] + params["linear"]["b"]
    return cross_entropy(logits, batch["label"])


def train(optimizer: Optimizer, params: Params, batches: list[Batch]) -> dict[str, Any]:
    @functools.partial(jax.jit, donate_argnums=0)
    def step(state: Any, batch: Batch) -> tuple[Any, jax.Array]:
        loss, grad = jax.value_and_grad(loss_of)(optimizer.get_params(state), batch)
        return optimizer.update(state, grad, loss=loss), loss

    state = jax.jit(lambda p: optimizer.init(p, num_steps=len(batches)))(params)
    began = time.perf_counter()
    program = step.lower(state, batches[0]).compile()
    compilation = time.perf_counter() - began
    losses, seconds = [], []
    for batch in batches:
        began = time.perf_counter()
        state, loss = program(state, batch)
        losses.append(float(loss))
        seconds.append(time.perf_counter() - began)
    return {
        "losses": losses,
        "seconds": statistics.median(seconds),
        "compilation": compilation,
        "loops": (program.as_text() or "").count(" while("),
        "state": state,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--optimizers", nargs="+", default=OPTIMIZERS)
    arguments = parser.parse_args()
    data = image_datasets("cifar10", arguments.batch, None, False, DataSelection())
    batches = list(itertools.islice(data.train, arguments.steps))
    params = jax.jit(init)(jax.random.PRNGKey(0))
    count = sum(leaf.size for leaf in jax.tree.leaves(params))
    print(f"{count} parameters, batches of {arguments.batch}, {jax.default_backend()}")
    for text in arguments.optimizers:
        result = train(celo.load(text), params, batches)
        losses = result["losses"]
        tenth = max(1, len(losses) // 10)
        means = [statistics.mean(losses[i : i + tenth]) for i in range(0, len(losses), tenth)]
        print(
            f"{text}: {result['seconds']:.2f} s a step, compiled in {result['compilation']:.1f} s, "
            f"{result['loops']} loops"
        )
        print("  loss: " + " ".join(f"{mean:.3f}" for mean in means), flush=True)
        if text.startswith("shampoo"):
            stacks = result["state"].optax_opt_state[0].statistics
            print("  roots: " + ", ".join(f"{k}: {v.shape[0]}" for k, v in stacks.items()))


if __name__ == "__main__":
    main()
