"""What keeps weights from being pushed, told before or after the hub is asked."""

from __future__ import annotations

import numpy as np
import pytest

from celo.errors import UsageError, WeightsError, WeightsMissingError
from celo_zoo import push, write_safetensors
from tests.zoo.fakes import http_error


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "theta.safetensors"
    write_safetensors(path, {"a": np.ones(2, np.float32)})
    return path


def test_what_no_repository_can_be_called(file):
    with pytest.raises(UsageError, match="'org/mine@main' names a revision"):
        push(file, "org/mine@main")
    with pytest.raises(UsageError, match="'my own' is no licence identifier"):
        push(file, "org/mine", licence="my own")


def test_numbers_that_are_not_finite_stay_here(file):
    write_safetensors(file, {"a": np.array([1, np.nan], np.float32)})
    with pytest.raises(WeightsError, match="not finite: a"):
        push(file, "org/mine")


def test_without_network_it_can_be_repeated(file):
    with pytest.raises(WeightsMissingError, match="cannot push .*: HF_HUB_OFFLINE") as caught:
        push(file, "org/mine")
    assert "a repeated push does no harm" in (caught.value.hint or "")


def failures():
    from huggingface_hub import errors

    return {
        "busy": (http_error(errors.HfHubHTTPError, 503), "not available now .status 503", True),
        "unreachable": (ConnectionError("no route"), "cannot be reached .no route", True),
        "refused": (http_error(errors.HfHubHTTPError, 422), "refused the files .*422", False),
        "token": (http_error(errors.HfHubHTTPError, 403), "does not let you write", False),
        "odd": (ValueError("who knows"), "failed: ValueError: who knows", False),
    }


@pytest.mark.parametrize("case", failures())
def test_failures_of_the_hub_in_our_words(file, hub, monkeypatch, case):
    import huggingface_hub

    error, reason, is_missing = failures()[case]

    def fail(*arguments, **options):
        raise error

    monkeypatch.setattr(huggingface_hub.HfApi, "create_repo", fail)
    with pytest.raises(WeightsError, match=reason) as caught:
        push(file, "org/mine")
    assert isinstance(caught.value, WeightsMissingError) == is_missing
    assert hub.calls == []
