"""Rules about the state of an optimizer: what it holds, what an update may do to it."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from celo.testing.optimizer_subject import (
    NUM_STEPS,
    SEEDS,
    OptimizerSubject,
    advance,
    problem,
    start,
)
from celo.testing.rules import (
    NotApplicable,
    Rule,
    expect,
    expect_equal,
    expect_finite,
    expect_same_form,
)
from celo.trees import named_leaves

FIELDS = ("params", "state", "iteration")


def _fields(subject: OptimizerSubject) -> None:
    params, inputs = problem(SEEDS[0])
    for state, updates in ((subject.first, 0), (subject.first_update, 1)):
        for name in FIELDS:
            expect(hasattr(state, name), f"the state has no field {name!r}")
        count = state.iteration
        form = f"{jnp.result_type(count)}{list(jnp.shape(count))}"
        expect(form == "int32[]", f"'iteration' is {form}, expected an int32 scalar")
        expect(int(count) == updates, f"'iteration' is {count} after {updates} updates")
    # Through the optimizer: a state may keep them in another shape.
    expect_equal(subject.plain.get_params(subject.first), params, "the parameters after init")
    expect_equal(subject.first.state, inputs.model_state, "the model state after init")
    replaced = subject.first.replace(params=inputs.grad)
    expect_equal(replaced.params, inputs.grad, "the state after .replace(params=...)")


def _stable_state(subject: OptimizerSubject) -> None:
    state = subject.first
    for number in range(1, 4):
        _, inputs = problem(number)
        new = jax.eval_shape(lambda s, i: advance(subject.plain, s, i), state, inputs)
        expect_same_form(new, state, f"the state after update {number}")
        state = new


def _abstract_init(subject: OptimizerSubject) -> None:
    params, inputs = problem(SEEDS[0])
    abstract = jax.eval_shape(lambda p, i: start(subject.plain, p, i), params, inputs)
    expect_same_form(abstract, subject.first, "the state of an abstract init")


def _published_calls(subject: OptimizerSubject) -> None:
    params, i = problem(SEEDS[0])
    n, k, s = NUM_STEPS, i.key, i.model_state
    opt = subject.plain
    valid = jnp.asarray(True)
    inits: dict[str, Any] = {
        "init(p, s, num_steps=n, key=k)": lambda: opt.init(params, s, num_steps=n, key=k),
        "init(p, model_state=s, num_steps=n)": lambda: opt.init(params, model_state=s, num_steps=n),
        "init(p, s, n, k)": lambda: opt.init(params, s, n, k),
    }
    for call, form in inits.items():
        expect_same_form(jax.eval_shape(form), subject.first, f"the state after {call}")
    updates: dict[str, Any] = {
        "update(st, g, loss=l, model_state=s, key=k)": lambda st, g, loss: opt.update(
            st, g, loss=loss, model_state=s, key=k
        ),
        "update(st, g, loss=l, model_state=s)": lambda st, g, loss: opt.update(
            st, g, loss=loss, model_state=s
        ),
        "update(st, g, loss=l, model_state=s, is_valid=b, key=k)": lambda st, g, loss: opt.update(
            st, g, loss=loss, model_state=s, is_valid=valid, key=k
        ),
        "update(st, g, l, s)": lambda st, g, loss: opt.update(st, g, loss, s),
    }
    for call, form in updates.items():
        new = jax.eval_shape(form, subject.first, i.grad, i.loss)
        expect_same_form(new, subject.first, f"the state after {call}")
    without = jax.eval_shape(lambda: opt.init(params, num_steps=n))
    new = jax.eval_shape(lambda st: opt.update(st, i.grad, i.loss), without)
    expect_same_form(new, without, "the state without model state after update(st, g, l)")


def _extra_keywords(subject: OptimizerSubject) -> None:
    params, i = problem(SEEDS[0])
    opt = subject.plain

    def init() -> Any:
        return opt.init(
            params, model_state=i.model_state, num_steps=NUM_STEPS, key=i.key, unheard_of=1.0
        )

    def update(state: Any) -> Any:
        return opt.update(
            state, i.grad, loss=i.loss, model_state=i.model_state, key=i.key, unheard_of=1.0
        )

    state = jax.eval_shape(init)
    expect_same_form(state, subject.first, "the state after init(..., unheard_of=1.0)")
    new = jax.eval_shape(update, subject.first)
    expect_same_form(new, subject.first, "the state after update(..., unheard_of=1.0)")


def _get_and_set(subject: OptimizerSubject) -> None:
    opt, state = subject.plain, subject.first_update
    other, _ = problem(7)
    moved = opt.set_params(state, other)
    expect_same_form(moved, state, "the state after set_params")
    expect_equal(opt.get_params(moved), other, "get_params after set_params")
    kept = opt.set_params(moved, opt.get_params(state))
    expect_equal(kept, state, "the state after its own parameters were set again")
    expect_equal(opt.get_state(state), state.state, "get_state")
    both = opt.get_params_state(state)
    expect_equal(both, (opt.get_params(state), opt.get_state(state)), "get_params_state")


def _model_state(subject: OptimizerSubject) -> None:
    _, inputs = problem(SEEDS[0])
    given = {"mean": jnp.asarray([3.0, -4.0, 0.5], jnp.float32)}
    new = subject.update(subject.first, inputs._replace(model_state=given))
    expect_equal(new.state, given, "the model state after update(model_state=...)")
    expect_equal(subject.plain.get_state(new), given, "get_state after update(model_state=...)")


def _zero_gradients(subject: OptimizerSubject) -> None:
    _, inputs = problem(SEEDS[0])
    state = subject.first
    zero = inputs._replace(grad=jax.tree.map(jnp.zeros_like, inputs.grad))
    for number in (1, 2):
        state = subject.update(state, zero)
        expect_finite(state.params, f"the parameters after {number} updates without gradient")
    expect_finite(state, "the state after 2 updates without gradient")


def _checkpoint(subject: OptimizerSubject) -> None:
    state = subject.first_update
    restored = []
    for path, leaf in named_leaves(state).items():
        dtype = getattr(leaf, "dtype", None)
        plain = dtype is not None and isinstance(dtype, np.dtype)
        expect(plain, f"the leaf {path!r} of the state is {dtype or type(leaf).__name__}, which "
                      "bytes cannot hold; expected an array of numbers")  # fmt: skip
        data = np.asarray(leaf).tobytes()
        restored.append(jnp.asarray(np.frombuffer(data, dtype).reshape(jnp.shape(leaf))))
    back = jax.tree.structure(state).unflatten(restored)
    expect_equal(back, state, "the state read back")
    _, inputs = problem(3)
    expected = subject.update(state, inputs)
    expect_equal(subject.update(back, inputs), expected, "the update of the state read back")


def _theta(subject: OptimizerSubject) -> None:
    lopt = subject.lopt
    if lopt is None:
        raise NotApplicable("hand-crafted: it has no meta-parameters")
    key = jax.random.PRNGKey(SEEDS[0])
    theta = jax.eval_shape(lopt.init, key)
    leaves = named_leaves(theta)
    expect(bool(leaves), "init(key) draws no meta-parameters")
    for path, leaf in leaves.items():
        expect(bool(path), "a leaf of theta has no name, expected a tree with named leaves")
        expect(leaf.dtype == np.float32, f"theta has {path!r} as {leaf.dtype}, expected float32")
    expect_same_form(subject.thetas[0], theta, "theta")
    expect_finite(subject.thetas[0], "theta")
    _, inputs = problem(SEEDS[0])
    for is_training in (False, True):

        def update(theta: Any, state: Any, training: bool = is_training) -> Any:
            return advance(lopt.opt_fn(theta, is_training=training), state, inputs)

        new = jax.eval_shape(update, theta, subject.first)
        what = f"the state after an update of opt_fn(theta, is_training={is_training})"
        expect_same_form(new, subject.first, what)


STATE_RULES: tuple[Rule[OptimizerSubject], ...] = (
    Rule(
        "fields",
        "The state is a record with the given params and state, and an int32 iteration that "
        "counts updates.",
        _fields,
    ),
    Rule(
        "stable-state",
        "An update keeps structure, shapes and dtypes of the state.",
        _stable_state,
    ),
    Rule(
        "abstract-init",
        "jax.eval_shape of init gives the form of the real state.",
        _abstract_init,
    ),
    Rule(
        "published-calls",
        "All forms in which published code calls init and update work.",
        _published_calls,
    ),
    Rule("extra-keywords", "init and update ignore keywords they do not know.", _extra_keywords),
    Rule(
        "get-and-set",
        "get_params, set_params, get_state and get_params_state agree with the state.",
        _get_and_set,
    ),
    Rule(
        "model-state",
        "The model state given to update replaces the stored one, untouched.",
        _model_state,
    ),
    Rule("zero-gradients", "Gradients of zero leave every number finite.", _zero_gradients),
    Rule(
        "checkpoint",
        "A state written leaf by leaf as bytes and read back goes on as if nothing had happened.",
        _checkpoint,
    ),
    Rule(
        "theta",
        "Meta-parameters are named float32 leaves, and opt_fn takes is_training.",
        _theta,
    ),
)
