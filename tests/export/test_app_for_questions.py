"""An app that answers questions: tflite-support's BertQuestionAnswerer opens its .tflite, and answers as LiteRT
does."""

import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

import pytest
from ai_edge_litert import schema_py_generated as schema
from mediapipe.tasks.metadata import metadata_schema_py_generated as metadata_schema
from task_clients import tflite_support_answers
from tiny_bundles import Taught, reseal

from palmtop import parity, stage
from palmtop.app_manifest import Manifest, read_golden
from palmtop.bundle import Bundle, sha256_of
from palmtop.data.tokenization import HostTokenizer
from palmtop.errors import UserError
from palmtop.eval.verify import verify
from palmtop.export.app import clients
from palmtop.export.app.clients import LENGTH, QUESTION_ANSWERER
from palmtop.making import make
from palmtop.task import Task
from palmtop.task_kinds import spans

QUESTION = "what is it now"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("apps")


@pytest.fixture(scope="module")
def app(reader_files: dict[int, Bundle], folder: Path) -> Bundle:
    return _make("to_app", {"task_clients": "required", "licence": "Apache-2.0"}, reader_files[LENGTH], folder / "app")


@pytest.fixture(scope="module")
def questions(reader: Taught) -> list[tuple[str, str]]:
    """Of the evaluation data, a context that is cut, and capitals."""
    own = [(question, context) for question, context in Task.find(reader.task).load("evaluation").texts]
    return [*own, (QUESTION, own[0][1] + " some" * 500), (QUESTION.upper(), "How IS the Umbrella for you")]


@pytest.mark.parametrize("scheme", [None, "float16", "weight_only_int8"])
def test_the_client_answers_as_litert_does(
    scheme: str | None,
    app: Bundle,
    reader: Taught,
    reader_files: dict[int, Bundle],
    questions: list[tuple[str, str]],
    folder: Path,
) -> None:
    """The same words for every question, but that the client knows only whole words between spaces: a comma comes
    along.

    What this can't show: the client looks at the five best starts and ends only and takes 32 tokens where we take 30,
    so a model in doubt may answer otherwise. This one isn't in doubt. Nor are there accents or scripts on which
    tokenizers differ.
    """
    if scheme is not None:
        app = _make(
            "to_app",
            {},
            _make("quantize", {"scheme": scheme}, reader_files[LENGTH], folder / scheme),
            folder / f"app-{scheme}",
        )
    assert Manifest.read(app.path).clients[QUESTION_ANSWERER] == "answers"
    found = tflite_support_answers(app.path / "model.tflite", questions)
    ours = _ours(app, questions)
    assert found["answers"] == [_whole_words(question[1], span) for question, span in zip(questions, ours, strict=True)]
    assert ours[:36] == [tuple(span) for span in Task.find(reader.task).load("evaluation").labels[:, 0]]  # and right
    same = [
        answer == context[begin:end]
        for answer, (_, context), (begin, end) in zip(found["answers"], questions, ours, strict=True)
    ]
    assert sum(same) > 20 and not all(same)


def test_the_client_is_refused_what_it_would_die_of(
    reader_files: dict[int, Bundle], questions: list[tuple[str, str]], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reason = "BertQuestionAnswerer always gives 384 tokens, this file takes 64: export it with lengths: 384"
    made = _make("to_app", {}, reader_files[64], folder / "short")
    assert Manifest.read(made.path).clients == {
        "LiteRT": "answers",
        "MediaPipe TextClassifier 1.2.2": "no: MediaPipe has no client for questions",
        "tflite-support BertNLClassifier 0.4.4": "no: this model doesn't classify",
        QUESTION_ANSWERER: f"no: {reason}",
    }
    assert made.card.facts["task_clients"] == f"no: {reason}" and made.card.facts["clients"] == "LiteRT"
    assert sha256_of(made.path / "model.tflite") == sha256_of(reader_files[64].path / "model.tflite")
    with pytest.raises(UserError, match=f"^{reader_files[64].name} isn't for the Task clients: {reason}$"):
        _make("to_app", {"task_clients": "required"}, reader_files[64], folder / "refused")
    monkeypatch.setattr(clients, "LENGTH", 64)
    packed = _make("to_app", {}, reader_files[64], folder / "packed")
    assert tflite_support_answers(packed.path / "model.tflite", questions[:1]) == {"refused": "Bad StatusOr access"}


def test_channelwise_weights_are_refused_as_a_classifiers_are(
    reader_files: dict[int, Bundle], questions: list[tuple[str, str]], folder: Path
) -> None:
    made = _make("to_app", {}, _make("quantize", {}, reader_files[LENGTH], folder / "dynamic"), folder / "app-dynamic")
    assert Manifest.read(made.path).clients[QUESTION_ANSWERER] == (
        "refuses it: its weights have a scale for each channel; float16 and weight_only_int8 it answers"
    )
    assert (
        "Didn't find op for builtin opcode"
        in tflite_support_answers(made.path / "model.tflite", questions[:1])["refused"]
    )


def test_the_metadata_names_both_outputs_in_the_graphs_order(app: Bundle) -> None:
    """Read back with the generated code of MediaPipe, which knows nothing of how it was written."""
    path = app.path / "model.tflite"
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(path.read_bytes(), 0))
    [place] = [entry.buffer for entry in model.metadata if entry.name == b"TFLITE_METADATA"]
    read = metadata_schema.ModelMetadataT.InitFromObj(
        metadata_schema.ModelMetadata.GetRootAs(bytes(model.buffers[place].data), 0)
    )
    [graph], [signature] = read.subgraphMetadata, model.signatureDefs
    names = {int(entry.tensorIndex): entry.name for entry in signature.outputs}
    assert [tensor.name for tensor in graph.outputTensorMetadata] == [
        names[int(index)] for index in model.subgraphs[0].outputs
    ]
    assert sorted(names.values()) == [b"end_logits", b"start_logits"]
    assert [tensor.name for tensor in graph.inputTensorMetadata] == [b"ids", b"mask", b"segment_ids"]
    with zipfile.ZipFile(path) as archive:
        assert archive.namelist() == ["vocab.txt"]


def test_golden_answers_are_words_and_verified(app: Bundle, capsys: pytest.CaptureFixture[str]) -> None:
    manifest, rows = Manifest.read(app.path), read_golden(app.path)
    assert (manifest.kind, manifest.texts) == ("question_answering", 2)
    assert (
        manifest.description
        == "questions: the answer to a question, in its context. Made by palmtop: adopt, finetune, to_tflite."
    )
    assert len(rows) == 36 + 16 and all(len(row.outputs) == 2 * len(row.input_ids) for row in rows)
    assert all(row.answer and row.answer in row.text[1] for row in rows[:36])
    assert rows[0].outputs[0] == spans.OUTSIDE  # [CLS] is no token of the context
    verify(app.path, print)
    said = capsys.readouterr().out
    assert "golden.jsonl: start and end logits for each token\n" in said and "100.0% agree" in said


def test_a_golden_answer_that_isnt_the_logits_own_is_told(app: Bundle, tmp_path: Path) -> None:
    changed = _with_row(app, tmp_path / "words", answer="snow")
    with pytest.raises(
        UserError, match=r"golden.jsonl has 1 answers that aren't its own logits' \(the first: 'snow', by the logits "
    ):
        verify(changed.path, print)
    changed = _with_row(app, tmp_path / "logits", outputs=[0.0])
    with pytest.raises(UserError, match=r"golden.jsonl hasn't a start and an end logit for each token of \('"):
        verify(changed.path, print)


def _with_row(app: Bundle, folder: Path, **changes: Any) -> Bundle:
    """A copy of an app with another first golden row, sealed anew."""
    shutil.copytree(app.path, folder)
    golden = folder / "golden.jsonl"
    first, *others = golden.read_text(encoding="utf-8").splitlines(keepends=True)
    golden.write_text(json.dumps(json.loads(first) | changes) + "\n" + "".join(others), encoding="utf-8")
    reseal(folder, restate=True)
    return Bundle.open(folder)


def _ours(app: Bundle, questions: list[tuple[str, str]]) -> list[tuple[int, int]]:
    """Begin and end of the answers that LiteRT gives."""
    encodings = HostTokenizer(app.path, LENGTH, "spans").encode(questions)
    found = spans.characters(parity.answers(("tflite", app.path), encodings), encodings)
    return [(int(begin), int(end)) for begin, end in found]


def _whole_words(context: str, span: tuple[int, int]) -> str:
    """What lies between spaces, widened from a span."""
    begin, end = span
    return context[context.rfind(" ", 0, begin) + 1 : end + len(context[end:].split(" ", maxsplit=1)[0])]


def _make(use: str, settings: dict[str, Any], source: Bundle | None, out: Path) -> Bundle:
    return make(use, stage.find(use)(**settings), source, out, print)
