"""Matrix products of an update: how many of which shape, and how long they take by themselves.

A bound for optimizers that multiply matrices: nothing that computes these products is faster than
they are.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from celo.bench.timing import Turn
from celo.protocol import Optimizer, Params


class Product(NamedTuple):
    """A float32 product [batch, rows, inner] x [batch, inner, columns]."""

    batch: int
    rows: int
    inner: int
    columns: int

    @property
    def flop(self) -> int:
        """Floating-point operations, a multiplication and an addition each."""
        return 2 * self.batch * self.rows * self.inner * self.columns


def update_products(optimizer: Optimizer, params: Params) -> Counter[Product]:
    """The products of one update, without computing it.

    Args:
      optimizer: of any kind.
      params: its parameters, or their shapes.
    """
    state = jax.eval_shape(lambda p: optimizer.init(p, num_steps=1000), params)
    shapes = jax.eval_shape(optimizer.get_params, state)
    return products_of(lambda s, g: optimizer.update(s, g, loss=jnp.float32(0.0)), state, shapes)


def products_of(function: Callable[..., Any], *arguments: Any) -> Counter[Product]:
    """The products of a program, those of a scan as often as it turns.

    A loop whose turns depend on numbers counts as one turn; of several branches the one with most
    to multiply counts.
    """
    return _count(jax.make_jaxpr(function)(*arguments).jaxpr)


def multiplying_alone(product: Product) -> Turn:
    """A turn that computes such a product once."""
    left_key, right_key = jax.random.split(jax.random.PRNGKey(0))
    left = jax.random.normal(left_key, (product.batch, product.rows, product.inner))
    right = jax.random.normal(right_key, (product.batch, product.inner, product.columns))
    multiply = jax.jit(lambda a, b: jax.numpy.matmul(a, b, precision="highest"))
    if product.batch == 1:
        left, right = left[0], right[0]
    return lambda: jax.block_until_ready(multiply(left, right))


def _count(jaxpr: Any) -> Counter[Product]:
    found: Counter[Product] = Counter()
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            found[_product(equation)] += 1
            continue
        inner = [_count(part) for part in _programs(equation.params)]
        if equation.primitive.name == "cond":
            inner = [max(inner, key=_flop)]
        times = equation.params["length"] if equation.primitive.name == "scan" else 1
        for counts in inner:
            found.update({product: times * count for product, count in counts.items()})
    return found


def _flop(products: Counter[Product]) -> int:
    return sum(count * product.flop for product, count in products.items())


def _product(equation: Any) -> Product:
    (left_inner, right_inner), (batch, right_batch) = equation.params["dimension_numbers"]
    left, right = (variable.aval.shape for variable in equation.invars)
    rows = set(range(len(left))) - {*left_inner, *batch}
    columns = set(range(len(right))) - {*right_inner, *right_batch}
    return Product(
        batch=math.prod(left[i] for i in batch),
        rows=math.prod(left[i] for i in rows),
        inner=math.prod(left[i] for i in left_inner),
        columns=math.prod(right[i] for i in columns),
    )


def _programs(params: dict[str, Any]) -> Iterator[Any]:
    for value in params.values():
        for part in value if isinstance(value, tuple | list) else (value,):
            program = getattr(part, "jaxpr", part)
            if hasattr(program, "eqns"):
                yield program
