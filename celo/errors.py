"""What goes wrong, said once: message, hint and exit code travel together.

Every error a user can cause is a `CeloError`. The command line prints `message` and `hint` and
leaves with `exit_code`; `--format json` prints `code` as well. Standard library only, so that
every other part of the house, the zoo included, may raise these.
"""

from __future__ import annotations


class CeloError(Exception):
    """An expected failure.

    Attributes:
      message: one sentence: what was wrong and what was expected.
      hint: what to do about it, or None.
      code: stable identifier for machines.
      exit_code: what a command that ends with this error returns to the shell.
    """

    code = "failed"
    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None):
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message if self.hint is None else f"{self.message}\n{self.hint}"


class InterruptedRunError(CeloError):
    """The user stopped it; the message says what is safe."""

    code = "interrupted"
    exit_code = 130


class UsageError(CeloError):
    """The request itself is wrong (unknown name, value out of range, contradiction)."""

    code = "usage"
    exit_code = 2


class UnknownNameError(UsageError):
    """A name that no installed plugin, task, suite or data set carries."""

    code = "unknown-name"


class BrokenPluginError(CeloError):
    """A plugin is installed but cannot be used."""

    code = "broken-plugin"


class WeightsError(CeloError):
    """Weights are damaged, belong to another optimizer, or are not what they claim to be."""

    code = "weights"


class WeightsMissingError(WeightsError):
    """Weights are in none of the places where they are looked for."""

    code = "weights-missing"


class DataError(CeloError):
    """A data set is damaged or has another form than declared."""

    code = "data"


class DataMissingError(DataError):
    """A data set is in none of the places where it is looked for."""

    code = "data-missing"


class StoreError(CeloError):
    """Results cannot be read or written."""

    code = "store"
