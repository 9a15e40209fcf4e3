"""Weights to the hub: safetensors and a generated model card in one commit, then read back.

Whoever may write is told to the hub by huggingface_hub's own means (`hf auth login`, `HF_TOKEN`);
no token passes through here.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from celo.errors import UsageError, WeightsError, WeightsMissingError
from celo_zoo import hub, tree
from celo_zoo.formats import MAX_FILE_BYTES, WeightsFile, encode_safetensors, read_weights
from celo_zoo.location import FILE_NAMES, parse_locator, weights_in

_LICENCE = re.compile(r"[a-z0-9][a-z0-9.-]*")
_CARD = "README.md"


@dataclass(frozen=True)
class PushResult:
    """What lies on the hub now.

    Attributes:
      repository: `org/name`.
      revision: commit that holds it.
      bytes: size of `theta.safetensors` there.
      sha256: of that file.
      content_hash: of the arrays.
    """

    repository: str
    revision: str
    bytes: int
    sha256: str
    content_hash: str

    @property
    def locator(self) -> str:
        """How these weights, and no later ones, are named: `hf:org/name@COMMIT`."""
        return f"hf:{self.repository}@{self.revision}"


def push(
    path: Path, repository: str, *, licence: str = "unknown", optimizer: str | None = None
) -> PushResult:
    """Uploads a file of weights as safetensors with a model card, and reads it back.

    The repository is made if there is none; what else lies in it stays.

    Args:
      path: a file of weights, or a folder that holds one.
      repository: `org/name`.
      licence: identifier the hub knows (`mit`, `apache-2.0`, ...).
      optimizer: name of the optimizer these weights belong to.

    Raises:
      UsageError: `repository` or `licence` is none.
      WeightsMissingError: there is no file of weights at `path`, or no network.
      WeightsError: the file is damaged, the hub does not take it, or gives back something else.
    """
    if parse_locator(f"hf:{repository}").revision is not None:
        raise UsageError(f"{repository!r} names a revision", hint="expected org/name")
    if not _LICENCE.fullmatch(licence):
        raise UsageError(
            f"{licence!r} is no licence identifier", hint="expected mit, apache-2.0, …"
        )
    file = read_weights(weights_in(path))
    bad = tree.non_finite(file.leaves)
    if bad:
        raise WeightsError(f"{file.path} holds numbers that are not finite: {tree.summarize(bad)}")
    # The name of the file here is nobody's business; the rest of what we know travels along.
    kept = {
        k: v
        for k, v in file.metadata.items()
        if k in ("name", "named_tuples", "optimizer", "original")
    }
    data = encode_safetensors(file.leaves, kept)
    own = file.metadata.get("optimizer")
    optimizer = optimizer or (own if isinstance(own, str) else None)
    card = model_card(file, repository, licence=licence, optimizer=optimizer)
    page = file.path.parent / _CARD
    if path.is_dir() and page.is_file():  # an entry made by `celo zoo add`
        card += "\n" + page.read_text("utf-8")
    try:
        commit = hub.upload(repository, {_CARD: card.encode(), FILE_NAMES[0]: data})
        _read_back(repository, commit, data)
    except WeightsMissingError as error:
        hint = "try again when the hub can be reached; a repeated push does no harm"
        raise WeightsMissingError(f"cannot push {path}: {error.message}", hint=hint) from error
    digest = hashlib.sha256(data).hexdigest()
    return PushResult(repository, commit, len(data), digest, tree.content_hash(file.leaves))


def _read_back(repository: str, commit: str, data: bytes) -> None:
    with hub.temporary_folder() as folder:
        there = hub.download(repository, FILE_NAMES[:1], commit, folder, limit=MAX_FILE_BYTES)
        if there.path.read_bytes() != data:
            raise WeightsError(
                f"the hub gives back another file than was pushed to {repository} as {commit}",
                hint="push again, and do not use that commit",
            )


def model_card(
    file: WeightsFile, repository: str, *, licence: str = "unknown", optimizer: str | None = None
) -> str:
    """The README.md of a repository of weights: metadata as the hub reads them, and what is there.

    Args:
      file: the weights.
      repository: `org/name`.
      licence: identifier the hub knows.
      optimizer: name of the optimizer they belong to, if it is to be told.
    """
    from huggingface_hub import ModelCardData

    tags = ["learned-optimizer", "jax", *([f"celo-optimizer:{optimizer}"] if optimizer else [])]
    data = ModelCardData(license=licence, library_name="celo", tags=tags)
    numbers = sum(leaf.size for leaf in file.leaves.values())
    used_by = f"{optimizer or 'OPTIMIZER'}@hf:{repository}@REVISION"
    whose = f" for the optimizer `{optimizer}`" if optimizer else ""
    return "\n".join(
        [
            f"---\n{data.to_yaml().strip()}\n---",
            f"# {repository.partition('/')[2]}\n",
            f"Weights of a learned optimizer{whose}: {len(file.leaves)} arrays, "
            f"{numbers:,} numbers, in `{FILE_NAMES[0]}`.\n",
            "```",
            f"celo zoo pull hf:{repository}@REVISION",
            f"celo eval --optimizers {used_by} --suite quickstart",
            "```\n",
            "REVISION is the commit that you have looked at; without one, main is taken.\n",
            f"Content hash (paths, types, shapes and bytes): `{tree.content_hash(file.leaves)}`\n",
            # Indented: text in a code block, whatever the paths hold.
            *(f"    {path}  {leaf.dtype.name} {leaf.shape}" for path, leaf in file.leaves.items()),
            "",
        ]
    )
