"""Questions on a context, the whole way: fine-tune, adopt, .tflite, quantize, measure; what can't do it refuses before
work."""

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
import torch
from ai_edge_litert.interpreter import Interpreter
from tiny import write_model, write_questions
from tiny_bundles import Taught
from transformers import AutoModelForQuestionAnswering, Trainer

from palmtop import parity, stage, stage_files, target
from palmtop.bundle import Bundle
from palmtop.compress.distillation.answer_losses import answer_terms
from palmtop.compress.distillation.keep_or_recompute import Recomputed
from palmtop.compress.distillation.teacher_signals import Wanted, signals
from palmtop.compress.learning.encoded import Encoded
from palmtop.data.encoding import pad
from palmtop.data.tokenization import HostTokenizer
from palmtop.errors import UserError
from palmtop.eval.compare import compare
from palmtop.eval.measure import measure
from palmtop.eval.tokenizers.token_parity import client_of
from palmtop.eval.verify import verify
from palmtop.loaded import load
from palmtop.making import make
from palmtop.measure_settings import MeasureText
from palmtop.models.family import FAMILIES
from palmtop.recipe.recipe import Recipe
from palmtop.signature import Signature
from palmtop.stage import Outline, check_task
from palmtop.task import Task
from palmtop.task_kinds import spans
from palmtop.task_kinds.question_answering import SPAN, QuestionAnswering

if TYPE_CHECKING:
    from once import MadeOnce

SPREAD = 1e-4
"""Float32 rounding over a few layers is some 1e-6 of the spread of the logits."""
EXPORTED = ("albert", "big_bird", "deberta-v2", "distilbert", "electra", "longformer", "roberta", "xlnet")
QA = QuestionAnswering()
READER = Outline("torch", "bert", 2, SPAN, task="question_answering")


def test_the_reader_knows_the_answers_and_opens_without_palmtop(reader: Taught) -> None:
    """Every answer of texts it never read is right, one or two words in a sentence of a dozen."""
    model = AutoModelForQuestionAnswering.from_pretrained(reader.teacher.path)
    assert set(reader.teacher.card.facts["new_weights"]) == {"qa_outputs.bias", "qa_outputs.weight"}
    assert Signature.read(reader.teacher.path).output == "spans"
    split = Task.find(reader.task).load("evaluation")
    encodings = HostTokenizer(reader.teacher.path, 400, "spans").encode(split.texts)
    found = spans.characters(parity.answers(("torch", reader.teacher.path), encodings), encodings)
    np.testing.assert_array_equal(found, split.labels[:, 0])
    assert model.config.num_labels == 2


def test_the_loss_is_transformers_own(reader: Taught) -> None:
    """On padded rows of several lengths, as BertForQuestionAnswering computes it from the same positions."""
    task = Task.find(reader.task)
    data = Encoded.of(
        task.load("train"), reader.base.path, Signature.read(reader.base.path).model_copy(update={"output": "spans"})
    )
    model = AutoModelForQuestionAnswering.from_pretrained(reader.teacher.path, num_labels=2)
    with torch.no_grad():  # what was learned, turned round: a loss near 0 would be equal by any formula
        model.qa_outputs.weight.neg_()
    rows = list(range(12))
    batch, labels = data.batch(rows), torch.from_numpy(data.labels[rows])
    answer = model(**batch, start_positions=labels[:, 0], end_positions=labels[:, 1])
    ours = task.of_kind.label_loss(torch.stack([answer.start_logits, answer.end_logits], 1), labels)
    assert ours.shape == (12,) and float(ours.detach().mean()) > 1
    torch.testing.assert_close(ours.mean(), answer.loss)


def test_a_step_is_the_mean_over_texts_though_each_has_two_labels(
    reader: Taught, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    logged: list[dict[str, float]] = []
    monkeypatch.setattr(Trainer, "log", lambda self, logs, start_time=None: logged.append(logs))
    settings = {"task": reader.task, "epochs": 1, "batch_size": 64, "max_length": 64}
    _make("finetune", settings, reader.base, tmp_path / "short")
    losses = [(logs["loss"], logs["loss_labels"]) for logs in logged if "loss" in logs]
    assert losses and all(total == pytest.approx(term, rel=1e-5) for total, term in losses)


def test_answers_that_are_cut_off_are_left_out_and_counted(reader: Taught, tmp_path: Path) -> None:
    task = write_questions(tmp_path, 16)
    rows = [json.loads(line) for line in (tmp_path / "train.jsonl").read_text().splitlines()]
    for row in rows[:5]:
        row["context"] = "some " * 60 + row["context"]
        row["answers"]["answer_start"][0] += 300
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings = {"task": task, "epochs": 1, "max_length": 32, "layers": 1}
    made = _make("finetune", settings, reader.base, tmp_path / "made")
    assert (made.card.facts["rows"], made.card.facts["answers_cut_off"]) == (11, 5)
    assert AutoModelForQuestionAnswering.from_pretrained(made.path).config.num_hidden_layers == 1
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows[:5]))
    with pytest.raises(
        UserError, match=r"^all 5 answers lie behind the tokens that are read of a context: raise max_length$"
    ):
        _make("finetune", settings, reader.base, tmp_path / "none")


@pytest.mark.slow
def test_long_contexts_are_read_in_windows_and_some_questions_have_no_answer(
    reader: Taught, once: "MadeOnce", tmp_path: Path
) -> None:
    """Answers far behind the 32 tokens that the model reads at a time; its file says the same."""
    task = write_questions(tmp_path / "data", 384, 45, unanswerable=True, words=32)
    task |= {"options": task["options"] | {"stride": 11}, "validation": task["train"]}
    settings = {"task": task, "epochs": 12, "learning_rate": 5e-3, "batch_size": 16, "max_length": 32}
    made = _make("finetune", settings, reader.base, tmp_path / "made")
    facts, signature, split = made.card.facts, made.signature, Task.find(task).load("evaluation")
    assert facts["rows"] > 1.5 * 384 and facts["truncated"] == 0 and facts["answers_cut_off"] == 0
    assert (signature.stride, signature.max_length) == (11, 32) and signature.null_threshold not in (None, 0.0)
    file = once("to_onnx", {}, made)
    assert file.signature == signature and file.card.facts["parity_difference"] < SPREAD
    encodings = HostTokenizer.of(file.path, signature).encode(split.texts)
    assert len(encodings) > 1.5 * len(split)
    both = [
        QA.answers(parity.answers((bundle.format, bundle.path), encodings), encodings, signature)
        for bundle in (made, file)
    ]
    np.testing.assert_array_equal(*both)
    taken = QA.scores(QA.graded(both[1], split.labels, split.texts, SPAN), split.labels, SPAN)
    assert (taken["has_answer_f1"].n, taken["no_answer_exact_match"].n) == (30, 15)
    assert min(score.value or 0 for score in taken.values()) > 0.7, taken
    with load(file) as model:
        said = [span.as_dict() for span in model([(question, context) for question, context in split.texts])]
    assert [span["answer"] == "" for span in said] == [bool(answer[0] < 0) for answer in both[1]]
    firsts = {row.text: row.places[:, 1].max() for row in encodings if not row.part and row.places is not None}
    rows = [json.loads(line) for line in Path(task["evaluation"]).read_text().splitlines()]
    begins = [min(row["answers"]["answer_start"], default=-1) for row in rows]
    behind = [place for place, text in enumerate(split.texts) if begins[place] >= firsts[text]]
    assert len(behind) > 3  # the first window ends before their answers
    assert sum(said[place]["begin"] == begins[place] for place in behind) > 0.7 * len(behind)
    app = _make("to_app", {"golden": "task"}, file, tmp_path / "app")
    verify(app.path, print)


def test_a_student_learns_where_its_teacher_begins_and_ends(reader: Taught, tmp_path: Path) -> None:
    """The soft term is T^2 KL over a text's tokens, the mean of start and end; kept signals are those computed anew."""
    task = Task.find(reader.task)
    data = Encoded.of(task.load("train"), reader.teacher.path, Signature.read(reader.teacher.path))
    model, rows = AutoModelForQuestionAnswering.from_pretrained(reader.teacher.path), [3, 0, 17, 5]
    anew, kept = (
        Recomputed(model, data, Wanted()).batch(rows),
        signals(reader.teacher, data, Wanted(), print).batch(rows),
    )
    torch.testing.assert_close(kept["teacher_logits"], anew["teacher_logits"], rtol=1e-4, atol=1e-4)
    other = torch.randn(kept["teacher_logits"].shape)
    weights = stage.find("distill")(soft_weight=1, label_weight=0, temperature=3)
    found = answer_terms(weights, task)(other, data.batch(rows) | kept)["soft"]
    for row, (logits, said) in enumerate(zip(kept["teacher_logits"], other, strict=True)):
        target, answer = (logits / 3).softmax(-1), (said / 3).log_softmax(-1)
        by_hand = 9 * (target * (target.clamp_min(1e-30).log() - answer)).sum(-1).mean()
        assert float(found[row]) == pytest.approx(float(by_hand), rel=1e-4)
    settings = {"layers": 1, "epochs": 8, "learning_rate": 5e-3, "batch_size": 16, "max_length": 64}
    student = _make("distill", settings, reader.teacher, tmp_path / "student")
    assert (
        set(student.card.facts["loss"]) == {"soft", "labels", "cosine"} and student.card.facts["answers_cut_off"] == 0
    )
    assert AutoModelForQuestionAnswering.from_pretrained(student.path).config.num_hidden_layers == 1
    split = task.load("evaluation")
    encodings = HostTokenizer(student.path, 64, "spans").encode(split.texts)
    answers = spans.characters(parity.answers(("torch", student.path), encodings), encodings)
    assert QA.of_outputs("f1", QA.graded(answers, split.labels, split.texts, SPAN), split.labels) > 0.8


def test_a_reader_made_elsewhere_is_adopted_with_its_task(reader: Taught, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    AutoModelForQuestionAnswering.from_pretrained(reader.teacher.path).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(reader.teacher.path / name, folder / name)
    adopted = _make("adopt", {"model": str(folder), "task": reader.task}, None, tmp_path / "adopted")
    assert stage.outline_of(adopted) == Outline("torch", "bert", 2, SPAN, 32, 32, 2, task="question_answering")
    questions = Task.find(reader.task).load("evaluation").texts[:4]
    encodings = HostTokenizer(adopted.path, 400, "spans").encode(questions)
    np.testing.assert_array_equal(
        *(parity.answers(("torch", bundle.path), encodings) for bundle in (adopted, reader.teacher))
    )
    assert stage.outline_of(_make("adopt", {"model": str(folder)}, None, tmp_path / "bare")).labels is None
    bare = stage.find("adopt")(model=str(reader.base.path), task=reader.task).outline(None)
    assert (bare.labels, bare.task) == (None, None)  # an encoder without the head: it is to be fine-tuned


def test_the_file_has_two_outputs_and_answers_as_torch(reader: Taught, reader_files: dict[int, Bundle]) -> None:
    file = reader_files[64]
    assert file.card.facts["parity_difference"] < SPREAD and file.card.facts["parity_agreement"] == 1
    interpreter = Interpreter(model_path=str(file.path / "model.tflite"))
    runner = interpreter.get_signature_runner("serving_default")
    assert {
        name: (detail["shape"].tolist(), detail["dtype"]) for name, detail in runner.get_output_details().items()
    } == {name: ([1, 64], np.float32) for name in SPAN}
    assert not [detail["op_name"] for detail in interpreter._get_ops_details() if "FLEX" in detail["op_name"].upper()]
    encodings = HostTokenizer(file.path, 64, "spans").encode(Task.find(reader.task).load("evaluation").texts[:8])
    batch = pad(encodings, 64, 0)
    with torch.no_grad():
        model = AutoModelForQuestionAnswering.from_pretrained(reader.teacher.path, attn_implementation="eager").eval()
        expected = model(**{name: torch.from_numpy(values).long() for name, values in batch.items()})
    found = parity.answers(("tflite", file.path), encodings)
    for row, encoding in enumerate(encodings):
        assert encoding.places is not None
        inside = encoding.places[:, 0] >= 0
        for side, name in enumerate(SPAN):
            np.testing.assert_allclose(
                found[row, side, : len(encoding)][inside], expected[name][row, : len(encoding)][inside], atol=1e-4
            )


def test_an_onnx_file_has_both_outputs_by_name_and_answers_as_torch(reader: Taught, once: "MadeOnce") -> None:
    made = once("to_onnx", {}, reader.teacher)
    assert made.card.facts["parity_difference"] < SPREAD and made.card.facts["parity_agreement"] == 1
    model = onnx.load(made.path / "model.onnx", load_external_data=False)
    assert [output.name for output in model.graph.output] == list(SPAN)
    with load(made) as file, load(reader.teacher) as teacher:
        texts = [(question, context) for question, context in Task.find(reader.task).load("evaluation").texts[:4]]
        ours, theirs = file(texts), teacher(texts)
    assert [span.as_dict() | {"score": 0} for span in ours] == [span.as_dict() | {"score": 0} for span in theirs]


@pytest.mark.slow
@pytest.mark.parametrize(("use", "place"), [("to_tfjs", "browser"), ("to_tflite", "browser_litert")])
def test_a_page_cuts_a_context_and_answers_as_python_does(
    use: str, place: str, reader: Taught, once: "MadeOnce"
) -> None:
    made = once(use, {"lengths": 64} if use == "to_tflite" else {}, reader.teacher)
    own = Task.find(reader.task).load("evaluation").texts[:6]
    texts = [*own, (own[0][0] * 20, own[0][1]), (own[0][0], own[0][1] + " some" * 500)]
    host = HostTokenizer.of(made.path, made.signature).encode(texts)
    with target.find(place).open(made.path) as runner:
        encodings = runner.tokenize(texts)
        found = runner.predict(encodings)
    for ours, theirs in zip(encodings, host, strict=True):
        np.testing.assert_array_equal(ours.input_ids, theirs.input_ids)
        assert ours.truncated == theirs.truncated
    assert [row.truncated for row in host] == [False] * 6 + [True, True]
    expected = parity.answers(("torch", reader.teacher.path), host)
    apart = QA.differences(expected, found, "spans")
    assert (apart.agreement, bool(apart.by_text.max() < SPREAD)) == (1, True)


@pytest.mark.parametrize(
    ("scheme", "settings"), [("float16", {}), ("weight_only_int8", {}), ("dynamic_int8", {"auto": True})]
)
def test_quantized_files_keep_the_answers(
    scheme: str, settings: dict[str, Any], reader_files: dict[int, Bundle], tmp_path: Path
) -> None:
    made = _make("quantize", {"scheme": scheme} | settings, reader_files[64], tmp_path / scheme)
    assert made.card.facts["parity_agreement"] == 1
    if settings:
        assert (made.card.facts["drop_metric"], made.card.facts["drop_points"], made.card.facts["kept_layers"]) == (
            "f1",
            0,
            [],
        )


def test_measured_as_any_task_is(reader: Taught, reader_files: dict[int, Bundle], tmp_path: Path) -> None:
    said: list[str] = []
    bundles = {"teacher": reader.teacher, "file": reader_files[64]}
    small = _make("quantize", {"scheme": "float16"}, reader_files[64], tmp_path / "small")
    measure(bundles | {"small": small}, MeasureText(on=("host_litert",), runs=50, length=64), tmp_path, said.append)
    assert "teacher: not measured, none of host_litert runs torch" in said
    [section] = compare([tmp_path]).sections
    assert section.metric == "f1" and not [verdict for verdict in section.verdicts if "floor" in verdict.says]
    file, half = section.rows
    expected = {"f1": 1, "exact_match": 1, "agreement_torch": 1, "agreement_teacher": 1, "truncated_texts": 0}
    assert {name: file.numbers[name].value for name in expected} == expected
    exact = file.numbers["exact_match"]
    assert (exact.n, exact.low, exact.high) == (
        36,
        pytest.approx(1 / (1 + 1.96**2 / 36), abs=1e-4),
        1,
    )  # Wilson's of 36 of 36
    assert half.numbers["difference_baseline"].value == 0 and "mcnemar_p" not in half.numbers
    assert (file.cells["latency_ms"].value or 0) > 0
    assert target.find("browser_litert").refuses(small.path) is None


@pytest.mark.slow
@pytest.mark.parametrize("family", sorted(set(FAMILIES) - {"bert"}))
def test_every_family_goes_the_way(family: str, tmp_path: Path) -> None:
    """BERT's is the way of the tests above. All nine were exported; what is left out here is of the kind of one that
    isn't."""
    base = _make("adopt", {"model": str(write_model(tmp_path / "model", family))}, None, tmp_path / "base")
    settings = {"task": write_questions(tmp_path / "data", 16, 6), "epochs": 1, "layers": 1, "max_length": 48}
    tuned = _make("finetune", settings, base, tmp_path / "tuned")
    heads = {name.split(".")[0] for name in tuned.card.facts["new_weights"]}
    assert heads >= {*FAMILIES[family].span_head} and heads <= {*FAMILIES[family].span_head, "head"}
    assert AutoModelForQuestionAnswering.from_pretrained(tuned.path).config.num_hidden_layers == 1
    if family in EXPORTED:
        assert _make("to_tflite", {"lengths": 48}, tuned, tmp_path / "file").card.facts["parity_difference"] < SPREAD


@pytest.mark.parametrize("name", sorted(stage_files.names().keys() - (QA.stages or set())))
def test_what_is_not_for_questions_says_so_before_work(name: str, task_of_questions: dict[str, Any]) -> None:
    kind = stage.find(name)
    why = QA.refuses.get(name)
    told = f": {why}" if why else f" yet; what is: {', '.join(sorted(QA.stages or ()))}"
    told = f"^{name} isn't for question answering{told}$"
    with pytest.raises(UserError, match=told):
        check_task(name, kind.model_construct(), READER)
    if "task" in kind.model_fields:
        with pytest.raises(UserError, match=told):
            check_task(name, kind.model_construct(task=task_of_questions), None)


def test_a_recipe_has_no_floor_for_questions_and_refuses_what_cannot(
    task_of_questions: dict[str, Any], tmp_path: Path
) -> None:
    model = write_model(tmp_path / "model", "bert")
    steps = [{"name": "base", "use": "adopt", "settings": {"model": str(model)}}, {"name": "tuned", "use": "finetune"}]
    path = tmp_path / "recipe.yaml"
    path.write_text(json.dumps({"task": task_of_questions, "steps": steps, "measure": {"on": ["host_torch"]}}))
    assert [step.name for step in Recipe.read(str(path)).steps] == ["base", "tuned"]
    path.write_text(json.dumps({"task": task_of_questions, "steps": [*steps, {"name": "small", "use": "tinybert"}]}))
    with pytest.raises(UserError, match=r"^step 'small': tinybert isn't for question answering yet; what is: adopt, "):
        Recipe.read(str(path))


def test_faults_of_settings_are_told_before_work(
    task_of_questions: dict[str, Any], reader_files: dict[int, Bundle]
) -> None:
    finetune, to_tflite = stage.find("finetune"), stage.find("to_tflite")
    with pytest.raises(UserError, match=r"^8 tokens don't hold a question and its context: give at least 16$"):
        finetune(task=task_of_questions, max_length=8).outline(Outline("torch", "bert", 2))
    with pytest.raises(
        UserError,
        match=r"^a model of the family 'palmtop-static' knows no token from another, so it can't find an answer",
    ):
        finetune(task=task_of_questions).outline(Outline("torch", "palmtop-static", 0))
    with pytest.raises(
        UserError, match=r"^augment_with makes texts with other words, in which the answer to a question would be lost"
    ):
        stage.find("distill")(augment_with="somewhere").outline(READER)
    with pytest.raises(UserError, match=r"^12 tokens don't hold a question and its context: give at least 16$"):
        to_tflite(lengths=[12, 64]).outline(READER)
    with pytest.raises(
        UserError, match=r"^probabilities is for classification; of a span the start and end logits are wanted$"
    ):
        to_tflite(probabilities=True).outline(READER)
    message = "it answers questions on a context, and single texts are compared here; name a "
    with pytest.raises(UserError, match=f"^{reader_files[64].name}: {message}"):
        client_of(reader_files[64])
    assert target.find("host_litert").refuses(reader_files[64].path) is None


@pytest.fixture(scope="module")
def task_of_questions(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return write_questions(tmp_path_factory.mktemp("questions"), 8, 4)


def _make(use: str, settings: dict[str, Any], source: Bundle | None, out: Path) -> Bundle:
    return make(use, stage.find(use)(**settings), source, out, print)
