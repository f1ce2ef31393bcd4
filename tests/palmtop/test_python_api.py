"""The Python door: what it imports, what it answers beside torch run directly, and what it makes and measures."""

import json
import os
import pkgutil
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny import write_task
from tiny_bundles import Taught, linear_bundle, torch_bundle
from tokenizers import Tokenizer
from transformers import AutoModelForQuestionAnswering, AutoModelForSequenceClassification

import palmtop
from palmtop.answering import Purpose, answers
from palmtop.bundle import Bundle, Origin, seal
from palmtop.data.tokenization import Encoding
from palmtop.errors import UserError
from palmtop.task import Task
from palmtop.task_kinds.classification import Label
from palmtop.task_kinds.question_answering import Span
from palmtop.task_kinds.regression import Number
from palmtop.task_kinds.spans import MOST_TOKENS

TEXTS = ["rain tomorrow please", "play the song", "what is the balance now", "umbrella"]
ROUNDING = 1e-4
"""Of probabilities: exports differ from torch by some 1e-5 of the logits' spread."""
SILENT: Any = lambda _: None  # noqa: E731  # what says nothing


@pytest.fixture(scope="module")
def lite(teacher: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A .tflite that answers probabilities."""
    out = tmp_path_factory.mktemp("files") / "lite"
    return palmtop.make("to_tflite", teacher, out, say=SILENT, lengths="any", probabilities=True)


@pytest.fixture(scope="module")
def number(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A regression of pairs."""
    folder = tmp_path_factory.mktemp("number")
    return torch_bundle(folder / "pairs", write_task(folder / "data", "regression", pair=True))


def encoded(folder: Path, *texts: str) -> dict[str, torch.Tensor]:
    """What a model of this folder reads, by its tokenizer alone."""
    row = Tokenizer.from_file(str(folder / "tokenizer.json")).encode(*texts)
    given = {"input_ids": row.ids, "attention_mask": row.attention_mask, "token_type_ids": row.type_ids}
    return {name: torch.tensor([values]) for name, values in given.items()}


def torch_logits(bundle: Bundle, *texts: str) -> torch.Tensor:
    """[outputs]"""
    model = AutoModelForSequenceClassification.from_pretrained(bundle.path, attn_implementation="eager").eval()
    with torch.no_grad():
        found: torch.Tensor = model(**encoded(bundle.path, *texts)).logits[0]
    return found


def modules_after(script: str, *words: str) -> set[str]:
    """What is imported when a fresh interpreter has run a script."""
    done = subprocess.run(
        [sys.executable, "-c", f"import sys\n{script}\nprint(*sys.modules, file=sys.stderr)", *words],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stderr.splitlines()[-1].split())


def test_importing_palmtop_brings_nothing() -> None:
    loaded = modules_after("import palmtop\nassert 'load' in dir(palmtop)")
    assert not loaded & {"torch", "transformers", "numpy", "pydantic", "palmtop.eval", "palmtop.bundle"}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["lite", "random_onnx"])
def test_an_exported_file_answers_without_torch_and_transformers(name: str, request: pytest.FixtureRequest) -> None:
    bundle: Bundle = request.getfixturevalue(name)
    script = "import palmtop\nmodel = palmtop.load(sys.argv[1])\nassert model('play the song').label in sys.argv"
    loaded = modules_after(script, str(bundle.path), "weather", "music", "money")
    assert "numpy" in loaded
    assert not loaded & {"torch", "transformers", "datasets", "tensorflow"}


NEEDED = ("numpy", "tokenizers", "ai-edge-litert")
"""What a .tflite needs to answer in Python, besides what palmtop itself is written with."""
WRITTEN_WITH = ("pydantic", "pydantic-core", "annotated-types", "typing-extensions", "typing-inspection")
WRITTEN_WITH += ("jaxtyping", "wadler-lindig", "pyyaml")


@pytest.mark.parametrize("made_into", ["bundle", "app"])
def test_a_tflite_answers_where_nothing_else_is_installed(made_into: str, lite: Bundle, tmp_path: Path) -> None:
    if made_into == "app":
        lite = palmtop.make("to_app", lite, tmp_path / "app", golden="plain", say=lambda _: None)
    site = tmp_path / "site"
    site.mkdir()
    for name in (*NEEDED, *WRITTEN_WITH):
        for file in {Path(str(path)).parts[0] for path in distribution(name).files or ()} - {"..", "__pycache__"}:
            (site / file).symlink_to(Path(str(distribution(name).locate_file(file))))
    script = "import sys, palmtop\nassert palmtop.load(sys.argv[1])('play the song').label in sys.argv"
    root = str(Path(__file__).parents[2])
    subprocess.run(
        [sys.executable, "-S", "-c", script, str(lite.path), "weather", "music", "money"],
        check=True,
        env={**os.environ, "PYTHONPATH": f"{root}{os.pathsep}{site}"},
    )


def test_what_loads_an_app_is_imported_without_what_reads_tasks_and_without_numpy() -> None:
    """A task's definition brings YAML, tables and metrics, for which an app has no use; numpy waits for a text."""
    heavy = {"palmtop.task", "palmtop.data.rows", "yaml", "torch", "numpy", "jaxtyping"}
    assert not modules_after("import palmtop\npalmtop.load") & heavy


def test_no_module_takes_the_place_of_a_name_of_the_door() -> None:
    """A submodule becomes an attribute of the package once anything imports it."""
    assert not {module.name for module in pkgutil.iter_modules(palmtop.__path__)} & set(palmtop.__all__)
    assert all(callable(getattr(palmtop, name)) for name in palmtop.__all__)
    with pytest.raises(AttributeError, match="module 'palmtop' has no attribute 'lod'"):
        _ = palmtop.lod  # type: ignore[attr-defined]  # what is asserted


@pytest.mark.parametrize(
    ("name", "source"), [("teacher", "teacher"), ("lite", "teacher"), ("random_onnx", "random_bert")]
)
def test_probabilities_are_those_of_torch_run_directly(name: str, source: str, request: pytest.FixtureRequest) -> None:
    bundle, origin = request.getfixturevalue(name), request.getfixturevalue(source)
    task = Task.of(origin.path)
    assert task is not None
    with palmtop.load(bundle.path) as model:
        found = model(TEXTS)
        assert repr(model) == f"<palmtop model {bundle.name}: {bundle.format}, classification>"
        alone = model(TEXTS[0])
    assert isinstance(alone, Label)
    assert alone.probabilities == pytest.approx(found[0].as_dict()["probabilities"], abs=ROUNDING)
    for text, answer in zip(TEXTS, found, strict=True):
        assert isinstance(answer, Label)
        expected = dict(zip(task.label_names, torch_logits(origin, text).softmax(0).tolist(), strict=True))
        assert answer.probabilities == pytest.approx(expected, abs=ROUNDING)
        assert list(answer.probabilities.values()) == sorted(answer.probabilities.values(), reverse=True)
        assert answer.label == max(expected, key=expected.__getitem__)
        assert answer.probability == answer.probabilities[answer.label]
        assert answer.as_dict() == {
            "label": answer.label,
            "probability": answer.probability,
            "probabilities": answer.probabilities,
            "truncated": False,
        }


def test_the_linear_floor_answers_too(floor: Bundle) -> None:
    answer = palmtop.load(str(floor.path))("play the song")
    assert isinstance(answer, Label)
    assert answer.label == "music"
    assert sum(answer.probabilities.values()) == pytest.approx(1)


def test_an_apps_folder_answers_as_the_file_in_it(lite: Bundle, tmp_path: Path) -> None:
    app = palmtop.make("to_app", lite, tmp_path / "app", say=SILENT, licence="Apache-2.0")
    with palmtop.load(lite) as file, palmtop.load(app) as packed:
        assert packed(TEXTS) == file(TEXTS)
        assert packed.purpose.columns == ("text",)


def test_a_pair_with_a_number(number: Bundle) -> None:
    pairs = [("rain now", "play a song"), ("pay", "cloud")]
    with palmtop.load(number) as model:
        found = model(pairs)
        for pair, answer in zip(pairs, found, strict=True):
            assert isinstance(answer, Number)
            assert answer.number == pytest.approx(torch_logits(number, *pair).item(), abs=1e-4)
            assert answer.as_dict() == {"number": answer.number, "truncated": False}
        with pytest.raises(
            UserError, match=r"^the model reads two texts \(text, second\) at a time, and text 1 is one"
        ):
            model("rain now")


@pytest.mark.parametrize("length", [None, 64])
def test_an_answer_to_a_question_is_torchs_best_span(
    length: int | None, reader: Taught, reader_files: dict[int, Bundle]
) -> None:
    question, context = "what is it now", "please the rain snow, you can about it"
    bundle = reader_files[length] if length else reader.teacher
    answer = palmtop.load(bundle)((question, context))
    row = Tokenizer.from_file(str(bundle.path / "tokenizer.json")).encode(question, context)
    model = AutoModelForQuestionAnswering.from_pretrained(reader.teacher.path, attn_implementation="eager").eval()
    with torch.no_grad():
        said = model(**encoded(bundle.path, question, context))
    inside = [place for place, sequence in enumerate(row.sequence_ids) if sequence == 1]
    weights = {
        (first, last): float((said.start_logits[0, first] + said.end_logits[0, last]).double().exp())
        for first in inside
        for last in inside
        if first <= last < first + MOST_TOKENS
    }
    first, last = max(weights, key=weights.__getitem__)
    assert isinstance(answer, Span)
    assert (answer.begin, answer.end) == (row.offsets[first][0], row.offsets[last][1])
    assert answer.answer == context[answer.begin : answer.end] == "rain snow"
    assert answer.score == pytest.approx(weights[first, last] / sum(weights.values()), abs=ROUNDING)
    assert list(answer.as_dict()) == ["answer", "begin", "end", "score", "truncated"]


def test_what_was_cut_is_told(teacher: Bundle) -> None:
    with palmtop.load(teacher) as model:
        assert [answer.truncated for answer in model(["rain", "rain " * 600])] == [False, True]


def test_what_is_no_question_for_a_model_is_refused(teacher: Bundle, tmp_path: Path) -> None:
    with palmtop.load(teacher) as model:
        assert model([]) == []
        with pytest.raises(UserError, match=r"^the model reads one text at a time, and text 2 is two texts$"):
            model.ask([("rain",), ("rain", "snow")])
        with pytest.raises(UserError, match="None is no text: give a text, a pair as a tuple, or a list of them"):
            model(["rain", None])  # type: ignore[list-item]  # what is asserted
        with pytest.raises(UserError, match="3 is no text"):
            model(3)  # type: ignore[call-overload]  # what is asserted
        with pytest.raises(UserError, match="text 1 isn't valid Unicode"):
            model("rain \ud800")
    with pytest.raises(ValueError, match="this runner was closed"):
        model("rain")
    with pytest.raises(UserError, match="threads is 0: give at least 1"):
        palmtop.load(teacher, threads=0)
    with pytest.raises(UserError, match="there is no folder nowhere"):
        palmtop.load("nowhere")
    (tmp_path / "config.json").write_text("{}")
    seal(tmp_path, "torch", Origin(stage="adopt", settings={}, inputs={}, versions={}), None, {})
    with pytest.raises(UserError, match="has no task, so it has no head that answers"):
        palmtop.load(tmp_path)


def test_a_runtime_that_isnt_there_is_told(teacher: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    from palmtop.eval.targets import host_torch

    monkeypatch.setattr(host_torch, "PACKAGES", ("no_such_package",))
    with pytest.raises(UserError, match="can't be run on this machine: the target host_torch needs no_such_package"):
        palmtop.load(teacher)


def test_outputs_that_mean_nothing_are_refused() -> None:
    encodings = [Encoding(("a",), np.zeros(1, np.int32), np.zeros(1, np.int32))]
    outputs = np.zeros((1, 2), np.float32)
    with pytest.raises(UserError, match=r"^no kind of task 'masked_words'; known: causal_lm, classification, "):
        answers(Purpose("masked_words", ("text",), ("a", "b")), encodings, outputs)
    for kind in ("classification", "regression"):
        with pytest.raises(UserError, match="answers with 2 numbers where its task has"):
            answers(Purpose(kind, ("text",), ("a", "b", "c")), encodings, outputs)
    with pytest.raises(UserError, match=r"answers 1 of 1 texts .* with something that is no finite number"):
        answers(Purpose("classification", ("text",), ("a", "b")), encodings, outputs * np.nan)


def test_making_is_what_the_command_does(task: dict[str, Any], floor: Bundle, tmp_path: Path) -> None:
    said: list[str] = []
    made = palmtop.make("tfidf", None, tmp_path / "floor", say=said.append, task=Task.find(task))
    assert said == ["floor: tfidf"]
    assert made.digest == floor.digest
    palmtop.make("tfidf", None, str(tmp_path / "floor"), say=said.append, task=Task.find(task))
    assert said[1:] == ["floor: made before with the same settings and inputs, kept"]


def test_making_takes_bundles_for_their_folders(taught_bert: Taught, tmp_path: Path) -> None:
    """A source and a setting; and the settings are those of a recipe."""
    made = palmtop.make(
        "recover", taught_bert.teacher, tmp_path / "r", say=SILENT, teacher=taught_bert.teacher, epochs=1
    )
    assert made.card.origin.settings["teacher"] == str(taught_bert.teacher.path)
    assert made.card.origin.inputs["source"] == taught_bert.teacher.digest


def test_faults_of_making_are_told_before_work(teacher: Bundle, floor: Bundle, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for message, given in (
        ("no stage 'distil'; did you mean 'distill'?", ("distil", teacher, {})),
        ("distill: no setting 'layrs'; did you mean 'layers'?", ("distill", teacher, {"layrs": 1})),
        (f"distill needs a torch bundle, but {floor.path} is linear", ("distill", floor, {})),
        ("distill needs a torch bundle to start from, and none was given", ("distill", None, {})),
        (f"tfidf starts from no bundle, but {teacher.path} was given", ("tfidf", teacher.path, {"task": "clinc150"})),
        ("there is no folder nowhere", ("distill", "nowhere", {})),
    ):
        with pytest.raises(UserError) as caught:
            palmtop.make(given[0], given[1], out, **given[2])
        assert str(caught.value) == message
    assert not out.exists()


def test_measuring_and_comparing_give_a_table(task: dict[str, Any], tmp_path: Path) -> None:
    floor = linear_bundle(tmp_path / "floor", task)
    said: list[str] = []
    table = palmtop.measure([floor], on=["host_linear"], say=said.append)
    assert (tmp_path / "measurements.jsonl").is_file()
    assert said[0].startswith("floor on host_linear: accuracy")
    [section] = table.sections
    assert [row.name for row in section.rows] == ["floor"]
    assert section.rows[0].cells["metric"].value == pytest.approx(1, abs=0.2)
    again = palmtop.compare(tmp_path)
    assert again == table
    assert str(again) == table._repr_markdown_() == again.draw("markdown")
    assert "| floor (floor)" in str(again)
    assert json.loads(again.draw("json"))
    with pytest.raises(UserError, match="measure: no target 'host_lin'"):
        palmtop.measure([str(floor.path)], on=["host_lin"])
    with pytest.raises(UserError, match="measure: runs is 3"):
        palmtop.measure([floor], runs=3)
    with pytest.raises(UserError, match="two of the bundles have the same folder name"):
        palmtop.measure([floor, floor])
