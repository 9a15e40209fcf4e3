"""What a plan would do, said before anything is compiled."""

from __future__ import annotations

from typing import Any

import jax

from celo.estimators.protocol import steps_of_estimate
from celo.metatrain.plan import MetaTrainPlan, StagePlan
from celo.metatrain.stage import initial_theta, make_estimator, open_stage
from celo.trees import named_leaves


def describe_plan(plan: MetaTrainPlan) -> dict[str, Any]:
    """Facts about a plan as JSON values.

    Raises:
      CeloError: whatever would keep the plan from starting.
    """
    stages = [
        _stage(stage, plan.init if number == 0 else "stage", number)
        for number, stage in enumerate(plan.stages)
    ]
    return {"output": str(plan.output), "recipe": plan.name, "stages": stages}


def _stage(plan: StagePlan, init: str | None, number: int) -> dict[str, Any]:
    config = plan.config
    stage = open_stage(config)
    start = f"the weights of stage {number}"
    if init != "stage":
        start = initial_theta(stage, init).note
    template = jax.eval_shape(stage.lopt.init, jax.random.PRNGKey(0))
    sizes = [leaf.size for leaf in named_leaves(template).values()]
    trained = sum(s for s, yes in zip(sizes, stage.part.trained, strict=True) if yes)
    steps = steps_of_estimate(make_estimator(config), _Count(config.particles * len(stage.tasks)))
    labels = sorted({label for label in stage.labels.values() if label != "real"})
    settings = {
        k: v
        for k, v in config.to_json().items()
        if v is not None and k not in ("plugin", "phase", "suite")
    }
    return {
        "optimizer": stage.subject.spec.text,
        "phase": config.phase,
        "summary": stage.subject.phase.summary,
        "start": start,
        "tasks": ", ".join(task.name for task in stage.tasks)
        + (f" (data: {', '.join(labels)})" if labels else ""),
        "missing": "; ".join(f"{name}: {why}" for name, why in stage.missing.items()),
        "trained": f"{trained:,} of {sum(sizes):,} weights",
        "work": f"{config.iterations:,} iterations of {steps:,.0f} inner steps" + _starts(plan),
        "settings": ", ".join(f"{k} {v}" for k, v in settings.items()),
    }


def _starts(plan: StagePlan) -> str:
    if plan.restarts <= plan.finalists:
        return f", {plan.restarts} starts" if plan.restarts > 1 else ""
    return f", {plan.restarts} starts, halved from iteration {plan.rung} on to {plan.finalists}"


class _Count:
    def __init__(self, particles: int):
        self.particles = particles
