"""AdamW with frozen leaves, schedules, and re-parametrised tasks."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import celo
from celo.errors import UsageError
from celo.metatrain.augmentation import ReparametrisedTask, augmented
from celo.metatrain.augmentation_text import Augmentation, parse_augmentation
from celo.metatrain.outer import adamw, partition, schedule
from celo.protocol import SingleTaskFamily
from tests.shared_folder import golden_dir

THETA: dict[str, Any] = {
    "ff_mod_stack": {"w": jnp.array([1.0, -2.0, 3.0])},
    "lstm_init_state": (jnp.array([1.5]),),
    "rnn_params": {"w": jnp.array([0.5, 0.25])},
}


def _vector(theta: Any) -> np.ndarray:
    parts = theta["ff_mod_stack"]["w"], theta["rnn_params"]["w"], theta["lstm_init_state"][0]
    return np.concatenate(parts)


@pytest.mark.parametrize(
    ("name", "frozen"),
    [
        ("phase2", ("ff_mod_stack",)),
        ("phase1", ("lstm_init_state", "rnn_params")),
        ("none", ()),
    ],
)
def test_golden_trajectories(name: str, frozen: tuple[str, ...]) -> None:
    """As published: the gradient is masked, all leaves decay; by default frozen leaves rest."""
    wanted = np.load(golden_dir() / "pes__toy.npz")[f"F3_traj_{name}"]
    part, optimizer = partition(THETA, frozen), adamw(1e-2)

    def gradient(i: int) -> Any:
        return {
            "ff_mod_stack": {"w": jnp.array([0.3, -0.1, 0.05]) * i},
            "lstm_init_state": (jnp.array([0.7]),),
            "rnn_params": {"w": jnp.array([-0.2, 0.4])},
        }

    theta, state = THETA, optimizer.init(THETA)
    moving, resting = part.split(THETA)
    own = optimizer.init(moving)
    for i in range(1, 6):
        updates, state = optimizer.update(part.masked(gradient(i)), state, theta)
        theta = optax.apply_updates(theta, updates)
        np.testing.assert_allclose(_vector(theta), wanted[i - 1], rtol=1e-6)
        updates, own = optimizer.update(part.split(gradient(i))[0], own, moving)
        moving = optax.apply_updates(moving, updates)
    mine = _vector(part.join(moving, resting))
    still = _vector(
        part.join([jnp.zeros_like(x) for x in moving], jax.tree.map(jnp.ones_like, resting))
    )
    np.testing.assert_allclose(mine[still == 0], wanted[-1][still == 0], rtol=1e-6)
    np.testing.assert_array_equal(mine[still == 1], _vector(THETA)[still == 1])


def test_nothing_left_to_train() -> None:
    with pytest.raises(UsageError, match="nothing is left to meta-train"):
        partition(THETA, ("ff_mod_stack", "lstm", "rnn"))


def test_schedules() -> None:
    cosine = schedule(1.0, "cosine", 110, warmup=10, end=0.1)
    values = [float(cosine(i)) for i in (0, 4, 9, 10, 60, 110)]
    np.testing.assert_allclose(values, [0.1, 0.5, 1.0, 1.0, 0.55, 0.1], rtol=1e-5)
    assert float(schedule(0.3, "constant", 10)(7)) == pytest.approx(0.3)
    clipped = adamw(1.0, weight_decay=0.0, clip=1e-9)
    small = {"a": jnp.ones(2)}
    step, _ = clipped.update({"a": jnp.full(2, 5.0)}, clipped.init(small), small)
    assert np.abs(step["a"]).max() < 0.1  # the gradient is below AdamW's eps


def golden_reparam() -> dict[str, np.ndarray]:
    with np.load(golden_dir() / "tasks__reparam.npz", allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def _tree(prefix: str) -> Any:
    found: dict[str, Any] = {}
    for name, array in golden_reparam().items():
        if name.startswith(prefix + "::"):
            module, leaf = name.removeprefix(prefix + "::").split("//")
            found.setdefault(module, {})[leaf] = jnp.asarray(array)
    return found


@pytest.mark.parametrize("level", ["global", "tensor", "parameter"])
def test_golden_reparametrisation(level: str) -> None:
    task = celo.load_task("FastVelo_mnist", data="synthetic")
    params = _tree("base_param")
    scales = _tree(f"{level}::scale")
    wrapped = ReparametrisedTask(task, scales)
    start = jax.tree.map(jnp.divide, params, scales)
    image = golden_reparam()["batch_image_u8"].astype(np.float32) / 255
    batch = {"image": jnp.asarray(image), "label": jnp.asarray(golden_reparam()["batch_label"])}
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), start, _tree(f"{level}::init")
    )
    loss, grad = jax.value_and_grad(wrapped.loss)(start, jax.random.PRNGKey(0), batch)
    np.testing.assert_allclose(loss, golden_reparam()[f"{level}::loss"], rtol=1e-5)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(
            a, b, rtol=1e-4, atol=1e-5 * float(jnp.abs(b).max())
        ),
        grad,
        _tree(f"{level}::grad"),
    )


def test_golden_scales() -> None:
    quantiles = golden_reparam()["global_log10_quantiles_0.001_1000"]
    family = augmented(_family(), Augmentation("global"))
    keys = jax.random.split(jax.random.PRNGKey(0), 20_000)
    scales = np.log10(jax.jit(jax.vmap(lambda k: family.sample(k)["scales"]))(keys))
    levels = (0, 0.05, 0.25, 0.5, 0.75, 0.95, 1)
    np.testing.assert_allclose(np.quantile(scales, levels), quantiles, atol=0.08)
    assert -3 <= scales.min() < -2.95 and 2.95 < scales.max() <= 3


def _family() -> SingleTaskFamily:
    return SingleTaskFamily(celo.load_task("FastVelo_mnist", data="synthetic"))


@pytest.mark.parametrize("text", ["none", "global", "tensor:0.1:10", "parameter:0.1:10", "list"])
def test_families_of_every_level(text: str) -> None:
    """The function at the start is the same, scales are shared as the level says."""
    family = augmented(_family(), parse_augmentation(text))

    def ratios(key: jax.Array) -> Any:
        task = family.task_fn(family.sample(key))
        params = task.init(jax.random.PRNGKey(5))
        plain = _family().task.init(jax.random.PRNGKey(5))
        return jax.tree.map(lambda a, b: jnp.where(b == 0, 1.0, b / a), params, plain)

    keys = jax.random.split(jax.random.PRNGKey(1), 16)
    found = jax.jit(jax.vmap(ratios))(keys)
    weights = [
        np.asarray(leaf).reshape(16, -1) for leaf in jax.tree.leaves(found) if leaf.ndim == 3
    ]
    spread = np.stack([w.max(1) / w.min(1) for w in weights])
    apart = np.abs(weights[0][:, 0] / weights[1][:, 0] - 1) > 1e-3
    if text in ("none", "global"):
        assert (spread < 1.001).all() and not apart.any()
        assert (np.ptp([w[:, 0] for w in weights]) > 1) == (text == "global")
    elif text.startswith("tensor"):
        assert (spread < 1.001).all() and apart.all()
    elif text.startswith("parameter"):
        assert (spread > 50).all()
    else:
        assert 0 < (spread > 2).any(0).sum() < 10  # level parameter: two of seven, roughly
