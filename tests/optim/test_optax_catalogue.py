"""optax's own optimizers under their own names."""

from __future__ import annotations

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import optax
import optax.contrib
import pytest

from celo.errors import UnknownNameError, UsageError
from celo.loading import build_optimizer, find
from celo.optim import optax_catalogue as catalogue
from celo.registry import resolve

PARAMS = {"w": jnp.ones((4, 3)), "b": jnp.full(3, 2.0)}
GRAD = {"w": jnp.full((4, 3), 0.3), "b": jnp.asarray([0.1, -2.0, 0.0])}


def _load(text: str):
    return build_optimizer(*find(text))


@pytest.mark.parametrize("name", catalogue.names())
def test_every_optimizer_keeps_its_state_with_a_traced_rate(name: str) -> None:
    record = catalogue.record(name)
    rated = any(h.name == "lr" for h in record.hyperparameters)

    def two_updates(rate):
        optimizer = resolve(record.build)(**({"lr": rate} if rated else {}))
        first = optimizer.init(PARAMS, num_steps=10)
        return first, optimizer.update(optimizer.update(first, GRAD, loss=1.0), GRAD, loss=0.9)

    first, last = jax.eval_shape(two_updates, jnp.float32(0.1))
    assert jax.tree.structure(first) == jax.tree.structure(last)
    assert jax.tree.leaves(first) == jax.tree.leaves(last), "shapes or dtypes change"


def test_it_is_what_optax_makes() -> None:
    optimizer = _load("optax:adan:lr=0.1,b1=0.9")
    state = optimizer.update(optimizer.init(PARAMS), GRAD)
    native = optax.adan(0.1, b1=0.9)
    updates, _ = native.update(GRAD, native.init(PARAMS), PARAMS)
    expected = optax.apply_updates(PARAMS, updates)
    jax.tree.map(np.testing.assert_array_equal, state.params, expected)


def test_the_record_says_what_optax_says() -> None:
    record = catalogue.record("ADAN")
    declared = {h.name: h for h in record.hyperparameters}
    assert record.summary.startswith("The ADAptive Nesterov")
    assert (declared["lr"].default, declared["lr"].traceable) == (catalogue.REQUIRED, True)
    assert (declared["b2"].default, declared["b2"].type) == (
        inspect.signature(optax.adan).parameters["b2"].default,
        "float",
    )
    assert declared["b2"].help and "schedule" in declared and "mask" not in declared
    muon = {h.name: h for h in catalogue.record("muon").hyperparameters}
    assert (muon["ns_steps"].type, muon["nesterov"].type) == ("int", "bool")
    assert "spectral" in muon["preconditioning"].choices


def test_contrib_and_methods_that_read_the_loss_are_there() -> None:
    assert catalogue.record("polyak-sgd").reads == ("loss",)
    assert {"prodigy", "dadapt-adamw", "momo", "cocob"} <= set(catalogue.names())
    optimizer = _load("optax:momo-adam")
    state = optimizer.init(PARAMS)
    slow = optimizer.update(state, GRAD, loss=jnp.float32(1e-6)).params["w"]
    assert jnp.all(slow > optimizer.update(state, GRAD, loss=jnp.float32(1.0)).params["w"])


def test_schedule_free_is_evaluated_at_the_average() -> None:
    optimizer = _load("optax:schedule-free-sgd:lr=0.5")
    state = optimizer.init(PARAMS)
    for _ in range(2):
        state = optimizer.update(state, GRAD)
    inner = state.optax_opt_state
    expected = optax.contrib.schedule_free_eval_params(inner, state.params)
    np.testing.assert_allclose(optimizer.get_eval_params(state)["b"], expected["b"])
    assert np.max(np.abs(expected["b"] - state.params["b"])) > 1e-3


def test_learning_rate_is_lr() -> None:
    spec, _ = find("optax:adan:learning_rate=1e-3")
    assert spec.text == "optax:adan:lr=0.001"
    assert find(spec.text)[0] == spec
    with pytest.raises(UsageError, match="are the same"):
        find("optax:adan:learning_rate=1e-3,lr=1e-3")


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("optax:adann:lr=1", "unknown optimizer 'optax:adann'", "optax:adan"),
        ("optax:adan", "optax:adan needs lr", "optax:adan:lr=1e-3"),
        ("optax:adan:rate=1", "no hyperparameter 'rate'", "lr"),
        ("optax:lbfgs", "calls the loss function", "adan"),
        ("optax:mechanize", "changes another optimizer", "adan"),
        ("optax:chain", "unknown optimizer", ""),
        ("optax:scale_by_adam", "unknown optimizer", ""),
        ("optax:_src", "no optimizer name", ""),
    ],
)
def test_what_cannot_be_built_is_refused(text: str, message: str, hint: str) -> None:
    with pytest.raises(UsageError, match=message) as error:
        find(text)
    assert hint in (error.value.hint or "")


def test_a_parameter_that_no_text_can_say_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def novel(learning_rate: float, labels: dict) -> optax.GradientTransformation:
        raise NotImplementedError

    monkeypatch.setattr(catalogue, "_functions", lambda: {"novel": novel})
    with pytest.raises(UsageError, match="optax:novel .* its labels is nothing that a text") as e:
        catalogue.record("novel")
    assert "from_optax" in (e.value.hint or "")


def test_the_unknown_is_an_unknown_name() -> None:
    with pytest.raises(UnknownNameError):
        catalogue.record("adann")
    assert find("optax:adan", complete=False)[1].origin.version == optax.__version__
