"""Files as flax writes them, and a hub in memory."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgpack
import numpy as np

from celo_zoo import content_hash, unflatten, write_safetensors


def pack_array(array: np.ndarray) -> msgpack.ExtType:
    return msgpack.ExtType(1, msgpack.packb((array.shape, array.dtype.name, array.tobytes("C"))))


def pack(leaves: Mapping[str, np.ndarray]) -> bytes:
    return msgpack.packb(unflatten({path: pack_array(x) for path, x in leaves.items()}))  # type: ignore[arg-type]


class FakeHub:
    """What huggingface_hub.hf_hub_download would do with these repositories.

    Attributes:
      calls: arguments of every call.
      error: raised by every call, if set.
    """

    def __init__(self) -> None:
        self.revisions: dict[tuple[str, str, str], tuple[str, bytes]] = {}
        self.calls: list[dict[str, Any]] = []
        self.error: Exception | None = None

    def publish(self, repository: str, data: bytes, file: str = "theta.state") -> str:
        """A new commit on main; returns its hash."""
        commit = hashlib.sha1(data, usedforsecurity=False).hexdigest()
        for revision in ("main", commit):
            self.revisions[repository, file, revision] = (commit, data)
        return commit

    def hf_hub_download(
        self, repo_id: str, filename: str, *, revision: str, cache_dir: str | Path, **options: Any
    ) -> str:
        from huggingface_hub import errors

        self.calls.append(dict(repo_id=repo_id, filename=filename, revision=revision, **options))
        if self.error is not None:
            raise self.error
        known = {(repository, name) for repository, name, _ in self.revisions}
        if repo_id not in {repository for repository, _ in known}:
            raise http_error(errors.RepositoryNotFoundError, 404)
        if (repo_id, filename) not in known:
            raise http_error(errors.RemoteEntryNotFoundError, 404)
        if (repo_id, filename, revision) not in self.revisions:
            raise http_error(errors.RevisionNotFoundError, 404)
        commit, data = self.revisions[repo_id, filename, revision]
        folder = Path(cache_dir) / f"models--{repo_id.replace('/', '--')}" / "snapshots" / commit
        folder.mkdir(parents=True)
        (folder / filename).write_bytes(data)
        return str(folder / filename)


def http_error(kind: Any, status: int) -> Exception:
    response = SimpleNamespace(headers={}, request=None, status_code=status)
    return kind(f"{status} Client Error", response=response)


def entry(folder: Path, leaves: Mapping[str, np.ndarray], optimizer: str = "celo2-base") -> Path:
    """As much of what `celo zoo add` writes as is read again."""
    folder.mkdir(parents=True)
    write_safetensors(folder / "theta.safetensors", leaves)
    facts = {
        "id": folder.name,
        "optimizer": optimizer,
        "summary": "made by a test",
        "repository": "",
        "file": "theta.safetensors",
        "recipe": "as it came",
        "cost": "2 device-hours",
        "content_hash": content_hash(leaves),
    }
    lines = [f'{key} = "{value}"' for key, value in facts.items()]
    lines += ["[leaves]", *(f'"{path}" = {list(leaf.shape)}' for path, leaf in leaves.items())]
    (folder / "card.toml").write_text("\n".join(lines))
    return folder
