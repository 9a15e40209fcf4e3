from __future__ import annotations

import pytest

import celo
from celo.errors import UsageError


def test_the_length_of_the_run_goes_to_init_or_to_optax() -> None:
    with pytest.raises(UsageError, match="num_steps belongs to as_optax=True") as caught:
        celo.load("sgd:lr=0.1", num_steps=10)
    assert "opt.init(params, num_steps=...)" in (caught.value.hint or "")


def test_what_has_no_weights_cannot_be_taken_apart() -> None:
    with pytest.raises(UsageError, match="'sgd' is hand-crafted: it has no weights") as caught:
        celo.load_learned("SGD:lr=0.1")
    assert "celo.load('SGD:lr=0.1')" in (caught.value.hint or "")
