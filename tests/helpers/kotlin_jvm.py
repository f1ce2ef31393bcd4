"""android_demo's core and engine, compiled for this machine's JVM, and asked in lines of JSON."""

import importlib.util
import json
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from once import MADE, alone

from palmtop.cli import kotlin_tools

ROOT = Path(__file__).parents[2]
CORE, ENGINE = (ROOT / "android_demo" / part / "src" / "main" / "kotlin" for part in ("core", "engine"))
HARNESS = ROOT / "tests" / "android" / "jvm"
"""A class of LiteRT's shape over its C functions, and a main program."""
MAIN = "app.palmtop.engine.MainKt"
QUICK = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xshare:auto")
"""For programs that run for seconds: no second compiler in the JVM, no collector with threads."""


@dataclass(frozen=True)
class Jvm:
    """Classes that were compiled, ready to be asked."""

    classes: Path
    """A jar, or a folder."""
    options: tuple[str, ...] = ()
    """More words for the JVM."""

    def ask(self, command: str, path: Path, lines: Iterable[dict[str, Any]] = ()) -> list[dict[str, Any]]:
        """What the main program answers: see tests/android/jvm/Main.kt."""
        class_path = [self.classes, libraries() / "kotlin-stdlib.jar", *kotlin_tools.JARS.values()]
        java = [
            str(shutil.which("java")),
            *QUICK,
            *self.options,
            "-Dfile.encoding=UTF-8",
            f"-Dlitert.library={litert_library()}",
        ]
        done = subprocess.run(
            [*java, "-cp", ":".join(map(str, class_path)), MAIN, command, str(path)],
            input="".join(json.dumps(line) + "\n" for line in lines),
            capture_output=True,
            text=True,
            encoding="utf-8",
            check=False,
        )
        assert done.returncode == 0, done.stderr[-4000:]
        return [json.loads(line) for line in done.stdout.split("\n") if line]


def compiled_once(shared: Path) -> Jvm:
    """Core, engine and LiteRT's C functions in the shape of its class for Android, compiled once for all tests; skips
    the test where the tools aren't there."""
    libraries()
    folder = shared / "kotlin"
    with alone(folder) as first:
        if first:
            compile_kotlin(sources(), folder, list(kotlin_tools.JARS.values()))
            (folder / MADE).touch()
    return Jvm(folder)


def sources() -> list[Path]:
    """The Kotlin files of core, engine and the harness."""
    return sorted(path for folder in (CORE, ENGINE, HARNESS) for path in folder.rglob("*.kt"))


def compile_kotlin(files: Sequence[Path], out: Path, class_path: Sequence[Path], options: Sequence[str] = ()) -> None:
    """Compile Kotlin files into a jar or a folder; a warning is an error. Java files are only looked things up in."""
    command = [
        str(shutil.which("java")),
        *QUICK,
        "-Xmx1g",
        *("-cp", str(libraries() / "kotlin-compiler.jar"), "org.jetbrains.kotlin.cli.jvm.K2JVMCompiler"),
        *("-no-stdlib", "-no-reflect", "-Werror", "-jvm-target", "17", *options, "-d", str(out)),
        *("-classpath", ":".join(map(str, [libraries() / "kotlin-stdlib.jar", *class_path]))),
        *map(str, files),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]


def libraries() -> Path:
    """The folder of the Kotlin compiler and its standard library; skips the test where they aren't installed."""
    if lack := kotlin_tools.missing():
        pytest.skip(f"android_demo is compiled with {lack}")
    return kotlin_tools.KOTLIN.install() / "kotlin-compiler" / "lib"


def litert_library() -> Path:
    """LiteRT itself, as the ai-edge-litert wheel has it."""
    found = importlib.util.find_spec("ai_edge_litert")
    if found is None or found.origin is None:
        pytest.skip("LiteRT's library comes with ai-edge-litert: pip install 'palmtop[tflite]'")
    return Path(found.origin).parent / "libLiteRt.so"
