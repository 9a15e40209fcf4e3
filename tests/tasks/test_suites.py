from __future__ import annotations

import collections

import pytest

from celo import registry
from celo.tasks.suites import SUITES, read_suite


def test_suites_name_registered_tasks() -> None:
    names = ["velodrome", "velodrome-small", "velodrome-mini", "quickstart", "mlp-mini", "all"]
    assert [suite.name for suite in SUITES] == names
    known = set(registry.tasks().names())
    for suite in SUITES:
        assert set(suite.tasks) <= known
        assert suite.provenance and suite.summary


def test_all_is_everything_of_ours() -> None:
    ours = {e.name for e in registry.tasks() if e.origin.distribution == registry.FIRST_PARTY}
    assert ours == set(registry.suite("all").record.tasks)


def test_the_seventeen() -> None:
    """Three MLPs, four ConvNets, two ViTs, five language models, two autoencoders, one more."""
    suite = registry.suite("velodrome").record
    starts = collections.Counter(name.partition("_")[0] for name in suite.tasks)
    assert starts == {
        "ImageMLP": 3,
        "Conv": 4,
        "VIT": 2,
        "TransformerLM": 3,
        "RNNLM": 2,
        "ImageMLPAE": 2,
        "LOpt": 1,
    }
    assert suite.provenance.startswith("inferred")


def test_what_suites_leave_out_is_said() -> None:
    """Neither NeRF nor PES-trained tasks exist; ImageNet is in `all` alone."""
    everything, small = (registry.suite(name).record for name in ("all", "velodrome-small"))
    for start in ("JAXNeRF", "LOptPES"):
        assert any(reason.startswith(start) for reason in everything.left_out)
        assert not any(name.startswith(start) for name in everything.tasks)
    assert any("ImageNet" in reason for reason in small.left_out)
    needed = {registry.task(name).record.data_set for name in small.tasks}
    images = {"mnist", "fashion_mnist", "cifar10", "cifar100", "food101"}
    assert needed == {*images, "lm1b", "wikipedia"}


def test_mini_has_one_task_of_each_kind() -> None:
    suite = registry.suite("velodrome-mini").record
    assert suite.steps == 500
    kinds = {name.partition("_")[0] for name in suite.tasks}
    assert kinds == {"ImageMLP", "Conv", "ImageMLPAE", "RNNLM", "LOpt", "VIT"}


def test_quickstart_needs_no_files() -> None:
    suite = registry.suite("quickstart").record
    assert suite.steps == 200
    tasks = [registry.task(name).record for name in suite.tasks]
    assert len(tasks) == 4
    assert all(registry.data_set(task.data_set).record.embedded for task in tasks)


def test_mlp_mini_is_small_and_easy_to_get() -> None:
    suite = registry.suite("mlp-mini").record
    tasks = [registry.task(name).record for name in suite.tasks]
    assert {task.family for task in tasks} == {"MLP classifier", "MLP autoencoder"}
    assert {task.data_set for task in tasks} == {"mnist", "fashion_mnist", "cifar10"}
    assert suite.steps == 2000


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ('name = "a"\nsummary = ""\nsteps = 1\ntasks = ["x", "x"]', ValueError),
        ('name = "a"\nsummary = ""\nsteps = 1\ntasks = []', ValueError),
        ('name = "a"\nsummary = ""\ntasks = ["x"]', TypeError),
        ('name = "a"\nsummary = ""\nsteps = 1\ntasks = ["x"]\nstep = 2', TypeError),
        ("name = a", ValueError),
    ],
)
def test_wrong_files_are_refused(text: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        read_suite(text)
