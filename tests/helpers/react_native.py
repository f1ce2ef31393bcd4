"""export/react_native type-checked, compiled, and asked in Node in lines of JSON."""

import json
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from palmtop.cli import react_native_tools
from palmtop.export.app.react_native_project import CODE

HERE = react_native_tools.TESTS
STUBS = HERE / "stubs"
"""Of types that come with packages of hundreds of MB."""


@dataclass(frozen=True)
class Node:
    """The compiled code."""

    code: Path

    def ask(self, command: str, path: Path, lines: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
        """What the code answers: see tests/react_native/main.cjs."""
        done = subprocess.run(
            [str(shutil.which("node")), str(HERE / "main.cjs"), str(self.code), command, str(path)],
            input="".join(json.dumps(line) + "\n" for line in lines),
            capture_output=True,
            text=True,
            encoding="utf-8",
            check=False,
        )
        assert done.returncode == 0, done.stderr[-4000:]
        return [json.loads(line) for line in done.stdout.split("\n") if line]


def type_check(project: Path, **changed: Any) -> str:
    """What tsc says of a written project under its own settings; nothing where all is right."""
    settings = {
        "extends": "./tsconfig.json",
        "compilerOptions": {"types": [], **changed},
        "include": ["App.tsx", "model", "palmtop", f"{STUBS}/*.d.ts"],
    }
    (project / "tsconfig.check.json").write_text(json.dumps(settings))
    packages = react_native_tools.TYPESCRIPT.installed()
    assert packages is not None
    (project / "node_modules").symlink_to(packages)
    command = [str(shutil.which("node")), str(packages / "typescript/bin/tsc"), "-p", "tsconfig.check.json"]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    for name in ("tsconfig.check.json", "node_modules"):
        (project / name).unlink()
    return done.stdout


def compiled(folder: Path) -> Node:
    """The code without a model, as Node takes it.

    Skips the test where TypeScript isn't installed.
    """
    if lack := react_native_tools.missing():
        pytest.skip(f"export/react_native is compiled with {lack}")
    shutil.copytree(CODE, folder / "code")
    (folder / "code" / "App.tsx").unlink()  # it needs a model
    told = type_check(
        folder / "code",
        module="commonjs",
        moduleResolution="node10",
        customConditions=None,
        noEmit=False,
        outDir=str(folder / "made"),
        rootDir=str(folder / "code"),
    )
    assert not told
    return Node(folder / "made")
