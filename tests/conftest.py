"""What holds for all tests: threads that wait sleep, as under the command line, and no hub is asked."""

import os

import pytest

os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

LONGEST = "test_quickstart.py"


def pytest_collection_modifyitems(items: "list[pytest.Item]") -> None:
    """The longest file starts first: at the end one worker would wait for it alone."""
    items.sort(key=lambda item: item.path.name != LONGEST)
