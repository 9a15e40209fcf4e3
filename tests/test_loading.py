"""From a spec to weights: what is refused before JAX is imported."""

from __future__ import annotations

from dataclasses import replace

import pytest

from celo.errors import UsageError
from celo.loading import find, random_seed, weights_of
from celo.spec import parse


@pytest.mark.parametrize("seed", ["x", "-1", "1.5", str(2**31)])
def test_a_seed_is_a_whole_number(seed: str) -> None:
    spec = replace(parse("celo@random"), weights=f"random:{seed}")
    with pytest.raises(UsageError, match=f"must be a whole number, got '{seed}'") as caught:
        random_seed(spec)
    assert "celo@random:0" in (caught.value.hint or "")


def test_weights_that_nobody_published_must_be_named() -> None:
    spec, found = find("celo")
    unpublished = replace(found.record, name="mine", zoo_id=None)
    with pytest.raises(UsageError, match="'mine' has no published weights") as caught:
        weights_of(spec, unpublished)
    assert "mine@PATH" in (caught.value.hint or "")
    assert weights_of(parse("celo@random:3"), unpublished) is None
