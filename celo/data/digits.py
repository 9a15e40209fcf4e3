"""The embedded set: scikit-learn's 1,797 handwritten digits of 8x8 pixels with values 0 to 16."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

import numpy as np

TEST_SHARE = 0.2


def source() -> str:
    """Names the distribution the set comes with: a change there is a change of data."""
    return f"scikit-learn {metadata.version('scikit-learn')}"


def load(folder: Path | None = None) -> dict[str, np.ndarray]:
    """The set in a fixed order: its last 20 % are the test rows.

    Args:
      folder: unused; the set comes with scikit-learn.

    Returns:
      train_images uint8 [1438, 8, 8], test_images uint8 [359, 8, 8], values 0 to 16;
      train_labels, test_labels uint8.
    """
    from sklearn.datasets import load_digits

    images, labels = map(np.asarray, load_digits(return_X_y=True))
    # The stored order groups the writers. RandomState, because numpy never changes its stream.
    order = np.random.RandomState(0).permutation(len(images))
    images = images.reshape(-1, 8, 8).astype(np.uint8)[order]
    labels = labels.astype(np.uint8)[order]
    train = len(images) - round(TEST_SHARE * len(images))
    return {
        "train_images": images[:train],
        "train_labels": labels[:train],
        "test_images": images[train:],
        "test_labels": labels[train:],
    }
