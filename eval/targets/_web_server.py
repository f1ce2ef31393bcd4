"""A silent web server on localhost for the browser target: named folders and nothing else, cross-origin isolated."""

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
            path = _find(folders, self.path)
            self.send_response(HTTPStatus.OK if path else HTTPStatus.NOT_FOUND)
            for name, value in ISOLATION.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(path.stat().st_size if path else 0))
            self.send_header("Content-Type", TYPES.get(path.suffix if path else "", "application/octet-stream"))
            self.end_headers()
            if path:
                with path.open("rb") as file:
                    shutil.copyfileobj(file, self.wfile)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the base class's name
            """Nothing is logged."""

    return Handler


def _find(folders: dict[str, Path], address: str) -> Path | None:
    parts = PurePosixPath(unquote(urlsplit(address).path)).parts[1:]
    if len(parts) <= 1 or parts[0] not in folders or ".." in parts:
        return None
    path = folders[parts[0]].joinpath(*parts[1:])
    return path if path.is_file() else None
