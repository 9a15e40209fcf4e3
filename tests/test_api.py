from __future__ import annotations

from pathlib import Path

import flax
import jax
import numpy as np
import pytest
from click.testing import CliRunner

import celo
from celo.cli import zoo
from celo.errors import UsageError, WeightsError
from celo.trees import named_leaves


def test_the_length_of_the_run_goes_to_init_or_to_optax() -> None:
    with pytest.raises(UsageError, match="num_steps belongs to as_optax=True") as caught:
        celo.load("sgd:lr=0.1", num_steps=10)
    assert "opt.init(params, num_steps=...)" in (caught.value.hint or "")


def test_what_has_no_weights_cannot_be_taken_apart() -> None:
    with pytest.raises(UsageError, match="'sgd' is hand-crafted: it has no weights") as caught:
        celo.load_learned("SGD:lr=0.1")
    assert "celo.load('SGD:lr=0.1')" in (caught.value.hint or "")


@pytest.mark.parametrize("suffix", [".safetensors", ".state"])
@pytest.mark.parametrize("name", ["celo", "velo-s", "nn-adam", "celo2-base"])
def test_saved_weights_come_back_equal(tmp_path: Path, name: str, suffix: str) -> None:
    lopt, theta = celo.load_learned(f"{name}@random:3")
    path = celo.save(theta, tmp_path / f"mine{suffix}", optimizer=name)
    _, found = celo.load_learned(f"{name}@{path}")
    assert jax.tree.structure(found) == jax.tree.structure(theta)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(theta), strict=True):
        np.testing.assert_array_equal(a, b)
    lopt.opt_fn(found)
    if suffix == ".state":
        restored = flax.serialization.msgpack_restore(path.read_bytes())
        assert named_leaves(restored).keys() == named_leaves(theta).keys()


def test_frozen_dictionaries_are_saved_like_plain_ones(tmp_path: Path) -> None:
    _, theta = celo.load_learned("adafac-mlp-lopt@random:0")
    plain = celo.save(theta, tmp_path / "plain.state").read_bytes()
    assert celo.save(flax.core.freeze(theta), tmp_path / "frozen.state").read_bytes() == plain


def test_weights_are_not_saved_where_they_do_not_belong(tmp_path: Path) -> None:
    _, theta = celo.load_learned("celo-adam@random:0")
    with pytest.raises(WeightsError, match="do not fit celo: .*ff_mod_stack.*is missing"):
        celo.save(theta, tmp_path / "x.state", optimizer="celo")
    with pytest.raises(UsageError, match="'adam' is hand-crafted: it has no weights to save"):
        celo.save(theta, tmp_path / "x.state", optimizer="adam")
    with pytest.raises(UsageError, match="does not say in which format"):
        celo.save(theta, tmp_path / "x.npz")
    celo.save(theta, tmp_path / "x.state")
    with pytest.raises(UsageError, match="exists already"):
        celo.save(theta, tmp_path / "x.state")
    celo.save(theta, tmp_path / "x.state", overwrite=True)
    wrong = {"w": jax.numpy.zeros(2, jax.numpy.bfloat16)}
    with pytest.raises(WeightsError, match="cannot write w: its dtype is bfloat16"):
        celo.save(wrong, tmp_path / "y.state")


def test_convert_keeps_every_number(tmp_path: Path) -> None:
    _, theta = celo.load_learned("celo@random:1")
    first = celo.save(theta, tmp_path / "a.state")
    for source, target in ((first, "b.safetensors"), (tmp_path / "b.safetensors", "c.state")):
        result = CliRunner().invoke(zoo.command, ["convert", str(source), str(tmp_path / target)])
        assert result.exit_code == 0, result.output
    assert (tmp_path / "c.state").read_bytes() == first.read_bytes()
