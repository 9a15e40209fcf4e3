"""Shampoo."""

from __future__ import annotations

from celo.records import Hyperparameter, OptimizerPlugin, Rounding
from celo_plugins.records.handcrafted import LEARNING_RATES, fraction, lr, number, switch


def _count(name: str, default: int, help: str, low: int = 1) -> Hyperparameter:
    return Hyperparameter(name, "int", default, low=low, help=help)


SHAMPOO = OptimizerPlugin(
    name="shampoo",
    kind="hand-crafted",
    summary="every axis of a gradient preconditioned by a root of its second moments",
    build="celo_plugins.shampoo:build",
    page="celo_plugins:pages/shampoo.toml",
    citation="Gupta et al. 2018, arXiv:1802.09568; Anil et al. 2020, arXiv:2002.09018",
    hyperparameters=(
        lr(),
        _count("block_size", 128, "rows of the largest preconditioner"),
        fraction("b1", 0.9, "decay of the momentum"),
        fraction("b2", 0.999, "decay of the statistics"),
        number("diagonal_epsilon", 1e-10, "added to the root of the grafted second moment"),
        number("matrix_epsilon", 1e-6, "ridge of a statistic, relative to its largest eigenvalue"),
        number("weight_decay", 0.0, "fraction of a parameter that joins the direction of its step"),
        _count("start_preconditioning_step", 5, "updates that follow the grafted direction", low=0),
        _count(
            "preconditioning_compute_steps", 1, "updates from one computation of roots to the next"
        ),
        _count("statistics_compute_steps", 1, "updates from one refresh of statistics to the next"),
        Hyperparameter(
            "graft_type",
            "str",
            "SGD",
            choices=(
                "SGD",
                "SQRT_N",
                "ADAGRAD",
                "ADAGRAD_NORMALIZED",
                "RMSPROP",
                "RMSPROP_NORMALIZED",
            ),
            help="optimizer whose length of step is taken, leaf by leaf",
        ),
        switch("nesterov", True, "Nesterov's form of momentum"),
        switch(
            "moving_average_for_momentum", False, "what joins the momentum is multiplied by 1 - b1"
        ),
        _count("merge_small_dims_block_size", 4096, "neighbouring axes are merged up to this size"),
        _count(
            "skip_preconditioning_dim_size_gt",
            4096,
            "leaves with a longer axis follow the grafted direction",
        ),
        number(
            "inverse_failure_threshold",
            0.1,
            "a root with this residual or a larger one is not used",
        ),
    ),
    grid=LEARNING_RATES,
    numerics_version=2,
    rounding=Rounding(
        1e-2,
        "inverse roots enlarge rounding errors of directions that hardly any gradient had",
    ),
)
