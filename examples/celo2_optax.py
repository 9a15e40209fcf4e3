"""Celo2-base as an optax transformation, on digits; `celo zoo pull celo2-base` gets it."""

import jax
import optax

import celo
from celo_plugins.celo2 import load_checkpoint, scale_by_celo2
from celo_zoo import weights_path

STEPS = 500

task = celo.load_task("Digits_MLP_32")
theta = load_checkpoint(weights_path("celo2-base"))
tx = optax.chain(
    scale_by_celo2(theta, orthogonalize=False),
    optax.add_decayed_weights(0.01),
    optax.scale_by_learning_rate(optax.cosine_decay_schedule(3e-3, STEPS)),
)


@jax.jit
def train_step(params, opt_state, key, batch):
    loss, grad = jax.value_and_grad(task.loss)(params, key, batch)
    updates, opt_state = tx.update(grad, opt_state, params)
    return optax.apply_updates(params, updates), opt_state, loss


def main() -> None:
    key, init_key = jax.random.split(jax.random.PRNGKey(0))
    params = task.init(init_key)
    opt_state = tx.init(params)
    for step in range(STEPS):
        key, step_key = jax.random.split(key)
        params, opt_state, loss = train_step(params, opt_state, step_key, next(task.datasets.train))
        if step % 50 == 0:
            print(f"step {step:4d}  loss {loss:.4f}")


if __name__ == "__main__":
    main()
