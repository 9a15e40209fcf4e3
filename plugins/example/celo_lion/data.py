"""The zeros and ones among scikit-learn's handwritten digits: 360 images of 8x8 pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np

TEST_ROWS = 72


def load(folder: Path | None = None) -> dict[str, np.ndarray]:
    """The set in a fixed order.

    Args:
      folder: of original files; unused, because the set comes with scikit-learn.

    Returns:
      train_images uint8 [288, 8, 8], test_images uint8 [72, 8, 8], values 0 to 16;
      train_labels, test_labels uint8.
    """
    from sklearn.datasets import load_digits

    images, labels = map(np.asarray, load_digits(n_class=2, return_X_y=True))
    # RandomState, because numpy never changes its stream: the set must never change either.
    order = np.random.RandomState(0).permutation(len(images))
    images = images.reshape(-1, 8, 8).astype(np.uint8)[order]
    labels = labels.astype(np.uint8)[order]
    return {
        "train_images": images[:-TEST_ROWS],
        "train_labels": labels[:-TEST_ROWS],
        "test_images": images[-TEST_ROWS:],
        "test_labels": labels[-TEST_ROWS:],
    }
