"""Estimators of meta-gradients, generic over (state, step); third parties add theirs.

`celo.estimators.records` holds ours and imports no JAX; an estimator of somebody else is a class
with the two methods of `Estimator` and a record under the entry point `celo.estimators`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from celo.estimators.antithetic import (
        both_signs,
        init_particles,
        perturbations,
        run_window,
        sigma_at,
        weighted_mean,
    )
    from celo.estimators.full_es import FullES
    from celo.estimators.protocol import (
        CompleteProblem,
        Draws,
        Estimate,
        Estimator,
        Problem,
        StepOutput,
    )
    from celo.estimators.truncated_es import TruncatedES
    from celo.estimators.truncated_pes import TruncatedPES

_LAZY = {
    "both_signs": "antithetic",
    "init_particles": "antithetic",
    "perturbations": "antithetic",
    "run_window": "antithetic",
    "sigma_at": "antithetic",
    "weighted_mean": "antithetic",
    "FullES": "full_es",
    "CompleteProblem": "protocol",
    "Draws": "protocol",
    "Estimate": "protocol",
    "Estimator": "protocol",
    "Problem": "protocol",
    "StepOutput": "protocol",
    "TruncatedES": "truncated_es",
    "TruncatedPES": "truncated_pes",
}

__all__ = [
    "CompleteProblem",
    "Draws",
    "Estimate",
    "Estimator",
    "FullES",
    "Problem",
    "StepOutput",
    "TruncatedES",
    "TruncatedPES",
    "both_signs",
    "init_particles",
    "perturbations",
    "run_window",
    "sigma_at",
    "weighted_mean",
]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(f"celo.estimators.{_LAZY[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
