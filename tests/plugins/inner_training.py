"""Learned optimizers that train a small network, against golden files of tasks which are just that.

Losses along the way, and the derivative of their mean by theta.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from celo.protocol import LearnedOptimizer
from celo.trees import named_leaves
from tests.shared_folder import golden_files

_COMPILE_FAST = {"xla_backend_optimization_level": 0}


def check_inner_training(lopt: LearnedOptimizer, task: str) -> None:
    """Holds the inner losses, the final parameters and the derivative against `tasks__<task>`."""
    for path in golden_files(f"tasks__{task}.npz"):
        with np.load(path, allow_pickle=False) as file:
            _check(lopt, {key: file[key] for key in file.files})


def _check(lopt: LearnedOptimizer, golden: dict[str, np.ndarray]) -> None:
    theta, params = _tree(golden, "param::"), _tree(golden, "inner_param::")
    labels = golden["batch_label"]
    images = np.random.RandomState(77).randint(0, 256, (*labels.shape, 64)).astype(np.uint8)
    assert images.sum() == golden["inner_image_checksum"]
    batches = (jnp.asarray(images / np.float32(255), jnp.float32), jnp.asarray(labels))

    def mean_loss(theta: Any, params: Any, batches: Any) -> Any:
        optimizer = lopt.opt_fn(theta)

        @jax.checkpoint
        def step(state: Any, batch: Any) -> Any:
            loss, grad = jax.value_and_grad(_loss)(optimizer.get_params(state), *batch)
            return optimizer.update(state, grad, loss=loss), loss

        start = optimizer.init(params, num_steps=len(labels))
        final, losses = jax.lax.scan(step, start, batches)
        # The task's normaliser, a clip.
        return jnp.mean(jnp.clip(losses, 0, 1.5 * jnp.log(10.0))), (losses, final.params)

    compiled = jax.jit(jax.value_and_grad(mean_loss, has_aux=True), compiler_options=_COMPILE_FAST)
    (_, (losses, final)), grad = compiled(theta, params, batches)
    np.testing.assert_allclose(losses, golden["inner_losses"], rtol=1e-5)
    norms = [np.linalg.norm(leaf) for leaf in named_leaves(final).values()]
    np.testing.assert_allclose(norms, golden["inner_params_final_l2"], rtol=1e-5)
    for name, leaf in named_leaves(grad).items():
        want = golden["grad::" + name.replace("|", "//")]
        assert np.max(np.abs(leaf - want)) < 2e-3 * np.max(np.abs(want)) + 1e-6, name


def _loss(params: Any, x: jax.Array, y: jax.Array) -> jax.Array:
    first, second = params["mlp/~/linear_0"], params["mlp/~/linear_1"]
    logits = jax.nn.relu(x @ first["w"] + first["b"]) @ second["w"] + second["b"]
    return -jnp.mean(jax.nn.log_softmax(logits)[jnp.arange(len(y)), y])


def _tree(golden: dict[str, np.ndarray], group: str) -> dict[str, Any]:
    root: dict[str, Any] = {}
    for key, array in golden.items():
        if key.startswith(group):
            *levels, last = key[len(group) :].split("//")
            node = root
            for level in levels:
                node = node.setdefault(level, {})
            node[last] = jnp.asarray(array)
    return root
