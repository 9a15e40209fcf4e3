"""Pretrained Celo as an optax transformation, on handwritten digits; needs no data files."""

import jax
import optax

import celo

STEPS = 500

task = celo.load_task("Digits_MLP_32")
tx = optax.chain(celo.load("celo", as_optax=True, num_steps=STEPS))


@jax.jit
def train_step(params, opt_state, key, batch):
    loss, grad = jax.value_and_grad(task.loss)(params, key, batch)
    updates, opt_state = tx.update(grad, opt_state, params, value=loss)
    return optax.apply_updates(params, updates), opt_state, loss


def main() -> None:
    key, init_key = jax.random.split(jax.random.PRNGKey(0))
    params = task.init(init_key)
    opt_state = tx.init(params)
    for step in range(STEPS):
        key, step_key = jax.random.split(key)
        batch = next(task.datasets.train)
        params, opt_state, loss = train_step(params, opt_state, step_key, batch)
        if step % 50 == 0:
            print(f"step {step:4d}  loss {loss:.4f}")


if __name__ == "__main__":
    main()
