"""Questions without an answer, and contexts in windows: read, encoded, answered and counted as SQuAD 2.0's script and
BERT's run_squad.py do, by formulas written here; the page's scripts say the same."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from page_script import in_node
from tiny import write_tokenizer

from palmtop.answering import Purpose, answers
from palmtop.data.encoding import Encoding, Text
from palmtop.data.tokenization import HostTokenizer
from palmtop.errors import UserError
from palmtop.signature import Signature
from palmtop.task import Split, Task
from palmtop.task_kinds import find, spans
from palmtop.task_kinds.no_answer import best_threshold
from palmtop.task_kinds.question_answering import SPAN, Options, QuestionAnswering

CONTEXT = "now it is rain and a warm wind, some say rain"
LENGTH, STRIDE = 24, 6
NONE: dict[str, Any] = {"text": [], "answer_start": []}
LONG: list[Text] = [
    ("what is it", " ".join(f"{word} song" for word in "rain now play cash loud music please guitar warm".split())),
    ("what is it now", CONTEXT),
    ("who is it for " * 9, f"{CONTEXT} and {CONTEXT}"),
    ("what", "rain"),
]


def signed(**said: Any) -> Signature:
    return Signature(inputs=("input_ids", "attention_mask"), output="spans", max_length=LENGTH, pad_id=0, **said)


def task_of(folder: Path, given: list[Any], **options: Any) -> Task:
    rows = [{"question": "what is it", "context": CONTEXT, "answers": answer} for answer in given]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    columns = {"text": ["question", "context"], "label": "answers", "train": "rows.jsonl", "evaluation": "rows.jsonl"}
    return Task.find({"name": "t", "kind": "question_answering", "options": options or None, **columns}, folder)


@pytest.fixture(scope="module", params=["bert", "roberta", "xlm-roberta"])
def tokenizer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """WordPiece, byte-level BPE, Unigram."""
    folder = tmp_path_factory.mktemp(request.param)
    write_tokenizer(folder, request.param)
    return folder


def test_rows_may_be_without_an_answer_where_the_task_says_so(tmp_path: Path) -> None:
    task = task_of(tmp_path, ["rain", NONE, None], unanswerable=True)
    assert task.load("train").labels.tolist() == [[[10, 14]], [[-1, -1]], [[-1, -1]]]
    assert task.of_kind.signed(signed(), Path()).null_threshold == 0
    with pytest.raises(UserError, match=r"none of 2 rows has an answer: there is nothing to learn"):
        task_of(tmp_path, [NONE, NONE], unanswerable=True).load("train")
    with pytest.raises(UserError, match="unanswerible"):
        task_of(tmp_path, ["rain"], unanswerible=True)


def test_what_a_signature_says_is_read_back_and_older_ones_say_nothing(tmp_path: Path) -> None:
    signed(null_threshold=0.0, stride=6).write(tmp_path)
    assert Signature.read(tmp_path) == signed(null_threshold=0.0, stride=6)
    signed().write(tmp_path)
    assert not {"null_threshold", "stride"} & set(json.loads((tmp_path / "signature.json").read_text()))


def squad_2(predictions: list[str], golds: list[list[str]]) -> dict[str, float]:
    """Totals of SQuAD 2.0's evaluate-v2.0.py, of texts in lower case without signs and articles."""
    exact, f1, has = [], [], [bool(gold) for gold in golds]
    for said, gold in zip(predictions, golds, strict=True):
        of_gold = []
        for words in gold or [""]:
            ours, theirs = said.split(), words.split()
            common = sum(min(ours.count(word), theirs.count(word)) for word in set(ours))
            if not ours or not theirs:
                of_gold.append(float(ours == theirs))
            else:
                of_gold.append(2 * common / (len(ours) + len(theirs)))
        f1.append(max(of_gold))
        exact.append(float(any(said == words for words in gold or [""])))
    parts = {"": [True] * len(has), "has_answer_": has, "no_answer_": [not each for each in has]}
    marks = {"exact_match": exact, "f1": f1}
    return {
        f"{part}{name}": sum(mark for mark, kept in zip(values, keep, strict=True) if kept) / sum(keep)
        for part, keep in parts.items()
        for name, values in marks.items()
    }


def test_metrics_are_those_of_squad_2() -> None:
    golds = np.array([[[10, 14], [-1, -1]], [[-1, -1]] * 2, [[21, 30], [26, 30]], [[-1, -1]] * 2, [[10, 14]] * 2])
    given = np.array([[10, 14], [-1, -1], [26, 30], [10, 14], [-1, -1]], np.float32)
    kind = QuestionAnswering(Options(unanswerable=True))
    graded = kind.graded(given, golds, [("q", CONTEXT)] * 5, SPAN)
    said = [CONTEXT[int(begin) : int(end)] if begin >= 0 else "" for begin, end in given]
    gold = [[CONTEXT[begin:end] for begin, end in row if begin >= 0] for row in golds]
    expected = squad_2(said, gold)
    taken = kind.scores(graded, golds, SPAN)
    assert {name: score.value for name, score in taken.items()} == pytest.approx(
        {name: value for name, value in expected.items() if name != "no_answer_f1"}
    )
    assert (taken["has_answer_f1"].n, taken["no_answer_exact_match"].n) == (3, 2)
    assert kind.of_outputs("f1", graded, golds) == pytest.approx(expected["f1"])
    answered = Split([("q", CONTEXT)], golds[:1], "")
    assert list(find("question_answering").scores(graded[:1], answered.labels, SPAN)) == ["f1", "exact_match"]


def test_the_threshold_is_the_best_of_all_that_there_are() -> None:
    drawn = np.random.default_rng(3)
    for _ in range(20):
        margins = drawn.normal(0, 2, 30).round(1).astype(np.float32)
        unanswered = (drawn.random(30) < 0.4).astype(np.float64)
        answered = np.where(unanswered > 0, 0, drawn.random(30))

        def mean(threshold: float, margins: Any = margins, yes: Any = answered, no: Any = unanswered) -> float:
            return float(np.where(margins > np.float32(threshold), no, yes).mean())

        tried = [mean(threshold) for threshold in np.arange(-12, 12, 0.05)]
        assert mean(best_threshold(margins, answered, unanswered)) == pytest.approx(max(tried))


def test_windows_are_cut_as_transformers_cuts_them(tokenizer: Path) -> None:
    """Overlapping by the stride, all of the context in them, each token with its place in the whole context."""
    from transformers import PreTrainedTokenizerFast

    theirs = PreTrainedTokenizerFast(tokenizer_file=str(tokenizer / "tokenizer.json"))
    rows = HostTokenizer.of(tokenizer, signed(stride=STRIDE)).encode(LONG[:2])
    expected = theirs(
        *map(list, zip(*LONG[:2], strict=True)),
        max_length=LENGTH,
        stride=STRIDE,
        truncation="only_second",
        return_overflowing_tokens=True,
    )
    assert [row.input_ids.tolist() for row in rows] == expected["input_ids"]
    texts = np.cumsum([row.part == 0 for row in rows]) - 1
    assert texts.tolist() == expected["overflow_to_sample_mapping"] and not any(row.truncated for row in rows)
    for row in rows:
        assert row.places is not None and row.places[0].tolist() == [spans.NOWHERE] * 2
    covered = {int(place) for row in rows if row.text == LONG[0] for place in row.places[:, 1]}  # type: ignore[index]  # none is None, as the loop above saw
    assert max(covered) == len(LONG[0][1])
    with pytest.raises(UserError, match=r"windows of 24 tokens can't have 12 in common.* a stride of at most 7"):
        HostTokenizer.of(tokenizer, signed(stride=12))


def test_a_window_without_the_answer_learns_that_there_is_none(tokenizer: Path) -> None:
    context = LONG[0][1]
    begin = context.index("guitar")
    golds = np.array([[[begin, begin + 6]], [[-1, -1]]], np.int64)
    encodings = HostTokenizer.of(tokenizer, signed(stride=STRIDE, null_threshold=0.0)).encode([LONG[0], LONG[1]])
    kind = QuestionAnswering(Options(unanswerable=True, stride=STRIDE))
    kept, tokens = kind.trained(encodings, golds)
    assert len(kept) == len(encodings) > 2
    found = set()
    for row, (first, last) in zip(kept, tokens, strict=True):
        assert row.places is not None
        place = row.places[first, 0], row.places[last, 1]
        found.add((row.text == LONG[0], context[place[0] : place[1]].strip() if place[0] >= 0 else None))
    assert found == {(True, "guitar"), (True, None), (False, None)}
    lost = HostTokenizer.of(tokenizer, signed()).encode([LONG[0]])
    with pytest.raises(UserError, match="lie behind the tokens"):
        find("question_answering").trained(lost, golds[:1])


def drawn_outputs(encodings: list[Encoding]) -> np.ndarray[Any, np.dtype[np.float32]]:
    random = np.random.default_rng(5)
    rows = [np.float32(random.normal(0, 3, (2, len(row)))) for row in encodings]
    return spans.joined(rows, encodings)


def by_hand(outputs: Any, encodings: list[Encoding], threshold: float | None) -> list[tuple[str, float]]:
    """The answer to each text and its probability: run_squad.py's rule over all spans of all windows."""
    texts: dict[Text, list[int]] = {}
    for place, row in enumerate(encodings):
        texts.setdefault(row.text, []).append(place)
    made = []
    for text, windows in texts.items():
        every, none = [], np.inf
        for window in windows:
            start, end = outputs[window]
            places = encodings[window].places
            assert places is not None
            nowhere = np.flatnonzero(places[:, 0] == spans.NOWHERE)
            if len(nowhere):
                none = min(none, float(start[nowhere[0]] + end[nowhere[0]]))
            inside = np.flatnonzero(places[:, 0] >= 0)
            for first in inside:
                for last in inside[(inside >= first) & (inside < first + 30)]:
                    words = text[1][places[first, 0] : places[last, 1]].strip()
                    every.append((float(start[first] + end[last]), words))
        best = max(every, key=lambda each: each[0])
        sums = [each for each, _ in every] + ([none] if threshold is not None else [])
        nothing = threshold is not None and none - best[0] > threshold
        chosen = (none, "") if nothing else best
        made.append((chosen[1], float(np.exp(chosen[0]) / np.exp(sums).sum())))
    return made


@pytest.mark.parametrize(
    ("threshold", "stride"), [(None, STRIDE), (1.0, STRIDE), (-1.0, None), (-3.0, STRIDE), (-30.0, STRIDE)]
)
def test_answers_are_the_best_over_windows_or_none_in_python_and_in_the_page(
    threshold: float | None, stride: int | None, tokenizer: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    signature = signed(null_threshold=threshold, stride=stride)
    encodings = HostTokenizer.of(tokenizer, signature).encode(LONG)
    outputs = drawn_outputs(encodings)
    said = answers(Purpose("question_answering", ("question", "context"), SPAN, signature), encodings, outputs)
    expected = by_hand(outputs, encodings, threshold)
    assert [each.as_dict()["answer"] for each in said] == [words for words, _ in expected]
    assert [each.as_dict()["score"] for each in said] == pytest.approx([share for _, share in expected], rel=1e-4)
    assert find("question_answering").said(outputs, encodings, SPAN, signature) == [words for words, _ in expected]
    if threshold == -30.0:
        assert "(no answer)" in [each.lines(1)[0][0] for each in said]
    rows: list[dict[str, Any]] = [{"text": text, "outputs": []} for text in LONG]
    for row, output in zip(encodings, outputs, strict=True):
        logits = dict(zip(SPAN, output[:, : len(row)].tolist(), strict=True))
        next(each for each in rows if each["text"] == row.text)["outputs"].append(logits)
    scripts = tmp_path_factory.getbasetemp() / "scripts"
    scripts.mkdir(exist_ok=True)
    given = {"rows": rows, "signature": signature.model_dump(), "labels": SPAN, "folder": tokenizer}
    found = in_node(scripts, "windows", **given)
    assert [ids for each in found for ids in each["ids"]] == [row.input_ids.tolist() for row in encodings]
    first = [encodings[window] for window in spans.first_windows(encodings)]
    assert [each["truncated"] for each in found] == [row.truncated for row in first]
    assert [each["answers"][0]["label"] for each in found] == [words for words, _ in expected]
    assert [each["answers"][0]["share"] for each in found] == pytest.approx([share for _, share in expected], rel=1e-4)
