"""A program: initial states and updates of sharded parameters on eight devices, as JSON.

For each optimizer named on its command line: the leaves which are not sharded like their parameters
and the largest array that devices send each other during an update, in elements. Beside them, under
"explicit", how leaves of one shape and different shardings come out of `map_leaves`.
"""

from __future__ import annotations

import json
import math
import re
import sys
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

import celo
from celo.lopt.leaves import map_leaves
from celo.trees import named_leaves

# Sharded along the first, the last and a middle axis; three are alike, hence stacked.
PARAMS = {
    **{f"twin{i}": ((40, 32), PartitionSpec("d")) for i in range(3)},
    "columns": ((48, 64), PartitionSpec(None, "d")),
    "heads": ((8, 16, 24), PartitionSpec(None, "d")),
    "vector": ((1024,), PartitionSpec("d")),
}
COMPILE_FAST = {"xla_backend_optimization_level": 0}

_COLLECTIVE = re.compile(
    r"= (.*?) (?:all-gather|all-to-all|collective-permute|all-reduce)(?:-start)?\("
)


def main(names: list[str]) -> None:
    mesh = Mesh(jax.devices(), ("d",))
    params = {
        name: jax.device_put(jnp.ones(shape), NamedSharding(mesh, spec))
        for name, (shape, spec) in PARAMS.items()
    }
    reports: dict[str, Any] = {name: report(name, mesh, params) for name in names}
    print(json.dumps({**reports, "explicit": explicit_shardings()}))


def report(name: str, mesh: Mesh, params: dict[str, jax.Array]) -> dict[str, Any]:
    opt = celo.load(f"{name}@random:0")
    start = jax.jit(lambda p: opt.init(p, num_steps=10)).lower(params)
    state = start.compile(compiler_options=COMPILE_FAST)(params)
    found = {
        "init": not_alike(opt.init(params, num_steps=10), mesh),
        "jitted init": not_alike(state, mesh),
    }
    update = jax.jit(lambda s, g: opt.update(s, g, loss=jnp.float32(1.0)), donate_argnums=0)
    compiled = update.lower(state, params).compile(compiler_options=COMPILE_FAST)
    new = compiled(state, jax.tree.map(lambda p: 0.1 * p, params))
    return {**found, "update": not_alike(new, mesh), "sent": largest_sent(compiled.as_text())}


def explicit_shardings() -> list[bool]:
    mesh = jax.make_mesh((8,), ("d",), axis_types=(AxisType.Explicit,))
    wanted = [NamedSharding(mesh, PartitionSpec(*spec)) for spec in (("d", None), (None, "d"))] * 2
    leaves = [(jax.device_put(jnp.ones((16, 8)), sharding),) for sharding in wanted]
    found = jax.jit(lambda leaves: map_leaves(jnp.exp, leaves))(leaves)
    return [x.sharding.is_equivalent_to(s, x.ndim) for x, s in zip(found, wanted, strict=True)]


def not_alike(state: Any, mesh: Mesh) -> list[str]:
    """Leaves with the shape of their parameter, or one more axis, but not its sharding."""
    found = []
    for path, leaf in named_leaves(state).items():
        shape, spec = PARAMS.get(path.split("|")[-1], (None, None))
        if shape is None or leaf.shape[: len(shape)] != shape:
            continue
        if not leaf.sharding.is_equivalent_to(NamedSharding(mesh, spec), leaf.ndim):
            found.append(path)
    return found


def largest_sent(text: str) -> int:
    sizes = [0]
    for line in text.splitlines():
        if match := _COLLECTIVE.search(line):
            shapes = re.findall(r"\[([\d,]*)\]", match.group(1))
            sizes += [math.prod(int(n) for n in shape.split(",") if n) for shape in shapes]
    return max(sizes)


if __name__ == "__main__":
    main(sys.argv[1:])
