"""A learned_optimization of a few lines: the modules that are looked at, and what can be refused.

Of the real one only names are here; `real_library.py` is where its behaviour is tested.
"""

from __future__ import annotations

from pathlib import Path

_FILES = {
    "optimizers/base.py": """
class Optimizer:
    pass
""",
    "optimizers/plain.py": """
from learned_optimization.optimizers import base


class SGD(base.Optimizer):
    def __init__(self, learning_rate=0.1):
        pass


class Accumulator(base.Optimizer):
    def __init__(self, opt, num_steps: int):
        pass
""",
    "learned_optimizers/base.py": """
class LearnedOptimizer:
    pass
""",
    "research/general_lopt/hyper_v2.py": """
import nonesuch
""",
    "tasks/base.py": """
class Task:
    datasets = None
""",
    "tasks/quadratics.py": """
from learned_optimization.tasks import base


class Bowl(base.Task):
    def __init__(self, width):
        pass


class Stream(base.Task):
    datasets = object()
""",
    "tasks/fixed/made.py": """
from learned_optimization.tasks.datasets import base


class _Family:
    pass


def Broken():
    raise ValueError("no more ideas\\nand so on")


def Family():
    return _Family()


def Stacked():
    return base.tfds_image_classification_datasets(
        "mnist", splits=(), batch_size=8, image_size=(8, 8), stack_channels=3, crop="yes"
    )
""",
    "tasks/datasets/base.py": """
def tfds_image_classification_datasets(
    datasetname, splits, batch_size, image_size, stack_channels=1, crop=None
):
    raise AssertionError("a download")


preload_tfds_image_classification_datasets = tfds_image_classification_datasets


def dataset_lru_cache_clear():
    pass
""",
}


def write(folder: Path) -> None:
    """Makes the package `learned_optimization` in a folder."""
    root = folder / "learned_optimization"
    for name, text in _FILES.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    for inner in (root, *root.rglob("*")):
        if inner.is_dir():
            (inner / "__init__.py").touch()
