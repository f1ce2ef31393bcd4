"""The convolution student: its layers against their formulas, padding that changes nothing, its start, the whole way to
every format, and what refuses it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny import sentences, write_model, write_task

from palmtop import stage, target
from palmtop.bundle import Bundle
from palmtop.compress.without_layers.convolution import Convolution
from palmtop.compress.without_layers.token_vectors import reduced, states_of_tokens
from palmtop.data.encoding import Encoding, pad
from palmtop.data.tokenization import HostTokenizer
from palmtop.errors import UserError
from palmtop.making import make
from palmtop.models.convolution_model import ConvolutionConfig, ConvolutionForSequenceClassification
from palmtop.models.opening import open_classifier
from palmtop.stage import Outline, check_layers, outline_of
from palmtop.task import Task

SHORT: dict[str, Any] = {
    "epochs": 15,
    "batch_size": 16,
    "learning_rate": 1e-2,
    "table_rate": 1e-2,
    "vocabulary": 100,
    "embedding_size": 8,
    "width": 16,
    "layers": 2,
    "head_size": 12,
}
ROUNDING = 1e-4
"""Share of the spread: float32 sums in another order."""
LONG = (pytest.mark.slow, pytest.mark.long)
FORMS: dict[str, dict[str, Any]] = {
    "gated": {},
    "depthwise": {"convolution": "depthwise", "kernel_size": 5, "pooling": "max", "head_size": 0},
    "attention": {"num_attention_heads": 2, "pooling": "mean"},
}


@pytest.fixture(scope="module")
def student(teacher: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The tiny teacher's student of gated convolutions."""
    return _make("convolution", SHORT, teacher, tmp_path_factory.mktemp("student") / "student")


@pytest.fixture(scope="module")
def file(student: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The student as .tflite, for texts of any length."""
    return _make("to_tflite", {"lengths": "any"}, student, tmp_path_factory.mktemp("file") / "file")


def test_a_gated_convolution_is_its_formula() -> None:
    layer, config = _random("gated").convolutions.layer[0], _config()
    states, real = torch.randn(2, 5, config.hidden_size), torch.tensor([[1.0] * 5, [1.0] * 3 + [0.0] * 2])[..., None]
    normed = torch.nn.functional.layer_norm(states, (config.hidden_size,), layer.norm.weight, layer.norm.bias)
    value, gate = (part.weight.view(config.hidden_size, 3, config.hidden_size) for part in (layer.value, layer.gate))
    with torch.no_grad():
        found = layer(states, real)
        for text in range(2):
            for token in range(5):
                sums = [layer.value.bias.clone(), layer.gate.bias.clone()]
                for place in range(3):
                    other = token + place - 1
                    if 0 <= other < 5 and real[text, other]:
                        sums = [
                            total + weight[:, place] @ normed[text, other]
                            for total, weight in zip(sums, (value, gate), strict=True)
                        ]
                expected = states[text, token] + sums[0] * torch.sigmoid(sums[1])
                assert torch.allclose(found[text, token], expected, atol=1e-5)


def test_a_depthwise_convolution_is_torchs_own() -> None:
    layer, width = _random("depthwise").convolutions.layer[0], _config().hidden_size
    states, real = torch.randn(2, 7, width), torch.ones(2, 7, 1)
    with torch.no_grad():
        seen = torch.nn.functional.conv1d(
            layer.norm(states).transpose(1, 2), layer.depthwise.weight, padding=2, groups=width
        ).transpose(1, 2)
        expected = states + layer.output(torch.relu(layer.inner(seen)))
        assert torch.allclose(layer(states, real), expected, atol=1e-5)


def test_attention_is_torchs_own_and_sees_real_tokens_alone() -> None:
    layer, width = _random("attention").convolutions.attention, _config().hidden_size
    states, mask = torch.randn(1, 6, width), torch.tensor([[1.0, 1, 1, 1, 0, 0]])
    with torch.no_grad():
        heads = [
            part(layer.norm(states)).view(1, 6, 2, width // 2).transpose(1, 2)
            for part in (layer.query, layer.key, layer.value)
        ]
        seen = torch.nn.functional.scaled_dot_product_attention(*heads, attn_mask=mask[:, None, None].bool())
        expected = states + layer.output(seen.transpose(1, 2).reshape(1, 6, width))
        assert torch.allclose(layer(states, mask[..., None]), expected, atol=1e-5)


@pytest.mark.parametrize("form", FORMS)
def test_padding_changes_nothing_and_the_order_of_words_does(form: str) -> None:
    model = _random(form)
    ids = torch.randint(1, 30, (1, 6))
    padded, mask = torch.full((1, 11), 7), torch.tensor([[1] * 6 + [0] * 5])
    padded[:, :6] = ids
    with torch.no_grad():
        alone = model(input_ids=ids).logits
        assert torch.allclose(alone, model(input_ids=padded, attention_mask=mask).logits, atol=1e-5)
        assert not torch.allclose(alone, model(input_ids=ids.flip(1)).logits, atol=1e-2)


def test_the_table_starts_as_the_teachers_states_in_few_numbers(teacher: Bundle, tmp_path: Path) -> None:
    settings = SHORT | {"epochs": 1, "table_rate": 1e-12}
    made = _make("convolution", settings, teacher, tmp_path / "student")
    table = open_classifier(made.path).get_input_embeddings().weight.detach().numpy()
    old, new = (json.loads((one.path / "tokenizer.json").read_text())["model"]["vocab"] for one in (teacher, made))
    assert len(table) == len(new) == made.card.facts["tokens"] == 100 < len(old)
    rows = [old[token] for token in sorted(new, key=lambda token: new[token])]
    expected = reduced(states_of_tokens(teacher, "token", print)[rows], 8).vectors
    scale = np.linalg.norm(table) / np.linalg.norm(expected)
    assert np.allclose(table, expected * scale, atol=1e-4)
    task = Task.of(made.path)
    assert task is not None
    ids = np.concatenate([row.input_ids for row in HostTokenizer(made.path, 70).encode(task.load("train").texts)])
    assert float((table[ids] ** 2).mean()) == pytest.approx(1, rel=1e-3)


def test_the_student_learns_and_says_what_it_is(student: Bundle, teacher: Bundle) -> None:
    facts, config = student.card.facts, json.loads((student.path / "config.json").read_text())
    assert config["model_type"] == "palmtop-convolution"
    assert (config["vocab_size"], config["embedding_size"], config["hidden_size"]) == (100, 8, 16)
    assert set(facts["loss"]) == {"soft", "labels"}
    assert facts["teacher"] == teacher.digest
    assert outline_of(student) == Outline(
        "torch", "palmtop-convolution", 0, ("money", "music", "weather"), 16, 8, 0, (), "classification"
    )
    assert stage.find("convolution")(**SHORT).outline(outline_of(teacher)) == outline_of(student)
    task = Task.of(student.path)
    assert task is not None
    split = task.load("evaluation")
    with target.find("host_torch").open(student.path) as runner:
        answers = runner.predict(HostTokenizer(student.path, 70).encode(split.texts)).argmax(1)
    assert float((answers == split.labels).mean()) > 0.8


@pytest.mark.parametrize(
    "form",
    ["gated", pytest.param("depthwise", marks=pytest.mark.slow), pytest.param("attention", marks=LONG)],
)
def test_a_file_answers_as_torch_at_any_length(
    form: str, teacher: Bundle, student: Bundle, file: Bundle, tmp_path: Path
) -> None:
    if form == "gated":
        source, made = student, file
    else:
        more = {"attention": {"attention_heads": 2, "pooling": "max"}, "depthwise": {"form": "depthwise", "kernel": 5}}
        source = _make("convolution", SHORT | more[form] | {"epochs": 1}, teacher, tmp_path / "source")
        made = _make("to_tflite", {"lengths": "any"}, source, tmp_path / "file")
    _check_answers(source, made)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("use", "settings"),
    [
        ("to_onnx", {}),
        ("to_tfjs", {}),
        pytest.param("to_tflite", {"lengths": [12, 24], "probabilities": True}, marks=pytest.mark.long),
        pytest.param("to_executorch", {}, marks=pytest.mark.long),
    ],
)
def test_every_format_answers_as_torch(student: Bundle, use: str, settings: dict[str, Any], tmp_path: Path) -> None:
    _check_answers(student, _make(use, settings, student, tmp_path / use))


def test_all_its_weights_but_norms_are_linear_layers_and_a_table(file: Bundle) -> None:
    from ai_edge_litert.interpreter import Interpreter

    names = [operator["op_name"] for operator in Interpreter(str(file.path / "model.tflite"))._get_ops_details()]
    assert names.count("EMBEDDING_LOOKUP") == 1
    assert names.count("FULLY_CONNECTED") == 1 + 2 * 2 + 2  # projection; value and gate of two layers; head
    assert not set(names) & {"CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE", "GATHER_ND", "BROADCAST_TO", "SELECT_V2"}
    assert not [name for name in names if "FLEX" in name.upper() or "CUSTOM" in name.upper()]


@pytest.mark.parametrize("scheme", ["dynamic_int8", "dynamic_int4_embedding_int4"])
def test_the_file_is_quantized_like_any_other(file: Bundle, scheme: str, tmp_path: Path) -> None:
    made = _make("quantize", {"scheme": scheme}, file, tmp_path / "small")
    assert made.card.facts["precision"] == scheme
    assert made.card.facts["parity_agreement"] > 0.8
    assert (made.path / "model.tflite").stat().st_size < (file.path / "model.tflite").stat().st_size


@pytest.mark.slow
@pytest.mark.long
def test_it_is_fine_tuned_and_trained_for_integers_like_any_other(student: Bundle, tmp_path: Path) -> None:
    short = {"epochs": 1, "batch_size": 16, "learning_rate": 1e-3}
    tuned = _make("finetune", short, student, tmp_path / "tuned")
    assert not tuned.card.facts["new_weights"]
    aware = _make("quantize_aware", short | {"linear_bits": 4, "embedding_bits": 4}, tuned, tmp_path / "aware")
    exported = _make("to_tflite", {"lengths": [24]}, aware, tmp_path / "file")
    small = _make("quantize", {"scheme": aware.card.facts["scheme"]}, exported, tmp_path / "small")
    assert small.card.facts["parity_difference"] < 0.1


def test_its_vocabulary_is_trimmed_further(student: Bundle, tmp_path: Path) -> None:
    made = _make("trim_vocabulary", {"keep": 95}, student, tmp_path / "trimmed")
    assert open_classifier(made.path).config.vocab_size == 95


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["multi_label", pytest.param("regression", marks=pytest.mark.long)])
def test_other_kinds_are_learnt_too(kind: str, tmp_path: Path) -> None:
    base = _make("adopt", {"model": str(write_model(tmp_path / "model", "bert"))}, None, tmp_path / "base")
    task = write_task(tmp_path / "data", kind=kind)
    short = {"task": task, "epochs": 2, "batch_size": 16, "learning_rate": 1e-3}
    taught = _make("finetune", short, base, tmp_path / "teacher")
    made = _make("convolution", SHORT | {"form": "depthwise", "epochs": 2}, taught, tmp_path / "student")
    _check_answers(made, _make("to_onnx", {}, made, tmp_path / "file"))


@pytest.mark.slow
def test_a_preset_keeps_the_size_that_it_names(tmp_path: Path) -> None:
    base = _of_many_words(tmp_path, tokens=6000, hidden_size=64)
    settings = {"megabytes": "0.5", "task": write_task(tmp_path / "data"), "soft_weight": 0}
    made = base
    for use, given in (("convolution", settings), ("to_tflite", {"lengths": "any"}), ("quantize", {})):
        made = make(use, stage.find(use)(**given).untrained(), made, tmp_path / use, print)
    size = sum((made.path / name).stat().st_size for name in ("model.tflite", "tokenizer.json", "labels.txt"))
    assert 0.4e6 < size < 0.5e6


def test_stages_of_layers_refuse_it_by_name(student: Bundle) -> None:
    with pytest.raises(UserError, match="distill works on transformer layers, and a model of the family 'palmtop-conv"):
        check_layers("distill", stage.find("distill")(), outline_of(student))
    with pytest.raises(UserError, match="convolution works on transformer layers"):
        check_layers("convolution", Convolution(), outline_of(student))
    for layout, why in (
        ("model2vec", "model2vec opens tables of token vectors, and this is a palmtop-convolution"),
        ("sentence-transformers", "sentence-transformers has no class for a convolution student: take layout: palmtop"),
    ):
        with pytest.raises(UserError, match=why):
            stage.find("to_app")(layout=layout).outline(outline_of(student))


def test_bad_settings_are_refused_before_work(teacher: Bundle, tmp_path: Path) -> None:
    assert Convolution(megabytes=0.5).megabytes == "0.5" and Convolution(megabytes=2).shape == Convolution().shape
    with pytest.raises(UserError, match="embedding_size is 96, but the teacher's hidden states have 32 numbers"):
        Convolution().outline(outline_of(teacher))
    with pytest.raises(ValueError, match="kernel is 4: give an odd one, such as 5"):
        Convolution(kernel=4)
    with pytest.raises(ValueError, match="attention_heads is 3, which doesn't divide the width 128"):
        Convolution(attention_heads=3)
    with pytest.raises(ValueError, match="soft_weight and label_weight are both 0: nothing would be learnt"):
        Convolution(soft_weight=0, label_weight=0)
    with pytest.raises(UserError, match="convolution needs a teacher that was fine-tuned: put a 'finetune' step"):
        Convolution(embedding_size=8).outline(Outline("torch", "bert", 2, None, 32))
    with pytest.raises(UserError, match=r"vocabulary is 5, but .* tokens can't go"):
        _make("convolution", SHORT | {"vocabulary": 5}, teacher, tmp_path / "few")


def _of_many_words(folder: Path, tokens: int, **sizes: Any) -> Bundle:
    """An encoder with a vocabulary of so many tokens, most of them words of four to ten letters."""
    model = write_model(folder / "model", "bert", vocab_size=tokens, **sizes)
    tokenizer = json.loads((model / "tokenizer.json").read_text())
    known, letters = tokenizer["model"]["vocab"], np.random.default_rng(0)
    while len(known) < tokens:
        known.setdefault("".join(letters.choice([*"abcdeghiklmnorstu"], letters.integers(4, 11))), len(known))
    (model / "tokenizer.json").write_text(json.dumps(tokenizer))
    return _make("adopt", {"model": str(model)}, None, folder / "base")


def _config(**more: Any) -> ConvolutionConfig:
    sizes = {"vocab_size": 30, "embedding_size": 4, "hidden_size": 8, "convolution_layers": 2, "head_size": 5}
    return ConvolutionConfig(**sizes | more, num_labels=3)


def _random(form: str) -> ConvolutionForSequenceClassification:
    """A model whose norms and biases aren't as they start."""
    torch.manual_seed(0)
    model = ConvolutionForSequenceClassification(_config(**FORMS[form])).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn(weight.shape), alpha=0.1)
    return model


def _check_answers(source: Bundle, made: Bundle) -> None:
    """The file answers padded texts as torch does, alone and beside others."""
    assert made.card.facts["parity_difference"] < ROUNDING
    encodings = HostTokenizer(source.path, 24).encode([(text,) for text, _ in sentences(6, 3)])
    batch = {
        name: torch.from_numpy(values).long()
        for name, values in pad(encodings, 24, 0).items()
        if name != "token_type_ids"
    }
    with torch.no_grad():
        expected = open_classifier(source.path)(**batch).logits
    if made.signature.output == "probabilities":
        expected = torch.softmax(expected, -1)
    filler = Encoding(("",), np.full(24, 5, np.int32), np.zeros(24, np.int32))
    with target.for_format(made.format).open(made.path) as runner:
        alone = runner.predict(encodings)
        padded = np.concatenate([runner.predict([row, filler])[:1] for row in encodings])
    for found in (alone, padded):
        assert np.abs(found - expected.numpy()).max() / expected.numpy().std(axis=0).mean() < ROUNDING


def _make(use: str, settings: dict[str, Any], source: Bundle | None, out: Path) -> Bundle:
    return make(use, stage.find(use)(**settings), source, out, print)
