"""What the names of a run stand for: which weights, which data; one run never mixes two."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from celo.errors import StoreError


@dataclass(frozen=True)
class Identity:
    """What names stand for.

    Attributes:
      weights: text of an optimizer -> content hash of its weights.
      data: name of a data set -> fingerprint.
      origins: text of an optimizer -> where its weights were found ("bundled", "hub", ...). Kept
        for people: the same weights from elsewhere are the same.
    """

    weights: Mapping[str, str]
    data: Mapping[str, str]
    origins: Mapping[str, str] = field(default_factory=dict)

    @staticmethod
    def from_json(text: bytes | str) -> Identity:
        """Reads what `to_json` wrote.

        Raises:
          ValueError, TypeError, KeyError: it is damaged.
        """
        value = json.loads(text)
        return Identity({**value["weights"]}, {**value["data"]}, {**value.get("origins", {})})

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=2, sort_keys=True)

    def joined(self, asked: Identity, run: Path) -> Identity:
        """This and what is asked for now.

        Args:
          asked: what names stand for now.
          run: folder of the run, for messages.

        Raises:
          StoreError: a name stands for something else now.
        """
        for kind, known, now in (
            ("weights", self.weights, asked.weights),
            ("data", self.data, asked.data),
        ):
            for name, value in now.items():
                if known.get(name, value) != value:
                    raise self._differs(asked, run, kind, name, known[name], value)
        return Identity(
            {**asked.weights, **self.weights},
            {**asked.data, **self.data},
            {**asked.origins, **self.origins},
        )

    def _differs(
        self, asked: Identity, run: Path, kind: str, name: str, here: str, now: str
    ) -> StoreError:
        origins = (self.origins.get(name), asked.origins.get(name)) if kind == "weights" else ()
        old, new = (f" ({o})" if o else "" for o in (origins or (None, None)))
        hint = (
            "choose another folder with --output, or --fresh to put that run aside and start over"
        )
        if "bundled" in origins:
            hint += "; NAME@bundled is always the bundled ones, `celo zoo pull` gets the published"
        return StoreError(
            f"{run} holds results of {name} with other {kind}: "
            f"{here[:12]}{old} here, {now[:12]}{new} now",
            hint=hint,
        )
