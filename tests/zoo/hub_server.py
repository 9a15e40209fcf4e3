"""A server on this machine that speaks the hub's protocol as far as pull and push need it.

Repositories live in memory; faults are set by a test and met by the real huggingface_hub client.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import re
import threading
import time
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN = "hf_loopbackSecretToken"


@dataclass
class Hub:
    """What the server holds and how it misbehaves.

    Attributes:
      revisions: files by (repository, revision); a repository of datasets is called
        `datasets/ORG/NAME`.
      requests: "METHOD PATH" of every request.
      statuses: answered, one each, by the next requests for a file.
      gated: readable with the token only.
      damage: of the body of a stored file: "truncate", "swap", "longer", "slow", "huge" (as it is
        announced), "nothing", "no-ranges" or None.
      half_sent: set when half of a slow body was sent.
    """

    revisions: dict[tuple[str, str], dict[str, bytes]] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    gated: bool = False
    damage: str | None = None
    half_sent: threading.Event = field(default_factory=threading.Event)
    endpoint: str = ""
    seconds: float = 0.0

    def publish(self, repository: str, files: dict[str, bytes]) -> str:
        """A new commit on main; returns its hash."""
        whole = {**self.revisions.get((repository, "main"), {}), **files}
        text = repr((repository, len(self.revisions), sorted(whole.items())))
        commit = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
        for revision in ("main", commit):
            self.revisions[repository, revision] = whole
        return commit

    def commit_of(self, repository: str, revision: str) -> str:
        files = self.revisions[repository, revision]
        return next(
            name
            for (repo, name), other in self.revisions.items()
            if repo == repository and other is files and len(name) == 40
        )


@contextlib.contextmanager
def serving() -> Iterator[Hub]:
    """Runs a hub until the block is left."""
    hub = Hub()
    handler = type("BoundHandler", (Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    hub.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


def _tree(files: dict[str, bytes]) -> list[dict[str, Any]]:
    """What the hub lists: small text files lie in git itself, all others in large-file storage."""
    entries: list[dict[str, Any]] = []
    for path, data in files.items():
        blob = hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()
        entry = {"type": "file", "path": path, "size": len(data), "oid": blob}
        if not path.endswith((".md", ".txt")):
            digest = hashlib.sha256(data).hexdigest()
            entry["lfs"] = {"oid": digest, "size": len(data), "pointerSize": 134}
        entries.append(entry)
    folders = {path.rpartition("/")[0] for path in files} - {""}
    return [{"type": "directory", "path": f, "oid": "0"} for f in sorted(folders)] + entries


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 20
    hub: Hub

    def do_HEAD(self) -> None:
        self._file()

    def do_GET(self) -> None:
        self._file()

    def do_POST(self) -> None:
        hub = self.hub
        hub.requests.append(f"POST {self.path}")
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path == "/api/validate-yaml":
            return self._json({"errors": [], "warnings": []})
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self._json({"error": "Invalid username or password."}, 401)
        if self.path == "/api/repos/create":
            asked = json.loads(body)
            repository = f"{asked['organization']}/{asked['name']}"
            if (repository, "main") in hub.revisions:
                return self._json({"error": "exists", "url": f"{hub.endpoint}/{repository}"}, 409)
            if asked["organization"] != "org":
                return self._json({"error": "no rights"}, 403)
            hub.publish(repository, {})
            return self._json({"url": f"{hub.endpoint}/{repository}"})
        _, _, _, owner, name, verb, *_ = self.path.split("/")
        if verb == "preupload":
            files = json.loads(body)["files"]
            answers = [
                {"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in files
            ]
            return self._json({"files": answers})
        entries = [json.loads(line) for line in body.splitlines()]
        added = {
            e["value"]["path"]: base64.b64decode(e["value"]["content"])
            for e in entries
            if e["key"] == "file"
        }
        commit = hub.publish(f"{owner}/{name}", added)
        url = f"{hub.endpoint}/{owner}/{name}/commit/{commit}"
        return self._json({"commitUrl": url, "commitOid": commit})

    def _file(self) -> None:
        hub = self.hub
        hub.requests.append(f"{self.command} {self.path}")
        if self.path.startswith("/storage/"):
            return self._stored()
        if self.path.startswith("/api/datasets/"):
            return self._dataset()
        if self.path.count("/") < 5 or self.path.startswith("/api/"):
            return self._json({}, 404, {"X-Error-Code": "RepoNotFound"})
        if hub.statuses:
            return self._json({"error": "not now"}, hub.statuses.pop(0), {"Retry-After": "0"})
        kind = "datasets/" if self.path.startswith("/datasets/") else ""
        owner, name, _, revision, file = self.path.removeprefix(f"/{kind}").split("/", 4)
        repository, revision = f"{kind}{owner}/{name}", urllib.parse.unquote(revision)
        if (repository, "main") not in hub.revisions:
            return self._json({}, 404, {"X-Error-Code": "RepoNotFound"})
        if hub.gated and self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self._json({}, 403, {"X-Error-Code": "GatedRepo"})
        if (repository, revision) not in hub.revisions:
            return self._json({}, 404, {"X-Error-Code": "RevisionNotFound"})
        data = hub.revisions[repository, revision].get(file)
        commit = hub.commit_of(repository, revision)
        if data is None:
            headers = {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit}
            return self._json({}, 404, headers)
        # As for every file in large-file storage: the hub knows hash and size, another host sends.
        digest = hashlib.sha256(data).hexdigest()
        storage = hub.endpoint.replace("127.0.0.1", "localhost")
        headers = {
            "X-Repo-Commit": commit,
            "X-Linked-Etag": f'"{digest}"',
            "X-Linked-Size": str(len(data)),
            "ETag": '"0"',
            "Location": f"{storage}/storage/{commit}/{repository}/{file}",
        }
        return self._json({}, 302, headers)

    def _dataset(self) -> None:
        hub = self.hub
        path, _, query = self.path.partition("?")
        owner, name, verb, revision = path.removeprefix("/api/datasets/").split("/")
        repository, revision = f"datasets/{owner}/{name}", urllib.parse.unquote(revision)
        if hub.statuses:
            return self._json({"error": "not now"}, hub.statuses.pop(0), {"Retry-After": "0"})
        if (repository, "main") not in hub.revisions:
            return self._json({}, 404, {"X-Error-Code": "RepoNotFound"})
        if hub.gated and self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self._json({}, 403, {"X-Error-Code": "GatedRepo"})
        if (repository, revision) not in hub.revisions:
            return self._json({}, 404, {"X-Error-Code": "RevisionNotFound"})
        if verb == "revision":
            commit = hub.commit_of(repository, revision)
            return self._json({"id": f"{owner}/{name}", "sha": commit})
        return self._json(_tree(hub.revisions[repository, revision]))

    def _stored(self) -> None:
        hub = self.hub
        _, _, commit, rest = self.path.split("/", 3)
        pieces = rest.split("/", 3 if rest.startswith("datasets/") else 2)
        data = hub.revisions["/".join(pieces[:-1]), commit][pieces[-1]]
        if hub.damage == "swap":
            data = data[:-3] + bytes([data[-3] ^ 1]) + data[-2:]
        if hub.damage == "longer":
            data += b"\0"
        start, whole = 0, len(data)
        if hub.damage == "nothing":
            data = b""
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or "")
        if asked and hub.damage != "no-ranges":
            start = int(asked[1])
            data = data[start:]
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{whole - 1}/{whole}")
        self.send_header("Content-Length", str(2**40 if hub.damage == "huge" else len(data)))
        self.end_headers()
        if self.command == "HEAD":
            return
        if hub.damage in ("truncate", "huge"):
            self.wfile.write(data[: len(data) // 2])
            self.close_connection = True
        elif hub.damage == "slow":
            with contextlib.suppress(OSError):  # the client was killed
                for i in range(0, len(data), max(len(data) // 8, 1)):
                    self.wfile.write(data[i : i + max(len(data) // 8, 1)])
                    self.wfile.flush()
                    if i >= len(data) // 2:
                        hub.half_sent.set()
                    time.sleep(hub.seconds / 8)
        else:
            self.wfile.write(data)

    def _json(self, value: Any, status: int = 200, headers: dict[str, str] | None = None) -> None:
        body = b"" if self.command == "HEAD" else json.dumps(value).encode()
        self.send_response(status)
        for key, text in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(key, text)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass
