"""Trains an MLP on Fashion-MNIST with pretrained Celo: plain JAX, one step at a time.

The data are looked for in CELO_DATA_DIR (`celo data list` says what goes where).
"""

import jax

import celo

STEPS = 1000

task = celo.load_task("ImageMLP_FashionMnist_Relu128x128")
opt = celo.load("celo")


@jax.jit
def train_step(opt_state, key, batch):
    params = opt.get_params(opt_state)
    loss, grad = jax.value_and_grad(task.loss)(params, key, batch)
    return opt.update(opt_state, grad, loss=loss), loss


def main() -> None:
    key, init_key = jax.random.split(jax.random.PRNGKey(7))
    params, model_state = task.init_with_state(init_key)
    opt_state = opt.init(params, model_state=model_state, num_steps=STEPS)
    for step in range(STEPS):
        key, step_key = jax.random.split(key)
        opt_state, loss = train_step(opt_state, step_key, next(task.datasets.train))
        if step % 50 == 0:
            print(f"step {step:4d}  loss {loss:.4f}")


if __name__ == "__main__":
    main()
