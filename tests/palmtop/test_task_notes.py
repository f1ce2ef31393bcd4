"""What is told of a task's data that is no fault of single rows: splits that share texts, quotes that a file keeps."""

import json
from pathlib import Path

from palmtop.task import Task
from palmtop.task_notes import noticed


def split_task(folder: Path, train: int, evaluation: range, name: str = "train.csv") -> Task:
    for file, numbers in ((name, range(train)), ("test.csv", evaluation)):
        lines = [f"text {number},{'ab'[number % 2]}" for number in numbers]
        (folder / file).write_text("\n".join(["text,label", *lines]) + "\n")
    given = {"name": "t", "text": "text", "label": "label", "train": name, "evaluation": "test.csv"}
    return Task.find(given, folder)


def test_texts_of_evaluation_that_are_trained_on_are_counted(tmp_path: Path) -> None:
    some = split_task(tmp_path, 40, range(30, 50))
    assert noticed(some, some.check()).notes == (
        "10 of 20 texts of the evaluation split (50%) are in the training data too: numbers measured on them flatter; "
        "remove them from one of the two",
    )
    assert noticed(some, some.check()).faults == ()
    none = split_task(tmp_path, 40, range(40, 50), "other.csv")
    assert noticed(none, none.check()).notes == ()
    every = split_task(tmp_path, 40, range(20), "third.csv")
    [fault] = noticed(every, every.check()).faults
    assert fault.startswith(f"all 20 texts of the evaluation split ({tmp_path}/test.csv) are in the training data too")


def test_quotes_in_a_tsv_are_told(tmp_path: Path) -> None:
    (tmp_path / "train.tsv").write_text('text\tlabel\n"she said ""seed"""\ta\nho\tb\n')
    (tmp_path / "test.jsonl").write_text(json.dumps({"text": "other", "label": "a"}) + "\n")
    given = {"name": "t", "text": "text", "label": "label", "train": "train.tsv", "evaluation": "test.jsonl"}
    task = Task.find(given, tmp_path)
    [note] = noticed(task, task.check()).notes
    assert note.startswith(f"{tmp_path}/train.tsv: 1 text begins and ends with a quote sign, which a .tsv keeps")
