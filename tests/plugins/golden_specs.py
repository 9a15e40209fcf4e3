"""Golden files as the product names their contents: which optimizer, with which settings."""

from __future__ import annotations

import functools
from typing import Any

from celo import registry
from celo.loading import build_optimizer, find
from celo.lopt import theta_from_tree
from celo.protocol import LearnedOptimizer, MetaParams, Optimizer
from celo.records import OptimizerPlugin
from celo.registry import Found, resolve
from celo.spec import format_value
from tests.plugins.golden_case import GoldenCase, published_tree

# Constructor arguments of the published code -> our hyperparameters.
RENAMED = {"learning_rate": "lr"}
# Arguments of wrappers of the published code -> our modifiers.
WRAPPERS = {"weight_decay": "l2", "grad_clip": "clip"}
# Published class names of Adam with a schedule -> the schedule's name in a spec.
ALIASES = {"AdamExpDecayLR": "exponential-decay", "AdamSqrtDecayLR": "sqrt-decay"}


def record_of(case: GoldenCase) -> Found[OptimizerPlugin]:
    """The installed optimizer that a file's prefix names; an unknown one fails the test."""
    return registry.optimizer(case.optimizer)


def learned(case: GoldenCase) -> tuple[LearnedOptimizer, MetaParams]:
    """The learned optimizer of a file, with the weights it holds or else the published ones."""
    lopt = _lopt(case.optimizer, tuple(sorted(case.config.items())))
    return lopt, theta_from_tree(lopt, case.tree("theta") or _published(case))


@functools.cache
def _lopt(name: str, config: tuple[tuple[str, Any], ...]) -> LearnedOptimizer:
    # One object a configuration: it is the static argument of the replay.
    return resolve(registry.optimizer(name).record.build)(**dict(config))


def _published(case: GoldenCase) -> dict[str, Any]:
    zoo_id = record_of(case).record.zoo_id
    assert zoo_id is not None, f"{case.optimizer}__{case.case} holds no weights"
    return published_tree(zoo_id)


def handcrafted(case: GoldenCase) -> Optimizer:
    """The hand-crafted optimizer of a file."""
    spec, found = find(spec_text(case))
    return build_optimizer(spec, found)


def spec_text(case: GoldenCase) -> str:
    """What a user would type to get the optimizer of a file."""
    config = dict(case.config)
    if case.optimizer == "grafted":
        return _GRAFTED[config["magnitude"], config["direction"]]
    if case.optimizer == "optlist":
        return f"optlist:idx={config['idx']}"
    if "alias" in config:
        config["schedule"] = ALIASES[config.pop("alias")]
    if "times" in config:
        config |= {"schedule": "piecewise-linear", "lr": 1.0, "factors": config.pop("lrs")}
    known = {h.name for h in record_of(case).record.hyperparameters}
    values, modifiers = [], []
    for key, value in config.items():
        name = RENAMED.get(key, key)
        if name not in known and key in WRAPPERS:
            modifiers.append(f"+{WRAPPERS[key]}:{format_value(value)}")
        else:
            values.append(f"{name}={_text(value)}")
    return case.optimizer + (":" + ",".join(values) if values else "") + "".join(modifiers)


_GRAFTED = {("Adam(1e-2)", "SGDM(1e-2)"): "sgdm:lr=0.01+graft:adam:lr=0.01"}


def _text(value: Any) -> str:
    if isinstance(value, list):
        return "/".join(format_value(v) for v in value)
    return format_value(value)


def is_learned(case: GoldenCase) -> bool:
    return case.optimizer != "grafted" and record_of(case).record.kind == "learned"


def learned_without_weights(case: GoldenCase) -> LearnedOptimizer:
    return _lopt(case.optimizer, tuple(sorted(case.config.items())))
