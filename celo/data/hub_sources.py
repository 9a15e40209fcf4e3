"""Where the sets that celo knows by itself lie on the Hugging Face hub.

No revision and no checksum is written here: a pull fixes the commit that the hub names when it
begins, holds every file against the checksum that the hub states for it, and records both beside
the files.
"""

from __future__ import annotations

from collections.abc import Mapping

from celo.records import DataSet, HubSource


def _train_and_test(repository: str, folder: str, **others: str) -> HubSource:
    files = (("train", f"{folder}/train-*.parquet"), ("test", f"{folder}/test-*.parquet"))
    return HubSource(repository, files, **others)


HUB_SOURCES: Mapping[str, HubSource] = {
    "mnist": _train_and_test("ylecun/mnist", "mnist"),
    "fashion_mnist": _train_and_test("zalando-datasets/fashion_mnist", "fashion_mnist"),
    "cifar10": _train_and_test("uoft-cs/cifar10", "plain_text"),
    "cifar100": _train_and_test("uoft-cs/cifar100", "cifar100"),
    "svhn_cropped": _train_and_test("ufldl-stanford/svhn", "cropped_digits"),
    "food101": HubSource(
        "ethz/food101",
        (("train", "data/train-*.parquet"), ("test", "data/validation-*.parquet")),
    ),
    "lm1b": HubSource(
        "billion-word-benchmark/lm1b",
        (("train", "plain_text/train/*.parquet"), ("test", "plain_text/test/*.parquet")),
        # The repository holds a script; the hub keeps what it gives as parquet on this branch.
        revision="refs/convert/parquet",
    ),
    "wikipedia": HubSource(
        "legacy-datasets/wikipedia",
        (("train", "data/20220301.en/train-*.parquet"),),
        remark="snapshot 20220301.en, the nearest that can be had; the published tasks used "
        "20201201.en",
    ),
    "wikitext2": HubSource(
        "Salesforce/wikitext",
        (
            ("train", "wikitext-2-v1/train-*.parquet"),
            ("valid", "wikitext-2-v1/validation-*.parquet"),
            ("test", "wikitext-2-v1/test-*.parquet"),
        ),
    ),
}


def hub_source(record: DataSet) -> HubSource | None:
    """Where a set lies on the hub, by its own record or by the table above."""
    return record.hub or HUB_SOURCES.get(record.name)
