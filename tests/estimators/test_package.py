"""What `celo.estimators` offers to others."""

from __future__ import annotations

import pytest

from celo import estimators


def test_names_are_found_when_they_are_asked_for() -> None:
    for name in estimators.__all__:
        assert getattr(estimators, name).__name__ == name
    with pytest.raises(AttributeError, match="'celo.estimators' has no attribute 'TruncatedBES'"):
        getattr(estimators, "TruncatedBES")  # noqa: B009  (pyright would object to the other way)
