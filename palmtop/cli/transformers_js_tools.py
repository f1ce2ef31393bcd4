"""What opens in Node and in Chromium what to_app lays out for transformers.js, for the tests: transformers.js from
npm."""

import shutil
from pathlib import Path

from palmtop.npm_packages import NpmPackages

TESTS = Path(__file__).parents[2] / "tests" / "transformers_js"
"""In a clone; an installed package has none."""
TRANSFORMERS_JS = NpmPackages(TESTS, "transformers_js", "transformers.js (475 MB, with ONNX Runtime for every system)")


def missing() -> str | None:
    """What has to be installed before a folder can be opened there, or None."""
    if shutil.which("node") is None:
        return "node: `palmtop setup` installs it, with npm"
    return None if TRANSFORMERS_JS.installed() else f"{TRANSFORMERS_JS.what}: `palmtop setup tests` installs it"
