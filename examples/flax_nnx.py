"""Pretrained Celo in a flax `nnx` loop, on digits: `nnx.Optimizer` hands the loss on to optax."""

import sys

import jax
import numpy as np
import optax
from flax import nnx
from sklearn.datasets import load_digits

import celo

images, labels = map(np.asarray, load_digits(return_X_y=True))
images, labels = images.astype(np.float32) / 16, labels.astype(np.int32)
TRAIN, BATCH = 1400, 64  # the other 397 images are for testing


class MLP(nnx.Module):
    def __init__(self, rngs: nnx.Rngs):
        self.hidden = nnx.Linear(64, 32, rngs=rngs)
        self.out = nnx.Linear(32, 10, rngs=rngs)

    def __call__(self, x):
        return self.out(jax.nn.relu(self.hidden(x)))


@nnx.jit
def train_step(model, optimizer, x, y):
    def loss_fn(model):
        return optax.softmax_cross_entropy_with_integer_labels(model(x), y).mean()

    loss, grads = nnx.value_and_grad(loss_fn)(model)
    optimizer.update(model, grads, value=loss)
    return loss


def main(steps: int = 500) -> None:
    model = MLP(nnx.Rngs(0))
    tx = celo.load("celo", as_optax=True, num_steps=steps)
    optimizer = nnx.Optimizer(model, tx, wrt=nnx.Param)
    rng = np.random.default_rng(0)
    for step in range(steps):
        rows = rng.integers(0, TRAIN, BATCH)
        loss = train_step(model, optimizer, images[rows], labels[rows])
        if step % 50 == 0:
            print(f"step {step:4d}  loss {loss:.4f}")
    found = model(images[TRAIN:]).argmax(axis=1)
    print(f"test accuracy {np.mean(found == labels[TRAIN:]):.3f}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
