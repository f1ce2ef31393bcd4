"""Data sets as strangers write them: every fault by row, nothing corrected in silence."""

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from palmtop.errors import UserError
from palmtop.task import Task

GOOD = "text,label\nhello there,greet\nbye now,leave\ngood day,greet\nsee you,leave\n"


def task_of(folder: Path, content: str | bytes = GOOD, name: str = "train.csv", /, **settings: Any) -> Task:
    (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
    (folder / "test.csv").write_text("text,label\nhello,greet\nbye,leave\n")
    given: dict[str, Any] = {
        "name": "t",
        "text": "text",
        "label": "label",
        "train": name,
        "evaluation": "test.csv",
    } | settings
    return Task.find(given, folder)


def told(task: Task) -> tuple[str, ...]:
    with pytest.raises(UserError) as caught:
        task.check()
    return tuple(fault.replace(f"{Path(task.train.file or '').parent}/", "") for fault in caught.value.faults)


def test_a_good_task(tmp_path: Path) -> None:
    task = task_of(tmp_path)
    task.check()
    train = task.load("train")
    assert task.label_names == ("greet", "leave")
    assert train.texts == [("hello there",), ("bye now",), ("good day",), ("see you",)]
    assert train.labels.tolist() == [0, 1, 0, 1]
    assert task.main_metric == "accuracy"


def test_the_digest_follows_the_data_and_the_definition(tmp_path: Path) -> None:
    first = task_of(tmp_path).digest
    assert first == task_of(tmp_path).digest
    assert first != task_of(tmp_path, GOOD + "hi,greet\n", "more.csv").digest
    assert first != task_of(tmp_path, version=2).digest


@pytest.mark.parametrize(
    ("train", "message"),
    [
        ("", "train.csv is empty: the first line of a .csv or .tsv names its columns"),
        ("text,label\n", "train.csv has no rows: give a file with at least some texts and labels"),
        ("text,lable\nhi,a\nho,b\n", "train.csv has no column 'label'; did you mean 'lable'?"),
        (
            "text,label\nhi,a\nho,a\n",
            "train.csv: all 2 rows have one label only ('a'): there is nothing to learn; check the column 'label'",
        ),
        (
            "text,label\nhi,a\n,b\n  ,b\nho,b\n",
            "train.csv: 2 rows (2, 3) have an empty text: mend them, or set empty_text: drop (or keep) in the task",
        ),
        (
            f"text,label\nhi,a\n{'x' * 100_000},b\n",
            "train.csv: 1 row (2) has over 20,000 characters (the longest: 100,000): cut them, or raise "
            "max_characters in the task",
        ),
        (
            "text,label\nhi,a\nho,\nhe,b\n",
            "train.csv: 1 row (2) has no label in column 'label': remove them, or use a labelled split",
        ),
        (
            "text,label\nhi,a\nho,b,c\n",
            "train.csv, line 3 has 3 fields, the first line 2 (text, label): a stray separator or quote? (set "
            "'quoting' if the file quotes otherwise)",
        ),
        ("text,text\nhi,a\n", "train.csv: a column name stands twice in the first line: text, text"),
        (
            'text,label\n"hi" there,a\n',
            "train.csv, line 2: ',' expected after '\"' (set 'quoting: none' if quotes are plain characters there)",
        ),
        (
            'text,label\n"hi there,a\n',
            "train.csv, line 2: unexpected end of data (set 'quoting: none' if quotes are plain characters there)",
        ),
        (b"text,label\nhi,a\nh\xe9,b\n", "train.csv, line 3 isn't UTF-8 (byte 0xe9): convert the file to UTF-8"),
    ],
)
def test_a_faulty_csv(train: str | bytes, message: str, tmp_path: Path) -> None:
    assert message in told(task_of(tmp_path, train))


@pytest.mark.parametrize(
    ("train", "message"),
    [
        ("", 'train.jsonl is empty: each line of a .jsonl is an object ({"text": ..., "label": ...})'),
        ('{"text": "a", "label": "x"}\n{"text": \n', "train.jsonl, line 2 isn't JSON: Expecting value"),
        ("[1, 2]\n", 'train.jsonl, line 1 isn\'t an object ({"text": ..., "label": ...})'),
        (
            '{"text": "a", "label": "x"}\n{"text": "b"}\n',
            "train.jsonl: 1 row (2) has no label in column 'label': remove them, or use a labelled split",
        ),
    ],
)
def test_a_faulty_jsonl(train: str, message: str, tmp_path: Path) -> None:
    assert message in told(task_of(tmp_path, train, "train.jsonl"))


@pytest.mark.parametrize("damage", ["cut", "no gzip", "flipped"])
def test_a_damaged_gz(damage: str, tmp_path: Path) -> None:
    whole = gzip.compress(GOOD.encode() * 50)
    content = {"cut": whole[:-20], "no gzip": b"text,label\n", "flipped": whole[:15] + bytes(20) + whole[35:]}[damage]
    [fault] = told(task_of(tmp_path, content, "train.csv.gz"))
    assert fault.startswith("train.csv.gz isn't a whole gzip file (")
    assert fault.endswith("): fetch it again")


def test_all_splits_faults_are_told_together(tmp_path: Path) -> None:
    task = task_of(tmp_path, labels=["greet", "leave"])
    (tmp_path / "test.csv").write_text("text,label\nhello,hail\n,leave\n")
    (tmp_path / "train.csv").write_text("text,label\nhello,greet\nhi,greet\n")
    assert told(task) == (
        "train.csv: all 2 rows have one label only ('greet'): there is nothing to learn; check the column 'label'",
        "test.csv: 1 row (2) has an empty text: mend them, or set empty_text: drop (or keep) in the task",
    )


def test_a_label_unknown_to_the_task(tmp_path: Path) -> None:
    task = task_of(tmp_path)
    (tmp_path / "test.csv").write_text("text,label\nhello,hail\nbye,leave\n")
    assert told(task) == (
        "test.csv: 1 row (1) has a label unknown to the task: 'hail' in column 'label'; the task knows 2: greet, leave",
    )


def test_empty_texts_can_be_dropped_or_kept(tmp_path: Path) -> None:
    train = "text,label\nhi,a\n,b\nho,b\n"
    labels = {"labels": ["a", "b", "greet", "leave"]}
    assert len(task_of(tmp_path, train, empty_text="drop", **labels).load("train")) == 2
    assert task_of(tmp_path, train, empty_text="keep", **labels).load("train").texts[1] == ("",)


def test_a_long_text_can_be_allowed(tmp_path: Path) -> None:
    train = f"text,label\nhi,greet\n{'x' * 100_000},leave\n"
    assert len(task_of(tmp_path, train, max_characters=100_000).load("train")) == 2


@pytest.mark.parametrize("value", ["nan", "inf", "many", ""])
def test_a_regression_needs_finite_numbers(value: str, tmp_path: Path) -> None:
    task = task_of(tmp_path, f"text,label\nhi,1.5\nho,{value}\nhe,2\n", kind="regression", evaluation="train.csv")
    assert told(task) == (f"train.csv: 1 row (2) has no finite number in column 'label' (the first: {value!r})",)


def test_a_regression_of_one_value(tmp_path: Path) -> None:
    task = task_of(tmp_path, "text,label\nhi,1.5\nho,1.5\n", kind="regression", evaluation="train.csv")
    assert told(task) == (
        "train.csv: all 2 rows have one value only: there is nothing to learn; check the column 'label'",
    )


def test_a_regression_reads_numbers(tmp_path: Path) -> None:
    task = task_of(tmp_path, "text,label\nhi,1.5\nho,-2e1\n", kind="regression")
    assert task.load("train").labels.tolist() == [1.5, -20.0]
    assert (task.label_names, task.main_metric) == (("label",), "pearson")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"metric": "pearson"},
            "task: metric 'pearson' isn't for classification; choose one of accuracy, macro_f1, matthews",
        ),
        ({"kind": "regression", "labels": ["a"]}, "task: a regression has no labels; remove 'labels'"),
        ({"labels": ["a", "a"]}, "task: a label stands twice in 'labels'"),
        ({"train": "x.txt"}, "task: train: 'x.txt' is none of .csv, .tsv, .jsonl, .conll, .iob2 (or .gz of one)"),
        (
            {"train": {"dataset": "owner/name"}},
            "task: train: the data set 'owner/name' needs a 'split' (train, validation, test, ...)",
        ),
        ({"train": {"split": "train"}}, "task: train: name either a 'file' or a 'dataset'"),
        ({"trian": "x.csv"}, "task: no setting 'trian'; did you mean 'train'?"),
        ({"train": {"fil": "x.csv", "file": "x.csv"}}, "task: no setting 'fil' in 'train'; did you mean 'file'?"),
    ],
)
def test_a_faulty_definition(settings: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        task_of(tmp_path, **settings)
    assert caught.value.faults == (message,)


def test_unknown_tasks_and_files(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"^no task 'clinc15'; did you mean 'clinc150'\? \(your own: the name of its .yaml file\)$"
    ):
        Task.find("clinc15")
    with pytest.raises(UserError, match=rf"^there is no file {tmp_path}/own.yaml$"):
        Task.find("own.yaml", tmp_path)
    task = task_of(tmp_path, evaluation="gone.csv")
    assert told(task) == ("there is no file gone.csv",)
    with pytest.raises(UserError, match=r"^task 't' has no validation split$"):
        task.load("validation")
    (tmp_path / "folder.csv").mkdir()
    assert told(task_of(tmp_path, evaluation="folder.csv")) == (
        "folder.csv is a folder: name the file in it, or write 'dataset' instead of 'file'",
    )


def test_labels_in_the_models_order_and_by_value(tmp_path: Path) -> None:
    assert task_of(tmp_path, labels=["leave", "greet"]).load("train").labels.tolist() == [1, 0, 1, 0]
    numbers = task_of(tmp_path, "text,label\nhi,0\nho,1\n", labels={0: "no", 1: "yes"})
    assert (numbers.label_names, numbers.load("train").labels.tolist()) == (("no", "yes"), [0, 1])


def test_a_tsv_has_no_quoting_unless_told(tmp_path: Path) -> None:
    train = 'text\tlabel\n"hi\tgreet\nho"\tleave\n'
    assert task_of(tmp_path, train, "train.tsv").load("train").texts == [('"hi',), ('ho"',)]
    quoted = 'text\tlabel\n"hi\tthere"\tgreet\nho\tleave\n'
    source = {"file": "train.tsv", "quoting": "standard"}
    assert task_of(tmp_path, quoted, "train.tsv", train=source).load("train").texts[0] == ("hi\tthere",)


def test_pairs(tmp_path: Path) -> None:
    task = task_of(tmp_path, "a,b,label\nx,y,greet\nz,w,leave\n", text=["a", "b"], evaluation="train.csv")
    assert task.load("train").texts == [("x", "y"), ("z", "w")]


def test_a_fixed_subset_keeps_each_labels_share(tmp_path: Path) -> None:
    rows = "".join(f"greeting {number},greet\n" for number in range(60)) + "".join(
        f"parting {number},leave\n" for number in range(20)
    )
    taken = task_of(tmp_path, "text,label\n" + rows, train_rows=20).load("train")
    assert np.bincount(taken.labels.astype(int)).tolist() == [15, 5]
    assert taken.digest == task_of(tmp_path, "text,label\n" + rows, train_rows=20).load("train").digest


def test_a_bundles_task_comes_back(tmp_path: Path) -> None:
    task_of(tmp_path).write(tmp_path)
    back = Task.of(tmp_path)
    assert back is not None
    assert back.label_names == ("greet", "leave")
    assert (tmp_path / "labels.txt").read_text() == "greet\nleave\n"
    (tmp_path / "task.json").write_text("{")
    with pytest.raises(UserError, match=r"task.json is damaged: remove the folder and make the bundle again$"):
        Task.of(tmp_path)


def test_a_hugging_face_data_set_from_disk(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["no", "yes"])})
    train = datasets.Dataset.from_dict({"text": ["a", "b"], "label": [0, 1]}, features=features)
    blind = datasets.Dataset.from_dict({"text": ["a", "b"], "label": [-1, -1]}, features=features)
    datasets.DatasetDict({"train": train, "test": blind}).save_to_disk(str(tmp_path / "data"))
    source = {"dataset": "data", "split": "train"}
    task = task_of(tmp_path, train=source, evaluation=source)
    assert (task.label_names, task.load("train").labels.tolist()) == (("no", "yes"), [0, 1])
    with pytest.raises(UserError) as caught:
        task_of(tmp_path, train=source, evaluation=source | {"split": "test"}).check()
    assert caught.value.faults == (
        f"{tmp_path}/data (test): 2 rows (1, 2) have no label in column 'label': remove them, or use a labelled split",
    )
    with pytest.raises(UserError, match=r"^the data set '.*data' \(config None, split dev\) can't be loaded: 'dev'$"):
        task_of(tmp_path, train=source, evaluation=source | {"split": "dev"}).check()


def test_the_shipped_tasks_are_whole() -> None:
    for path in (Path(__file__).parents[2] / "palmtop" / "tasks").glob("*.yaml"):
        Task.find(path.stem).check()


def test_settings_as_json_come_back(tmp_path: Path) -> None:
    task = task_of(tmp_path, labels=["greet", "leave"])
    assert Task.find(json.loads(task.model_dump_json())).digest == task.digest
