"""Celo2 and Celo2-base."""

from __future__ import annotations

from celo.records import Hyperparameter, OptimizerPlugin, Phase

_PAPER = "Celo2: Towards Learned Optimization Free Lunch, arXiv:2602.19142"
_PHASES = (Phase(1, (), "learn the per-parameter network"),)


def _hyperparameters(orthogonalize: bool) -> tuple[Hyperparameter, ...]:
    return (
        Hyperparameter("step_mult", "float", 0.001, low=0.0, traceable=True, help="learning rate"),
        Hyperparameter(
            "weight_decay",
            "float",
            0.0,
            low=0.0,
            traceable=True,
            help="fraction of a parameter, times its learning rate, taken away each step",
        ),
        Hyperparameter(
            "exp_mult",
            "float",
            0.0,
            traceable=True,
            help="factor of the output that scales a direction exponentially; 0: not computed",
        ),
        Hyperparameter(
            "orthogonalize",
            "bool",
            orthogonalize,
            help="pass directions of rank 2 and more through Newton-Schulz",
        ),
        Hyperparameter("ns_iterations", "int", 5, low=1, help="iterations of Newton-Schulz"),
        Hyperparameter(
            "ns_eps",
            "float",
            1e-8,
            low=0.0,
            traceable=True,
            help="added to the norm by which Newton-Schulz divides",
        ),
    )


CELO2_BASE = OptimizerPlugin(
    name="celo2-base",
    kind="learned",
    summary="per-parameter network whose directions have a fixed size",
    build="celo_plugins.celo2.base:build",
    page="celo_plugins:pages/celo2-base.toml",
    aliases=("celo2base",),
    citation=_PAPER,
    hyperparameters=_hyperparameters(orthogonalize=False),
    zoo_id="celo2-base",
    phases=_PHASES,
    numerics_version=2,
)

CELO2 = OptimizerPlugin(
    name="celo2",
    kind="learned",
    summary="Celo2-base with orthogonalised directions, and Adam for leaves named like biases",
    build="celo_plugins.celo2:build",
    page="celo_plugins:pages/celo2.toml",
    citation=_PAPER,
    hyperparameters=(
        *_hyperparameters(orthogonalize=True),
        Hyperparameter(
            "adam_regex",
            "str",
            "/b$",
            help="leaves go to Adam if it is found in their path (keys joined by /); empty: none",
        ),
        Hyperparameter(
            "adam_mult",
            "float",
            20.0,
            low=0.0,
            traceable=True,
            help="learning rate of these leaves, in units of step_mult",
        ),
        Hyperparameter(
            "adam_b1",
            "float",
            0.9,
            low=0.0,
            high=1.0,
            traceable=True,
            help="decay of Adam's first moment",
        ),
        Hyperparameter(
            "adam_b2",
            "float",
            0.95,
            low=0.0,
            high=1.0,
            traceable=True,
            help="decay of Adam's second moment",
        ),
        Hyperparameter(
            "adam_eps",
            "float",
            1e-8,
            low=0.0,
            traceable=True,
            help="added to Adam's second moment under the root",
        ),
    ),
    zoo_id="celo2",
    phases=_PHASES,
    numerics_version=2,
)
