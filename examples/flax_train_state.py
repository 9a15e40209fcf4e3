"""Pretrained Celo in a flax `TrainState` (linen), on digits.

`TrainState.apply_gradients` hands gradients alone to optax, but Celo reads the loss, too: a
subclass passes it on. An optimizer that reads no loss needs no subclass.
"""

import sys

import flax.linen as nn
import jax
import numpy as np
import optax
from flax.training import train_state
from sklearn.datasets import load_digits

import celo

images, labels = map(np.asarray, load_digits(return_X_y=True))
images, labels = images.astype(np.float32) / 16, labels.astype(np.int32)
TRAIN, BATCH = 1400, 64  # the other 397 images are for testing


class TrainState(train_state.TrainState):
    def apply_gradients(self, *, grads, value, **kwargs):
        tx = optax.with_extra_args_support(self.tx)
        updates, opt_state = tx.update(grads, self.opt_state, self.params, value=value)
        params = optax.apply_updates(self.params, updates)
        return self.replace(step=self.step + 1, params=params, opt_state=opt_state, **kwargs)


@jax.jit
def train_step(state, x, y):
    def loss_fn(params):
        logits = state.apply_fn({"params": params}, x)
        return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()

    loss, grads = jax.value_and_grad(loss_fn)(state.params)
    return state.apply_gradients(grads=grads, value=loss), loss


def main(steps: int = 500) -> None:
    model = nn.Sequential([nn.Dense(32), nn.relu, nn.Dense(10)])
    params = model.init(jax.random.key(0), images[:1])["params"]
    tx = celo.load("celo", as_optax=True, num_steps=steps)
    state = TrainState.create(apply_fn=model.apply, params=params, tx=tx)
    rng = np.random.default_rng(0)
    for step in range(steps):
        rows = rng.integers(0, TRAIN, BATCH)
        state, loss = train_step(state, images[rows], labels[rows])
        if step % 50 == 0:
            print(f"step {step:4d}  loss {loss:.4f}")
    found = state.apply_fn({"params": state.params}, images[TRAIN:]).argmax(axis=1)
    print(f"test accuracy {np.mean(found == labels[TRAIN:]):.3f}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
