"""Pretrained Celo-Adam in an equinox loop, on digits.

`eqx.filter` leaves None where the model holds something else than an array of floats, and None is
no leaf for JAX: the optimizer sees parameters alone.
"""

import sys

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from sklearn.datasets import load_digits

import celo

pixels, digits = map(np.asarray, load_digits(return_X_y=True))
images, labels = jnp.asarray(pixels, jnp.float32) / 16, jnp.asarray(digits, jnp.int32)
TRAIN, BATCH = 1400, 64  # the other 397 images are for testing


@eqx.filter_value_and_grad
def loss_and_grad(model, x, y):
    return optax.softmax_cross_entropy_with_integer_labels(jax.vmap(model)(x), y).mean()


def make_train_step(tx):
    @eqx.filter_jit
    def train_step(model, opt_state, x, y):
        loss, grad = loss_and_grad(model, x, y)
        params = eqx.filter(model, eqx.is_inexact_array)
        updates, opt_state = tx.update(grad, opt_state, params, value=loss)
        return eqx.apply_updates(model, updates), opt_state, loss

    return train_step


def main(steps: int = 500) -> None:
    model = eqx.nn.MLP(64, 10, width_size=32, depth=1, key=jax.random.key(0))
    tx = celo.load("celo-adam", as_optax=True, num_steps=steps)
    opt_state = tx.init(eqx.filter(model, eqx.is_inexact_array))
    train_step = make_train_step(tx)
    rng = np.random.default_rng(0)
    for step in range(steps):
        rows = rng.integers(0, TRAIN, BATCH)
        model, opt_state, loss = train_step(model, opt_state, images[rows], labels[rows])
        if step % 50 == 0:
            print(f"step {step:4d}  loss {loss:.4f}")
    found = jax.vmap(model)(images[TRAIN:]).argmax(axis=1)
    print(f"test accuracy {np.mean(found == labels[TRAIN:]):.3f}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
