"""What transformers.js says of a folder, in Node."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from palmtop.cli import transformers_js_tools

HERE = transformers_js_tools.TESTS
MODULE = Path("@huggingface", "transformers", "dist", "transformers.node.mjs")


def packages() -> Path:
    """The folder with transformers.js; skips the test where it isn't installed."""
    if lack := transformers_js_tools.missing():
        pytest.skip(f"the folder is opened with {lack}")
    found = transformers_js_tools.TRANSFORMERS_JS.installed()
    assert found is not None
    return found


def asked(*questions: dict[str, Any]) -> list[Any]:
    """An answer for each question: see tests/transformers_js/main.mjs."""
    given = {"module": str(packages() / MODULE), "questions": questions}
    done = subprocess.run(
        [str(shutil.which("node")), str(HERE / "main.mjs")],
        input=json.dumps(given, default=str),
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    answers: list[Any] = json.loads(done.stdout)
    return answers
