"""Golden files of Celo2's optax form."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from celo.trees import named_leaves
from celo_plugins.celo2 import leaf_paths, scale_by_adam, scale_by_celo2
from tests.plugins.golden_case import GoldenCase, relative_to_max

_COMPILE_FAST = {"xla_backend_optimization_level": 0}


def check_optax_file(case: GoldenCase) -> None:
    """The chain and the partition of a file, step by step, and the last state."""
    rates = jnp.asarray(case["lr"])
    theta = case.tree("theta")
    rule = scale_by_celo2(theta)
    # In two parts, to see what lies between.
    rest = optax.chain(
        optax.add_decayed_weights(float(case["weight_decay"])),
        optax.scale_by_learning_rate(lambda count: rates[count]),
    )
    adam = scale_by_adam(b1=0.9, b2=0.95, epsilon=1e-8, bias_correction=False)
    partitioned = optax.chain(
        optax.partition(
            {"adam": optax.chain(adam, optax.scale(20.0)), "rule": scale_by_celo2(theta)}, _labels
        ),
        optax.scale_by_learning_rate(float(case["lr_partitioned"])),
    )

    @functools.partial(jax.jit, compiler_options=_COMPILE_FAST)
    def replay(params: Any, grads: Any) -> Any:
        def step(carry: Any, grad: Any) -> Any:
            (p, s), (q, t), r = carry
            raw, r = rule.update(grad, r, p)
            update, s = rest.update(raw, s, p)
            other, t = partitioned.update(grad, t, q)
            p, q = optax.apply_updates(p, update), optax.apply_updates(q, other)
            return ((p, s), (q, t), r), {
                "raw_update": raw,
                "update": update,
                "params": p,
                "params_partitioned": q,
            }

        start = ((params, rest.init(params)), (params, partitioned.init(params)))
        return jax.lax.scan(step, (*start, rule.init(params)), grads)

    (_, _, state), seen = replay(case.tree("params0"), case.tree("grads"))
    for group in ("raw_update", "update"):
        for path_, golden in case.flat(group).items():
            found = named_leaves(seen[group])[path_]
            for k in range(len(golden)):
                assert relative_to_max(found[k], golden[k]) < 5e-5, (group, path_, k)
    for group in ("params", "params_partitioned"):
        for path_, golden in case.flat(group).items():
            found = named_leaves(seen[group])[path_]
            np.testing.assert_allclose(found, golden, rtol=0, atol=5e-6, err_msg=path_)
    assert named_leaves(state).keys() == case.flat("state").keys()
    for path_, golden in case.flat("state").items():
        assert named_leaves(state)[path_].dtype == golden.dtype
        assert relative_to_max(named_leaves(state)[path_], golden) < 5e-6, path_


def _labels(params: Any) -> Any:
    labels = ["adam" if path.endswith("/b") else "rule" for path in leaf_paths(params)]
    return jax.tree.structure(params).unflatten(labels)
