"""What each modifier does to gradients, losses, steps and states."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from click.testing import CliRunner

import celo
from celo.cli.plugins import command
from celo.errors import UsageError
from celo.evaluation.config import EvalConfig
from celo.evaluation.factories import optimizer_factory, traced_members
from celo.evaluation.plan import make_plan
from celo.loading import find, numerics_version, reads_of
from celo.modifiers import MODIFIERS
from celo.optim import (
    from_optax,
    with_accumulate,
    with_clip,
    with_clipnorm,
    with_graft,
    with_l2,
    with_lrmult,
    with_schedule,
    with_skip_nonfinite,
    with_wd,
)
from celo.protocol import Optimizer, Params, state_record
from celo.testing.compiling import compiled

PARAMS = {"a": jnp.asarray([1.0, -2.0]), "b": jnp.asarray(0.5)}
GRADS = {"a": jnp.asarray([3.0, -4.0]), "b": jnp.asarray(12.0)}


@state_record
class _Seen:
    params: Params
    state: Any
    iteration: jax.Array
    grad: Params
    loss: jax.Array
    num_steps: jax.Array


class _Recorder(Optimizer):
    """Subtracts the gradient, and remembers what it was told."""

    reads = ("num_steps", "loss")

    @property
    def name(self) -> str:
        return "recorder"

    def init(self, params, model_state=None, num_steps=None, key=None, **kwargs):
        zeros = jax.tree.map(jnp.zeros_like, params)
        length = jnp.asarray(-1 if num_steps is None else num_steps, jnp.int32)
        count = jnp.zeros((), jnp.int32)
        return _Seen(params, model_state, count, zeros, jnp.zeros(()), length)

    def update(self, opt_state, grad, loss=None, model_state=None, key=None, **kwargs):
        params = jax.tree.map(jnp.subtract, opt_state.params, grad)
        loss = jnp.asarray(jnp.nan if loss is None else loss, jnp.float32)
        return _Seen(params, model_state, opt_state.iteration + 1, grad, loss, opt_state.num_steps)


def _once(optimizer: Optimizer, grads: Params = GRADS, loss: Any = 2.0, **init: Any) -> Any:
    state = optimizer.init(PARAMS, **init)
    return optimizer.update(state, grads, loss=loss)


def _near(found: Params, expected: Params, rtol: float = 1e-6) -> None:
    jax.tree.map(lambda f, e: np.testing.assert_allclose(f, e, rtol=rtol), found, expected)


def test_l2_is_in_the_gradient_and_in_the_loss() -> None:
    seen = _once(with_l2(_Recorder(), 0.1))
    _near(seen.grad, jax.tree.map(lambda g, p: g + 0.1 * p, GRADS, PARAMS))
    np.testing.assert_allclose(seen.loss, 2.0 + 0.1 * (1 + 4 + 0.25))
    assert float(_once(with_l2(_Recorder(), 0.1, add_to_loss=False)).loss) == 2.0
    assert np.isnan(_once(with_l2(_Recorder(), 0.1), loss=None).loss)


def test_clip_bounds_every_element() -> None:
    _near(_once(with_clip(_Recorder())).grad, {"a": [3.0, -3.0], "b": 3.0})
    _near(_once(with_clip(_Recorder(), 3.5)).grad, {"a": [3.0, -3.5], "b": 3.5})


def test_clipnorm_bounds_the_norm_over_all_leaves() -> None:
    _near(_once(with_clipnorm(_Recorder(), 6.5)).grad, jax.tree.map(lambda g: g / 2, GRADS))
    _near(_once(with_clipnorm(_Recorder(), 13.5)).grad, GRADS)
    huge = jax.tree.map(lambda g: g * 1e25, GRADS)
    _near(_once(with_clipnorm(_Recorder(), 13.0), huge).grad, GRADS)
    _near(_once(with_clipnorm(_Recorder(), 1.0), {"a": jnp.zeros(2), "b": jnp.zeros(())}).grad,
          {"a": [0.0, 0.0], "b": 0.0})  # fmt: skip


def test_lrmult_scales_the_step() -> None:
    found = _once(with_lrmult(_Recorder(), 0.5)).params
    _near(found, jax.tree.map(lambda p, g: p - 0.5 * g, PARAMS, GRADS))


def test_weight_decay_is_decoupled_and_follows_the_learning_rate() -> None:
    for factor, optimizer in (
        (0.1, with_wd(_Recorder(), 0.1)),
        (0.05, with_wd(_Recorder(), 0.1, lr=0.5)),
        (0.1 * 0.01, celo.load("sgd:lr=0.01+wd:0.1")),
        (0.1 * 1e-3, celo.load("sgd+wd:0.1")),
    ):
        inner = _Recorder() if factor > 0.01 else celo.load(f"sgd:lr={factor * 10!r}")
        expected = jax.tree.map(lambda q, p, f=factor: q - f * p, _once(inner).params, PARAMS)
        _near(_once(optimizer).params, expected)
    seen = _once(with_wd(_Recorder(), 0.1))
    _near(seen.grad, GRADS)
    assert float(seen.loss) == 2.0


def test_weight_decay_equals_adamw() -> None:
    ours, theirs = celo.load("adam:lr=0.1,eps_root=0.0+wd:0.01"), celo.load(
        "adamw:lr=0.1,weight_decay=0.01"
    )  # fmt: skip
    states = [o.init(PARAMS) for o in (ours, theirs)]
    for _ in range(3):
        states = [o.update(s, GRADS) for o, s in zip((ours, theirs), states, strict=True)]
    _near(states[0].params, states[1].params, rtol=1e-5)


def test_weight_decay_follows_the_schedule_of_the_optimizer() -> None:
    scheduled = celo.load("sgd:lr=0.1,schedule=cosine+wd:0.1")
    zero = jax.tree.map(jnp.zeros_like, GRADS)
    state = scheduled.init(PARAMS, num_steps=2)
    first = scheduled.update(state, zero)
    _near(first.params, jax.tree.map(lambda p: 0.99 * p, PARAMS))
    second = scheduled.update(first, zero)
    _near(second.params, jax.tree.map(lambda p: (1 - 0.005) * 0.99 * p, PARAMS))


def test_schedule_is_that_of_the_hyperparameter() -> None:
    ours, theirs = (
        celo.load("adam:lr=0.1+schedule:cosine"),
        celo.load("adam:lr=0.1,schedule=cosine"),
    )
    states = [o.init(PARAMS, num_steps=4) for o in (ours, theirs)]
    for _ in range(4):
        states = [o.update(s, GRADS) for o, s in zip((ours, theirs), states, strict=True)]
        _near(states[0].params, states[1].params, rtol=1e-5)
    with pytest.raises(UsageError, match="num_steps is None"):
        ours.init(PARAMS)


def test_schedules_may_be_functions() -> None:
    halves = with_schedule(_Recorder(), lambda step, steps: 1.0 - step / steps)
    state = halves.init(PARAMS, num_steps=4)
    moved = []
    for _ in range(3):
        new = halves.update(state, GRADS, loss=1.0)
        moved.append(float(state.params["b"] - new.params["b"]) / 12.0)
        state = new
    np.testing.assert_allclose(moved, [1.0, 0.75, 0.5], rtol=1e-6)
    with pytest.raises(UsageError, match="unknown schedule 'sawtooth'"):
        with_schedule(_Recorder(), "sawtooth")


def test_graft_takes_one_direction_and_the_other_length() -> None:
    long = from_optax(optax.sgd(2.0), "long")
    grafted = with_graft(celo.load("adam:lr=0.1"), long)
    state = jax.jit(grafted.update)(grafted.init(PARAMS), GRADS)
    step = jax.tree.map(jnp.subtract, state.params, PARAMS)
    direction = jax.tree.map(jnp.subtract, _once(celo.load("adam:lr=0.1")).params, PARAMS)
    factor = 26.0 / optax.tree_utils.tree_norm(direction)
    _near(step, jax.tree.map(lambda d: factor * d, direction), rtol=1e-5)
    _near(state.mag_opt_state.params, state.params)
    _near(state.dir_opt_state.params, state.params)
    moved = grafted.set_params(state, PARAMS)
    _near(moved.dir_opt_state.params, PARAMS)
    still = grafted.update(moved, jax.tree.map(jnp.zeros_like, GRADS))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(still.params))


def test_accumulate_feeds_means_and_a_shorter_run() -> None:
    optimizer = with_accumulate(_Recorder(), 3)
    state = optimizer.init(PARAMS, num_steps=10, model_state=jnp.zeros(1))
    assert int(state.inner_opt_state.num_steps) == 3
    for call in range(1, 4):
        grads = jax.tree.map(lambda g, c=call: g * c, GRADS)
        state = optimizer.update(state, grads, loss=float(call), model_state=jnp.full(1, call))
        assert float(optimizer.get_state(state)[0]) == call
        if call < 3:
            _near(state.params, PARAMS)
            assert float(state.loss_accum) > 0
    _near(state.inner_opt_state.grad, jax.tree.map(lambda g: 2 * g, GRADS))
    assert float(state.inner_opt_state.loss) == 2.0
    assert (int(state.iteration), int(state.inner_opt_state.iteration)) == (3, 1)
    _near(state.grad_accum, jax.tree.map(jnp.zeros_like, GRADS))
    assert float(state.loss_accum) == 0.0
    assert optimizer._compiled_step._cache_size() == 1, "a call compiled again"


def test_accumulate_sums_bfloat16_in_float32() -> None:
    half = jax.tree.map(lambda p: p.astype(jnp.bfloat16), PARAMS)
    optimizer = with_accumulate(celo.load("sgd:lr=1.0"), 300)
    one = jax.tree.map(jnp.ones_like, half)
    state = optimizer.init(half)
    final = jax.jit(
        lambda s: jax.lax.scan(lambda s, _: (optimizer.update(s, one), None), s, length=300)[0]
    )(state)
    # In bfloat16 the sum would stop at 256.
    np.testing.assert_array_equal(final.params["a"], half["a"] - 1)
    assert final.params["a"].dtype == jnp.bfloat16


BAD = {"loss": (GRADS, jnp.nan), "gradient": ({**GRADS, "b": jnp.asarray(jnp.inf)}, 1.0)}


@functools.cache
def _compiled(text: str) -> tuple[Any, Callable[..., Any]]:
    """(optimizer, its compiled update)."""
    optimizer = celo.load(text)
    return optimizer, compiled(optimizer.update)


@pytest.mark.parametrize("what", BAD)
def test_skip_nonfinite_changes_nothing_but_the_count(what: str) -> None:
    optimizer, update = _compiled("celo@random:0+skip-nonfinite")
    state = optimizer.init(PARAMS, num_steps=10, model_state=jnp.zeros(1))
    state = update(state, GRADS, loss=1.0, model_state=jnp.ones(1))
    grads, loss = BAD[what]
    after = update(state, grads, loss=loss, model_state=jnp.full(1, jnp.nan))
    assert int(after.skipped) == 1
    _near(after.inner_opt_state, state.inner_opt_state, rtol=0)
    again = update(after, GRADS, loss=1.0, model_state=jnp.ones(1))
    assert (int(again.iteration), int(again.skipped)) == (2, 1)
    _near(again.params, update(state, GRADS, loss=1.0, model_state=jnp.ones(1)).params, rtol=0)


def test_without_it_a_nan_loss_is_for_ever() -> None:
    optimizer, update = _compiled("celo@random:0")
    state = optimizer.init(PARAMS, num_steps=10)
    for loss in (jnp.nan, 1.0, 1.0):
        state = update(state, GRADS, loss=loss)
    assert all(np.isnan(leaf).all() for leaf in jax.tree.leaves(state.params))


def test_order_is_from_left_to_right() -> None:
    # The one applied last sees the gradient first.
    clipped = _once(with_clip(with_l2(_Recorder(), 10.0), 1.0)).grad
    _near(clipped, {"a": [11.0, -21.0], "b": 6.0})
    penalised = _once(with_l2(with_clip(_Recorder(), 1.0), 10.0)).grad
    _near(penalised, {"a": [1.0, -1.0], "b": 1.0})
    by_name = _once(celo.load("sgd:lr=1.0+l2:10+clip:1"))
    _near(by_name.params, jax.tree.map(jnp.subtract, PARAMS, clipped))
    assert celo.load("sgd:lr=1.0+l2:10+clip:1").name == "SGD_lr1.0+l2:10.0+clip:1.0"


def test_states_give_access_to_what_they_wrap() -> None:
    wrapped = with_skip_nonfinite(with_schedule(with_accumulate(_Recorder(), 2), "cosine"))
    state = wrapped.init(PARAMS, num_steps=6, model_state=jnp.zeros(1))
    moved = state.replace(params=GRADS, state=jnp.ones(1))
    _near(wrapped.get_params(moved), GRADS)
    _near(moved.params, GRADS)
    _near(wrapped.get_eval_params(moved), GRADS)
    assert float(wrapped.get_state(moved)[0]) == float(moved.state[0]) == 1.0
    assert wrapped.reads == ("num_steps", "loss")
    # One copy of the parameters, none of the wrappers keeps another.
    leaves = len(jax.tree.leaves(state))
    assert leaves == 2 * 3 + 1 + 3 + 2 + 1 + 1 + 1


def test_arguments_out_of_range_are_refused() -> None:
    for make, message in (
        (lambda: with_l2(_Recorder(), -1.0), "at least 0, but is -1.0"),
        (lambda: with_wd(_Recorder(), float("nan")), "at least 0, but is nan"),
        (lambda: with_clip(_Recorder(), 0.0), "a positive number, but is 0.0"),
        (lambda: with_clipnorm(_Recorder(), 0), "a positive number, but is 0"),
        (lambda: with_lrmult(_Recorder(), -0.5), "a positive number, but is -0.5"),
        (lambda: with_accumulate(_Recorder(), 0), "a whole number of at least 1, got 0"),
    ):
        with pytest.raises(UsageError, match=message):
            make()


def test_steps_that_evaluation_would_not_see_are_not_changed() -> None:
    averaging = from_optax(optax.sgd(0.1), "averaging", eval_params=lambda state, params: params)
    for change in (
        lambda o: with_lrmult(o, 0.5),
        lambda o: with_wd(o, 0.5),
        lambda o: with_schedule(with_clip(o)),
        lambda o: with_graft(_Recorder(), o),
    ):
        with pytest.raises(UsageError, match="evaluated at other parameters than it trains"):
            change(averaging)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("adam+clipp:1", r"unknown modifier '\+clipp'\n.*did you mean \+clip\?.*\+skip-nonfinite"),
        ("adam+graft:adm", "unknown optimizer 'adm'"),
        ("adam+graft:celo", "hand-crafted optimizer, and 'celo' is learned"),
        ("adam+graft:adam:rate=1", "no hyperparameter 'rate'"),
        ("celo+accumulate:0", r"\+accumulate needs a whole number of at least 1, got '0'"),
    ],
)
def test_wrong_modifiers_are_named(text: str, message: str) -> None:
    with pytest.raises(UsageError) as error:
        celo.load(text)
    assert error.match("(?s)" + message)


def test_what_modified_optimizers_read() -> None:
    def reads(text: str) -> set[str]:
        spec, found = find(text)
        return set(reads_of(spec, found.record))

    assert reads("adam+clip+accumulate:2") == set()
    assert reads("adam+schedule:cosine") == {"num_steps"}
    assert reads("celo+l2:1e-4") == {"num_steps", "loss"}
    with pytest.raises(UsageError, match="num_steps is None"):
        celo.load("adam+schedule:cosine", as_optax=True)


def test_numerics_follow_everything_that_takes_part(monkeypatch: pytest.MonkeyPatch) -> None:
    spec, found = find("sgd+graft:adam+clip")
    before = numerics_version(spec, found.record)
    clip = next(m for m in MODIFIERS if m.name == "clip")
    monkeypatch.setitem(clip.__dict__, "numerics_version", 5)
    assert numerics_version(spec, found.record) == before + 4


def test_weights_and_modifiers_come_apart() -> None:
    lopt, theta = celo.load_learned("celo@random:0+skip-nonfinite")
    _, same = celo.load_learned("celo@random:0")
    _near(theta, same, rtol=0)
    assert lopt.name == "celo"
    state = lopt.opt_fn(theta).init(PARAMS, num_steps=5)
    optimizer, _ = _compiled("celo@random:0+skip-nonfinite")
    _near(state, optimizer.init(PARAMS, num_steps=5), rtol=0)


def test_a_modified_grid_is_tuned_as_one_vmapped_axis(tmp_path: Any) -> None:
    plan = make_plan(
        EvalConfig(
            optimizers=("sgd+clip:1+wd:0.5",),
            tasks=("Digits_MLP_32",),
            reference=None,
            output=tmp_path,
        )
    )
    (entry,) = plan.entries
    assert entry.text == "sgd+clip:1.0+wd:0.5" and entry.tuned == "lr"
    assert entry.members[1].text == "sgd:lr=3e-07+clip:1.0+wd:0.5"
    make, theta = optimizer_factory(entry)
    rates = traced_members(entry)["lr"]

    def final(lr: jax.Array) -> Params:
        return _once(make(theta, {"lr": lr})).params

    found = jax.jit(jax.vmap(final))(rates)
    clipped = {"a": jnp.asarray([1.0, -1.0]), "b": jnp.asarray(1.0)}
    for i, lr in enumerate(rates):
        expected = jax.tree.map(lambda p, g, lr=lr: p - lr * g - 0.5 * lr * p, PARAMS, clipped)
        _near(jax.tree.map(lambda x, i=i: x[i], found), expected, rtol=1e-5)


def test_the_command_line_lists_them() -> None:
    result = CliRunner().invoke(command, ["modifiers"])
    assert result.exit_code == 0
    for found in MODIFIERS:
        assert found.example in result.output and found.summary in result.output
    listed = json.loads(CliRunner().invoke(command, ["modifiers", "--format=json"]).output)
    assert [entry["name"] for entry in listed["modifiers"]] == [m.name for m in MODIFIERS]
