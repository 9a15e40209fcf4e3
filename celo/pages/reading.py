"""The part of a page that its author wrote: in the record, or in a TOML file beside it."""

from __future__ import annotations

from celo.errors import BrokenPluginError
from celo.records import OptimizerPlugin, Page

_TEXTS = ("mathematics", "recipe")
_LISTS = ("limits", "verified")


def page_of(record: OptimizerPlugin) -> Page:
    """What the author of an optimizer says about it.

    Raises:
      BrokenPluginError: the file that the record names is missing or is not a page.
    """
    if isinstance(record.page, Page):
        return record.page
    try:
        return _read(record.page)
    except (OSError, ImportError, ValueError, TypeError, AttributeError) as error:
        raise BrokenPluginError(
            f"the page {record.page!r} of {record.name!r} cannot be read: {error}",
            hint="a page is TOML with mathematics, recipe (texts), limits, verified (lists), "
            "named as 'package:folder/file.toml'",
        ) from error


def _read(target: str) -> Page:
    # Here, so that listing optimizers does not pay for them.
    import tomllib
    from importlib import resources

    package, colon, path = target.partition(":")
    if not colon:
        raise ValueError("expected 'package:folder/file.toml'")
    fields = tomllib.loads(resources.files(package).joinpath(path).read_text("utf-8"))
    for name, value in fields.items():
        if name in _TEXTS and isinstance(value, str):
            continue
        if name in _LISTS and isinstance(value, list) and all(isinstance(x, str) for x in value):
            continue
        raise ValueError(f"{name} is {value!r}")
    lists = {name: tuple(fields.get(name, ())) for name in _LISTS}
    return Page(**{**fields, **lists})
