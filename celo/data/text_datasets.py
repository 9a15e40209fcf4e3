"""Text sets as `celo.protocol.Datasets`: the first tokens of every document, drawn by key."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from celo import registry
from celo.data import sources, tokens
from celo.data.datasets import ArrayDatasets
from celo.data.sampling import check_rows
from celo.data.selection import DataSelection
from celo.data.tokenization import VOCABULARIES
from celo.errors import UsageError
from celo.protocol import Batch, SplitTable


def text_datasets(
    set_name: str,
    vocabulary: str,
    batch_size: int,
    length: int,
    selection: DataSelection | None = None,
) -> ArrayDatasets:
    """The splits of a text set; a batch is {"obs", "target"}, int32 [B, T] each.

    Of every document the first T + 1 tokens count, zeros behind a shorter one: `obs` is all but the
    last of them, `target` all but the first. Rows stay uint16 until a batch is made of them.

    Args:
      set_name: name of the data set.
      vocabulary: "32k" or "bytes".
      batch_size: rows of a batch.
      length: T, at most 128.
      selection: which data stands behind the name; None means the real one.

    Raises:
      UnknownNameError: no set has this name.
      UsageError: it is a set of images, there is no such vocabulary, or T is too long.
    """
    selection = selection or DataSelection()
    record = registry.data_set(set_name).record
    if record.kind != "text":
        raise UsageError(
            f"{record.name} is a set of images, a language task needs one of text",
            hint="`celo data list` shows what there is",
        )
    tokens.check_vocabulary(vocabulary)
    if not 1 <= length < tokens.WIDTH:
        raise UsageError(f"a row has {length} tokens, expected 1 to {tokens.WIDTH - 1}")

    def make_table(split: str) -> SplitTable:
        found = sources.find_text(record.name, vocabulary, selection)
        share = getattr(found.record.splits, split)
        ids = tokens.load(found)[share.part]
        ids = ids[tokens.rows_of(share, len(ids)), : length + 1]
        check_rows(len(ids), batch_size, f"the {split} split of {found.record.name}")
        return SplitTable(arrays={"tokens": ids}, batch_size=batch_size, decode=_decode)

    shape = jax.ShapeDtypeStruct((batch_size, length), jnp.int32)
    return ArrayDatasets(
        make_table,
        batch_size=batch_size,
        abstract_batch={"obs": shape, "target": shape},
        extra_info={"vocab_size": VOCABULARIES[vocabulary]},
    )


def _decode(rows: Mapping[str, Any]) -> Batch:
    """Rows to a batch, for numpy and JAX arrays alike, with any leading axes."""
    ids = rows["tokens"].astype(np.int32)
    return {"obs": ids[..., :-1], "target": ids[..., 1:]}
