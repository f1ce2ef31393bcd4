"""The one length at which all rows of a table are timed: it comes from the training texts."""

from pathlib import Path

import pytest
from tiny import write_tokenizer

from palmtop.bundle import Bundle, Origin, seal
from palmtop.eval.measuring.common_length import WITHOUT_TOKENS, common_length
from palmtop.signature import Signature
from palmtop.target import find
from palmtop.task import Task

TORCH, ONNX = find("host_torch"), find("host_onnx")


def write_bundle(folder: Path, longest: int = 128, lengths: tuple[int, ...] | None = None) -> Bundle:
    folder.mkdir()
    write_tokenizer(folder, "bert")
    Signature(inputs=("input_ids",), max_length=longest, lengths=lengths, pad_id=0).write(folder)
    seal(folder, "torch", Origin(stage="adopt", settings={}, inputs={}, versions={}), None, {})
    return Bundle.open(folder)


@pytest.fixture
def task(tmp_path: Path) -> Task:
    """100 training texts of 3 to 102 tokens, specials included, and one short text to measure on."""
    rows = [f"{' '.join(['please'] * words)},{'ab'[words % 2]}" for words in range(1, 101)]
    (tmp_path / "train.csv").write_text("\n".join(["text,label", *rows]) + "\n")
    (tmp_path / "test.csv").write_text("text,label\nplease the my,a\n")
    given = {"name": "t", "text": "text", "label": "label", "train": "train.csv", "evaluation": "test.csv"}
    return Task.find(given | {"labels": ["a", "b"]}, tmp_path)


def test_95_of_100_texts_are_no_longer(task: Task, tmp_path: Path) -> None:
    torch = write_bundle(tmp_path / "torch")
    assert common_length(task, {"torch": torch}, None, [(torch, TORCH)]) == 104  # of 97, a multiple of 8


def test_it_is_no_more_than_every_artefact_takes(task: Task, tmp_path: Path) -> None:
    torch, short = write_bundle(tmp_path / "torch"), write_bundle(tmp_path / "short", 50)
    both = {"torch": torch, "short": short}
    assert common_length(task, both, "torch", [(torch, TORCH), (short, ONNX)]) == 50


def test_a_file_of_fixed_lengths_sets_one_for_all(task: Task, tmp_path: Path) -> None:
    torch, fixed = write_bundle(tmp_path / "torch"), write_bundle(tmp_path / "fixed", 128, (64, 128))
    assert common_length(task, {"torch": torch, "fixed": fixed}, "torch", [(torch, TORCH), (fixed, ONNX)]) == 128


def test_far_from_the_training_texts_those_of_evaluation_count(task: Task, tmp_path: Path) -> None:
    torch = write_bundle(tmp_path / "torch")
    (tmp_path / "train.csv").unlink()
    assert common_length(task, {"torch": torch}, None, [(torch, TORCH)]) == 8


def test_where_nothing_has_tokens_nothing_is_padded(task: Task) -> None:
    assert common_length(task, {}, None, []) == WITHOUT_TOKENS
