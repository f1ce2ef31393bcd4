"""An app's folder: Google's Task clients open its .tflite and answer as our interpreter does; what is in it is
stated."""

import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from mediapipe.tasks.metadata import metadata_schema_py_generated as metadata_schema
from task_clients import Scores, mediapipe_answers, tflite_support
from tiny import sentences, write_tokenizer
from tiny_bundles import adopted, naming_this_machine, sealed

from palmtop import parity, stage, target
from palmtop.app_manifest import Manifest, read_golden
from palmtop.bundle import Bundle, sha256_of
from palmtop.data.tokenization import HostTokenizer
from palmtop.data.wordpiece import why_not
from palmtop.errors import UserError
from palmtop.eval.verify import verify
from palmtop.export.app.clients import why_not as no_clients
from palmtop.making import make
from palmtop.signature import Signature
from palmtop.stage import Outline
from palmtop.task import Task

TEXTS = [
    "Play me a LOUD song, please!",
    "what is the forecast for tomorrow?",
    "pay 12.50 dollars: my card",
    "rain",
    "guitar " * 40,
    "q?x",
    *(text for text, _ in sentences(10, 7)),
]
"""Plain ASCII, where all tokenizers agree; one is longer than the model takes."""
SAME = 1e-3
"""Of a probability. Measured: below 1e-6 with either client."""
CLIENTS = (
    "LiteRT",
    "MediaPipe TextClassifier 1.2.2",
    "tflite-support BertNLClassifier 0.4.4",
    "tflite-support BertQuestionAnswerer 0.4.4",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("apps")


@pytest.fixture(scope="module")
def teacher(folder: Path) -> Bundle:
    return adopted(folder / "bert", "bert")


@pytest.fixture(scope="module")
def exported(folder: Path, teacher: Bundle) -> dict[str, Bundle]:
    """.tflite files with probabilities, by precision."""
    made = {"float32": _make("to_tflite", {"lengths": 24, "probabilities": True}, teacher, folder / "float32")}
    for scheme in ("dynamic_int8", "weight_only_int8"):
        made[scheme] = _make("quantize", {"scheme": scheme, "tolerance": 2}, made["float32"], folder / scheme)
    return made


@pytest.fixture(scope="module")
def apps(folder: Path, exported: dict[str, Bundle]) -> dict[str, Bundle]:
    words = {
        "title": "Tiny",
        "author": "The testers",
        "licence": "Apache-2.0",
        "description": "Weather, music or money.",
        "version": "7",
    }
    return {name: _make("to_app", words, made, folder / f"app-{name}") for name, made in exported.items()}


@pytest.mark.parametrize("precision", ["float32", "dynamic_int8", "weight_only_int8"])
def test_mediapipe_answers_as_the_interpreter_does(
    precision: str, apps: dict[str, Bundle], exported: dict[str, Bundle]
) -> None:
    found = mediapipe_answers(apps[precision].path / "model.tflite", TEXTS)
    assert _distance(found, exported[precision]) < SAME


@pytest.mark.parametrize("precision", ["float32", "weight_only_int8"])
def test_tflite_support_answers_as_the_interpreter_does(
    precision: str, apps: dict[str, Bundle], exported: dict[str, Bundle]
) -> None:
    found = tflite_support(apps[precision].path / "model.tflite", TEXTS)
    assert _distance(found["answers"], exported[precision]) < SAME
    assert Manifest.read(apps[precision].path).clients == dict(
        zip(CLIENTS, ["answers"] * 3 + ["no: this model classifies"], strict=True)
    )


def test_tflite_support_refuses_what_it_would_answer_wrongly(apps: dict[str, Bundle]) -> None:
    """Unmarked it opens a file with channelwise weights and answers with the first channel's scale for all."""
    answered = tflite_support(apps["dynamic_int8"].path / "model.tflite", TEXTS[:1])
    assert "Didn't find op for builtin opcode" in answered["refused"]
    assert Manifest.read(apps["dynamic_int8"].path).clients[CLIENTS[2]] == (
        "refuses it: its weights have a scale for each channel; float16 and weight_only_int8 it answers"
    )
    assert apps["dynamic_int8"].card.facts["clients"] == "LiteRT; MediaPipe TextClassifier 1.2.2"


@pytest.mark.slow
def test_a_model_of_two_inputs_gets_a_third_that_nothing_reads(folder: Path) -> None:
    file = _make(
        "to_tflite",
        {"lengths": 16, "probabilities": True},
        adopted(folder / "distilbert", "distilbert"),
        folder / "two",
    )
    app = _make("to_app", {"task_clients": "required"}, file, folder / "three")
    assert Signature.read(app.path).inputs == ("input_ids", "attention_mask", "token_type_ids")
    assert _distance(mediapipe_answers(app.path / "model.tflite", TEXTS), file) < SAME
    assert _distance(tflite_support(app.path / "model.tflite", TEXTS)["answers"], file) < SAME


@pytest.mark.parametrize("precision", ["float32", "dynamic_int8"])
def test_every_weight_is_inside_the_flatbuffer_and_aligned(
    precision: str, apps: dict[str, Bundle], exported: dict[str, Bundle]
) -> None:
    from ai_edge_litert.tools.flatbuffer_utils import read_model

    packed, before = (made[precision].path / "model.tflite" for made in (apps, exported))
    model = schema.Model.GetRootAs(packed.read_bytes(), 0)
    buffers = [model.Buffers(index) for index in range(model.BuffersLength())]
    assert not any(buffer.Offset() for buffer in buffers)
    places = [buffer._tab.Vector(buffer._tab.Offset(4)) for buffer in buffers if not buffer.DataIsNone()]
    assert not any(place % 16 for place in places)
    stored = [bytes(buffer.data) for buffer in read_model(str(before)).buffers if buffer.data is not None]
    kept = [bytes(buffer.DataAsNumpy()) for buffer in buffers if not buffer.DataIsNone()]
    assert kept[:-1] == stored  # the last one is the metadata
    files = sum((apps[precision].path / name).stat().st_size for name in ("vocab.txt", "labels.txt"))
    assert (
        files < packed.stat().st_size - before.stat().st_size < files + 8000
    )  # some hundred bytes a piece of metadata and directory


def test_the_metadata_says_what_was_said(apps: dict[str, Bundle]) -> None:
    """Read back with the generated code of MediaPipe, which knows nothing of how it was written."""
    path = apps["float32"].path / "model.tflite"
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(path.read_bytes(), 0))
    [place] = [entry.buffer for entry in model.metadata if entry.name == b"TFLITE_METADATA"]
    content = bytes(model.buffers[place].data)
    assert content[4:8] == b"M001"
    read = metadata_schema.ModelMetadataT.InitFromObj(metadata_schema.ModelMetadata.GetRootAs(content, 0))
    assert (read.name, read.description, read.version, read.author, read.license, read.minParserVersion) == (
        b"Tiny",
        b"Weather, music or money.",
        b"7",
        b"The testers",
        b"Apache-2.0",
        b"1.1.0",
    )
    [graph] = read.subgraphMetadata
    names = [model.subgraphs[0].tensors[index].name.decode() for index in model.subgraphs[0].inputs]
    ours = {"ids": "input_ids", "mask": "attention_mask", "segment_ids": "token_type_ids"}
    assert [
        ours[tensor.name.decode()] in name for tensor, name in zip(graph.inputTensorMetadata, names, strict=True)
    ] == [True] * 3
    [tokenizer] = graph.inputProcessUnits
    assert tokenizer.optionsType == metadata_schema.ProcessUnitOptions.BertTokenizerOptions
    kinds = metadata_schema.AssociatedFileType
    assert [(file.name, file.type) for file in tokenizer.options.vocabFile] == [(b"vocab.txt", kinds.VOCABULARY)]
    [output] = graph.outputTensorMetadata
    assert [(file.name, file.type) for file in output.associatedFiles] == [(b"labels.txt", kinds.TENSOR_AXIS_LABELS)]
    with zipfile.ZipFile(path) as archive:
        assert archive.read("labels.txt") == b"money\nmusic\nweather\n"
        assert archive.read("vocab.txt").decode().split("\n")[:5] == ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}


def test_what_the_task_clients_cannot_do_is_said_and_refused_where_they_are_required(
    exported: dict[str, Bundle], folder: Path
) -> None:
    logits = _changed(exported["float32"], folder / "logits", output="logits")
    app = _make("to_app", {}, logits, folder / "app-logits")
    reason = "they take the outputs for probabilities, this file answers logits: export it with probabilities: true"
    assert app.card.facts["task_clients"] == f"no: {reason}" and app.card.facts["clients"] == "LiteRT"
    assert sha256_of(app.path / "model.tflite") == sha256_of(logits.path / "model.tflite")
    with pytest.raises(UserError, match=f"logits isn't for the Task clients: {reason}"):
        _make("to_app", {"task_clients": "required"}, logits, folder / "refused")
    with pytest.raises(UserError, match="task_clients: required is for tflite, this is onnx"):
        stage.find("to_app")(task_clients="required").outline(Outline("onnx", "bert", 2, ("a", "b")))
    several = _changed(exported["float32"], folder / "several", lengths=[16, 24])
    task = Task.of(several.path)
    assert task is not None
    assert no_clients(several, task) == (
        "they open a file of one length or of any, this one has 2: export it with one, or lengths: any"
    )
    assert (
        no_clients(several, task.model_copy(update={"text": ("text", "second")}))
        == "they take one text, this model a pair"
    )
    assert no_clients(several, task.model_copy(update={"kind": "regression"})) == "they classify, this model doesn't"


@pytest.mark.parametrize(
    ("family", "change", "reason"),
    [
        ("bert", lambda known: known, None),
        ("albert", lambda known: known, "its tokenizer is Unigram, they know WordPiece only"),
        ("roberta", lambda known: known, "its tokenizer is BPE, they know WordPiece only"),
        ("mpnet", lambda known: known, r"its vocabulary has no \[UNK\], \[CLS\], \[SEP\]"),
        (
            "bert",
            lambda known: known["normalizer"].update(lowercase=False),
            "its tokenizer keeps capitals, they lower-case every text",
        ),
        (
            "bert",
            lambda known: known["pre_tokenizer"].update(type="Whitespace"),
            "its tokenizer splits words in another way than BERT's",
        ),
        ("bert", lambda known: known["model"]["vocab"].update(far=999), "its vocabulary has gaps between the ids"),
        (
            "bert",
            lambda known: known["added_tokens"].append({"content": "<user>"}),
            "its tokenizer has added tokens .<user>., which",
        ),
    ],
)
def test_a_tokenizer_that_is_not_theirs_is_named(family: str, change: Any, reason: str | None, tmp_path: Path) -> None:
    write_tokenizer(tmp_path, family)
    known = json.loads((tmp_path / "tokenizer.json").read_text())
    change(known)
    (tmp_path / "tokenizer.json").write_text(json.dumps(known))
    assert (why_not(tmp_path) is None) == (reason is None)
    if reason:
        with pytest.raises(AssertionError, match=reason):
            raise AssertionError(why_not(tmp_path))


@pytest.mark.parametrize("precision", ["float32", "dynamic_int8"])
def test_golden_answers_are_hugging_faces_ids_and_the_runtimes_outputs(
    precision: str, apps: dict[str, Bundle], exported: dict[str, Bundle]
) -> None:
    rows = read_golden(apps[precision].path)
    assert len(rows) == 36 + len(parity.PLAIN) + 9 and len({row.text for row in rows}) == len(
        rows
    )  # the task's, and the hard ones
    encodings = HostTokenizer(exported[precision].path, 24).encode([row.text for row in rows])
    assert [list(row.input_ids) for row in rows] == [encoding.input_ids.tolist() for encoding in encodings]
    assert max(len(row.input_ids) for row in rows) == 24
    expected = parity.answers(("tflite", exported[precision].path), encodings)
    assert np.array_equal(np.asarray([row.outputs for row in rows], np.float32), expected)
    labels = ["money", "music", "weather"]
    assert [row.answer for row in rows] == [labels[index] for index in expected.argmax(axis=1)]


def test_the_manifest_says_where_the_model_comes_from(apps: dict[str, Bundle], teacher: Bundle) -> None:
    app = apps["dynamic_int8"]
    manifest = Manifest.read(app.path)
    assert [step.stage for step in manifest.lineage] == ["adopt", "to_tflite", "quantize"]
    assert manifest.lineage[0].digest == teacher.digest and manifest.lineage[1].settings["lengths"] == [24]
    assert manifest.lineage[0].settings["model"] == "model"  # of the path no more than this
    assert str(teacher.path.parent) not in (app.path / "manifest.json").read_text()
    code = "Apache-2.0 (LiteRT.js, tokenizers.js, palmtop)"
    assert manifest.licences == {"model": "Apache-2.0", "data": "not stated", "runtime": code}
    assert manifest.files == {name: entry for name, entry in app.card.files.items() if name != "manifest.json"}
    assert (manifest.name, manifest.precision, manifest.kind, manifest.texts) == (
        "Tiny",
        "dynamic_int8",
        "classification",
        1,
    )
    assert manifest.versions["ai-edge-litert"] and manifest.tolerance.agreement == 0.9


def test_the_readme_of_the_folder_has_lines_that_answer(apps: dict[str, Bundle]) -> None:
    app = apps["float32"]
    written = (app.path / "README.md").read_text(encoding="utf-8")
    lines = written.split("```python\n")[1].split("```")[0]
    done = subprocess.run([sys.executable, "-c", lines], cwd=app.path, capture_output=True, text=True, check=True)
    assert any(label in done.stdout for label in ("money", "music", "weather"))
    assert written.startswith("# Tiny\n") and "TextClassifier.createFromFile" in written
    assert all(client in written for client in CLIENTS)


def test_nothing_in_an_app_names_a_folder_of_this_machine(
    apps: dict[str, Bundle], exported: dict[str, Bundle], folder: Path
) -> None:
    for app in apps.values():
        assert not naming_this_machine(app, folder)
        assert [step.settings for step in app.card.lineage] == [
            step.settings for step in Manifest.read(app.path).lineage
        ]
    assert (
        str(folder) in (exported["float32"].path / "palmtop.json").read_text()
    )  # what isn't handed out keeps its paths


@pytest.mark.slow
def test_an_onnx_app_does_not_either_and_is_known_when_it_is_made_again(teacher: Bundle, folder: Path) -> None:
    """Torch writes its stack into the graph, and transformers the tokenizer's folder beside it."""
    onnx = _make("to_onnx", {}, teacher, folder / "onnx")
    noted = _copied(onnx, folder / "noted", "tokenizer_config.json", {"name_or_path": str(folder / "bert")}, teacher)
    said: list[str] = []
    for _ in range(2):
        app = make("to_app", stage.find("to_app")(golden="plain"), noted, folder / "onnx-app", said.append)
    assert not naming_this_machine(app, folder)
    verify(app.path, print)
    train = Path(json.loads((noted.path / "task.json").read_text())["train"]["file"])
    elsewhere = _copied(
        noted, folder / "elsewhere", "task.json", {"train": {"file": str(train.with_name("other.csv"))}}, teacher
    )
    make("to_app", stage.find("to_app")(golden="plain"), elsewhere, folder / "onnx-app", said.append)
    assert said == [
        "onnx-app: to_app",
        "onnx-app: made before with the same settings and inputs, kept",
        "onnx-app: to_app",
    ]


def test_plain_golden_texts_keep_the_data_at_home(exported: dict[str, Bundle], folder: Path) -> None:
    app = _make("to_app", {"golden": "plain", "tolerance": 0.5}, exported["float32"], folder / "plain")
    assert len(read_golden(app.path)) == len(parity.PLAIN) + 9
    assert not {text for text, _ in sentences(36, 2)} & {row.text[0] for row in read_golden(app.path)}
    assert Manifest.read(app.path).tolerance.difference == 0.5


def test_a_runtime_that_lacks_is_told_before_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PALMTOP_CHROMIUM", "/nowhere/chromium")
    with pytest.raises(
        UserError, match="to_app takes golden answers from the model's own runtime, but PALMTOP_CHROMIUM"
    ):
        stage.find("to_app")().outline(Outline("tfjs", "bert", 2, ("a", "b")))


def _distance(found: list[Scores], file: Bundle) -> float:
    """Largest difference of a probability from our interpreter's on the file before it was packed."""
    labels = (file.path / "labels.txt").read_text().split()
    with target.find("host_litert").open(file.path) as runner:
        expected = runner.predict(runner.tokenize([(text,) for text in TEXTS]))
    assert expected.std(axis=0).mean() > 0.05, "a model that answers everything alike proves nothing"
    return float(np.abs(np.asarray([[row[label] for label in labels] for row in found]) - expected).max())


def _changed(source: Bundle, copy: Path, **signature: Any) -> Bundle:
    """A copy with another signature.json, sealed."""
    return _copied(source, copy, "signature.json", signature, None)


def _copied(source: Bundle, copy: Path, name: str, changes: dict[str, Any], made_of: Bundle | None) -> Bundle:
    """A copy with other entries in one of its JSON files, sealed."""
    shutil.copytree(source.path, copy, ignore=shutil.ignore_patterns("palmtop.json"))
    said = json.loads((copy / name).read_text())
    (copy / name).write_text(json.dumps(said | changes))
    return sealed(copy, source.format, f"to_{source.format}", made_of, {"precision": "float32"})


def _make(use: str, settings: dict[str, Any], source: Bundle | None, out: Path) -> Bundle:
    return make(use, stage.find(use)(**settings), source, out, print)
