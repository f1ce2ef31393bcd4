"""What the page's scripts say of a model's outputs is what Python says of them, for every kind of task: in Node, on
outputs drawn at random."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from page_script import ROOT, in_node
from tiny import sentences, write_tokenizer

from palmtop import task_kinds
from palmtop.answering import Purpose, answers
from palmtop.data.encoding import Encoding, Text
from palmtop.data.tokenization import HostTokenizer
from palmtop.eval.measuring.latency import quantiles
from palmtop.signature import Signature

LABELS = ("B-money", "I-money", "B-music", "I-music", "O")
INPUTS = ("input_ids", "attention_mask")
LENGTH = 24
WRITTEN = [
    "Now rain, (guitar) for ME; please!",
    "R\u00e0in at the caf\u00e9 \u2014 play a song?",
    "  two   spaces and\ttabs\n",
    "\u6771\u4eac rain \U0001f44d\U0001f3fd song",
    "'quoted' U.S.A. 12.50 dollars...",
    "zzzz unknownword qqq song",
    "cash " * 40,
]
TEXTS: list[Text] = [(text,) for text in (*WRITTEN, *(text for text, _ in sentences(12, 3)))]
PAIRS: list[Text] = [("what is it now?", text) for (text,) in TEXTS] + [("who is it for " * 9, "rain for me")]


@pytest.fixture(scope="module")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("scripts")


@pytest.fixture(scope="module", params=["bert", "roberta", "xlm-roberta"])
def tokenizer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """WordPiece, byte-level BPE, Unigram."""
    folder = tmp_path_factory.mktemp(request.param)
    write_tokenizer(folder, request.param)
    return folder


def test_the_page_knows_every_kind_of_task() -> None:
    script = (ROOT / "export" / "page" / "meaning.js").read_text(encoding="utf-8")
    assert {name for name in task_kinds.names() if task_kinds.find(name).page} == set(
        re.findall(r"^  (\w+): \{ given: ", script, re.MULTILINE)
    )


@pytest.mark.parametrize("output", ["token_logits", "spans"])
def test_tokens_stand_for_the_characters_that_hugging_face_says(output: str, tokenizer: Path, scripts: Path) -> None:
    texts = PAIRS if output == "spans" else TEXTS
    found = in_node(scripts, "encode", folder=tokenizer, texts=texts, max_length=LENGTH, spans=output == "spans")
    for row, encoding in zip(found, HostTokenizer(tokenizer, LENGTH, output).encode(texts), strict=True):
        assert row["ids"] == encoding.input_ids.tolist() and row["truncated"] == encoding.truncated
        places, last = _places(encoding), len(row["tokens"]) - 1
        begin = row["begins"][last]
        ours = [tuple(_in_points(encoding.text[last], place)) for place in row["places"][last]]
        expected = [tuple(place) for place in places[begin : begin + len(ours)].tolist()]
        assert _told(ours, encoding.text[last]) == _told(expected, encoding.text[last])


@pytest.mark.parametrize(
    ("kind", "output", "labels", "texts"),
    [
        ("classification", "logits", LABELS, TEXTS),
        ("classification", "probabilities", LABELS, TEXTS),
        ("multi_label", "logits", LABELS, TEXTS),
        ("multi_label", "label_probabilities", LABELS, TEXTS),
        ("regression", "logits", ("number",), TEXTS),
        ("token_classification", "token_logits", LABELS, TEXTS),
        ("question_answering", "spans", ("start", "end"), PAIRS),
    ],
)
def test_outputs_mean_what_python_says(
    kind: str, output: str, labels: tuple[str, ...], texts: list[Text], tokenizer: Path, scripts: Path
) -> None:
    thresholds = (0.2, 0.4, 0.5, 0.6, 0.8) if kind == "multi_label" else None
    signature = Signature(inputs=INPUTS, output=output, max_length=LENGTH, pad_id=0, thresholds=thresholds)
    encodings = HostTokenizer.of(tokenizer, signature).encode(texts)
    raw = _outputs(kind, output, len(labels), encodings)
    given = {"kind": kind, "labels": labels, "signature": signature.model_dump(), "folder": tokenizer}
    rows = [{"text": row.text, "outputs": each} for row, each in zip(encodings, raw, strict=True)]
    found = in_node(scripts, "tell", rows=rows, **given)

    host = task_kinds.find(kind)
    arrays = [{name: np.asarray(values, np.float32) for name, values in each.items()} for each in raw]
    outputs = host.joined(
        [host.from_runtime(each, 1, len(row))[0] for each, row in zip(arrays, encodings, strict=True)], encodings
    )
    expected = answers(Purpose(kind, (), labels, signature), encodings, outputs)
    for said, answer, array, row in zip(found, expected, outputs, encodings, strict=True):
        np.testing.assert_allclose(said["given"], host.golden_outputs(array, len(row)), rtol=1e-6)
        _compare(kind, said, answer, row.text[-1])


def test_quantiles_are_those_of_the_measurements(scripts: Path) -> None:
    times = np.random.default_rng(0).gamma(2, 3, 60).round(3).tolist()
    expected = quantiles(times)
    found = in_node(scripts, "quantiles", times=times)
    assert found["n"] == expected.runs
    assert [found[f"{name}_ms"] for name in ("p50", "p90", "p99")] == pytest.approx(
        [expected.median, expected.p90, expected.p99], abs=1e-4
    )


def _compare(kind: str, said: Any, answer: Any, text: str) -> None:
    if kind == "regression":
        assert said["answers"][0]["share"] == pytest.approx(answer.number)
    elif kind == "token_classification":
        marks = [(mark["label"], *_in_points(text, (mark["begin"], mark["end"]))) for mark in said["marks"]]
        assert marks == [(found.label, found.begin, found.end) for found in answer.entities]
    elif kind == "question_answering":
        assert said["answers"][0]["label"] == answer.answer
        assert said["answers"][0]["share"] == pytest.approx(answer.score, rel=1e-4)
    else:
        shares = {each["label"]: each["share"] for each in said["answers"]}
        assert shares == pytest.approx(answer.probabilities, rel=1e-5) and list(shares) == list(answer.probabilities)
        given = [each["label"] for each in said["answers"] if each.get("given")]
        assert given == list(getattr(answer, "labels", ()))


def _outputs(kind: str, output: str, labels: int, encodings: list[Encoding]) -> list[dict[str, list[float]]]:
    """What a runtime would give for each text, by name."""
    random = np.random.default_rng(7)
    made = []
    for row in encodings:
        if kind == "question_answering":
            drawn = {name: random.normal(0, 3, len(row)) for name in ("start_logits", "end_logits")}
        else:
            drawn = {"output": random.normal(0, 3, labels * (len(row) if kind == "token_classification" else 1))}
        if output.endswith("probabilities"):
            powers = np.exp(drawn["output"])
            drawn["output"] = powers / powers.sum() if output == "probabilities" else powers / (1 + powers)
        made.append({name: np.float32(values).tolist() for name, values in drawn.items()})
    return made


def _places(encoding: Encoding) -> Any:
    assert encoding.places is not None
    return encoding.places


def _in_points(text: str, place: Any) -> list[int]:
    """Places in UTF-16 units, as JavaScript counts, in characters, as Python does."""
    units = text.encode("utf-16-le")
    return [len(units[: 2 * end].decode("utf-16-le", "replace")) if end >= 0 else end for end in place]


def _told(places: list[tuple[int, ...]], text: str) -> list[str]:
    """The characters of each token, without spaces."""
    return [text[begin:end].strip() if begin >= 0 else "" for begin, end in places]
