from __future__ import annotations

import pytest

from celo.data import DataSelection
from celo.errors import UsageError


def test_nothing_means_the_real_data() -> None:
    selection = DataSelection.parse(None)
    assert selection == DataSelection()
    assert selection.source("mnist") == "real"
    assert selection.text == "real"


def test_synthetic_means_every_set() -> None:
    selection = DataSelection.parse("synthetic")
    assert selection.source("mnist") == selection.source("digits") == "synthetic"


def test_another_set_may_stand_in() -> None:
    selection = DataSelection.parse("LM1B=WikiText2,cifar100=cifar10")
    assert selection.source("lm1b") == "wikitext2"
    assert selection.source("wikipedia") == "real"
    assert selection.text == "cifar100=cifar10,lm1b=wikitext2"


def test_one_set_by_any_spelling() -> None:
    selection = DataSelection.parse("Fashion-MNIST=synthetic, cifar10=synthetic")
    assert selection.source("fashion_mnist") == "synthetic"
    assert selection.source("mnist") == "real"


@pytest.mark.parametrize(
    "text", [None, "synthetic", "mnist=synthetic", "mnist=synthetic,lm1b=wikitext2"]
)
@pytest.mark.parametrize("published", [False, True])
def test_text_is_read_back(text: str | None, published: bool) -> None:
    selection = DataSelection.parse(text, published_splits=published)
    assert DataSelection.parse(selection.text, published_splits=published) == selection
    assert selection.published_splits is published
    hash(selection)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("lm1b=wikitext3", "unknown data set 'wikitext3'"),
        ("lm2b=wikitext2", "unknown data set 'lm2b'"),
        ("lm1b=LM1B", "lm1b cannot stand in for lm1b: it is the same set"),
        ("lm1b=mnist", "it is a set of images, expected one of text"),
        ("mnist=lm1b", "it is a set of text, expected one of images"),
        ("mnist=cifar10", "its images are 32x32x3, expected 28x28x1"),
        ("cifar10=cifar100", "it has 100 classes, expected at most 10"),
        ("mnist", "expected `synthetic` or SET=SOURCE"),
        ("mnist=", "expected `synthetic` or SET=SOURCE"),
        ("mnist=synthetic,MNIST=synthetic", "names 'MNIST' twice"),
    ],
)
def test_refusals_are_one_sentence(text: str, complaint: str) -> None:
    with pytest.raises(UsageError) as caught:
        DataSelection.parse(text)
    assert complaint in caught.value.message
