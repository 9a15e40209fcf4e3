"""A distribution of optimizers that go wrong while they run, in every way but one."""

from __future__ import annotations

from pathlib import Path

NAMES = ("hangs", "killed", "raises-late", "nan-for-some", "hoards")
MARKER = "CELO_TEST_MARKER"
"""Environment variable: `hangs` writes its process id to the file named there."""


def install(site: Path) -> None:
    """Writes the distribution; whoever has `site` on the path can use it."""
    info = site / "celo_faulty-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: celo-faulty\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[celo.optimizers]\nall = celo_faulty:RECORDS\n")
    records = ", ".join(f"record({name!r})" for name in NAMES)
    (site / "celo_faulty.py").write_text(_RECORDS + f"RECORDS = ({records},)\n")
    (site / "celo_faulty_builds.py").write_text(_BUILDS)


_RECORDS = """
from celo.records import Hyperparameter, OptimizerPlugin


def record(name):
    return OptimizerPlugin(
        name=name, kind="hand-crafted", summary="goes wrong",
        build="celo_faulty_builds:" + name.replace("-", "_"),
        hyperparameters=(Hyperparameter("at", "int", 25, low=0),),
    )


"""

_BUILDS = """
import os, signal, sys, time

import jax
import jax.numpy as jnp
import optax

from celo.optim import from_optax


def sgd_that(happens, at):
    def on_host(count, factor):
        if int(count) == at:
            happens()
        return factor

    def update(updates, count, params=None):
        shape = jax.ShapeDtypeStruct((), jnp.float32)
        factor = jax.pure_callback(
            on_host, shape, count, jnp.float32(-0.01), vmap_method="sequential"
        )
        return jax.tree.map(lambda u: factor * u, updates), count + 1

    return from_optax(optax.GradientTransformation(lambda p: jnp.int32(0), update), name="faulty")


def hangs(at=25):
    def happens():
        with open(os.environ["CELO_TEST_MARKER"], "w") as file:
            file.write(str(os.getpid()))
        while True:
            time.sleep(1)

    return sgd_that(happens, at)


def killed(at=25):
    return sgd_that(lambda: os.kill(os.getpid(), signal.SIGKILL), at)


def raises_late(at=25):
    def happens():
        raise RuntimeError(f"no more ideas at step {at}")

    return sgd_that(happens, at)


def nan_for_some(at=25):
    def update(updates, state, params=None):
        count, unlucky = state
        factor = jnp.where(unlucky & (count == at), jnp.nan, -0.01)
        return jax.tree.map(lambda u: factor * u, updates), (count + 1, unlucky)

    def init(params):
        return jnp.int32(0), jnp.sum(jax.tree.leaves(params)[-1]) > 0

    return from_optax(optax.GradientTransformation(init, update), name="nan-for-some")


def hoards(at=25):
    def init(params):
        return jnp.zeros(2**28)

    def update(updates, hoard, params=None):
        return jax.tree.map(lambda u: -0.01 * u, updates), hoard + 1

    return from_optax(optax.GradientTransformation(init, update), name="hoards")
"""
