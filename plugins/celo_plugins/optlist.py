"""OptList: configurations of NAdamW, the most useful first (Metz et al. 2020, arXiv:2002.11887).

The first ten of a thousand, from the list published with the paper (google-research/opt_list,
Apache-2.0).
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from celo.errors import UsageError
from celo.optim.schedules import Cosine, Number
from celo.protocol import Optimizer
from celo_plugins.nadamw import NAdamW


class Entry(NamedTuple):
    """One configuration; of NAdamW and of its cosine schedule."""

    learning_rate: Number
    beta1: Number
    beta2: Number
    epsilon: Number
    use_nesterov: bool | jax.Array
    adamw_weight_decay: Number
    l2_weight_decay: Number
    warmup_fraction: Number
    min_learning_rate_mult: Number
    constant_fraction: Number


# fmt: off
ENTRIES = (
    Entry(
        0.0011948335721160095, 0.9360043452616368, 0.9989497406214962, 5.875814422073298e-06,
        False, 0.010141964334059882, 0.0,
        0.0, 0.0, 0.747304046223346,
    ),
    Entry(
        0.4060109803507517, 0.9972408031165986, 0.9868027286692506, 107.85861559302559,
        True, 0.015620239959742821, 0.0,
        2.289161370180122e-05, 0.0, 0.3241485833861578,
    ),
    Entry(
        0.0002118527403995637, 0.6229650835415205, 0.9727800493920264, 1.5402357939162808e-07,
        False, 0.05360756231092083, 0.0,
        1.139506043021826e-05, 0.0013864545078620433, 0.2099310299628817,
    ),
    Entry(
        0.007531482507067026, 0.6919155876981923, 0.984342979679972, 3.592713026359696e-08,
        False, 0.0003059674479201108, 0.0,
        0.0, 0.0009554387155165385, 0.4224892293642567,
    ),
    Entry(
        0.05569700266024712, 0.9742164724896906, 0.999980948972404, 4.2139276965284695,
        False, 0.00022331133037191596, 0.0,
        0.0, 0.0, 0.5209910283942752,
    ),
    Entry(
        0.006954992428540949, 0.9941177962325759, 0.9930455329766189, 4.3517153884397565e-07,
        False, 3.142332648519505e-05, 0.0,
        0.0, 0.0, 0.013619134087588858,
    ),
    Entry(
        0.020526066283142113, 0.3573051949320971, 0.8604303237563932, 8.87354819497349e-05,
        True, 0.07217167553538734, 0.0,
        0.0, 1.566669185534864e-05, 0.8851679138723282,
    ),
    Entry(
        0.0005950867356750683, 0.8912956998774763, 0.9998316947284045, 1.4834761018841103e-07,
        True, 0.04087020908564961, 0.0,
        0.008212683099401206, 0.0, 0.37760078274486286,
    ),
    Entry(
        0.005328687277638261, 0.960474459618098, 0.9992247804716405, 8.665059017026017e-08,
        True, 0.005563237041504353, 0.0,
        0.0, 0.0, 0.17233141309625333,
    ),
    Entry(
        0.0012415879131444274, 0.9466569269853439, 0.9406663837522827, 8.113630827139477e-08,
        False, 7.25772958596056e-05, 0.0,
        0.0, 0.0010075665692423708, 0.47695142196433893,
    ),
)
# fmt: on


def optlist(idx: int | jax.Array = 0) -> Optimizer:
    """NAdamW as the list's entry `idx` has it.

    Args:
      idx: 0 to 9; may be a traced integer, which is then clipped to that range.

    Raises:
      UsageError: the list has no such entry.
    """
    if isinstance(idx, int) and not 0 <= idx < len(ENTRIES):
        raise UsageError(
            f"optlist:idx must be a whole number from 0 to {len(ENTRIES) - 1}, got {idx}",
            hint="only the first ten of the published thousand entries are here",
        )
    # Float32 from the start, as published: 1 - beta2 has few digits left.
    columns = (jnp.asarray(column) for column in zip(*ENTRIES, strict=True))
    place = jnp.clip(idx, 0, len(ENTRIES) - 1)
    entry = Entry(*(column[place] for column in columns))
    name = f"OptList{idx}" if isinstance(idx, int) else "OptList"
    schedule = Cosine(
        entry.learning_rate,
        entry.min_learning_rate_mult,
        entry.constant_fraction,
        entry.warmup_fraction,
    )
    return NAdamW(
        schedule,
        entry.beta1,
        entry.beta2,
        entry.epsilon,
        entry.adamw_weight_decay,
        entry.l2_weight_decay,
        entry.use_nesterov,
        name,
    )
