"""Modified optimizers keep every rule that plain ones keep."""

from __future__ import annotations

import subprocess
import sys

import jax
import jax.numpy as jnp
import pytest

from celo import registry
from celo.loading import constructor, find
from celo.modifiers import MODIFIERS
from celo.testing import OPTIMIZER_RULES, check_optimizer, results_by_name
from celo.testing.devices import environment_with_devices
from celo.testing.optimizer_subject import advance, problem, start
from celo.testing.rules import expect_same_form
from tests.shared_folder import REPOSITORY

EXAMPLES = [m.example for m in MODIFIERS]
CHAIN = "".join(EXAMPLES)
LEARNED = [f.name for f in registry.optimizers() if f.record.kind == "learned"]
RULES = {rule.name: rule for rule in OPTIMIZER_RULES}
IN_ONE_PROCESS = [rule for name, rule in RULES.items() if name != "sharding"]
# What can be asked of one compiled update.
COMPILED_ONCE = [
    RULES[name]
    for name in (
        *("fields", "get-and-set", "model-state", "zero-gradients", "checkpoint"),
        *("one-compilation", "donation", "published-calls", "theta"),
    )
]


@pytest.mark.parametrize("text", [*EXAMPLES, CHAIN])
def test_modified_handcrafted_optimizers_keep_every_rule(text: str) -> None:
    results = check_optimizer(f"adam{text}", IN_ONE_PROCESS)
    assert {r.rule for r in results if r.status == "skipped"} == {"theta", "vmap-theta"}


@pytest.mark.parametrize(
    "text", [*(f"celo{example}" for example in EXAMPLES), *(name + CHAIN for name in LEARNED)]
)
def test_states_of_modified_learned_optimizers_keep_their_form(text: str) -> None:
    spec, found = find(text)
    lopt = constructor(spec, found)()
    params, inputs = problem(0, jnp.bfloat16)
    theta = jax.eval_shape(lopt.init, jax.random.PRNGKey(0))
    state = jax.eval_shape(lambda t: start(lopt.opt_fn(t), params, inputs), theta)
    expect_same_form(state.params, params, "the parameters")
    new = jax.eval_shape(lambda t, s: advance(lopt.opt_fn(t), s, inputs), theta, state)
    expect_same_form(new, state, "the state after an update")


def test_modified_celo_keeps_the_rules_about_numbers() -> None:
    results = check_optimizer("celo" + CHAIN, COMPILED_ONCE)
    assert all(r.status == "ok" for r in results)


def test_modified_optimizers_keep_shardings() -> None:
    texts = [f"sgd{text}" for text in (*EXAMPLES, CHAIN)]
    child = subprocess.run(
        [sys.executable, "-m", "celo.testing.devices", *texts],
        cwd=REPOSITORY,
        env=environment_with_devices(),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert child.returncode == 0, child.stdout + child.stderr


def test_what_is_modified_is_no_task_and_no_data_set() -> None:
    from celo.errors import UnknownNameError

    with pytest.raises(UnknownNameError, match="unknown optimizer 'digits-mlp-32'"):
        results_by_name("Digits_MLP_32+clip")
