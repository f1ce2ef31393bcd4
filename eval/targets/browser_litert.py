"""The target browser_litert: a .tflite in LiteRT.js (wasm), with the JavaScript tokenizer, in a real headless
Chromium."""

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from palmtop.errors import UserError
from palmtop.eval.targets._pages import BrowserTarget
from palmtop.eval.targets._web_packages import WEB, packages
from palmtop.signature import Signature

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
    formats: ClassVar[frozenset[str]] = frozenset({"tflite"})
    page: ClassVar[str] = "litert.html"
    runtime: ClassVar[str] = "LiteRT.js"
    npm: ClassVar[Mapping[str, str]] = {"litert.js": "@litertjs/core"}
    most_rows: ClassVar[int] = 1

    def refuses(self, folder: Path) -> str | None:
        """LiteRT.js has no call that gives an input another size."""
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
