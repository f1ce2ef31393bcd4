"""Answers to questions: how data sets may give them, SQuAD's metrics by hand, tokens of a context and the best span of
them."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from tiny import VOCABULARIES, write_questions, write_tokenizer

from palmtop.data.tokenization import HostTokenizer
from palmtop.errors import UserError
from palmtop.task import Split, Task
from palmtop.task_kinds import find, spans
from palmtop.task_kinds.squad import exact_match, f1, marks, normalised

QA = find("question_answering")
CONTEXT = "now it is rain and a warm wind, some say rain"


def graded(answers: np.ndarray, split: Split) -> np.ndarray:
    return QA.graded(answers, split.labels, split.texts, ("start_logits", "end_logits"))


def task_of(folder: Path, answers: list[Any], **settings: Any) -> Task:
    rows = [
        {"question": f"what is it {number}", "context": CONTEXT, "answers": answer}
        for number, answer in enumerate(answers)
    ]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    given: dict[str, Any] = {
        "name": "t",
        "kind": "question_answering",
        "text": ["question", "context"],
        "label": "answers",
        "train": "rows.jsonl",
        "evaluation": "rows.jsonl",
    }
    return Task.find(given | settings, folder)


def test_answers_are_kept_as_characters_of_the_context(tmp_path: Path) -> None:
    task = task_of(
        tmp_path,
        [
            "rain",
            {"text": ["warm wind", "wind", "wind"], "answer_start": [21, 26, 26]},
            {"text": [" rain"], "answer_start": [40]},
        ],
    )
    task.check()
    split = task.load("train")
    assert split.texts[0] == ("what is it 0", CONTEXT)
    assert split.labels.tolist() == [[[10, 14], [-1, -1]], [[21, 30], [26, 30]], [[41, 45], [-1, -1]]]
    assert (task.label_names, task.main_metric) == (("start_logits", "end_logits"), "f1")
    assert Task.find(json.loads(task.model_dump_json())).digest == task.digest


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        (
            ["rain", None, {"text": [], "answer_start": []}, " "],
            "3 rows (2, 3, 4) have no answer in column 'answers': remove them, or, where questions may have none in "
            "their context (SQuAD 2.0), set options: {unanswerable: true} in the task",
        ),
        (
            ["rain", 7, {"text": "rain", "answer_start": 10}, {"text": ["rain"], "answer_start": []}],
            "3 rows (2, 3, 4) have no answer that can be read in column 'answers' (the first: 7): write a text, or "
            '{"text": [...], "answer_start": [...]}',
        ),
        (
            ["rain", "Rain"],
            "1 row (2) has an answer in column 'answers' that isn't in the context (the first: 'Rain'): it must "
            "stand there letter by letter, with the same capitals and spaces",
        ),
        (
            ["rain", {"text": ["rain", "warm"], "answer_start": [10, 20]}, {"text": ["now"], "answer_start": [-45]}],
            "2 rows (2, 3) have an answer in column 'answers' that isn't where it is said to be (the first: 'warm' "
            "at 20, where ' war' stands): answer_start counts the characters before the answer; mend it, or give the "
            "answer alone, as a text",
        ),
    ],
)
def test_faulty_answers_are_told_by_row(answers: list[Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        task_of(tmp_path, answers).check()
    assert caught.value.faults == (f"{tmp_path}/rows.jsonl: {message}",)


def test_faults_of_several_kinds_are_told_together(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        task_of(tmp_path, [None, 7, "snow", {"text": ["rain"], "answer_start": [11]}]).load("train")
    assert len(caught.value.faults) == 4


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"text": "context"},
            "task: question_answering needs the question's column and the context's, as in text: [question, context]",
        ),
        ({"labels": ["a"]}, "task: question_answering has no labels; remove 'labels'"),
        ({"metric": "accuracy"}, "task: metric 'accuracy' isn't for question_answering; choose one of f1, exact_match"),
    ],
)
def test_a_faulty_definition(settings: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        task_of(tmp_path, ["rain"], **settings)
    assert caught.value.faults == (message,)


def test_normalised_as_the_evaluation_script_does() -> None:
    assert normalised("  The Cat's, an  A hat!") == "cats hat"
    assert normalised("a-an-the") == "aanthe"  # punctuation goes first, so these are no articles any more
    assert normalised("Über the TOP…") == "über top…"  # only ASCII's punctuation


@pytest.mark.parametrize(
    ("answer", "gold", "exact", "overlap"),
    [
        ("The cat.", "cat", 1, 1),
        ("the cat sat", "cat sat down", 0, 2 * 2 / (2 + 3)),
        ("new new york", "New York", 0, 2 * 2 / (3 + 2)),
        ("rain", "snow", 0, 0),
        ("the", "an", 1, 1),
        ("the", "snow", 0, 0),
    ],
)
def test_exact_match_and_f1_by_hand(answer: str, gold: str, exact: float, overlap: float) -> None:
    assert (exact_match(answer, gold), f1(answer, gold)) == (exact, pytest.approx(overlap))


def _split() -> Split:
    golds = np.array([[[10, 14], [21, 30]], [[21, 30], [-1, -1]], [[26, 30], [21, 30]]], np.int64)
    return Split([("q", CONTEXT)] * 3, golds, "")


def test_the_best_of_the_gold_answers_counts() -> None:
    answers = np.array([[21, 30], [26, 30], [26, 31]], np.float32)  # warm wind; wind; wind,
    found = marks(answers, _split().labels, [CONTEXT] * 3)
    np.testing.assert_allclose(found, [[1, 1], [2 / 3, 0], [1, 1]])
    assert QA.of_outputs("f1", graded(answers, _split()), _split().labels) == pytest.approx((1 + 2 / 3 + 1) / 3)
    broken = np.array([[21, 30], [np.nan, np.nan], [26, 31]], np.float32)
    assert math.isnan(QA.of_outputs("f1", graded(broken, _split()), _split().labels))


def test_scores_agreement_and_difference() -> None:
    split, names = _split(), ("start_logits", "end_logits")
    ours, theirs = (
        np.array(rows, np.float32) for rows in ([[21, 30], [26, 30], [26, 31]], [[21, 30], [21, 30], [0, 3]])
    )
    taken = QA.scores(graded(ours, split), split.labels, names)
    assert list(taken) == ["f1", "exact_match"]
    assert (taken["exact_match"].value, taken["f1"].value) == (pytest.approx(2 / 3), pytest.approx(8 / 9))
    assert (
        taken["exact_match"].unit == "share"
        and 0 < (taken["exact_match"].low or 0) < 2 / 3 < (taken["exact_match"].high or 0) < 1
    )
    assert taken["f1"].low == pytest.approx(2 / 3) and taken["f1"].high == 1  # of resampled means of 1, 2/3 and 1
    assert QA.agreement(ours, theirs).value == pytest.approx(1 / 3)
    gain = QA.difference("f1", *(graded(side, split) for side in (ours, theirs)), split.labels)
    assert gain.value == pytest.approx(8 / 9 - 2 / 3)
    broken = graded(np.array([[np.nan, np.nan], [26, 30], [26, 31]], np.float32), split)
    assert QA.scores(broken, split.labels, names)["f1"].why == "1 of 3 answers aren't finite numbers"


def _logits(starts: list[float], ends: list[float]) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.array([[starts, ends]], np.float32)


def test_the_best_span_ends_where_it_starts_or_later() -> None:
    assert spans.best_tokens(_logits([0, 1, 5, 2], [4, 1, 1, 3])).tolist() == [
        [2, 3]
    ]  # 5 + 3; 5 + 4 would end before it starts
    assert spans.best_tokens(_logits([0, 7, 5, 2], [4, 1, 1, 3])).tolist() == [[1, 3]]
    outside = [spans.OUTSIDE] * 2
    assert spans.best_tokens(_logits([*outside, 1, 2], [*outside, 3, 0])).tolist() == [[2, 2]]


def test_the_best_span_has_thirty_tokens_at_most() -> None:
    logits = np.zeros((1, 2, 40), np.float32)
    logits[0, 0, 3], logits[0, 1, 33] = 5, 4
    assert spans.best_tokens(logits).tolist() != [[3, 33]]
    logits[0, 1, 32] = 3
    assert spans.best_tokens(logits).tolist() == [[3, 32]]


@pytest.mark.parametrize("family", sorted(VOCABULARIES))
def test_an_answer_comes_back_from_its_tokens(family: str, tmp_path: Path) -> None:
    """In every tokenizer: some count the space before a word to it."""
    write_tokenizer(tmp_path, family)
    split = Task.find(write_questions(tmp_path / "data", 8)).load("train")
    encodings = HostTokenizer(tmp_path, 70, "spans").encode(split.texts)
    first, last = spans.token_labels(encodings, split.labels).T
    logits = [
        np.eye(len(row), dtype=np.float32)[[start, end]] for row, start, end in zip(encodings, first, last, strict=True)
    ]
    found = spans.characters(spans.joined(logits, encodings), encodings)
    assert_array_equal(found, split.labels[:, 0])
    golds = split.labels[:, 0]
    assert spans.texts_of(found, encodings) == [
        text[1][begin:end] for text, (begin, end) in zip(split.texts, golds, strict=True)
    ]


def test_logits_that_are_no_numbers_give_no_answer(tmp_path: Path) -> None:
    write_tokenizer(tmp_path, "bert")
    encodings = HostTokenizer(tmp_path, 70, "spans").encode([("what", CONTEXT)] * 2)
    made = spans.joined([np.zeros((2, 70), np.float32), np.full((2, 70), np.nan, np.float32)], encodings)
    assert np.isfinite(spans.characters(made, encodings)).all(axis=1).tolist() == [True, False]
    outside = [place for place in range(made.shape[2]) if made[0, 0, place] == spans.OUTSIDE]
    assert outside == [0, 1, 2, made.shape[2] - 1]  # [CLS] what [SEP] ... [SEP]


def test_only_the_context_is_truncated_unless_the_question_fills_half_the_length(tmp_path: Path) -> None:
    write_tokenizer(tmp_path, "bert")
    tokenizer = HostTokenizer(tmp_path, 24, "spans")
    short, long, whole = tokenizer.encode(
        [("what is it", CONTEXT * 9), ("what " * 90, CONTEXT * 9), ("what", "now rain")]
    )
    assert [len(row) for row in (short, long)] == [24, 24]
    assert (short.input_ids == tokenizer.encode([("what is it", CONTEXT * 8)])[0].input_ids).all()
    assert [int((row.token_type_ids == 0).sum()) for row in (short, long, whole)] == [5, 14, 3]
    assert [row.truncated for row in (short, long, whole)] == [True, True, False]
    assert (
        int((HostTokenizer(tmp_path, 400, "spans").encode([("what " * 90, CONTEXT)])[0].token_type_ids == 0).sum())
        == 66
    )


def test_an_answer_that_was_cut_off_has_no_tokens(tmp_path: Path) -> None:
    write_tokenizer(tmp_path, "bert")
    context = "now it is rain"
    golds = np.array([[[10, 14]]], np.int64)
    (whole,) = HostTokenizer(tmp_path, 24, "spans").encode([("what is it", context)])
    assert spans.token_labels([whole], golds)[0, 0] > 0
    (behind,) = HostTokenizer(tmp_path, 24, "spans").encode([("what is it", "some " * 30 + context)])
    assert spans.token_labels([behind], golds + 150).tolist() == [[-1, -1]]


def test_too_few_tokens_are_refused(tmp_path: Path) -> None:
    write_tokenizer(tmp_path, "bert")
    with pytest.raises(UserError, match=r"^15 tokens don't hold a question and its context: give at least 16$"):
        HostTokenizer(tmp_path, 15, "spans")
