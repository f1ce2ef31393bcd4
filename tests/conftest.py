"""What holds for all tests: threads that wait sleep, as under the command line, no hub is asked, and no cache grows.

And bundles that are made once for all files; a test copies what it changes.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from once import MadeOnce
    from tiny_bundles import Taught

    from palmtop.bundle import Bundle

os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

LONGEST = (
    "test_families.py",
    "test_sentence_embedding.py",
    "test_every_cell.py",
    "test_quickstart.py",
    "test_search_whole.py",
    "test_price.py",
    "test_transformers_js.py",
    "test_apk.py",
    "test_app_page_litert.py",
    "test_app_page_kinds.py",
    "test_engine.py",
    "test_any_length.py",
    "test_task_kinds.py",
    "test_exports.py",
    "test_executorch.py",
    "test_mediapipe_target.py",
    "test_remote_target.py",
    "test_training.py",
)
"""Files, by the time they take."""

LONG_FAMILIES = frozenset(
    {"big_bird", "camembert", "convbert", "deberta", "fnet", "longformer", "reformer", "roformer", "xlm", "xlnet"}
)
"""Families for which CI has no time: what is made of them is tested by `-m long`, their graphs every day."""


@pytest.hookimpl(tryfirst=True)  # before pytest chooses by marks
def pytest_collection_modifyitems(items: "list[pytest.Item]") -> None:
    """Mark the tests that make something of a family, and start the longest files first: at the end one worker would
    wait for the other's alone."""
    for item in items:
        if _families_made(item) & LONG_FAMILIES:
            item.add_marker(pytest.mark.long)
        if item.get_closest_marker("long"):
            item.add_marker(pytest.mark.slow)  # whoever leaves out the slow ones leaves out these
    turn = {name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: turn.get(item.path.name, len(turn)))


def _families_made(item: "pytest.Item") -> set[str]:
    """What a test is given by parameters, where it makes a model: it has a folder for it, or a fixture has."""
    given: dict[str, Any] = getattr(getattr(item, "callspec", None), "params", {})
    here = "tmp_path" in getattr(item, "fixturenames", ())
    return {value for name, value in given.items() if isinstance(value, str) and (here or name != "family")}


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A cache folder of this run, in which only what was downloaded is the user's own: what is asked of teachers is
    asked anew."""
    from palmtop.folders import cache

    tools = ("kotlin", "apk", "react_native", "transformers_js", "arm64", "debian", "arm64-unpacked")
    downloads = [cache(name) for name in ("web", "judges", *tools)]
    folder = tmp_path_factory.mktemp("cache")
    for found in downloads:
        (folder / found.name).symlink_to(found, target_is_directory=True)
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("PALMTOP_CACHE", str(folder))
        yield


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of this run, one for all of xdist's processes."""
    own = tmp_path_factory.getbasetemp()
    return (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "shared"


@pytest.fixture(scope="session")
def once(shared: Path) -> "MadeOnce":
    """Makes a bundle, or gives the equal one that another test had made: once("to_onnx", {}, source)."""
    from once import made_once

    return lambda use, settings, source: made_once(shared / "made", use, settings, source)


@pytest.fixture(scope="session")
def taught_bert(shared: Path) -> "Taught":
    """A BERT of two layers, 32 wide, that is sure of its tiny task."""
    from once import taught_once
    from tiny_bundles import taught

    return taught_once(shared / "taught", taught)


@pytest.fixture(scope="session")
def teacher(taught_bert: "Taught") -> "Bundle":
    """The same, alone."""
    return taught_bert.teacher


@pytest.fixture(scope="session")
def adopted_bert(shared: Path) -> "Bundle":
    """A random BERT with the tiny task's head, whose answers differ widely."""
    from once import MADE, alone
    from tiny_bundles import adopted

    from palmtop.bundle import Bundle

    with alone(shared / "adopted") as first:
        if first:
            adopted(shared / "adopted", "bert")
            (shared / "adopted" / MADE).touch()
    return Bundle.open(shared / "adopted" / "adopted")


@pytest.fixture(scope="session")
def reader(shared: Path) -> "Taught":
    """A BERT of two layers, 32 wide, that answers questions on a context."""
    from once import taught_once
    from tiny_bundles import taught_reader

    return taught_once(shared / "reader", taught_reader)


@pytest.fixture(scope="session")
def reader_files(reader: "Taught", once: "MadeOnce") -> "dict[int, Bundle]":
    """The same as .tflite, by its length."""
    return {length: once("to_tflite", {"lengths": length}, reader.teacher) for length in (64, 384)}


@pytest.fixture(scope="session")
def task(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A tiny task."""
    from tiny import write_task

    return write_task(tmp_path_factory.mktemp("task"))


@pytest.fixture(scope="session")
def random_bert(task: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> "Bundle":
    """A random BERT with the task's head."""
    from tiny_bundles import torch_bundle

    return torch_bundle(tmp_path_factory.mktemp("random") / "torch", task)


@pytest.fixture(scope="session")
def random_onnx(random_bert: "Bundle", tmp_path_factory: pytest.TempPathFactory) -> "Bundle":
    """The same as ONNX."""
    from tiny_bundles import onnx_bundle

    return onnx_bundle(tmp_path_factory.mktemp("random") / "onnx", random_bert)


@pytest.fixture(scope="session")
def floor(task: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> "Bundle":
    """The linear floor of the task."""
    from tiny_bundles import linear_bundle

    return linear_bundle(tmp_path_factory.mktemp("floor") / "floor", task)


@pytest.fixture(scope="session")
def biased_bert(tmp_path_factory: pytest.TempPathFactory) -> "Bundle":
    """A random classifier whose biases aren't 0, with a task."""
    from biased import with_biases
    from tiny_bundles import adopted

    return with_biases(adopted(tmp_path_factory.mktemp("bert"), "bert"), tmp_path_factory.mktemp("biases") / "bert")
