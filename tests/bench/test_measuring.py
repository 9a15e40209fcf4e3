"""What is measured is what is said; how long it took is not tested."""

from __future__ import annotations

import jax
import pytest

from celo.bench.machine import copying, multiplying
from celo.bench.products import Product, multiplying_alone, products_of
from celo.bench.timing import spread, take_turns
from celo.bench.training import measure_training
from celo.bench.trees import MLP, mlp_parameters, tree_of_a_hundred_leaves, widths_for
from celo.bench.update import ADAM, load_or_draw, measure_products, measure_updates
from celo.errors import UsageError


def test_programs_take_turns() -> None:
    heard: list[str] = []
    seconds = take_turns([lambda: heard.append("a"), lambda: heard.append("b")], turns=3)
    assert heard == list("abbabaab")  # the first round is not counted
    assert seconds.shape == (3, 2) and (seconds >= 0).all()
    found = spread([5.0, 1.0, 2.0, 4.0, 3.0])
    assert (found.median, found.low, found.high) == (3.0, 2.0, 4.0)


@pytest.mark.parametrize("count", [2, 3, 4])
def test_no_place_in_a_round_is_reserved(count: int) -> None:
    heard: list[int] = []
    take_turns([lambda i=i: heard.append(i) for i in range(count)], turns=2 * count)
    rounds = [heard[at : at + count] for at in range(0, len(heard), count)][1:]
    assert all(sorted(order) == list(range(count)) for order in rounds)
    for place in range(count):
        assert sorted(order[place] for order in rounds) == sorted(2 * list(range(count)))
    for order in rounds:
        assert order[::-1] in rounds, "who ran before whom"


def test_bounds_do_what_they_count() -> None:
    turn, moved = copying()
    turn()
    turn()  # the array given away was replaced
    assert moved == 2 * 2**28
    product, operations = multiplying(8)
    assert product().shape == (8, 8) and operations == 1024  # pyright: ignore


def test_trees() -> None:
    count = sum(x.size for x in jax.tree.leaves(jax.eval_shape(lambda: mlp_parameters(MLP))))
    assert count == 9_454_602
    assert len(jax.tree.leaves(tree_of_a_hundred_leaves())) == 100
    small = mlp_parameters(widths_for(20_000), copies=3)
    assert sum(x.size for x in jax.tree.leaves(small)) / 3 == pytest.approx(20_000, rel=0.05)


def test_updates() -> None:
    params = mlp_parameters((4, 3, 2))
    rows = list(measure_updates(["sgd:lr=0.1", "celo-adam@random:0"], params, turns=1))
    assert [row.optimizer for row in rows] == [ADAM, "sgd:lr=0.1", "celo-adam@random:0"]
    adam, sgd, learned = rows
    assert adam.params == 23
    # A counter of 4 bytes, iteration and Adam's own, and two moments.
    assert adam.state_bytes_per_param == pytest.approx(8 + 8 / 23)
    assert adam.bytes_per_param == pytest.approx(4 + 2 * (4 + adam.state_bytes_per_param))
    assert sgd.state_bytes_per_param < 1 < learned.state_bytes_per_param
    for row in rows:
        assert row.ms > 0 and row.ratio_low <= row.ratio_to_adam <= row.ratio_high
        assert 0 < row.fraction_of_bandwidth < 1  # so small a tree is bound by overhead


def test_products_are_counted_where_they_are() -> None:
    def program(x: jax.Array) -> jax.Array:
        square = jax.jit(lambda y: y @ y.T)(x)  # [2, 2]
        turned = jax.lax.scan(lambda c, _: (c @ c, None), square, length=3)[0]
        return jax.lax.cond(x[0, 0] > 0, lambda: turned, lambda: turned @ x @ x.T)

    found = products_of(program, jax.ShapeDtypeStruct((2, 5), "float32"))
    assert found == {Product(1, 2, 5, 2): 2, Product(1, 2, 2, 2): 3, Product(1, 2, 2, 5): 1}
    assert Product(1, 2, 5, 2).flop == 40
    batched = products_of(jax.numpy.matmul, *[jax.ShapeDtypeStruct((3, 4, 4), "float32")] * 2)
    assert batched == {Product(3, 4, 4, 4): 1}
    assert multiplying_alone(Product(3, 4, 5, 6))().shape == (3, 4, 6)  # pyright: ignore


def test_products_that_only_one_of_two_optimizers_has() -> None:
    params = mlp_parameters((4, 3, 2))
    cost = measure_products("celo2@random:0", "celo2-base@random:0", params, turns=1)
    # Two matrices, five iterations: X X^T, its square, and the polynomial times X.
    assert cost.flop == 5 * 2 * (3 * 4 * 3 + 3 * 3 * 3 + 3 * 3 * 4 + 2 * 3 * 2 + 2**3 + 2 * 2 * 3)
    assert cost.ratio_to_adam > 0 and cost.gflop_s > 0
    with pytest.raises(UsageError, match="sgd multiplies no matrices that sgdm does not"):
        measure_products("sgd", "sgdm", params, turns=1)


def test_weights_are_drawn_where_there_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without published weights (nn-adam), and where they are not on this machine (velo-s)."""
    monkeypatch.delenv("CELO_ZOO_PATH", raising=False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert load_or_draw("nn-adam")[1] == "nn-adam@random:0"
    assert load_or_draw("velo-s:ff_mult=100")[1] == "velo-s@random:0:ff_mult=100"
    with pytest.raises(UsageError, match="unknown optimizer"):
        load_or_draw("nobody")
    with pytest.raises(UsageError):
        load_or_draw("nn-adam:nonsense=1")


def test_training_steps() -> None:
    adam, own = measure_training(["sgd:lr=0.1"], "Digits_MLP_32", data="real", steps=3, turns=1)
    assert (adam.optimizer, own.optimizer) == ("optax:adam:lr=0.001", "sgd:lr=0.1")
    assert (own.task, own.params, own.batch_size) == ("Digits_MLP_32", 2410, 64)
    assert own.ms_per_step > 0 and 0 <= own.optimizer_share < 1
