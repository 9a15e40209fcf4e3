"""The estimators celo knows by itself; imports no JAX."""

from __future__ import annotations

from celo.meta_records import EstimatorPlugin
from celo.records import Hyperparameter

_TRUNC = Hyperparameter("trunc", "int", 50, low=1, help="steps of a window")
_SIGMA = Hyperparameter("sigma", "float", 0.01, low=0.0, help="deviation of perturbations")
_SIGN = Hyperparameter("sign", "float", None, help="replace differences by this times their sign")

ESTIMATORS: tuple[EstimatorPlugin, ...] = (
    EstimatorPlugin(
        name="pes",
        summary="truncated persistent evolution strategies: unbiased windows of an unroll",
        build="celo.estimators.truncated_pes:build",
        citation="Vicol, Metz, Sohl-Dickstein 2021, arXiv:2112.13835",
        hyperparameters=(
            _TRUNC,
            _SIGMA,
            _SIGN,
            Hyperparameter(
                "published", "bool", False, help="credit assignment of the published code"
            ),
        ),
    ),
    EstimatorPlugin(
        name="es",
        summary="truncated evolution strategies: biased towards what a window sees",
        build="celo.estimators.truncated_es:build",
        citation="Metz et al. 2019, arXiv:1810.10180",
        hyperparameters=(_TRUNC, _SIGMA, _SIGN),
    ),
    EstimatorPlugin(
        name="full-es",
        summary="evolution strategies on complete unrolls",
        build="celo.estimators.full_es:build",
        citation="Metz et al. 2022, VeLO, arXiv:2211.09760",
        hyperparameters=(
            Hyperparameter(
                "objective",
                "str",
                "last_recompute",
                choices=("avg", "min", "last", "last_recompute"),
                help="what of an unroll is minimised",
            ),
            _SIGMA,
            Hyperparameter("sign", "float", 1.0, help=_SIGN.help),
            Hyperparameter("clip", "float", None, low=0.0, help="largest difference"),
            Hyperparameter(
                "recompute_samples", "int", 50, low=1, help="fresh batches of last_recompute"
            ),
            Hyperparameter("chunk", "int", 10, low=1, help="lengths are multiples of this"),
        ),
    ),
)
