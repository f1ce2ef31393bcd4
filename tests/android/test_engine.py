"""The phone's engine with LiteRT itself, on the JVM: every kind of task answers as Python does, bit for bit."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from jaxtyping import Float32
from kotlin_jvm import Jvm
from numpy import ndarray
from once import MadeOnce
from tiny import sentences, write_model, write_multi_label, write_questions, write_tags, write_task
from tiny_bundles import reseal

from palmtop import target
from palmtop.bundle import Bundle
from palmtop.export.to_app import HARD
from palmtop.loaded import load
from palmtop.making import make
from palmtop.parity import PLAIN
from palmtop.settings import build
from palmtop.stage import find
from palmtop.task import Task
from palmtop.task_kinds.question_answering import SPAN
from palmtop.task_kinds.spans import OUTSIDE

pytestmark = pytest.mark.slow

KINDS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "classification": ("bert", "SequenceClassification", {"lengths": "any"}),
    "regression": ("distilbert", "SequenceClassification", {"lengths": [8, 24, 48]}),
    "multi_label": ("xlm-roberta", "SequenceClassification", {"lengths": "any", "probabilities": True}),
    "token_classification": ("roberta", "TokenClassification", {"lengths": "any"}),
    "question_answering": ("bert", "QuestionAnswering", {"lengths": [24, 64]}),
    "question_answering, no answer": ("bert", "QuestionAnswering", {"lengths": [64]}),
}
"""Of each kind a family, whose tokenizers are WordPiece, Unigram and byte-level BPE; its head; and the lengths of its
file."""
TASKS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "classification": lambda folder: write_task(folder, pair=True),
    "regression": lambda folder: write_task(folder, "regression"),
    "multi_label": write_multi_label,
    "token_classification": write_tags,
    "question_answering": write_questions,
    "question_answering, no answer": lambda folder: write_questions(folder) | {"options": {"unanswerable": True}},
}


@pytest.fixture(scope="module", params=KINDS)
def app(request: pytest.FixtureRequest, once: MadeOnce, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """An app of a random model in dynamic int8."""
    folder = tmp_path_factory.mktemp(request.param)
    source = once("to_tflite", KINDS[request.param][2], _random(folder, request.param))
    small = once("quantize", {"scheme": "dynamic_int8", "tolerance": 2}, source)
    return once("to_app", {}, small)


def test_the_golden_answers_are_met_without_any_difference(app: Bundle, jvm: Jvm) -> None:
    (report,) = jvm.ask("golden", app.path)
    assert report == {
        "texts": len((app.path / "golden.jsonl").read_text(encoding="utf-8").rstrip("\n").split("\n")),
        "other_tokens": 0,
        "difference": "0.0",
        "agreement": 1,
        "fault": None,
        "trusted": True,
    }


def test_answers_are_pythons_bit_for_bit_at_changing_lengths(app: Bundle, jvm: Jvm) -> None:
    texts = _asked(app)
    with target.for_format("tflite").open(app.path) as runner:
        encodings = runner.tokenize(texts)
        bits = [_bits(runner.predict([encoding])[0], len(encoding)) for encoding in encodings]
    assert len({len(encoding) for encoding in encodings}) > 10
    with load(app) as model:
        wanted = [answer.as_dict() for answer in model.ask(texts)]
    found = jvm.ask("answers", app.path, [{"text": list(text)} for text in texts])
    assert [row["tokens"] for row in found] == [len(encoding) for encoding in encodings]
    assert [row["bits"] for row in found] == bits
    assert [_in_pythons_words(row["answer"]) for row in found] == [_comparable(said) for said in wanted]


def test_a_file_that_was_changed_is_named_and_no_answer_given(app: Bundle, jvm: Jvm, tmp_path: Path) -> None:
    copy = _copied(app, tmp_path / "app")
    (copy / "tokenizer_config.json").write_text("{}")
    (found,) = jvm.ask("golden", copy)
    assert found["by"] == "DamagedModel" and "tokenizer_config.json is damaged" in found["refused"]


def test_a_model_that_answers_otherwise_is_found_out_and_does_not_answer(app: Bundle, jvm: Jvm, tmp_path: Path) -> None:
    copy = _copied(app, tmp_path / "app")
    path = copy / "golden.jsonl"
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").rstrip("\n").split("\n")]
    for row in rows:
        row["outputs"] = [value if value == OUTSIDE else 0.9 * value**3 for value in row["outputs"]]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    reseal(copy, restate=True)
    (report,) = jvm.ask("golden", copy)
    assert "the model answers otherwise than recorded" in report["fault"] and not report["trusted"]
    asked = {"text": list(_asked(app)[0]), "trusted": False}
    (found,) = jvm.ask("answers", copy, [asked])
    assert found["by"] == "NotTrusted" and "it doesn't answer" in found["refused"]
    (found,) = jvm.ask("benchmark", copy, [{"lengths": [8], "warm_up": 1, "runs": 1, "trusted": False}])
    assert found["by"] == "NotTrusted" and "it isn't timed" in found["refused"]


def test_lengths_are_timed_and_the_wrong_number_of_texts_is_refused(app: Bundle, jvm: Jvm) -> None:
    (found,) = jvm.ask("benchmark", app.path, [{"lengths": [8, 8, 24, 4000], "warm_up": 1, "runs": 9}])
    lengths, counts, *times = zip(*found["lengths"], strict=True)
    assert list(lengths) == sorted(set(lengths)) and set(counts) == {9} and lengths[-1] == app.signature.max_length
    assert all(0 < half <= nine <= most for half, nine, most in zip(*times, strict=True))
    texts = ["rain"] * (3 - len(_asked(app)[0]))
    (refused,) = jvm.ask("answers", app.path, [{"text": texts}])
    assert refused["refused"] == f"the model reads {3 - len(texts)} texts at a time, not {len(texts)}"


def _asked(app: Bundle) -> list[tuple[str, ...]]:
    """Ordinary and hard texts, of many lengths; for two columns each with another."""
    columns = json.loads((app.path / "manifest.json").read_text(encoding="utf-8"))["texts"]
    pairs = zip(sentences(80, 4), sentences(80, 6), strict=True)
    return [
        *(text * columns for text in (*PLAIN, *HARD)),
        *((text, other)[:columns] for (text, _), (other, _) in pairs),
    ]


def _copied(app: Bundle, folder: Path) -> Path:
    shutil.copytree(app.path, folder)
    return folder


def _bits(output: Float32[ndarray, "..."], tokens: int) -> list[int]:
    """What golden.jsonl would hold of a text's outputs, as integers."""
    kept = output if output.ndim == 1 else output[:, :tokens] if len(output) == len(SPAN) else output[:tokens]
    return np.ascontiguousarray(kept, np.float32).reshape(-1).view(np.int32).tolist()


def _in_pythons_words(told: dict[str, Any]) -> dict[str, Any]:
    """The phone's answer in the fields of Python's."""
    if "entities" in told:
        names = ("label", "text", "begin", "end")
        told = told | {"entities": tuple(dict(zip(names, one, strict=True)) for one in told["entities"])}
    if "labels" in told:
        shares = dict(zip(told["labels"], told["probabilities"], strict=True))
        told = {"given": told["given"], "probabilities": shares, "truncated": told["truncated"]}
    return told


def _comparable(said: dict[str, Any]) -> dict[str, Any]:
    """Python's answer; which labels are given under one name, and numbers as equal as two libraries' exponentials."""
    said = dict(said)
    if "probabilities" in said:
        given = said["labels"] if "labels" in said else [said["label"]]
        shares = {label: pytest.approx(share, abs=1e-12) for label, share in said["probabilities"].items()}
        return {"given": list(given), "probabilities": shares, "truncated": said["truncated"]}
    return said | ({"score": pytest.approx(said["score"], abs=1e-12)} if "score" in said else {})


def _random(folder: Path, kind: str) -> Bundle:
    """A random model of two layers with the head of a tiny task, adopted."""
    family, head, _ = KINDS[kind]
    task = TASKS[kind](folder / "data")
    model = write_model(folder / "model", family, initializer_range=0.4)
    config = transformers.AutoConfig.from_pretrained(model)
    if head != "QuestionAnswering":
        names = Task.find(task).label_names
        config.update({"id2label": dict(enumerate(names)), "label2id": {name: at for at, name in enumerate(names)}})
    torch.manual_seed(1)
    getattr(transformers, f"AutoModelFor{head}").from_config(config).save_pretrained(model)
    settings = {"model": str(model), "task": task}
    return make("adopt", build(find("adopt"), settings, "adopt"), None, folder / "adopted", lambda _: None)
