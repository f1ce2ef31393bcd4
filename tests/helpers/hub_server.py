"""A small server that speaks the hub's HTTP interface, as far as uploading and fetching a model needs it: repositories,
branches, commits with plain and with LFS files, trees, files by revision."""

import base64
import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN = "hf_of_the_tests"
LARGE = 50_000
"""Bytes from which on a file goes by LFS."""
Files = dict[str, bytes]


@dataclass
class Hub:
    """What was sent to it."""

    address: str = ""
    private: dict[str, bool] = field(default_factory=dict)
    """Repositories, and whether only their owner sees them."""
    branches: dict[tuple[str, str], str] = field(default_factory=dict)
    """The commit of a repository's branch."""
    commits: dict[str, Files] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)
    stored: dict[str, bytes] = field(default_factory=dict)
    """By LFS, by sha256."""

    def files(self, name: str, revision: str = "main") -> Files:
        """The files of a branch, or of a commit."""
        return self.commits[self.branches.get((name, revision), revision)]

    def commit(self, name: str, revision: str, changed: Files) -> str:
        """Add files to a branch; returns the commit."""
        before = self.commits.get(self.branches.get((name, revision), ""), {})
        made = hashlib.sha1(f"{name}{revision}{len(self.commits)}".encode(), usedforsecurity=False).hexdigest()
        self.commits[made] = {**before, **changed}
        self.branches[name, revision] = made
        return made


@contextmanager
def hub() -> Iterator[Hub]:
    """A hub with nothing in it, on this machine."""
    kept = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": kept}))
    kept.address = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield kept
    finally:
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the base class's name
        """Nothing is logged."""

    def do_GET(self) -> None:
        self._answer("GET")

    def do_HEAD(self) -> None:
        self._answer("HEAD")

    def do_POST(self) -> None:
        self._answer("POST")

    def do_PUT(self) -> None:
        self._answer("PUT")

    def _answer(self, verb: str) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = self.path.partition("?")[0]
        for method, pattern, handle in _ROUTES:
            if method == verb.replace("HEAD", "GET") and (found := re.fullmatch(pattern, path)):
                if method != "GET" and "/lfs-store/" not in path and not self._may_write():
                    self._send(401, {"error": "Invalid credentials"})
                    return
                handle(self, body, **found.groupdict())
                return
        self._send(404, {"error": f"no {verb} {path}"})

    def _may_write(self) -> bool:
        return self.headers.get("Authorization") == f"Bearer {TOKEN}"

    def _send(self, status: int, content: Any, headers: dict[str, str] | None = None) -> None:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in ({"Content-Type": "application/json"} | (headers or {})).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def create(self, body: bytes) -> None:
        asked = json.loads(body)
        name = f"{asked['organization']}/{asked['name']}"
        known = name in self.hub.private
        if not known:
            self.hub.private[name] = asked.get("visibility") == "private"
            self.hub.commit(name, "main", {".gitattributes": b""})
        self._send(409 if known else 200, {"url": f"{self.hub.address}/{name}", "id": name, "name": name})

    def branch(self, body: bytes, name: str, revision: str) -> None:
        known = (name, revision) in self.hub.branches
        self.hub.branches.setdefault((name, revision), self.hub.branches[name, "main"])
        self._send(409 if known else 200, {})

    def valid(self, body: bytes) -> None:
        self._send(200, {"errors": [], "warnings": []})

    def preupload(self, body: bytes, name: str, revision: str) -> None:
        files = json.loads(body)["files"]
        modes = [
            {
                "path": each["path"],
                "uploadMode": "lfs" if each["size"] >= LARGE else "regular",
                "shouldIgnore": False,
            }
            for each in files
        ]
        self._send(200, {"files": modes})

    def batch(self, body: bytes, name: str) -> None:
        objects = json.loads(body)["objects"]
        told = [
            {**each, "actions": {"upload": {"href": f"{self.hub.address}/lfs-store/{each['oid']}"}}} for each in objects
        ]
        self._send(200, {"transfer": "basic", "objects": told}, {"Content-Type": "application/vnd.git-lfs+json"})

    def store(self, body: bytes, oid: str) -> None:
        assert hashlib.sha256(body).hexdigest() == oid
        self.hub.stored[oid] = body
        self._send(200, {})

    def commit(self, body: bytes, name: str, revision: str) -> None:
        changed: Files = {}
        for line in map(json.loads, body.decode().splitlines()):
            value = line["value"]
            if line["key"] == "file":
                changed[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                changed[value["path"]] = self.hub.stored[value["oid"]]
            else:
                self.hub.messages.append(value["summary"])
        made = self.hub.commit(name, revision, changed)
        self._send(200, {"success": True, "commitOid": made, "commitUrl": f"{self.hub.address}/{name}/commit/{made}"})

    def info(self, body: bytes, name: str, revision: str | None = None) -> None:
        sha = self.hub.branches.get((name, revision or "main"), revision)
        if sha not in self.hub.commits:
            self._send(404, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"})
            return
        siblings = [{"rfilename": path} for path in self.hub.commits[sha]]
        self._send(200, {"id": name, "modelId": name, "sha": sha, "private": False, "tags": [], "siblings": siblings})

    def tree(self, body: bytes, name: str, revision: str) -> None:
        files = self.hub.files(name, revision)
        self._send(
            200,
            [{"type": "file", "path": path, "size": len(held), "oid": _oid(held)} for path, held in files.items()],
        )

    def resolve(self, body: bytes, name: str, revision: str, path: str) -> None:
        sha = self.hub.branches.get((name, revision), revision)
        held = self.hub.files(name, sha).get(path)
        if held is None:
            self._send(404, {"error": "Entry not found"}, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": sha})
            return
        self._send(200, held, {"ETag": f'"{_oid(held)}"', "X-Repo-Commit": sha})


def _oid(content: bytes) -> str:
    return hashlib.sha1(content, usedforsecurity=False).hexdigest()


_NAME, _REVISION = r"(?P<name>[^/]+/[^/]+)", r"(?P<revision>[^/]+)"
_ROUTES: tuple[tuple[str, str, Callable[..., None]], ...] = (
    ("POST", "/api/repos/create", _Handler.create),
    ("POST", "/api/validate-yaml", _Handler.valid),
    ("POST", f"/api/models/{_NAME}/branch/{_REVISION}", _Handler.branch),
    ("POST", f"/api/models/{_NAME}/preupload/{_REVISION}", _Handler.preupload),
    ("POST", f"/{_NAME}\\.git/info/lfs/objects/batch", _Handler.batch),
    ("PUT", "/lfs-store/(?P<oid>[0-9a-f]+)", _Handler.store),
    ("POST", f"/api/models/{_NAME}/commit/{_REVISION}", _Handler.commit),
    ("GET", f"/api/models/{_NAME}", _Handler.info),
    ("GET", f"/api/models/{_NAME}/revision/{_REVISION}", _Handler.info),
    ("GET", f"/api/models/{_NAME}/tree/{_REVISION}", _Handler.tree),
    ("GET", f"/{_NAME}/resolve/{_REVISION}/(?P<path>.+)", _Handler.resolve),
)
