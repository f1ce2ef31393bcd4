"""The static student: its vectors against their formulas, its model against a loop, the whole way to every format, and
what refuses it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny import sentences, write_model, write_task
from transformers import AutoModelForSequenceClassification

from palmtop import stage, target
from palmtop.bundle import Bundle
from palmtop.compress.learning import used_rows
from palmtop.compress.learning.encoded import Encoded
from palmtop.compress.without_layers.static import Static
from palmtop.compress.without_layers.token_vectors import by_counts, by_rank, reduced, states_of_tokens, text_scale
from palmtop.data.encoding import Encoding, pad
from palmtop.data.tokenization import HostTokenizer
from palmtop.errors import UserError
from palmtop.eval.explaining.explain import explain
from palmtop.making import make
from palmtop.models.family import FAMILIES, KNOWN, STATIC, inputs_of, layer_count, longest_input
from palmtop.models.opening import keep_layers, open_classifier
from palmtop.models.reshaped import opener
from palmtop.models.static_model import StaticConfig, StaticForSequenceClassification, register
from palmtop.recipe import recipe
from palmtop.signature import Signature
from palmtop.stage import Outline, check_layers, outline_of
from palmtop.task import Task

SHORT: dict[str, Any] = {
    "epochs": 15,
    "batch_size": 16,
    "learning_rate": 1e-2,
    "table_rate": 1e-2,
    "width": 16,
    "head_size": 12,
}
ROUNDING = 1e-4
"""Share of the spread: float32 sums in another order."""


@pytest.fixture(scope="module")
def student(teacher: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Its static student."""
    return _make("static", SHORT, teacher, tmp_path_factory.mktemp("student") / "student")


@pytest.fixture(scope="module")
def file(student: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The student as .tflite."""
    return _make("to_tflite", {"lengths": [24]}, student, tmp_path_factory.mktemp("file") / "file")


def test_principal_components_are_those_of_the_singular_value_decomposition() -> None:
    states = (
        np.random.default_rng(0).normal(size=(50, 8)).astype(np.float32)
        @ np.diag([5, 4, 3, 1, 1, 0.5, 0.1, 0.1]).astype(np.float32)
        + 3
    )
    made = reduced(states, 3)
    left, singular, _ = np.linalg.svd(states.astype(np.float64) - states.mean(0, dtype=np.float64), full_matrices=False)
    assert np.allclose(np.abs(made.vectors), np.abs(left[:, :3] * singular[:3]), atol=1e-4)
    assert made.variance == pytest.approx((singular[:3] ** 2).sum() / (singular**2).sum())
    assert made.vectors.flags["C_CONTIGUOUS"]
    assert made.vectors.dtype == np.float32
    assert np.array_equal(made.vectors, reduced(states, 3).vectors)
    assert reduced(states, 8).variance == pytest.approx(1)


def test_weights_are_those_of_arora_et_al_and_of_zipf() -> None:
    assert by_counts(np.array([0, 1, 3]), 0.5) == pytest.approx([1, 0.5 / 0.75, 0.5 / 1.25])
    harmonic = 1 + 1 / 2 + 1 / 3
    assert by_rank(3, 0.1) == pytest.approx([0.1 / (0.1 + 1 / rank / harmonic) for rank in (1, 2, 3)])


def test_the_model_is_the_mean_of_real_tokens_and_a_head() -> None:
    torch.manual_seed(0)
    config = StaticConfig(vocab_size=20, hidden_size=6, head_size=5, num_labels=3, initializer_range=1.0)
    model = StaticForSequenceClassification(config).eval()
    ids, mask = torch.randint(0, 20, (3, 7)), torch.tensor([[1] * 7, [1] * 2 + [0] * 5, [0] * 7])
    expected = []
    for row, real in zip(ids, mask, strict=True):
        vectors = [model.word_embeddings.weight[token].double() for token, one in zip(row, real, strict=True) if one]
        mean = torch.stack(vectors).mean(0) if vectors else torch.zeros(6, dtype=torch.float64)
        hidden = (mean @ model.dense.weight.double().T + model.dense.bias.double()).clamp(min=0)
        expected.append(hidden @ model.classifier.weight.double().T + model.classifier.bias.double())
    with torch.no_grad():
        found = model(input_ids=ids, attention_mask=mask, output_hidden_states=True)
        assert torch.allclose(found.logits.double(), torch.stack(expected), atol=1e-5)
        assert torch.equal(found.hidden_states[-1], model.word_embeddings.weight[ids])
        assert torch.allclose(
            model(input_ids=ids).logits, model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits, atol=1e-6
        )


def test_without_a_layer_between_the_classifier_reads_the_mean(tmp_path: Path) -> None:
    model = StaticForSequenceClassification(
        StaticConfig(vocab_size=20, hidden_size=6, head_size=0, num_labels=3)
    ).eval()
    model.save_pretrained(tmp_path)
    (again := open_classifier(tmp_path)).eval()
    assert again.dense is None
    ids = torch.randint(0, 20, (2, 4))
    with torch.no_grad():
        assert torch.equal(model(input_ids=ids).logits, again(input_ids=ids).logits)
        assert torch.allclose(
            model(input_ids=ids).logits, model.classifier(model.word_embeddings(ids).mean(1)), atol=1e-6
        )


def test_the_table_is_the_teachers_states_of_each_token_alone(teacher: Bundle) -> None:
    model = open_classifier(teacher.path)
    states, means = (states_of_tokens(teacher, pooling, print) for pooling in ("token", "mean"))
    assert states.shape == (model.config.vocab_size, 32)
    tokenizer = HostTokenizer(teacher.path, 24)
    for token, word in ((20, None), (int(tokenizer.encode([("rain",)])[0].input_ids[1]), "rain")):
        ids = torch.tensor([[2, token, 3]])  # [CLS] token [SEP] of the tiny vocabulary
        assert word is None or ids[0].tolist() == tokenizer.encode([(word,)])[0].input_ids.tolist()
        with torch.no_grad():
            hidden = model.bert(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state[0]
        assert np.allclose(states[token], hidden[1].numpy(), atol=1e-5)
        assert np.allclose(means[token], hidden.mean(0).numpy(), atol=1e-5)


def test_a_pretrained_encoder_lends_its_vectors_and_the_labels_teach(tmp_path: Path) -> None:
    base = _make("adopt", {"model": str(write_model(tmp_path / "model", "roberta"))}, None, tmp_path / "base")
    made = _make(
        "static",
        SHORT | {"task": write_task(tmp_path / "data"), "soft_weight": 0, "epochs": 1},
        base,
        tmp_path / "student",
    )
    assert set(made.card.facts["loss"]) == {"labels"}
    assert open_classifier(made.path).config.id2label == {0: "money", 1: "music", 2: "weather"}


def test_states_are_asked_for_once(teacher: Bundle) -> None:
    said: list[str] = []
    first = states_of_tokens(teacher, "token", said.append)
    again = states_of_tokens(teacher, "token", said.append)
    assert np.array_equal(first, again)
    assert len(said) <= 1  # none where another test asked before


@pytest.mark.slow
@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_every_family_can_teach(family: str, tmp_path: Path) -> None:
    base = _make("adopt", {"model": str(write_model(tmp_path / "model", family))}, None, tmp_path / "base")
    states = states_of_tokens(base, "token", print)
    width = 64 if family == "reformer" else 32  # both of its streams
    assert states.shape == (json.loads((base.path / "config.json").read_text())["vocab_size"], width)
    assert len(np.unique(states.round(6), axis=0)) == len(states)


def test_the_student_learns_and_says_what_it_is(student: Bundle, teacher: Bundle) -> None:
    facts, config = student.card.facts, json.loads((student.path / "config.json").read_text())
    assert config["model_type"] == "palmtop-static"
    assert (config["vocab_size"], config["hidden_size"], config["head_size"]) == (facts["tokens"], 16, 12)
    assert 0.5 < facts["variance_kept"] < 1
    assert 0 < facts["tokens_trained"] <= facts["tokens"]
    assert set(facts["loss"]) == {"soft", "labels"}
    assert facts["teacher"] == teacher.digest
    assert outline_of(student) == Outline(
        "torch", "palmtop-static", 0, ("money", "music", "weather"), 16, 16, 0, (), "classification"
    )
    assert stage.find("static")(**SHORT).outline(outline_of(teacher)) == outline_of(student)
    task = Task.of(student.path)
    assert task is not None
    split = task.load("evaluation")
    with target.find("host_torch").open(student.path) as runner:
        answers = runner.predict(HostTokenizer(student.path, 70).encode(split.texts)).argmax(1)
    assert float((answers == split.labels).mean()) > 0.8


def test_rows_of_tokens_that_no_text_has_stay_the_teachers(teacher: Bundle, student: Bundle) -> None:
    task, signature = Task.of(teacher.path), Signature.read(teacher.path)
    assert task is not None
    data = Encoded.of(task.load("train"), teacher.path, signature)
    unseen = np.setdiff1d(np.arange(student.card.facts["tokens"]), data.ids)
    assert len(unseen)
    settings, made = Static(**SHORT), reduced(states_of_tokens(teacher, "token", print), 16)
    table = open_classifier(student.path).word_embeddings.weight.detach().numpy()
    expected = settings._weighted(made, data)
    assert np.array_equal(table[unseen], expected[unseen])
    assert (np.abs(table[data.ids] - expected[data.ids]).max(axis=1) > 1e-4).all()
    assert text_scale(expected, data) == pytest.approx(1, rel=1e-4)


def test_training_the_seen_rows_alone_is_training_the_whole_table(
    teacher: Bundle, student: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(used_rows, "WORTH_IT", 0)
    whole = _make("static", SHORT, teacher, tmp_path / "whole")
    first, second = (open_classifier(bundle.path).state_dict() for bundle in (student, whole))
    assert all(torch.allclose(first[name], second[name], atol=1e-5) for name in first)


def test_with_palmtop_the_auto_class_opens_it_and_without_layers_nothing_is_kept(student: Bundle) -> None:
    register()
    model = AutoModelForSequenceClassification.from_pretrained(student.path)
    assert isinstance(model, StaticForSequenceClassification)
    assert opener(student.path, AutoModelForSequenceClassification) is AutoModelForSequenceClassification
    config = model.config.to_dict()
    assert STATIC.model_type in KNOWN
    assert (layer_count(config), inputs_of(config), longest_input(config)) == (0, ("input_ids", "attention_mask"), 70)
    with pytest.raises(
        UserError, match="a model of the family 'palmtop-static' has no transformer layers to keep some of"
    ):
        keep_layers(model, [0])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("use", "settings"), [("to_tflite", {"lengths": [12, 24], "probabilities": True}), ("to_onnx", {}), ("to_tfjs", {})]
)
def test_the_exported_file_answers_as_torch_on_padded_inputs(
    student: Bundle, use: str, settings: dict[str, Any], tmp_path: Path
) -> None:
    made = _make(use, settings, student, tmp_path / use)
    assert made.card.facts["parity_difference"] < ROUNDING
    encodings = HostTokenizer(student.path, 24).encode([(text,) for text, _ in sentences(6, 3)])
    batch = {
        name: torch.from_numpy(values).long()
        for name, values in pad(encodings, 24, 0).items()
        if name != "token_type_ids"
    }
    with torch.no_grad():
        expected = open_classifier(student.path)(**batch).logits
    expected = (torch.softmax(expected, -1) if settings.get("probabilities") else expected).numpy()
    filler = Encoding(("",), np.full(24, 5, np.int32), np.zeros(24, np.int32))
    with target.for_format(made.format).open(made.path) as runner:
        alone = runner.predict(encodings)
        padded = np.concatenate([runner.predict([row, filler])[:1] for row in encodings])
    for found in (alone, padded):
        assert np.abs(found - expected).max() / expected.std(axis=0).mean() < ROUNDING


def test_the_file_looks_up_and_has_few_operators(file: Bundle) -> None:
    from ai_edge_litert.interpreter import Interpreter

    names = [operator["op_name"] for operator in Interpreter(str(file.path / "model.tflite"))._get_ops_details()]
    assert names.count("EMBEDDING_LOOKUP") == 1
    assert names.count("FULLY_CONNECTED") == 2
    assert not set(names) & {"GATHER", "GATHER_ND", "BROADCAST_TO", "SELECT_V2"}
    assert not [name for name in names if "FLEX" in name.upper() or "CUSTOM" in name.upper()]
    assert len([name for name in names if name != "DELEGATE"]) <= 14


def test_what_explain_says_of_its_table_is_to_trim_it(student: Bundle, file: Bundle) -> None:
    for bundle in (student, file):
        (said,) = [advice for advice in explain(bundle).advice if advice.startswith("embeddings")]
        assert said.endswith("%: trim the vocabulary")


@pytest.mark.parametrize("scheme", ["float16", "dynamic_int8", "dynamic_int4_embedding_int4", "static_int8"])
def test_the_file_is_quantized_like_any_other(file: Bundle, scheme: str, tmp_path: Path) -> None:
    made = _make("quantize", {"scheme": scheme}, file, tmp_path / "small")
    assert made.card.facts["precision"] == scheme
    assert made.card.facts["parity_agreement"] > 0.8
    assert (made.path / "model.tflite").stat().st_size < (file.path / "model.tflite").stat().st_size


def test_onnx_and_the_app_take_it(student: Bundle, file: Bundle, tmp_path: Path) -> None:
    onnx = _make("to_onnx", {}, student, tmp_path / "onnx")
    assert _make("quantize", {}, onnx, tmp_path / "onnx8").card.facts["parity_agreement"] > 0.8
    app = _make("to_app", {"golden": "plain"}, file, tmp_path / "app")
    assert app.card.facts["artefact"] == "tflite"


def test_it_is_fine_tuned_and_trained_for_integers_like_any_other(student: Bundle, tmp_path: Path) -> None:
    short = {"epochs": 1, "batch_size": 16, "learning_rate": 1e-3}
    tuned = _make("finetune", short, student, tmp_path / "tuned")
    assert not tuned.card.facts["new_weights"]
    aware = _make("quantize_aware", short | {"linear_bits": 4, "embedding_bits": 4}, tuned, tmp_path / "aware")
    assert aware.card.facts["int4_modules"] == 3
    small = _make(
        "quantize",
        {"scheme": aware.card.facts["scheme"]},
        _make("to_tflite", {"lengths": [24]}, aware, tmp_path / "file"),
        tmp_path / "small",
    )
    assert small.card.facts["parity_difference"] < 0.1


def test_its_vocabulary_is_trimmed_and_no_known_text_changes(student: Bundle, tmp_path: Path) -> None:
    made = _make("trim_vocabulary", {}, student, tmp_path / "trimmed")
    task = Task.of(student.path)
    assert task is not None
    answers = []
    for folder in (student.path, made.path):
        with target.find("host_torch").open(folder) as runner:
            answers.append(runner.predict(HostTokenizer(folder, 70).encode(task.load("train").texts)))
    assert np.array_equal(*answers)
    assert open_classifier(made.path).config.vocab_size < student.card.facts["tokens"]


def test_a_regression_is_learnt_too(tmp_path: Path) -> None:
    base = _make("adopt", {"model": str(write_model(tmp_path / "model", "bert"))}, None, tmp_path / "base")
    task = write_task(tmp_path / "data", kind="regression")
    taught = _make(
        "finetune", {"task": task, "epochs": 2, "batch_size": 16, "learning_rate": 1e-3}, base, tmp_path / "teacher"
    )
    made = _make("static", SHORT | {"head_size": 0, "weighting": "none"}, taught, tmp_path / "student")
    assert open_classifier(made.path).config.num_labels == 1


def test_stages_of_layers_refuse_it_by_name(student: Bundle, teacher: Bundle) -> None:
    with pytest.raises(
        UserError,
        match="distill works on transformer layers, and a model of the family 'palmtop-static' has none: start",
    ):
        check_layers("distill", stage.find("distill")(), outline_of(student))
    with pytest.raises(UserError, match="static works on transformer layers"):
        check_layers("static", Static(), outline_of(student))
    check_layers("distill", stage.find("distill")(), outline_of(teacher))
    for name in ("finetune", "quantize_aware", "trim_vocabulary", "to_tflite", "to_onnx", "to_tfjs"):
        check_layers(name, stage.find(name)(), outline_of(student))
    check_layers("quantize", stage.find("quantize")(), Outline("tflite", "palmtop-static", 0))


def test_a_recipe_that_gives_it_to_such_a_stage_is_refused_before_work(tmp_path: Path) -> None:
    steps = [
        {"name": "base", "use": "adopt", "settings": {"model": str(write_model(tmp_path / "model", "bert"))}},
        {"name": "teacher", "use": "finetune"},
        {"name": "student", "use": "static", "settings": {"width": 16}},
        {"name": "less", "use": "distill"},
    ]
    (tmp_path / "recipe.yaml").write_text(json.dumps({"task": write_task(tmp_path / "data"), "steps": steps}))
    with pytest.raises(
        UserError, match="step 'less': distill works on transformer layers, and a model of the family 'palmtop-static'"
    ):
        recipe.Recipe.read(str(tmp_path / "recipe.yaml"))


def test_bad_settings_are_refused_before_work(teacher: Bundle) -> None:
    outline = outline_of(teacher)
    with pytest.raises(UserError, match="width is 64, but the teacher's hidden states have 32 numbers: choose 1 to 32"):
        Static(width=64).outline(outline)
    with pytest.raises(ValueError, match="soft_weight and label_weight are both 0: nothing would be learnt"):
        Static(soft_weight=0, label_weight=0)
    with pytest.raises(ValueError, match="sif is for weighting: counts or rank; leave one of the two out"):
        Static(weighting="none", sif=1e-4)
    headless = Outline("torch", "bert", 2, None, 32)
    with pytest.raises(
        UserError, match="static needs a teacher that was fine-tuned: put a 'finetune' step before it, or set soft_"
    ):
        Static(width=16).outline(headless)
    with pytest.raises(UserError, match="static needs a task: the name of a shipped one"):
        Static(width=16, soft_weight=0).outline(headless)


def _make(use: str, settings: dict[str, Any], source: Bundle | None, out: Path) -> Bundle:
    return make(use, stage.find(use)(**settings), source, out, print)
