"""NAdamW and OptList, the list of its most useful configurations."""

from __future__ import annotations

from dataclasses import replace

from celo.records import Hyperparameter, OptimizerPlugin
from celo_plugins.records.handcrafted import fraction, handcrafted, lr, number, switch

_PAPER = "Metz et al. 2020, Using a thousand optimization tasks, arXiv:2002.11887"

NADAMW = replace(
    handcrafted(
        "nadamw",
        "Adam with Nesterov momentum and two kinds of weight decay",
        f"{_PAPER}, appendix D.4",
        lr(1e-4),
        fraction("beta1", 0.9, "decay of the first moment"),
        fraction("beta2", 0.999, "decay of the second moment"),
        number("epsilon", 1e-8, "added to the root of the second moment, before its correction"),
        number("adamw_weight_decay", 0.0, "fraction taken away, times the corrected lr"),
        number("l2_weight_decay", 0.0, "this times the parameter leaves the gradient"),
        switch("use_nesterov", True, "Nesterov's form of momentum"),
        module="nadamw",
    ),
    reads=("num_steps",),
)

OPTLIST = OptimizerPlugin(
    name="optlist",
    kind="hand-crafted",
    summary="NAdamW with a cosine schedule, as tuned on a thousand tasks",
    build="celo_plugins.optlist:optlist",
    page="celo_plugins:pages/optlist.toml",
    citation=_PAPER,
    hyperparameters=(
        Hyperparameter(
            "idx", "int", 0, low=0, high=9, help="place in the list, the most useful first"
        ),
    ),
    # Without a grid: the list is made to be used without tuning.
    reads=("num_steps",),
)
