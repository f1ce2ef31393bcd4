"""A silent web server on localhost for the browser target: named folders and nothing else, asked by this machine's own
names, cross-origin isolated."""

import os
import shutil
import sys
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path, PurePosixPath
from threading import Thread
from typing import Any
from urllib.parse import unquote, urlsplit

TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript",
    ".mjs": "text/javascript",
    ".json": "application/json",
    ".wasm": "application/wasm",
}
ISOLATION = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""The first two let the page share memory between threads; no-store makes every load a load."""


HOSTS = ("127.0.0.1", "localhost")
"""Another name that leads here is a page elsewhere, which would read what is served as its own (DNS rebinding)."""


class WebServer:
    """Serves each folder of `folders` under its name, on a port of its own, until it is closed."""

    def __init__(self, folders: dict[str, Path]) -> None:
        self.folders = dict(folders)
        self._server = _Server(("127.0.0.1", 0), _handler(self.folders))
        self._thread = Thread(target=self._server.serve_forever, daemon=True, name="palmtop-web-server")
        self._thread.start()

    @property
    def address(self) -> str:
        """The server's root."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that goes away in the middle of an answer is no fault."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


def _handler(folders: dict[str, Path]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            path = _find(folders, self.path) if self._asked_here() else None
            self.send_response(HTTPStatus.OK if path else HTTPStatus.NOT_FOUND)
            for name, value in ISOLATION.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(path.stat().st_size if path else 0))
            self.send_header("Content-Type", TYPES.get(path.suffix if path else "", "application/octet-stream"))
            self.end_headers()
            if path:
                with path.open("rb") as file:
                    shutil.copyfileobj(file, self.wfile)

        def _asked_here(self) -> bool:
            port = self.connection.getsockname()[1]
            return self.headers.get("Host") in {f"{name}:{port}" for name in HOSTS}

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the base class's name
            """Nothing is logged."""

    return Handler


def _find(folders: dict[str, Path], address: str) -> Path | None:
    parts = PurePosixPath(unquote(urlsplit(address).path)).parts[1:]
    if len(parts) <= 1 or parts[0] not in folders or ".." in parts:
        return None
    folder = folders[parts[0]].resolve()
    try:
        path = Path(os.path.realpath(folder.joinpath(*parts[1:])))  # unlike Path.resolve, takes a link in a circle
        return path if path.is_relative_to(folder) and path.is_file() else None  # no link leads out
    except (OSError, ValueError):  # a name too long for any file, a NUL
        return None
