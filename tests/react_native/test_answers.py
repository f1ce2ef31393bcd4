"""What React Native apps make of a model's outputs, against Python: the same random outputs for the same hard texts."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jaxtyping import Float32
from numpy import ndarray
from react_native import Node
from tiny import sentences, write_tokenizer

from palmtop import task_kinds
from palmtop.app_manifest import GoldenRow
from palmtop.data.encoding import Encoding, Text
from palmtop.data.tokenization import HostTokenizer
from palmtop.eval.tokenizers.hard_strings import hard_strings
from palmtop.signature import Signature
from palmtop.task_kinds.question_answering import SPAN

pytestmark = pytest.mark.slow

LENGTH = 24
TEXTS = 2000
TAGS = ("O", "B-food", "I-food", "B-place", "I-place", "I")
NAMES = ("calm", "glad", "sad", "angry")


@dataclass(frozen=True)
class Case:
    """A kind of task, and how a model of it is fed and read."""

    family: str
    labels: tuple[str, ...]
    output: str = "logits"
    pair: bool = False
    thresholds: tuple[float, ...] | None = None
    null_threshold: float | None = None
    tokens: tuple[int, ...] = ()
    """How many tokens have outputs of their own."""


CASES = {
    "classification": Case("bert", NAMES, pair=True),
    "classification, probabilities": Case("roberta", NAMES, "probabilities"),
    "multi_label": Case("xlm-roberta", NAMES, "label_probabilities", thresholds=(0.2, 0.5, 0.65, 0.9)),
    "regression": Case("bert", ("stars",), pair=True),
    "token_classification": Case("roberta", TAGS, "token_logits", tokens=(LENGTH,)),
    "token_classification, WordPiece": Case("bert", TAGS, "token_logits", tokens=(LENGTH,)),
    "question_answering": Case("xlm-roberta", SPAN, "spans", pair=True, tokens=(LENGTH,)),
    "question_answering, WordPiece": Case("bert", SPAN, "spans", pair=True, tokens=(LENGTH,)),
    "question_answering, no answer": Case("bert", SPAN, "spans", True, null_threshold=-11.5, tokens=(LENGTH,)),
}


@pytest.mark.parametrize("name", CASES)
def test_answers_are_those_of_python(name: str, node: Node, tmp_path: Path) -> None:
    case, kind = CASES[name], task_kinds.find(name.split(",", maxsplit=1)[0])
    signature = _write_folder(tmp_path, name, [])
    encodings = HostTokenizer.of(tmp_path, signature).encode(_texts(case.pair))
    rows = _outputs(case, len(encodings))
    outputs = kind.joined(rows, encodings)
    asked = [
        {"text": encoding.text, "outputs": row.tolist() if case.labels == SPAN else [row.reshape(-1).tolist()]}
        for encoding, row in zip(encodings, rows, strict=True)
    ]
    found = node.ask("answers", tmp_path, asked)
    assert len(found) == TEXTS
    told = kind.told(outputs, encodings, signature, case.labels)
    said = kind.said(outputs, encodings, case.labels, signature)
    kept = [kind.golden_outputs(row, len(encoding)) for row, encoding in zip(outputs, encodings, strict=True)]
    assert [row["said"] for row in found] == list(said)
    assert [row["kept"] for row in found] == kept
    assert [_plain(row["answer"]) | {"truncated": row["truncated"]} for row in found] == [
        _forward(_rounded(answer.as_dict())) for answer in told
    ]
    assert 100 < sum(answer.truncated for answer in told)
    if case.null_threshold is not None:
        assert 200 < sum(not each for each in said) < 1800


def test_a_model_answers_once_its_golden_answers_passed_and_they_are_asked_once(node: Node, tmp_path: Path) -> None:
    rows = _golden("classification", tmp_path)
    _write_folder(tmp_path, "classification", rows)
    first, second, other = node.ask(
        "opens",
        tmp_path,
        [
            {"shifts": [0], "passed": None},
            {"shifts": [0], "passed": "digest runtime 0"},
            {"shifts": [0], "passed": "another digest runtime 0"},
        ],
    )
    assert (first["asked"], second["asked"], other["asked"]) == (len(rows), 0, len(rows))
    assert first["memory"] == "digest runtime 0"
    assert first["answer"]["ranked"][0]["name"] == rows[0].answer


@pytest.mark.parametrize("name", ["classification", "token_classification", "question_answering"])
def test_the_first_runtime_whose_answers_are_the_recorded_ones_is_taken(name: str, node: Node, tmp_path: Path) -> None:
    _write_folder(tmp_path, name, _golden(name, tmp_path))
    fine, other, none = node.ask(
        "opens", tmp_path, [{"shifts": shifts, "passed": None} for shifts in ([1e-5, 9], [9, 0], [9, 9])]
    )
    assert (fine["runtime"], other["runtime"]) == ("runtime 0", "runtime 1")
    assert none["refused"].startswith("This model doesn't answer here. runtime 0: its outputs differ")


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"golden_texts": 99}, "golden.jsonl has 40 answers, and should have 99"),
        ({"labels": "glad\ncalm\nsad\nangry\n"}, "golden answers are told in other words than recorded"),
        ({"max_length": 12}, "the tokenizer gives other ids than recorded for"),
        ({"kind": "embedding"}, "the model is for 'embedding', which this code doesn't know"),
    ],
)
def test_a_folder_that_is_another_one_is_refused(
    changed: dict[str, Any], says: str, node: Node, tmp_path: Path
) -> None:
    _write_folder(tmp_path, "classification", _golden("classification", tmp_path), changed)
    (found,) = node.ask("opens", tmp_path, [{"shifts": [0], "passed": None}])
    assert says in found["refused"]


def _texts(pair: bool) -> list[Text]:
    """Hard ones among plain words; of pairs the second too, as nobody asks for a span of nothing."""
    plain = [text for text, _ in sentences(TEXTS)]
    hard = [string.text for string in hard_strings(plain)]
    return [
        (f"{ours} {theirs}", f"{theirs} {ours} {theirs}") if pair else (f"{theirs} {ours}",)
        for ours, theirs in zip(hard, plain, strict=True)
    ]


def _outputs(case: Case, count: int) -> Float32[ndarray, "texts ..."]:
    """As a runtime gives them: of tags [tokens, labels], of spans [2, tokens]."""
    shape = (len(SPAN), LENGTH) if case.labels == SPAN else (*case.tokens, len(case.labels))
    logits = np.random.default_rng(3).normal(size=(count, *shape)).astype(np.float32) * 3
    if case.output == "label_probabilities":
        return (1 / (1 + np.exp(-logits))).astype(np.float32)
    if case.output != "probabilities":
        return logits
    powers = np.exp(logits)
    return (powers / powers.sum(-1, keepdims=True)).astype(np.float32)


def _golden(name: str, folder: Path) -> list[GoldenRow]:
    """Some texts that are short enough, with random outputs."""
    case, kind = CASES[name], task_kinds.find(name)
    signature = _write_folder(folder, name, [])
    encodings: list[Encoding] = HostTokenizer.of(folder, signature).encode(_texts(case.pair)[:40])
    outputs = kind.joined(_outputs(case, len(encodings)), encodings)
    return [
        GoldenRow(
            text=encoding.text,
            input_ids=tuple(encoding.input_ids.tolist()),
            token_type_ids=tuple(encoding.token_type_ids.tolist()),
            outputs=tuple(kind.golden_outputs(row, len(encoding))),
            answer=said,
        )
        for encoding, row, said in zip(encodings, outputs, kind.said(outputs, encodings, case.labels), strict=True)
    ]


def _write_folder(folder: Path, name: str, rows: list[GoldenRow], changed: Mapping[str, Any] = {}) -> Signature:
    """files.json, as the written project has it in texts.ts."""
    case = CASES[name]
    write_tokenizer(folder, case.family)
    signature = Signature(
        inputs=("input_ids", "attention_mask", "token_type_ids"),
        output=case.output,
        max_length=changed.get("max_length", LENGTH),
        pad_id=0,
        thresholds=case.thresholds,
        null_threshold=case.null_threshold,
    )
    signature.write(folder)
    manifest = {
        "name": "tiny",
        "description": "A tiny model.",
        "kind": changed.get("kind", name.split(",", maxsplit=1)[0]),
        "texts": 2 if case.pair else 1,
        "tolerance": {"difference": 1e-2, "typical": 1e-3, "agreement": 0.98},
        "golden_texts": changed.get("golden_texts", len(rows)),
    }
    files = {path: (folder / path).read_text() for path in ("tokenizer.json", "signature.json")}
    files |= {"manifest.json": json.dumps(manifest), "labels.txt": changed.get("labels", "\n".join(case.labels) + "\n")}
    files["golden.jsonl"] = "".join(json.dumps(row.model_dump()) + "\n" for row in rows)
    (folder / "files.json").write_text(json.dumps(files))
    return signature


def _plain(answer: dict[str, Any]) -> dict[str, Any]:
    """As Python's answers have it."""
    if answer["kind"] == "labels":
        shares = {label["name"]: label["probability"] for label in answer["ranked"]}
        given = [label["name"] for label in answer["ranked"] if label["given"]]
        own = {"labels": tuple(given)} if answer["several"] else {"label": given[0], "probability": shares[given[0]]}
        return _rounded(own | {"probabilities": shares})
    if answer["kind"] == "tags":
        return {"entities": tuple(answer["entities"])}
    if answer["kind"] == "number":
        return _rounded({"number": answer["value"]})
    return _rounded({"answer": answer["text"]} | {name: answer[name] for name in ("begin", "end", "score")})


def _forward(answer: dict[str, Any]) -> dict[str, Any]:
    """Of a span of nothing but spaces Python has the begin after the end; the text is empty in both."""
    return answer | {"end": max(answer["begin"], answer["end"])} if "begin" in answer else answer


def _rounded(answer: dict[str, Any]) -> dict[str, Any]:
    """Sums of exponentials differ in the last bits between languages."""
    return {
        name: round(value, 9)
        if isinstance(value, float)
        else {label: round(share, 9) for label, share in value.items()}
        if isinstance(value, dict)
        else value
        for name, value in answer.items()
    }
