"""The real huggingface_hub against a server on this machine that answers as the hub does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from celo_zoo import card, content_hash

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def endpoint(state: bytes) -> Iterator[str]:
    files = {f"/amoudgl/celo2-base/resolve/{name}/theta.state": state for name in ("main", COMMIT)}

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self.answer(with_body=False)

        def do_GET(self) -> None:
            self.answer(with_body=True)

        def answer(self, *, with_body: bool) -> None:
            body = files.get(self.path)
            self.send_response(200 if body is not None else 404)
            if body is None:
                known = self.path.startswith("/amoudgl/celo2-base/")
                self.send_header("X-Error-Code", "RevisionNotFound" if known else "RepoNotFound")
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("ETag", '"0123456789"')
            self.send_header("Content-Length", str(len(body or b"")))
            self.end_headers()
            if with_body:
                self.wfile.write(body or b"")

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


def celo(endpoint: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    proxies = {"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"}
    environment = {key: value for key, value in os.environ.items() if key.upper() not in proxies}
    environment |= {"HF_ENDPOINT": endpoint, "HF_HUB_OFFLINE": "0"}
    code = "from celo.cli.main import main; main()"
    command = [sys.executable, "-c", code, "zoo", *arguments, "--format", "json"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)


def test_a_pull_by_the_real_client(endpoint, leaves, cache):
    done = celo(endpoint, "pull", "celo2-base")
    assert done.returncode == 0, done.stderr
    (result,) = json.loads(done.stdout)["weights"]
    assert result["revision"] == COMMIT and result["downloaded"]
    assert result["content_hash"] == content_hash(leaves)
    assert sorted(path.name for path in cache.rglob("*") if path.is_file()) == [
        "record.json",
        "theta.safetensors",
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("celo2-base", "--revision", "none"), "no revision 'none'"),
        (("celo",), "no repository amoudgl/celo"),
    ],
)
def test_what_the_hub_does_not_have(endpoint, cache, arguments, message):
    assert card("celo").repository == "amoudgl/celo"
    done = celo(endpoint, "pull", *arguments)
    assert done.returncode == 1
    assert message in json.loads(done.stdout)["error"]["message"]
    assert not cache.exists()
