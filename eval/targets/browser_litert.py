"""The target browser_litert: a .tflite in LiteRT.js (wasm), with the JavaScript tokenizer, in a real headless
Chromium."""

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from palmtop.eval.targets._pages import BrowserTarget
from palmtop.signature import Signature


class Target(BrowserTarget):
    """The file that phones run, one text at a time, as its fixed lengths want it."""

    name: ClassVar[str] = "browser_litert"
    formats: ClassVar[frozenset[str]] = frozenset({"tflite"})
    page: ClassVar[str] = "litert.html"
    runtime: ClassVar[str] = "LiteRT.js"
    npm: ClassVar[Mapping[str, str]] = {"litert.js": "@litertjs/core"}
    most_rows: ClassVar[int] = 1

    def refuses(self, folder: Path) -> str | None:
        """LiteRT.js has no call that gives an input another size."""
        any_length = Signature.read(folder).lengths is None
        return "LiteRT.js takes fixed lengths only, and this file takes any" if any_length else super().refuses(folder)
