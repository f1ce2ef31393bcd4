"""Texts without labels as strangers write them: every form is read, leaks and repeats are counted, old tasks stay as
they were."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from palmtop import task_kinds
from palmtop.errors import UserError
from palmtop.task import Task
from palmtop.task_notes import noticed
from palmtop.unlabelled import unlabelled

TRAIN = "text,label\nhello there,greet\nbye now,leave\ngood day,greet\nsee you,leave\n"


def task_of(folder: Path, **settings: Any) -> Task:
    (folder / "train.csv").write_text(TRAIN)
    (folder / "test.csv").write_text("text,label\nGood  Morning,greet\nfarewell,leave\n")
    (folder / "chosen.csv").write_text("text,label\nhi,greet\n")
    given = {"name": "t", "text": "text", "label": "label", "train": "train.csv", "evaluation": "test.csv"}
    return Task.find(given | settings, folder)


def test_every_form_is_read(tmp_path: Path) -> None:
    (tmp_path / "lines.txt").write_text("one\ntwo\r\n")
    (tmp_path / "table.csv").write_text('id,text\n1,"three, four"\n')
    (tmp_path / "other.jsonl").write_text('{"body": "five"}\n')
    (tmp_path / "other-task.yaml").write_text(
        "name: o\ntext: text\nlabel: label\ntrain: theirs.csv\nevaluation: theirs.csv\n"
    )
    (tmp_path / "theirs.csv").write_text("text,label\nsix,a\nseven,b\n")
    forms = ["lines.txt", "table.csv", {"file": "other.jsonl", "text": "body"}, {"task": "other-task.yaml"}]
    found = unlabelled(task_of(tmp_path, unlabelled=forms))
    assert found.texts == [("one",), ("two",), ("three, four",), ("five",), ("six",), ("seven",)]
    assert found.told == "unlabelled: 6 of 6 texts"
    assert unlabelled(task_of(tmp_path, unlabelled="lines.txt")).texts == [("one",), ("two",)]


def test_leaks_and_repeats_are_dropped_and_counted_and_told_at_check(tmp_path: Path) -> None:
    lines = ["good morning", "farewell ", "HI", "hello there", "new", "New", "", "x" * 50, "newer"]
    (tmp_path / "lines.txt").write_text("\n".join(lines) + "\n")
    task = task_of(tmp_path, unlabelled="lines.txt", validation="chosen.csv", max_characters=40)
    found = unlabelled(task)
    assert found.texts == [("new",), ("newer",)]
    assert found.dropped == {"evaluation": 2, "validation": 1, "train": 1, "repeated": 1, "empty": 1, "long": 1}
    assert (
        "unlabelled: 2 of 9 texts; dropped: 2 are texts of the evaluation split, 1 are texts of the validation split, "
        "1 are training texts, 1 stand there twice, 1 are empty, 1 are too long"
    ) in noticed(task, task.check()).notes


def test_faults_are_told_at_check(tmp_path: Path) -> None:
    task = task_of(tmp_path, unlabelled=["none.txt", {"file": "train.csv", "text": "txt"}])
    assert noticed(task, task.check()).faults == (
        f"there is no file {tmp_path}/none.txt",
        f"{tmp_path}/train.csv has no column 'txt'; did you mean 'text'?",
    )
    leaked = task_of(tmp_path, unlabelled="test.csv")
    [fault] = noticed(leaked, leaked.check()).faults
    assert fault.startswith("unlabelled: 0 of 2 texts; dropped: 2 are texts of the evaluation split: there is nothing")


def test_what_can_not_be_unlabelled_is_refused(tmp_path: Path) -> None:
    (tmp_path / "lines.txt").write_text("one\n")
    with pytest.raises(UserError, match="token_classification learns from rows with labels alone; remove 'unlabelled'"):
        task_of(tmp_path, kind="token_classification", unlabelled="lines.txt")
    with pytest.raises(UserError, match=r"unlabelled\.0: name one of 'file', 'dataset' and 'task'"):
        task_of(tmp_path, unlabelled={"file": "lines.txt", "task": "clinc150"})
    with pytest.raises(UserError, match="'text' names columns, and there are none here"):
        task_of(tmp_path, unlabelled={"file": "lines.txt", "text": "text"})
    with pytest.raises(UserError, match=r"'lines.pdf' is none of .csv"):
        task_of(tmp_path, unlabelled="lines.pdf")
    pair = task_of(tmp_path, text=["text", "other"], unlabelled="lines.txt")
    with pytest.raises(UserError, match=r"has one text on each line, and the task has pairs \(text, other\)"):
        pair.plain_texts(pair.unlabelled[0])
    with pytest.raises(UserError, match="the task 'clinc150' has 1 text columns, 't' 2: name one with as many"):
        unlabelled_of = task_of(tmp_path, text=["text", "other"], unlabelled={"task": "clinc150"})
        unlabelled_of.plain_texts(unlabelled_of.unlabelled[0])


def test_a_task_without_them_is_written_and_digested_as_before(tmp_path: Path) -> None:
    (tmp_path / "lines.txt").write_text("one\n")
    plain, more = task_of(tmp_path), task_of(tmp_path, unlabelled="lines.txt")
    plain.write(tmp_path)
    assert "unlabelled" not in json.loads((tmp_path / "task.json").read_text())
    assert more.digest == plain.digest
    more.write(tmp_path)
    assert Task.of(tmp_path) == more.model_copy(update={"labels": ("greet", "leave")})


def test_how_sure_an_answer_is() -> None:
    logits = np.array([[0.0, np.log(3)], [np.log(9), 0.0]], np.float32)
    assert task_kinds.find("classification").sureness(logits) == pytest.approx([0.75, 0.9])
    several = task_kinds.find("multi_label").sureness(logits)
    assert several == pytest.approx([0.5, 0.5])
    assert task_kinds.find("regression").sureness(logits[:, :1]) is None
