"""Inner training: golden windows of real optimizers, and the rules of unrolls."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import celo
from celo.estimators import TruncatedPES, init_particles, run_window
from celo.estimators.truncated_pes import reduce_window
from celo.metatrain.lengths import Lengths
from celo.trees import named_leaves
from tests.metatrain import golden_unroll

# name in the golden file -> (ours, smallest cosine of gradients from own losses)
OPTIMIZERS = {
    "celo_phase1": ("celo-phase1", 0.99),
    "celo": ("celo", 0.95),
    "celo2base": ("celo2-base", 0.99),
    "adafac_mlp": ("adafac-mlp-lopt", 0.95),
}


def in_structure(lopt: Any, prefix: str) -> Any:
    """The arrays of the golden file as a tree like theta."""
    found = golden_unroll.tree(prefix)
    template = jax.eval_shape(lopt.init, jax.random.PRNGKey(0))
    by_path = {name.lstrip("/").replace("/", "|"): array for name, array in found.items()}
    leaves = []
    for path in named_leaves(template):
        key = path.replace("/", "|")
        if key not in by_path:  # a named tuple goes by position there
            head, _, field = key.rpartition("|")
            key = f"{head}|{('hidden', 'cell').index(field)}"
        leaves.append(jnp.asarray(by_path[key]))
    return jax.tree.structure(template).unflatten(leaves)


def cosine(a: Any, b: Any) -> float:
    a, b = (np.concatenate([np.ravel(x) for x in jax.tree.leaves(t)]) for t in (a, b))
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_golden_windows(name: str) -> None:
    """Two windows with resets: losses, parameters, gradients and accumulators."""
    ours, smallest = OPTIMIZERS[name]
    lopt = celo.load_learned(f"{ours}@random")[0]
    theta = in_structure(lopt, f"{name}/theta")
    problem = golden_unroll.problem(lopt, 0)
    state = TruncatedPES(10).init(problem, theta, jax.random.PRNGKey(0))
    states, accumulator = state.states, state.accumulator
    run = jax.jit(
        lambda eps, states, window: run_window(
            golden_unroll.problem(lopt, window), theta, eps, states, jax.random.PRNGKey(1), 10
        )
    )
    for window in (0, 1):
        prefix = f"{name}/w{window}"
        golden = {
            k: golden_unroll.golden()[f"{prefix}/{k}"]
            for k in ("pos_loss", "neg_loss", "mask", "is_done", "mean_loss")
        }
        eps = in_structure(lopt, f"{prefix}/eps")
        states, out = run(eps, states, window)
        found = np.asarray(out.loss).transpose(1, 0, 2)
        wanted = np.stack([golden["pos_loss"], golden["neg_loss"]], axis=-1)
        np.testing.assert_allclose(found, wanted, atol=2e-5)
        np.testing.assert_array_equal(np.asarray(out.mask[..., 0]).T, golden["mask"])
        np.testing.assert_array_equal(np.asarray(out.done[..., 0]).T, golden["is_done"])
        params = named_leaves(states.opt_state.params)
        for path, array in golden_unroll.tree(f"{prefix}/pos_params").items():
            module, leaf = path.strip("/").rsplit("/", 1)
            np.testing.assert_allclose(params[f"{module}|{leaf}"][:, 0], array, atol=2e-5)

        def reduce(
            losses: Any, golden: Any = golden, eps: Any = eps, sums: Any = accumulator
        ) -> Any:
            return reduce_window(
                losses,
                jnp.asarray(golden["mask"].T),
                jnp.asarray(golden["is_done"].T),
                eps,
                sums,
                0.01,
                published=True,
            )

        recorded = reduce(jnp.asarray(wanted.transpose(1, 0, 2)))
        gradient = in_structure(lopt, f"{prefix}/grad")
        norm = float(np.sqrt(sum(np.sum(np.square(x)) for x in jax.tree.leaves(gradient))))
        jax.tree.map(
            lambda a, b, n=norm: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5 * n),
            recorded.gradient,
            gradient,
        )
        np.testing.assert_allclose(jnp.mean(recorded.losses), golden["mean_loss"], rtol=1e-5)
        assert cosine(reduce(out.loss).gradient, gradient) > smallest
        accumulator = recorded.accumulator
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-9),
            accumulator,
            in_structure(lopt, f"{prefix}/acc"),
        )


def test_golden_lengths() -> None:
    low, high, mean, median = np.load(golden_unroll.golden_dir() / "pes__toy.npz")["F5_len_stats"]
    lengths = Lengths(100, 2000)
    keys = jax.random.split(jax.random.PRNGKey(0), 200_000)
    drawn = np.asarray(jax.jit(jax.vmap(lengths.sample))(keys))
    assert (drawn.min(), drawn.max()) == (low, high)
    assert abs(drawn.mean() - mean) < 5 and abs(np.median(drawn) - median) < 5
    offsets = np.asarray(jax.jit(jax.vmap(lengths.sample_offset))(keys))
    done = np.mean(np.random.default_rng(0).permutation(offsets) + 1 >= drawn)
    assert (
        abs(done - np.load(golden_unroll.golden_dir() / "pes__toy.npz")["F5_p_done_first_step"])
        < 0.005
    )


def test_lengths_of_either_law() -> None:
    keys = jax.random.split(jax.random.PRNGKey(0), 5000)
    uniform = np.asarray(jax.vmap(Lengths(5, 9, "uniform").sample)(keys))
    assert set(uniform) == {5, 6, 7, 8}
    assert abs(np.mean(uniform == 5) - 0.25) < 0.03
    log = np.asarray(jax.vmap(Lengths(2, 2001).sample)(keys))
    assert abs(np.mean(log < 63) - 0.5) < 0.03
    assert Lengths(7, 7).sample(keys[0]) == 7


def test_first_states_differ_between_particles_and_agree_within_a_pair() -> None:
    lopt, theta = celo.load_learned("learnable-sgd@random")
    problem = golden_unroll.problem(lopt, 0)
    state = TruncatedPES(10).init(problem, theta, jax.random.PRNGKey(0))
    jax.tree.map(lambda x: np.testing.assert_array_equal(x[:, 0], x[:, 1]), state.states)
    plain = init_particles(problem, theta, jax.random.PRNGKey(0))
    assert not plain.is_done.any() and (plain.length == 6).all()
