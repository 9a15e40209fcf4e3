"""Shell completion of names, from whatever is installed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import click
from click.shell_completion import CompletionItem

What = Literal["optimizers", "tasks", "suites", "data_sets", "metrics"]
Completer = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def names_of(what: What) -> Completer:
    """Completes names of one kind; behind a comma, the last name of a list."""

    def complete(
        ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        from celo import registry

        done, comma, last = incomplete.rpartition(",")
        return [
            CompletionItem(f"{done}{comma}{found.name}", help=found.record.summary)
            for found in getattr(registry, what)()
            if found.name.lower().startswith(last.lower())
        ]

    return complete
