"""bfloat16 parameters under the casting rule, and donation that leaves no copy."""

from __future__ import annotations

import importlib
import pkgutil
import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import celo
from celo.records import OptimizerPlugin
from celo.trees import named_leaves
from celo_plugins import records

MODULES = [
    importlib.import_module(f"{records.__name__}.{module.name}")
    for module in pkgutil.iter_modules(records.__path__)
]
RECORDS = [r for m in MODULES for r in vars(m).values() if isinstance(r, OptimizerPlugin)]
LEARNED = [r for r in RECORDS if r.kind == "learned"]
COMPILE_FAST = {"xla_backend_optimization_level": 0}


@pytest.mark.parametrize("record", LEARNED, ids=lambda record: record.name)
def test_what_is_like_the_parameters_is_bfloat16_the_rest_float32(record: OptimizerPlugin) -> None:
    module, attribute = record.build.split(":")
    lopt = getattr(importlib.import_module(module), attribute)()
    shapes = {"w": (4, 6), "b": (6,)}
    params = {name: jax.ShapeDtypeStruct(shape, jnp.bfloat16) for name, shape in shapes.items()}

    def run(key: jax.Array, params: Any) -> tuple[Any, Any]:
        opt = lopt.opt_fn(lopt.init(key))
        state = opt.init(params, num_steps=10)
        return state, opt.update(state, params, loss=jnp.float32(1.0))

    for state in jax.eval_shape(run, jax.random.PRNGKey(0), params):
        averages = 0
        for path, leaf in named_leaves(state).items():
            *fields, last = path.split("|")
            if not jnp.issubdtype(leaf.dtype, jnp.floating):
                continue
            alike = last in shapes and leaf.shape[: len(shapes[last])] == shapes[last]
            factored = not {"v_row", "v_col", "v_diag"}.isdisjoint(fields)
            expected = jnp.bfloat16 if alike and not factored else jnp.float32
            assert leaf.dtype == expected, path
            averages += alike and "params" not in fields
        # Some train nothing but the hyperparameters of an optimizer without averages.
        assert averages or lopt.name.startswith("learnable")


def test_steps_are_computed_in_float32() -> None:
    opt = celo.load("celo2-base@random:0:step_mult=0.5")
    rng = np.random.default_rng(0)
    params, grad = ({"w": jnp.asarray(rng.normal(size=(24, 32)), jnp.bfloat16)} for _ in range(2))
    start = opt.init(params, num_steps=10)
    wide = jax.tree.map(lambda x: x.astype(jnp.float32) if x.dtype == jnp.bfloat16 else x, start)
    update = jax.jit(lambda s: opt.update(s, grad), compiler_options=COMPILE_FAST)
    narrow, wide = update(start), update(wide)
    for found, expected in (
        (narrow.params["w"], wide.params["w"]),
        (narrow.mom_rolling.m["w"], wide.mom_rolling.m["w"]),
    ):
        assert found.dtype == jnp.bfloat16 and expected.dtype == jnp.float32
        # Rounded once, at the end; float32 errors before that may tip one in a thousand.
        assert np.mean(np.asarray(found == expected.astype(jnp.bfloat16))) > 0.99


@pytest.mark.parametrize(
    "text", ["celo@random:0", "velo-s@random:0", "celo2-base@random:0", "adam:lr=0.001"]
)
def test_a_donated_state_is_updated_in_its_own_memory(text: str) -> None:
    opt = celo.load(text)
    # So large that it is not put beside others.
    params = {"w": jax.ShapeDtypeStruct((1100, 1000), jnp.float32)}
    state = jax.eval_shape(lambda p: opt.init(p, num_steps=10), params)
    update = jax.jit(lambda s, g: opt.update(s, g, loss=jnp.float32(1.0)), donate_argnums=0)
    compiled = update.lower(state, params).compile(compiler_options=COMPILE_FAST)
    size = sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(state))
    memory = compiled.memory_analysis()
    assert memory is not None and memory.alias_size_in_bytes == size
    # One array of the leaf's size and what rows and columns need: no column, no unit, no copy.
    assert memory.temp_size_in_bytes < 1.1 * 4 * 1100 * 1000
    text = compiled.as_text()
    entry = text[text.index("\nENTRY") :]
    assert " fusion(" in entry or " call(" in entry
    assert not re.findall(r"\[1100,1000\S* copy\(", entry)
