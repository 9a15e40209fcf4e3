"""Pretrained Celo in a loop of plain JAX: parameters in a dict, one jitted step; on digits."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.datasets import load_digits

import celo

images, labels = map(np.asarray, load_digits(return_X_y=True))
images, labels = images.astype(np.float32) / 16, labels.astype(np.int32)
TRAIN, BATCH = 1400, 64  # the other 397 images are for testing

opt = celo.load("celo")


def logits(params, x):
    return jax.nn.relu(x @ params["w1"] + params["b1"]) @ params["w2"] + params["b2"]


def loss_fn(params, x, y):
    log_p = jax.nn.log_softmax(logits(params, x))
    return -jnp.mean(jnp.take_along_axis(log_p, y[:, None], axis=1))


@jax.jit
def train_step(opt_state, x, y):
    loss, grad = jax.value_and_grad(loss_fn)(opt.get_params(opt_state), x, y)
    return opt.update(opt_state, grad, loss=loss), loss


def main(steps: int = 500) -> None:
    rng = np.random.default_rng(0)
    params = {
        "w1": jnp.asarray(rng.normal(0, 1 / 8, (64, 32)), jnp.float32),
        "b1": jnp.zeros(32),
        "w2": jnp.asarray(rng.normal(0, 1 / 6, (32, 10)), jnp.float32),
        "b2": jnp.zeros(10),
    }
    opt_state = opt.init(params, num_steps=steps)
    for step in range(steps):
        rows = rng.integers(0, TRAIN, BATCH)
        opt_state, loss = train_step(opt_state, images[rows], labels[rows])
        if step % 50 == 0:
            print(f"step {step:4d}  loss {loss:.4f}")
    found = logits(opt.get_params(opt_state), images[TRAIN:]).argmax(axis=1)
    print(f"test accuracy {np.mean(found == labels[TRAIN:]):.3f}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
