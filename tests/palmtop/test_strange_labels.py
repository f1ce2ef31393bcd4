"""Labels as strangers write them: two spellings of one, several in one field, values that are none, amounts."""

import json
from pathlib import Path
from typing import Any

import pytest

from palmtop.errors import UserError
from palmtop.task import Task
from palmtop.task_notes import noticed


def task_of(folder: Path, labels: list[Any], evaluation: list[Any] | None = None, /, **settings: Any) -> Task:
    """A task of JSONL files with these labels; evaluation has other texts."""
    for name, values in (("train", labels), ("test", labels if evaluation is None else evaluation)):
        rows = [{"text": f"{name} {place}", "label": label} for place, label in enumerate(values)]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    given = {"name": "t", "text": "text", "label": "label", "train": "train.jsonl", "evaluation": "test.jsonl"}
    return Task.find(given | settings, folder)


def fault(task: Task) -> str:
    with pytest.raises(UserError) as caught:
        task.check()
    return caught.value.faults[0].replace(f"{Path(task.train.file or '').parent}/", "")


def notes(task: Task) -> tuple[str, ...]:
    return noticed(task, task.check()).notes


@pytest.mark.parametrize("kind", ["classification", "multi_label"])
@pytest.mark.parametrize("other", ["Garden", "GARDEN", "\uff47arden", "gar\u200bden"])
def test_spellings_of_one_label_are_refused(kind: str, other: str, tmp_path: Path) -> None:
    told = fault(task_of(tmp_path, ["garden", other, "kitchen"], kind=kind))
    assert told.startswith("train.jsonl: labels in column 'label' differ by spaces, capitals or form alone: ")
    assert repr(other) in told and "'garden'" in told and "kitchen: kitchen}" in told


@pytest.mark.parametrize("other", ["garden ", " garden", "gar den", "garden\u00a0"])
def test_spaces_make_no_other_class(other: str, tmp_path: Path) -> None:
    assert repr(other) in fault(task_of(tmp_path, ["garden", other, "kitchen"]))


@pytest.mark.parametrize("pair", [("1", "1.0"), ("01", "1")])
def test_a_number_in_two_forms_is_one_label(pair: tuple[str, str], tmp_path: Path) -> None:
    assert f"form alone: {pair[0]!r}, {pair[1]!r}: " in fault(task_of(tmp_path, [*pair, "2"]))


def test_labels_that_look_the_same_are_written_out(tmp_path: Path) -> None:
    told = fault(task_of(tmp_path, ["caf\u00e9", "cafe\u0301", "b"]))
    assert r"form alone: 'cafe\u0301', 'caf\xe9': " in told


def test_a_text_as_a_label_is_told(tmp_path: Path) -> None:
    assert notes(task_of(tmp_path, ["a" * 101, "b"])) == (
        f"1 of the labels in column 'label' with over 100 characters ('{'a' * 40}...'): is this the column of the "
        "labels?",
    )


def test_what_is_told_merges_them(tmp_path: Path) -> None:
    given = ["garden", "Garden", "kitchen", "garden "]
    told = fault(task_of(tmp_path, given))
    (tmp_path / "task.yaml").write_text(
        "name: t\ntext: text\nlabel: label\ntrain: train.jsonl\nevaluation: test.jsonl\nlabels: "
        + told.partition("with labels: ")[2].partition("; or list")[0]
    )
    merged = Task.find("task.yaml", tmp_path)
    assert merged.label_names == ("garden", "kitchen")
    assert merged.check()["train"].labels.tolist() == [0, 0, 1, 0]
    meant = task_of(tmp_path, given, labels=["garden", "Garden", "garden ", "kitchen"])
    assert meant.load("train").labels.tolist() == [0, 1, 3, 2]


@pytest.mark.parametrize("listed", [False, True])
@pytest.mark.parametrize(
    ("odd", "what"),
    [("a\nb", "a line break"), ("a\u2028b", "a line break"), ("a\x1b[2Jb", r"a control character ('\x1b')")],
)
def test_a_label_is_one_line_of_plain_text(listed: bool, odd: str, what: str, tmp_path: Path) -> None:
    told = fault(task_of(tmp_path, [odd, "c"], **({"labels": [odd, "c"]} if listed else {})))
    assert told == (
        f"train.jsonl: the label {odd!r} in column 'label' has {what} in it: write it on one line, in plain text"
    )


@pytest.mark.parametrize(
    ("odd", "message"),
    [
        (
            ["a", "b"],
            "train.jsonl: 1 row (2) has a list of labels in column 'label' (the first: ['a', 'b']): a task of several "
            "labels a text is of kind: multi_label",
        ),
        (
            "['a', 'b']",
            "train.jsonl: 1 row (2) has a list of labels in column 'label' (the first: \"['a', 'b']\"): a task of "
            "several labels a text is of kind: multi_label, with | between the labels",
        ),
        (
            {"name": "a"},
            "train.jsonl: 1 row (2) has an object, no label, in column 'label' (the first: {'name': 'a'}): write the "
            "label itself",
        ),
        (
            float("nan"),
            "train.jsonl: 1 row (2) has no label in column 'label': remove them, or use a labelled split",
        ),
        (
            "a|b",
            "train.jsonl: labels in column 'label' are several in one: 'a|b': a task of several labels a text is of "
            "kind: multi_label; list all labels under 'labels' in the task, if each is one",
        ),
    ],
)
def test_what_is_no_label(odd: Any, message: str, tmp_path: Path) -> None:
    assert fault(task_of(tmp_path, ["a", odd, "b"])) == message


@pytest.mark.parametrize(
    ("odd", "message"),
    [
        (["a", "b"], "['a', 'b'] is a list, no text: write the text itself"),
        ({"en": "a"}, "{'en': 'a'} is an object, no text: write the text itself"),
        (float("nan"), 'nan is no text: write the text, or an empty one ("") where there is none'),
    ],
)
def test_what_is_no_text(odd: Any, message: str, tmp_path: Path) -> None:
    task = task_of(tmp_path, ["a", "b"])
    rows = [{"text": "hi", "label": "a"}, {"text": odd, "label": "b"}]
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert fault(task) == f"train.jsonl, row 2: {message}"


def test_a_class_for_each_row_is_refused_and_nearly_one_is_told(tmp_path: Path) -> None:
    own = fault(task_of(tmp_path, [f"id-{number}" for number in range(12)]))
    assert own.startswith("train.jsonl: each of the 12 rows has a label of its own in column 'label': there is nothing")
    nearly = task_of(tmp_path, [*(f"id-{number}" for number in range(11)), "id-3"])
    assert notes(nearly) == (
        "11 labels in column 'label' for 12 rows, most with one row only: is this the column of the labels?",
    )
    with pytest.raises(
        UserError, match=r"^task: 'text' is named as the text and as the label; name the column of each"
    ):
        task_of(tmp_path, ["a", "b"], label="text")


@pytest.mark.parametrize("word", ["nan", "None", "null", "NA", "N/A"])
def test_a_word_for_no_value_is_told(word: str, tmp_path: Path) -> None:
    assert notes(task_of(tmp_path, ["a", "b", word])) == (
        f"1 row has the label '{word}' in column 'label', as programs write no value: it is learnt as a class of its "
        "own; remove these rows if it isn't meant as one",
    )


@pytest.mark.parametrize(
    ("labels", "told"), [([1.5, 2.0, 3.25], True), (list(range(20)), True), ([1, 2, 3, 4, 5], False), ([0, 1], False)]
)
def test_amounts_taken_for_classes_are_told(labels: list[float], told: bool, tmp_path: Path) -> None:
    assert any("set kind: regression" in note for note in notes(task_of(tmp_path, labels * 2))) == told


@pytest.mark.parametrize(("most", "metric", "told"), [(18, None, True), (18, "macro_f1", False), (15, None, False)])
def test_a_label_of_nearly_all_rows_is_told(most: int, metric: str | None, told: bool, tmp_path: Path) -> None:
    task = task_of(tmp_path, ["ham"] * most + ["spam"] * (20 - most), ["ham", "spam"], metric=metric)
    note = (
        "'ham' is the label of 90% of the training rows: answering nothing else has accuracy 0.90, so choose and "
        "compare by another metric (metric: macro_f1, or matthews)"
    )
    assert (note in notes(task)) == told


def test_labels_without_training_rows_are_told(tmp_path: Path) -> None:
    task = task_of(tmp_path, ["a", "b", "a"], ["a", "c", "c"], labels=["a", "b", "c", "d"])
    assert notes(task) == (
        "the training data has no row of 2 labels that the task lists, so it can't learn: 'c', 'd'",
        "2 rows of the evaluation split have a label that no training row has ('c'): no model can get these right",
    )
    assert "unknown to the task: 'c'" in fault(task_of(tmp_path, ["a", "b"], ["a", "c"]))


def test_labels_of_several_without_training_rows_are_told(tmp_path: Path) -> None:
    task = task_of(tmp_path, [["a"], ["a", "b"]], [["c", "a"], []], kind="multi_label", labels=["a", "b", "c"])
    assert notes(task) == (
        "1 row of the evaluation split has a label that no training row has ('c'): no model can get these right",
    )


def test_spaces_around_labels_are_told(tmp_path: Path) -> None:
    assert notes(task_of(tmp_path, [" garden", "kitchen"])) == (
        "1 of the labels in column 'label' with a space at an end, which is part of the name (' garden'): take it out "
        "of the file if it isn't meant",
    )


@pytest.mark.parametrize(
    ("written", "labels"),
    [
        ("[no, yes]", ("no", "yes")),
        ("[01, 02]", ("01", "02")),
        ("[1.50, 2.50]", ("1.50", "2.50")),
        ("[1:30, 1_000]", ("1:30", "1_000")),
        ("[null, true]", ("null", "true")),
        ("{010: ten, false: wrong}", ("ten", "wrong")),
    ],
)
def test_labels_in_a_file_are_as_written(written: str, labels: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "task.yaml").write_text(
        f"name: t\ntext: text\nlabel: label\ntrain: train.csv\nevaluation: train.csv\nlabels: {written}\n"
    )
    assert Task.find("task.yaml", tmp_path).label_names == labels


def test_true_and_false_of_json_are_the_labels_that_a_task_lists(tmp_path: Path) -> None:
    assert task_of(tmp_path, [True, False]).label_names == ("False", "True")
    assert task_of(tmp_path, [True, False], labels=["true", "false"]).load("train").labels.tolist() == [0, 1]
    odd = fault(task_of(tmp_path, ["True", "False"], labels=["true", "false"]))
    assert odd.endswith("the task knows 2: true, false; 'False' is spelled 'false' there")
