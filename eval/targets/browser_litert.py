"""The target browser_litert: a .tflite in LiteRT.js (wasm), with the JavaScript tokenizer, in a real headless
Chromium."""

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from palmtop.data.encoding import Text
from palmtop.errors import UserError
from palmtop.eval.targets._cascade import cost_of_both, opened, refused
from palmtop.eval.targets._pages import BrowserTarget
from palmtop.eval.targets._web_packages import WEB, packages
from palmtop.signature import Signature
from palmtop.target import Runner

SHIPPED = {
    "litert.js": "@litertjs/core/dist/index.js",
    "litert_wasm_utils.js": "@litertjs/wasm-utils/dist/index.js",
    "package.json": "@litertjs/core/package.json",
    **{
        f"{name}.{end}": f"@litertjs/core/wasm/{name}.{end}"
        for name in ("litert_wasm_internal", "litert_wasm_compat_internal")
        for end in ("js", "wasm")
    },
    "tokenizers.min.mjs": "@huggingface/tokenizers/dist/tokenizers.min.mjs",
}
"""What a page of an app needs of the npm packages, all of it under the Apache License 2.0; of the wasm modules one with
relaxed SIMD, and one for browsers without it."""
SHIPPED_OURS = ("encode.js", "truncation.js")


class Target(BrowserTarget):
    """The file that phones run, one text at a time, as its fixed lengths want it."""

    name: ClassVar[str] = "browser_litert"
    formats: ClassVar[frozenset[str]] = frozenset({"tflite", "tflite_cascade"})
    page: ClassVar[str] = "litert.html"
    runtime: ClassVar[str] = "LiteRT.js"
    npm: ClassVar[Mapping[str, str]] = {"litert.js": "@litertjs/core"}
    most_rows: ClassVar[int] = 1

    def refuses(self, folder: Path) -> str | None:
        """LiteRT.js has no call that gives an input another size."""
        return refused(folder, self._refuses_one)

    def open(self, folder: Path, threads: int = 1) -> Runner:
        """Load a file into a page of its own, or both of a cascade into one each."""
        return opened(folder, lambda one: super(Target, self).open(one, threads))

    def cost_of_loading(self, folder: Path, text: Text, threads: int = 1) -> tuple[float, float]:
        """See `BrowserTarget`; of a cascade the sum of both, each in a browser started for it."""
        return cost_of_both(folder, lambda one: super(Target, self).cost_of_loading(one, text, threads))

    def _refuses_one(self, folder: Path) -> str | None:
        any_length = Signature.read(folder).lengths is None
        return "LiteRT.js takes fixed lengths only, and this file takes any" if any_length else super().refuses(folder)

    def client_files(self) -> dict[str, Path]:
        """LiteRT.js, the JavaScript tokenizer, and what of ours goes between them.

        Raises:
            UserError: they aren't installed. A .tflite makes an app without them too, so nothing is fetched for it.
        """
        modules = packages()
        if modules is None:
            raise UserError("LiteRT.js isn't installed: `palmtop setup` fetches it")
        return {f"runtime/{name}": modules / path for name, path in SHIPPED.items()} | {
            f"runtime/{name}": WEB / name for name in SHIPPED_OURS
        }
