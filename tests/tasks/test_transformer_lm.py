from __future__ import annotations

import dataclasses
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from celo import registry
from celo.data import DataSelection
from celo.protocol import Task
from celo.tasks import build_task, transformer_lm
from tests.shared_folder import data_dir, golden_files
from tests.tasks.golden_case import batch_of, params_of

KEY = jax.random.PRNGKey(0)
SYNTHETIC = DataSelection(synthetic=True)


def _task(name: str, **changes) -> Task:
    record = registry.task(name).record
    return build_task(dataclasses.replace(record, config={**record.config, **changes}), SYNTHETIC)


def _small(**changes) -> Task:
    small = {"vocabulary": "bytes", "width": 8, "heads": 2, "length": 6, "batch_size": 2}
    return _task("TransformerLM_LM1B_MultiRuntime_2", **{**small, **changes})


TOKENS = jax.random.randint(KEY, (2, 7), 3, 259)
BATCH = {"obs": TOKENS[:, :-1], "target": TOKENS[:, 1:]}


def test_a_token_sees_itself_and_earlier_ones_but_no_padding() -> None:
    mask = transformer_lm._causal_mask(jnp.array([[5, 6, 0, 7]]))
    expected = [[1, 0, 0, 0], [1, 1, 0, 0], [1, 1, 0, 0], [1, 1, 0, 1]]
    np.testing.assert_array_equal(mask[0, 0], np.array(expected, bool))


def test_later_tokens_and_padding_change_nothing() -> None:
    """Only the first target of each row counts, so nothing behind the first token matters."""
    task = _small()
    params, loss = jax.jit(task.init)(KEY), jax.jit(task.loss)
    obs = jnp.zeros((2, 6), jnp.int32).at[:, 0].set(TOKENS[:, 0])
    first = loss(params, KEY, {**BATCH, "obs": obs})
    params["transformer/embed"]["embeddings"] = (
        params["transformer/embed"]["embeddings"].at[0].set(100.0)
    )
    assert loss(params, KEY, {**BATCH, "obs": obs}) == pytest.approx(float(first), rel=1e-6)
    slope = jax.jit(jax.grad(task.loss))(params, KEY, BATCH)["transformer/embed"]["embeddings"]
    last = set(map(int, BATCH["obs"][:, -1])) - set(map(int, BATCH["obs"][:, :-1].ravel()))
    assert last and all(jnp.abs(slope[token]).max() > 0 for token in last)


def test_without_dropout_nothing_is_drawn() -> None:
    params = jax.eval_shape(_small().init, KEY)
    for rate, drawn in ((0.0, False), (0.1, True)):
        task = _small(dropout=rate)
        program = str(jax.make_jaxpr(task.loss)(params, KEY, BATCH))
        assert ("random_bits" in program or "threefry" in program) is drawn


@pytest.mark.parametrize("path", golden_files("tasks__TransformerLM*_0.npz"), ids=lambda p: p.stem)
def test_golden_dropout(path: Path) -> None:
    """Mean and spread of the loss over keys, at the published rate."""
    with np.load(path, allow_pickle=False) as golden:
        task = _task(str(golden["task_name"]))
        params, batch = params_of(golden), batch_of(golden)
        keys = jax.random.split(KEY, 128)
        losses = jax.jit(lambda k: jax.lax.map(lambda one: task.loss(params, one, batch), k))(keys)
        spread, count = float(golden["dropout_loss_std"]), int(golden["dropout_n_keys"])
        noise = spread * np.sqrt(1 / count + 1 / len(keys))
        assert abs(np.mean(losses) - golden["dropout_loss_mean"]) < 4 * noise
        assert 0.7 < np.std(losses) / spread < 1.4
        without = float(golden["loss"])  # dropout moves the mean by more than the noise
        assert abs(np.mean(losses) - golden["dropout_loss_mean"]) < abs(np.mean(losses) - without)


# Spec of the tasks, 1.1: losses at the start on random data.
START = {
    "TransformerLM_LM1B_MultiRuntime_0": 10.6919,
    "TransformerLM_LM1B_MultiRuntime_2": 10.7309,
    "TransformerLM_LM1B_MultiRuntime_5": 10.7692,
    "RNNLM_lm1b32k_Patch32_LSTM256_Embed128": 10.3821,
}


def _losses(task: Task, keys: int) -> np.ndarray:
    assert task.datasets is not None
    # Four rows of the larger batches: the losses differ between initial values, not between rows.
    batches = [next(task.datasets.train) for _ in range(keys)]
    data = {n: jnp.stack([b[n][:4] for b in batches]) for n in ("obs", "target")}

    def one(pair):
        key, batch = pair
        return task.loss(task.init(key), key, batch)

    split = jax.random.split(KEY, keys)
    return np.asarray(jax.jit(lambda k, d: jax.lax.map(one, (k, d)))(split, data))


@pytest.mark.parametrize("source", ["synthetic", "wikitext2"])
@pytest.mark.parametrize("name", START)
def test_start_is_that_of_the_reference(
    name: str, source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if source == "wikitext2":
        monkeypatch.setenv("CELO_DATA_DIR", str(data_dir()))
    # Fewer keys for the largest: its losses at the start differ by one part in two thousand.
    keys = 32 if name.startswith("Transformer") else 4
    task = build_task(registry.task(name).record, DataSelection.parse(f"lm1b={source}"))
    assert np.mean(_losses(task, keys)) == pytest.approx(START[name], rel=0.02)


def test_the_wikipedia_row_is_the_same_network() -> None:
    ours, same = (
        registry.task(f"RNNLM_{s}32k_Patch32_LSTM256_Embed128").record
        for s in ("wikipediaen", "lm1b")
    )
    assert {**ours.config, "data_set": "lm1b"} == same.config
