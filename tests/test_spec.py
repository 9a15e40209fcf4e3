from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celo.errors import UsageError
from celo.modifiers import MODIFIERS
from celo.records import Hyperparameter, OptimizerPlugin, canonical_name
from celo.spec import OptimizerSpec, check, parse, parse_list

RECORD = OptimizerPlugin(
    name="toy",
    kind="hand-crafted",
    summary="",
    build="m:b",
    hyperparameters=(
        Hyperparameter("lr", "float", 1e-3, low=0.0, high=10.0, traceable=True),
        Hyperparameter("n", "int", 3, low=1),
        Hyperparameter("nesterov", "bool", False),
        Hyperparameter("mode", "str", "a", choices=("a", "b")),
    ),
)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("celo", "celo"),
        (" Celo_Phase1 ", "celo-phase1"),
        ("adam:lr=1e-3", "adam:lr=0.001"),
        ("adam:lr=1e-3,b1=0.9", "adam:b1=0.9,lr=0.001"),
        ("optax:lion", "optax:lion"),
        ("optax:lion:lr=1", "optax:lion:lr=1"),
        ("celo@celo-adam", "celo@celo-adam"),
        ("celo@random:3", "celo@random:3"),
        ("celo@random:3:n=2", "celo@random:3:n=2"),
        ("celo@hf:org/name@v1.0:n=2", "celo@hf:org/name@v1.0:n=2"),
        ("celo@./a/b.safetensors+clip:1.0+wd:1e+3", "celo@./a/b.safetensors+clip:1.0+wd:1e+3"),
        ("adam:lr=1e+1+clip:3", "adam:lr=10.0+clip:3"),
        ("a:flag=TRUE", "a:flag=true"),
    ],
)
def test_canonical_text(text: str, canonical: str) -> None:
    assert parse(text).text == canonical
    assert parse(canonical) == parse(text)


@pytest.mark.parametrize(
    "text", ["", "  ", "@x", "celo@", "adam:lr=", "adam:lr=1,lr=2", "celo+", "a b", "-x", "a:1=2"]
)
def test_what_is_no_optimizer_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse(text)


def test_lists() -> None:
    specs = parse_list(["celo,adam:lr=1,b1=2,sgd", "celo", "sgdm"])
    assert [s.text for s in specs] == ["celo", "adam:b1=2,lr=1", "sgd", "sgdm"]
    with pytest.raises(UsageError):
        parse_list(["celo,,adam"])
    with pytest.raises(UsageError, match="the list of optimizers is empty") as error:
        parse_list([])
    assert "celo,adam" in (error.value.hint or "")


def test_what_is_no_text_is_shown() -> None:
    with pytest.raises(UsageError, match="an optimizer is named by a text, got 7") as error:
        parse(7)  # pyright: ignore[reportArgumentType]
    assert "SOURCE" in (error.value.hint or "")


_names = st.from_regex(r"[a-z][a-z0-9-]{0,8}", fullmatch=True)
_keys = st.from_regex(r"[a-z][a-z0-9_]{0,5}", fullmatch=True)
_values = st.one_of(
    st.booleans(),
    st.integers(-(10**6), 10**6),
    st.floats(allow_nan=False, allow_infinity=False),
    st.from_regex(r"[a-z]{2,5}x", fullmatch=True),
)


@given(
    name=_names,
    source=st.none() | _names,
    weights=st.none() | st.from_regex(r"[a-z./][a-z0-9./_-]{0,12}", fullmatch=True),
    hyperparameters=st.dictionaries(_keys, _values, max_size=3),
    modifiers=st.lists(st.tuples(_names, st.none() | st.just("0.5")), max_size=2),
)
def test_text_reads_back_as_the_same_spec(name, source, weights, hyperparameters, modifiers):
    spec = OptimizerSpec(
        name, source, weights, tuple(sorted(hyperparameters.items())), tuple(modifiers)
    )
    assert parse(spec.text) == spec


def test_values_get_their_declared_types() -> None:
    spec = check(parse("TOY:lr=1,n=2.0,nesterov=true,mode=b"), RECORD)
    values = dict(spec.hyperparameters)
    assert values == {"lr": 1.0, "n": 2, "nesterov": True, "mode": "b"}
    assert type(values["lr"]) is float and type(values["n"]) is int
    assert check(parse("toy:lr=1"), RECORD).text == check(parse("toy:lr=1.0"), RECORD).text


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("toy+l2:1e-4", "toy+l2:0.0001"),
        ("toy+L2:.0001", "toy+l2:0.0001"),
        ("toy+clip", "toy+clip:3.0"),
        ("toy+clip:3", "toy+clip:3.0"),
        ("toy:lr=1e+0+wd:1e+0", "toy:lr=1.0+wd:1.0"),
        ("toy+accumulate:4.0+Skip_NonFinite", "toy+accumulate:4+skip-nonfinite"),
        ("toy+graft:Adam:lr=1e-2,b1=0.5+clip", "toy+graft:adam:b1=0.5,lr=0.01+clip:3.0"),
        ("toy+graft:optax:lion", "toy+graft:optax:lion"),
        ("toy+schedule:Cosine", "toy+schedule:cosine"),
        ("toy+clip:1+clip:1", "toy+clip:1.0+clip:1.0"),
    ],
)
def test_modifiers_have_one_canonical_text(text: str, canonical: str) -> None:
    (spec,) = parse_list([text])
    checked = check(spec, RECORD)
    assert checked.text == canonical
    assert check(parse(canonical), RECORD) == checked


def test_records_of_modifiers_are_complete() -> None:
    for found in MODIFIERS:
        assert found.name == canonical_name(found.name)
        ((name, argument),) = parse("toy" + found.example).modifiers
        assert name == found.name and (argument is None) == (found.argument is None)
        check(parse("toy" + found.example), RECORD)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("toy:rate=1", "no hyperparameter 'rate'"),
        ("toy:lr=-1", "at least 0"),
        ("toy:lr=11", "at most 10"),
        ("toy:lr=fast", "a number"),
        ("toy:lr=nan", "a number"),
        ("toy:n=1.5", "a whole number"),
        ("toy:nesterov=1", "true or false"),
        ("toy:mode=c", "one of a, b"),
        ("toy@x", "has no weights"),
        ("toy+wd", r"\+wd needs a number of at least 0"),
        ("toy+clip:x", r"\+clip needs a positive number, got 'x'"),
        ("toy+clip:0", r"\+clip needs a positive number, got '0'"),
        ("toy+clip:inf", r"\+clip needs a positive number, got 'inf'"),
        ("toy+clipnorm", r"\+clipnorm needs a positive number"),
        ("toy+l2:-1", r"\+l2 needs a number of at least 0, got '-1'"),
        ("toy+accumulate:0", r"\+accumulate needs a whole number of at least 1, got '0'"),
        ("toy+accumulate:1.5", r"\+accumulate needs a whole number of at least 1, got '1.5'"),
        ("toy+schedule:sawtooth", "one of cosine, .*, got 'sawtooth'"),
        ("toy+schedule", r"\+schedule needs one of cosine"),
        ("toy+skip-nonfinite:3", r"\+skip-nonfinite takes no argument, got '3'"),
        ("toy+graft:adam@x", "takes a hand-crafted optimizer, and 'adam@x' names weights"),
        ("toy+decay:1", r"unknown modifier '\+decay'"),
    ],
)
def test_wrong_values_are_named(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        check(parse(text), RECORD)
