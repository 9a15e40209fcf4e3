"""Pretrained Celo-Adam with Haiku and batch norm, on digits: its state carries the model's."""

import sys

import haiku as hk
import jax
import numpy as np
import optax
from sklearn.datasets import load_digits

import celo

images, labels = map(np.asarray, load_digits(return_X_y=True))
images, labels = images.astype(np.float32) / 16, labels.astype(np.int32)
TRAIN, BATCH = 1400, 64  # the other 397 images are for testing

opt = celo.load("celo-adam")


@hk.without_apply_rng
@hk.transform_with_state
def network(x, is_training):
    x = hk.Linear(32)(x)
    x = hk.BatchNorm(create_scale=True, create_offset=True, decay_rate=0.9)(x, is_training)
    return hk.Linear(10)(jax.nn.relu(x))


def loss_fn(params, model_state, x, y):
    logits, model_state = network.apply(params, model_state, x, True)
    return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean(), model_state


@jax.jit
def train_step(opt_state, x, y):
    params, model_state = opt.get_params_state(opt_state)
    (loss, model_state), grad = jax.value_and_grad(loss_fn, has_aux=True)(params, model_state, x, y)
    return opt.update(opt_state, grad, loss=loss, model_state=model_state), loss


def main(steps: int = 500) -> None:
    params, model_state = network.init(jax.random.key(0), images[:1], True)
    opt_state = opt.init(params, model_state=model_state, num_steps=steps)
    rng = np.random.default_rng(0)
    for step in range(steps):
        rows = rng.integers(0, TRAIN, BATCH)
        opt_state, loss = train_step(opt_state, images[rows], labels[rows])
        if step % 50 == 0:
            print(f"step {step:4d}  loss {loss:.4f}")
    params, model_state = opt.get_params_state(opt_state)
    logits, _ = network.apply(params, model_state, images[TRAIN:], False)
    print(f"test accuracy {np.mean(logits.argmax(axis=1) == labels[TRAIN:]):.3f}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
