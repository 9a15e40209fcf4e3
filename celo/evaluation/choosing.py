"""Which metrics are shown: `--metrics NAME[:key=value,...],...` held against what is installed."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from celo import registry
from celo.errors import UsageError
from celo.records import Metric
from celo.registry import Found
from celo.spec import check_values, parse_list

DEFAULT_METRICS = ("final_loss", "speedup")
"""What is shown unless metrics are asked for."""


@dataclass(frozen=True)
class ChosenMetric:
    """A metric that was asked for.

    Attributes:
      found: its record and where it comes from.
      options: its constants that were given, in the declared types.
    """

    found: Found[Metric]
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def record(self) -> Metric:
        return self.found.record

    @property
    def name(self) -> str:
        """As in JSON: `velo_speedup`."""
        return re.sub(r"\W", "_", self.record.name)


def choose_metrics(texts: Sequence[str] = ()) -> tuple[ChosenMetric, ...]:
    """The metrics that lists of names mean.

    Args:
      texts: comma-separated `NAME[:key=value,...]`; "all" is every installed one; () is Celo's two
        scores.

    Raises:
      UnknownNameError: no installed metric has this name; the hint lists the nearest.
      UsageError: a list is not understood, an option is unknown or out of range, or a metric is
        asked for twice.
      BrokenPluginError: the metric is installed but cannot be used.
    """
    if [text.strip().lower() for text in texts] == ["all"]:
        return tuple(ChosenMetric(entry) for entry in registry.metrics().everything())
    try:
        specs = parse_list(texts or DEFAULT_METRICS)
    except UsageError as error:
        raise _not_understood(texts) from error
    chosen: list[ChosenMetric] = []
    for spec in specs:
        if spec.weights is not None or spec.modifiers:
            raise _not_understood(texts)
        found = registry.metric(f"{spec.source}:{spec.name}" if spec.source else spec.name)
        options = check_values(
            spec.hyperparameters, found.record.options, found.record.name, "option"
        )
        if any(other.found == found for other in chosen):
            raise UsageError(
                f"the metric {found.record.name!r} is asked for twice",
                hint="one report shows a metric with one set of options",
            )
        chosen.append(ChosenMetric(found, options))
    return tuple(chosen)


def _not_understood(texts: Sequence[str]) -> UsageError:
    return UsageError(
        f"the list of metrics {','.join(texts)!r} is not understood, expected "
        "NAME[:key=value,...], separated by commas",
        hint="`celo metrics list` shows the names",
    )
