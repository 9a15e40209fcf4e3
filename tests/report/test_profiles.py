"""Performance profiles agree with rliable's."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from celo.report.profiles import TAU, profiles
from tests.evaluation.synthetic_cells import block, tuned
from tests.report.conftest import Compared, compared
from tests.shared_folder import golden_dir


def _with_scores(found: Compared, values: np.ndarray) -> Compared:
    """The comparison with the final-loss scores [runs, tasks] of `celo` replaced."""
    tasks = list(found.summary.data)
    results = tuple(
        replace(r, final_loss_score=float(values[r.seed, tasks.index(r.task)]))
        if r.optimizer == "celo"
        else r
        for r in found.summary.tasks
    )
    return replace(found, summary=replace(found.summary, tasks=results))


def _cells(tasks: int) -> Compared:
    names = [f"T{i:02d}" for i in range(tasks)]
    cells = [c for t in names for c in tuned("adam", t, [[2.0] * 3], grid=(0.1,))]
    return compared([*cells, *(c for t in names for c in block("celo", t, [1.0] * 3))])


def test_it_counts_what_is_strictly_above() -> None:
    found = _with_scores(_cells(2), np.array([[0.0, 1.0], [1.0, 1.5], [2.0, 9.0]]))
    (profile,) = (
        p for p in profiles(found.summary) if (p.optimizer, p.metric) == ("celo", "final_loss")
    )
    at = dict(zip(profile.tau, profile.value, strict=True))
    assert [at[0.0], at[0.95], at[1.0], at[1.5], at[4.0]] == [5 / 6, 5 / 6, 3 / 6, 2 / 6, 1 / 6]


def test_golden_profile_of_rliable() -> None:
    path = golden_dir() / "metrics__rliable.npz"
    with np.load(path, allow_pickle=False) as arrays:
        values, tau, expected = arrays["A"], arrays["tau"], arrays["profile_A"]
    found = _with_scores(_cells(values.shape[1]), values)
    (profile,) = (
        p for p in profiles(found.summary) if (p.optimizer, p.metric) == ("celo", "final_loss")
    )
    common = [i for i, t in enumerate(tau.tolist()) if any(abs(t - u) < 1e-9 for u in TAU)]
    assert common
    for i in common:
        assert profile.value[TAU.index(round(float(tau[i]), 2))] == pytest.approx(expected[i])


def test_there_are_none_without_scores() -> None:
    assert profiles(compared(block("celo", "T", [1.0] * 3), reference=None).summary) == ()
