"""export/react_native in Node: compiled once for all tests."""

from pathlib import Path

import pytest
from once import MADE, alone
from react_native import Node, compiled

from palmtop.cli import react_native_tools


@pytest.fixture(scope="session")
def node(shared: Path) -> Node:
    """The code as Node takes it; its types are checked on the way."""
    if lack := react_native_tools.missing():
        pytest.skip(f"export/react_native is compiled with {lack}")
    folder = shared / "react_native"
    with alone(folder) as first:
        if first:
            compiled(folder)
            (folder / MADE).touch()
    return Node(folder / "made")
