"""Image sets as `celo.protocol.Datasets`: lazy, thread-safe, drawn by one sampler everywhere."""

from __future__ import annotations

import dataclasses
import functools
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from celo import registry
from celo.data import sources
from celo.data.mapped import release
from celo.data.preprocess import prepare
from celo.data.sampling import batch_indices, check_rows
from celo.data.selection import DataSelection
from celo.data.splits import split_rows
from celo.protocol import SPLITS, Batch, Datasets, PyTree, SplitTable

_BLOCK = 64  # batches whose indices the iterators compute at a time
_ITERATOR_SEED = 0


class ArrayDatasets(Datasets):
    """Splits that fit into memory, made on first use.

    Attributes:
      batch_size: rows of a batch.
    """

    def __init__(
        self,
        make_table: Callable[[str], SplitTable],
        *,
        batch_size: int,
        abstract_batch: PyTree,
        extra_info: Mapping[str, Any],
    ):
        """Touches no data.

        Args:
          make_table: called once for every split that is used.
          batch_size: rows of a batch.
          abstract_batch: tree of `jax.ShapeDtypeStruct`.
          extra_info: facts such as `num_classes`.
        """
        super().__init__(extra_info, abstract_batch)
        self.batch_size = batch_size
        self._make_table = make_table
        self._lock = threading.Lock()
        self._tables: dict[str, SplitTable] = {}
        self._iterators: dict[str, Iterator[Batch]] = {}

    def table(self, name: str) -> SplitTable:
        """The rows of a split as numpy arrays; the same object at every call.

        Raises:
          ValueError: no split has this name.
          DataMissingError: the data set is not on this machine.
          DataError: it is damaged, or the split has fewer rows than a batch.
        """
        _check_split(name)
        with self._lock:
            if name not in self._tables:
                self._tables[name] = self._make_table(name)
            return self._tables[name]

    def split(self, name: str) -> Iterator[Batch]:
        _check_split(name)
        with self._lock:
            if name not in self._iterators:
                self._iterators[name] = _BatchIterator(self, name)
            return self._iterators[name]


class _BatchIterator:
    """The endless stream of one split as numpy batches; may be shared between threads."""

    def __init__(self, datasets: ArrayDatasets, split: str):
        self._datasets = datasets
        self._split = split
        # Some tasks draw their first batch in the middle of a traced init, to learn its shape.
        with jax.ensure_compile_time_eval():
            self._key = jax.random.fold_in(jax.random.PRNGKey(_ITERATOR_SEED), SPLITS.index(split))
        self._lock = threading.Lock()
        self._next = 0
        self._block = np.empty((0, 0), np.int32)

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        with jax.ensure_compile_time_eval(), self._lock:
            table = self._datasets.table(self._split)
            position = self._next % _BLOCK
            if position == 0:
                for array in table.arrays.values():
                    release(array)
                shape = table.rows, table.batch_size, table.stack
                self._block = np.asarray(_indices(self._key, self._next, _BLOCK, *shape))
            indices = self._block[position]
            self._next += 1
            return table.decode({name: array[indices] for name, array in table.arrays.items()})


@functools.partial(jax.jit, static_argnums=(2, 3, 4, 5))
def _indices(
    key: jax.Array, first: int, count: int, rows: int, batch_size: int, stack: int | None
) -> jax.Array:
    return batch_indices(key, first, count, rows=rows, batch_size=batch_size, stack=stack)


def _check_split(name: str) -> None:
    if name not in SPLITS:
        raise ValueError(f"no split is called {name!r}, expected one of {', '.join(SPLITS)}")


def image_datasets(
    set_name: str,
    batch_size: int,
    image_size: tuple[int, int] | None = None,
    grayscale: bool = False,
    selection: DataSelection | None = None,
) -> ArrayDatasets:
    """The splits of an image set; a batch is {"image": float32 [B,H,W,C], "label": int32 [B]}.

    Images are in [0, 1]. At their own size they stay uint8 until a batch is made of them.

    Args:
      set_name: name of the data set.
      batch_size: rows of a batch.
      image_size: height and width to resize to; None keeps the set's own.
      grayscale: one channel, the mean of the three.
      selection: which data stands behind the name; None means the real one.

    Raises:
      UnknownNameError: no set has this name.
    """
    selection = selection or DataSelection()
    record = registry.data_set(set_name).record
    height, width, channels = record.image_shape
    size = image_size or (height, width)
    native = size == (height, width) and not (grayscale and channels > 1)
    shape = (*size, 1 if grayscale else channels)
    scale = 1 / record.largest_pixel if native else 1.0

    def make_table(split: str) -> SplitTable:
        found = sources.find(record.name, selection)
        arrays = sources.load(found)
        counts = len(arrays["train_images"]), len(arrays["test_images"])
        rows = split_rows(record.name, *counts, published=selection.published_split(set_name))[
            split
        ]
        check_rows(rows.rows, batch_size, f"the {split} split of {record.name}")
        images = _flat_images(found, rows.part, None if native else (*size, grayscale))
        labels = arrays[f"{rows.part}_labels"]
        part = slice(rows.start, rows.stop)
        return SplitTable(
            arrays={"image": images[part], "label": labels[part]},
            batch_size=batch_size,
            decode=functools.partial(_decode, shape=shape, scale=scale),
        )

    return ArrayDatasets(
        make_table,
        batch_size=batch_size,
        abstract_batch={
            "image": jax.ShapeDtypeStruct((batch_size, *shape), jnp.float32),
            "label": jax.ShapeDtypeStruct((batch_size,), jnp.int32),
        },
        extra_info={"num_classes": record.num_classes},
    )


def stacked(datasets: Datasets, batches: int) -> ArrayDatasets:
    """The same stream, `batches` consecutive batches stacked in front to make one; no data yet.

    Args:
      datasets: with tables; what they read is shared.
      batches: of the given ones in one of the new.
    """
    plain = datasets.abstract_batch
    return ArrayDatasets(
        lambda split: dataclasses.replace(datasets.table(split), stack=batches),
        batch_size=jax.tree.leaves(plain)[0].shape[0],
        abstract_batch=jax.tree.map(
            lambda x: jax.ShapeDtypeStruct((batches, *x.shape), x.dtype), plain
        ),
        extra_info=datasets.extra_info,
    )


# One entry is at most the float32 copy of a set at the size some task wants.
@functools.lru_cache(maxsize=8)
def _flat_images(
    found: sources.FoundSet, part: str, size: tuple[int, int, bool] | None
) -> np.ndarray:
    """Rows [N, H*W*C]: uint8 at the set's own size (None), float32 in [0, 1] otherwise."""
    images = sources.load(found)[f"{part}_images"]
    if size is not None:
        height, width, grayscale = size
        largest = found.record.largest_pixel
        images = prepare(images, (height, width), grayscale=grayscale, largest_pixel=largest)
    flat = images.reshape(len(images), -1)
    flat.flags.writeable = False
    return flat


def _decode(rows: Mapping[str, Any], *, shape: tuple[int, int, int], scale: float) -> Batch:
    """Rows to a batch, for numpy and JAX arrays alike, with any leading axes."""
    flat = rows["image"]
    images = flat.reshape(*flat.shape[:-1], *shape)
    if images.dtype == np.uint8:
        # A product, because compilers replace a division by it: so every platform agrees.
        images = images.astype(np.float32) * np.float32(scale)
    return {"image": images, "label": rows["label"]}
