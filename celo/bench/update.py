"""What one update costs, beside jitted, donated `optax.adam` on the same parameters."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from celo.api import load
from celo.bench.machine import copying
from celo.bench.products import multiplying_alone, update_products
from celo.bench.timing import Turn, spread, take_turns
from celo.errors import UsageError, WeightsMissingError
from celo.loading import BundledWeightsWarning, find
from celo.optim import from_optax
from celo.protocol import Optimizer, Params
from celo.spec import parse

ADAM = "optax.adam"
_LEAST_SECONDS = 0.1


@dataclass(frozen=True)
class UpdateCost:
    """One optimizer on one tree of parameters.

    Attributes:
      optimizer: canonical text.
      params: number of parameters.
      ms: milliseconds of an update, median.
      ratio_to_adam: time over that of Adam's update of the same turn, median.
      ratio_low: lower quartile of that ratio.
      ratio_high: upper quartile.
      temp_ratio: temporary memory of the compiled update over the size of the parameters.
      state_bytes_per_param: bytes of state a parameter, the parameters not counted.
      bytes_per_param: bytes that an update cannot but move a parameter: the gradient read;
        parameters and state read and written.
      fraction_of_bandwidth: these bytes over what a copy moves in the same time.
      compile_s: seconds to trace and compile the update.
    """

    optimizer: str
    params: int
    ms: float
    ratio_to_adam: float
    ratio_low: float
    ratio_high: float
    temp_ratio: float
    state_bytes_per_param: float
    bytes_per_param: float
    fraction_of_bandwidth: float
    compile_s: float


@dataclass
class _Updates:
    """A compiled loop of updates and the state that it works on."""

    run: Callable[[Any, jax.Array], Any]
    state: Any
    temp_bytes: int
    compile_s: float
    count: int = 1

    def turn(self) -> None:
        self.state = jax.block_until_ready(self.run(self.state, jnp.int32(self.count)))


def load_or_draw(text: str) -> tuple[Optimizer, str]:
    """An optimizer and its text; with random weights where its own are not on this machine.

    What an update costs does not depend on the weights.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", BundledWeightsWarning)
            return load(text), text
    except (WeightsMissingError, UsageError):  # the latter where none were ever published
        spec = parse(text)
        record = find(spec)[1].record
        if record.kind != "learned" or spec.weights is not None:
            raise
        drawn = replace(spec, weights="random:0").text
        return load(drawn), drawn


def lowered_updates(optimizer: Optimizer, params: Params, *, copies: bool = False) -> Any:
    """The lowered (state, number of updates) -> state; the state is donated.

    Args:
      optimizer: to measure.
      params: its parameters, or their shapes.
      copies: `params` has a leading axis of runs side by side.
    """

    def loop(state: Any, count: jax.Array) -> Any:
        def one(state: Any) -> Any:
            # A gradient that depends on the parameters, so that nothing can be hoisted.
            grad = jax.tree.map(lambda p: 0.1 * p + 0.01, optimizer.get_params(state))
            return optimizer.update(state, grad, loss=jnp.float32(1.0))

        every = jax.vmap(one) if copies else one
        return jax.lax.fori_loop(0, count, lambda _, s: every(s), state)

    state = jax.eval_shape(_first(optimizer, copies), params)
    return jax.jit(loop, donate_argnums=0).lower(state, jnp.int32(1))


def _first(optimizer: Optimizer, copies: bool) -> Callable[[Params], Any]:
    first = partial(optimizer.init, num_steps=1000)
    return jax.vmap(first) if copies else first


def _compiled(optimizer: Optimizer, params: Params, copies: bool) -> _Updates:
    began = time.perf_counter()
    compiled = lowered_updates(optimizer, params, copies=copies).compile()
    seconds = time.perf_counter() - began
    memory = compiled.memory_analysis()
    temp = int(getattr(memory, "temp_size_in_bytes", 0) or 0)
    return _Updates(compiled, jax.jit(_first(optimizer, copies))(params), temp, seconds)


def _long_enough(updates: _Updates) -> None:
    """Has a turn do so many updates that a clock can tell."""
    updates.turn()
    began = time.perf_counter()
    updates.turn()
    updates.count = max(1, min(10_000, round(_LEAST_SECONDS / (time.perf_counter() - began))))


def measure_updates(
    optimizers: Sequence[str], params: Params, *, turns: int = 15, copies: bool = False
) -> Iterator[UpdateCost]:
    """Measures optimizers one by one, each by turns with Adam and with a copy in memory.

    Args:
      optimizers: their texts.
      params: float32 parameters.
      turns: rounds for each.
      copies: `params` has a leading axis of runs side by side.

    Yields:
      One row an optimizer, as soon as it is measured; the first is Adam itself.
    """
    adam = _compiled(from_optax(optax.adam(1e-3), name="adam"), params, copies)
    _long_enough(adam)
    copy, moved = copying()
    yield _row(ADAM, adam, adam, params, take_turns([adam.turn, adam.turn, copy], turns), moved)
    for text in optimizers:
        optimizer, shown = load_or_draw(text)
        own = _compiled(optimizer, params, copies)
        _long_enough(own)
        turned: list[Turn] = [own.turn, adam.turn, copy]
        yield _row(shown, own, adam, params, take_turns(turned, turns), moved)


@dataclass(frozen=True)
class ProductsCost:
    """Matrix products that one optimizer computes and another does not.

    Attributes:
      flop: floating-point operations of an update.
      ratio_to_adam: what they take by themselves, over the time of Adam's update.
      gflop_s: GFLOP/s that they reach by themselves.
    """

    flop: int
    ratio_to_adam: float
    gflop_s: float


def measure_products(
    optimizer: str, without: str, params: Params, *, turns: int = 15
) -> ProductsCost:
    """Measures the products of `optimizer` that `without` lacks, each shape by turns with Adam.

    Args:
      optimizer: its text.
      without: text of the other one.
      params: float32 parameters.
      turns: rounds.

    Raises:
      UsageError: there are no such products.
    """
    own, other = (update_products(load_or_draw(text)[0], params) for text in (optimizer, without))
    products = own - other
    if not products:
        raise UsageError(
            f"{optimizer} multiplies no matrices that {without} does not multiply",
            hint="name an optimizer with matrix products first, such as celo2 beside celo2-base",
        )
    adam = _compiled(from_optax(optax.adam(1e-3), name="adam"), params, False)
    _long_enough(adam)
    seconds = take_turns([adam.turn, *(multiplying_alone(p) for p in products)], turns)
    counts = np.asarray(list(products.values()))
    together = seconds[:, 1:] @ counts
    flop = sum(count * product.flop for product, count in products.items())
    return ProductsCost(
        flop=flop,
        ratio_to_adam=spread(together / (seconds[:, 0] / adam.count)).median,
        gflop_s=flop / spread(together).median / 1e9,
    )


def _row(
    text: str, own: _Updates, adam: _Updates, params: Params, seconds: np.ndarray, moved: int
) -> UpdateCost:
    per_update = seconds[:, :2] / (own.count, adam.count)
    ratio = spread(per_update[:, 0] / per_update[:, 1])
    median = spread(per_update[:, 0]).median
    count, size = _size(params)
    state = _size(own.state)[1] - size
    needed = size + 2 * (size + state)
    bandwidth = spread(moved / seconds[:, 2]).median
    return UpdateCost(
        optimizer=text,
        params=count,
        ms=median * 1e3,
        ratio_to_adam=ratio.median,
        ratio_low=ratio.low,
        ratio_high=ratio.high,
        temp_ratio=own.temp_bytes / size,
        state_bytes_per_param=state / count,
        bytes_per_param=needed / count,
        fraction_of_bandwidth=needed / median / bandwidth,
        compile_s=own.compile_s,
    )


def _size(tree: Any) -> tuple[int, int]:
    """Numbers and bytes."""
    leaves = jax.tree.leaves(tree)
    return sum(x.size for x in leaves), sum(x.size * x.dtype.itemsize for x in leaves)
