"""android_demo on the JVM: compiled once for all tests."""

from pathlib import Path

import pytest
from kotlin_jvm import Jvm, compile_kotlin, libraries, sources
from once import MADE, alone

from palmtop.cli import kotlin_tools


@pytest.fixture(scope="session")
def jvm(shared: Path) -> Jvm:
    """Core and engine, and LiteRT's C functions in the shape of its class for Android."""
    libraries()  # skips where the tools aren't there
    folder = shared / "kotlin"
    with alone(folder) as first:
        if first:
            compile_kotlin(sources(), folder, list(kotlin_tools.JARS.values()))
            (folder / MADE).touch()
    return Jvm(folder)
