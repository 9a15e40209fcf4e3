"""Another estimator of meta-gradients: ES-Single (Vicol 2023, arXiv:2304.11153).

Each particle keeps one perturbation for a whole unroll, where PES draws one for every window. An
entry point under `celo.estimators` would make it `celo meta-train --estimator es-single`.

    python examples/custom_estimator.py [ITERATIONS]
"""

import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp

from celo.estimators import Estimate, init_particles, perturbations, run_window, weighted_mean
from celo.metatrain.config import StageConfig
from celo.metatrain.journal import read_log
from celo.metatrain.run import train
from celo.metatrain.stage import compile_stage, initial_theta, open_stage


@dataclass(frozen=True)
class ESSingle:
    trunc: int
    sigma: float

    def init(self, problem, theta, key):
        states = init_particles(problem, theta, key)
        pairs = jax.tree.map(lambda x: jnp.stack([x, x], axis=1), states)
        return pairs, perturbations(key, theta, problem.particles, self.sigma)

    def estimate(self, problem, theta, state, key, iteration):
        pairs, eps = state
        pairs, out = run_window(problem, theta, eps, pairs, key, self.trunc)
        losses = out.loss.mean(axis=1)  # [particles, 2 signs]
        deltas = losses[:, 0] - losses[:, 1]
        gradient = jax.tree.map(lambda x: x / (2 * self.sigma**2), weighted_mean(deltas, eps))
        fresh = perturbations(key, theta, problem.particles, self.sigma)
        ended = out.done[..., 0].any(axis=1)
        choose = jax.vmap(jnp.where)  # over particles
        eps = jax.tree.map(lambda new, old: choose(ended, new, old), fresh, eps)
        return Estimate(gradient, losses.mean(axis=1), jnp.abs(deltas).mean()), (pairs, eps)


iterations = int(sys.argv[1]) if len(sys.argv) > 1 else 100
settings = {"particles": 16, "outer_lr": 0.05, "iterations": iterations}
stage = open_stage(StageConfig("learnable-sgdm", suite="digits", unroll="20:60", **settings))
program = compile_stage(stage, estimator=ESSingle(trunc=10, sigma=0.1))
with tempfile.TemporaryDirectory() as folder:
    outcome = train(stage, initial_theta(stage, None), program, Path(folder))
    rows = read_log(Path(folder))
print(f"meta-loss {rows[0]['loss']:.4f} at first, {outcome.loss:.4f} at the end")
print({name: float(jnp.squeeze(leaf)) for name, leaf in outcome.theta.items()})
