"""android_demo on the JVM: compiled once for all tests."""

from pathlib import Path

import pytest
from kotlin_jvm import Jvm, compiled_once


@pytest.fixture(scope="session")
def jvm(shared: Path) -> Jvm:
    """Core and engine, and LiteRT's C functions in the shape of its class for Android."""
    return compiled_once(shared)
