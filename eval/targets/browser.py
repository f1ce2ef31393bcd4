"""The target browser: TensorFlow.js (wasm) and the JavaScript tokenizer in a real headless Chromium."""

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from palmtop.eval.targets._pages import BrowserTarget
from palmtop.eval.targets._web_packages import WEB, install_packages

SHIPPED = (
    "@tensorflow/tfjs-core/dist/tf-core.min.js",
    "@tensorflow/tfjs-converter/dist/tf-converter.min.js",
    *(
        f"@tensorflow/tfjs-backend-wasm/dist/{name}"
        for name in (
            "tf-backend-wasm.min.js",
            "tfjs-backend-wasm.wasm",
            "tfjs-backend-wasm-simd.wasm",
            "tfjs-backend-wasm-threaded-simd.wasm",
        )
    ),
    "@tensorflow/tfjs-core/package.json",
    "@huggingface/tokenizers/dist/tokenizers.min.mjs",
)
SHIPPED_OURS = ("encode.js", "truncation.js", "int8_rows.js")
"""What a page of an app needs of the npm packages and of our own scripts; all of it is under the Apache License 2.0."""


class Target(BrowserTarget):
    """A TensorFlow.js graph model with the wasm backend."""

    name: ClassVar[str] = "browser"
    formats: ClassVar[frozenset[str]] = frozenset({"tfjs"})
    page: ClassVar[str] = "tfjs.html"
    runtime: ClassVar[str] = "TensorFlow.js"
    npm: ClassVar[Mapping[str, str]] = {"tfjs": "@tensorflow/tfjs-core"}
    most_rows: ClassVar[int] = 32

    def client_files(self) -> dict[str, Path]:
        """TensorFlow.js, the JavaScript tokenizer, and what of ours goes between them."""
        modules = install_packages()
        return {f"runtime/{Path(name).name}": modules / name for name in SHIPPED} | {
            f"runtime/{name}": WEB / name for name in SHIPPED_OURS
        }
