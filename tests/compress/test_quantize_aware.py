"""Quantization-aware training: the grid against its formula, the gradient, and the written file's integers."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from tflite_integers import differing, quantize_as_planned, stored, torch_logits
from tiny import sentences, write_model
from tiny_bundles import sealed, taught

from palmtop import stage, target
from palmtop.bundle import Bundle
from palmtop.compress.quantization import grid
from palmtop.compress.quantization.fake_quantized import Rounding, join_only_type, plan, round_in_training, write_back
from palmtop.data.encoding import pad
from palmtop.data.tokenization import HostTokenizer
from palmtop.errors import UserError
from palmtop.format import called
from palmtop.making import make
from palmtop.models.family import FAMILIES
from palmtop.models.opening import open_classifier
from palmtop.settings import build
from palmtop.signature import Signature
from palmtop.stage import Outline

SHORT: dict[str, Any] = {"epochs": 2, "learning_rate": 1e-3, "batch_size": 16}


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A tiny BERT."""
    return _teacher("bert", tmp_path_factory.mktemp("bert"))


@pytest.fixture(scope="module")
def roberta(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A tiny RoBERTa."""
    return _teacher("roberta", tmp_path_factory.mktemp("roberta"))


@pytest.fixture(scope="module")
def int4(teacher: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The same, trained on the grid of dynamic_int4."""
    return _make("quantize_aware", SHORT, teacher, tmp_path_factory.mktemp("int4") / "int4")


def reference(weight: Any, bits: int, block: int | None) -> tuple[Any, Any]:
    """The formula, value by value: (integers, scales)."""
    import ml_dtypes

    most, integers, scales = {8: 127, 4: 7}[bits], np.zeros(weight.shape, np.int8), []
    size = block or weight.shape[1]
    for row in range(weight.shape[0]):
        for start in range(0, weight.shape[1], size):
            part = weight[row, start : start + size]
            scale = np.float32(max(np.abs(part).max(), np.float32(1e-9))) / np.float32(most)
            if block is not None:
                scale = np.float32(ml_dtypes.bfloat16(scale))
            scales.append(scale)
            integers[row, start : start + size] = [min(most, max(-most, round(float(value / scale)))) for value in part]
    return integers, np.array(scales, np.float32).reshape(weight.shape[0], -1)


@pytest.mark.parametrize(("bits", "block"), [(8, None), (4, None), (4, 32), (4, 64)])
def test_the_grid_is_the_formulas(bits: int, block: int | None) -> None:
    weight = np.random.default_rng(0).standard_t(3, (12, 64)).astype(np.float32)
    weight[3], weight[4, 5] = 0, 40
    integers, scales = reference(weight, bits, block)
    given = torch.from_numpy(weight)
    assert np.array_equal(grid.integers(given, bits, block), integers)
    assert np.array_equal(grid.scales(given, bits, block), scales)
    assert np.array_equal(grid.on_grid(given, bits, block), integers * scales.repeat(64 // scales.shape[1], 1))


@pytest.mark.parametrize(("bits", "block"), [(8, None), (4, None), (4, 32)])
def test_a_weight_on_the_grid_stays_there_with_its_integers(bits: int, block: int | None) -> None:
    weight = torch.randn(400, 96, generator=torch.Generator().manual_seed(0)) * torch.logspace(-6, 3, 400)[:, None]
    once = grid.on_grid(weight, bits, block)
    assert torch.equal(grid.integers(once, bits, block), grid.integers(weight, bits, block))
    assert torch.allclose(grid.on_grid(once, bits, block), once, rtol=3e-7, atol=0)  # a scale may move by its last bit
    assert torch.equal(grid.rounded(weight, bits, block), once)


def test_zero_is_zero_and_a_row_has_a_scale_of_its_own() -> None:
    weight = torch.tensor([[0.0, 0.0, 0.0], [7.0, 0.0, -3.4], [0.07, -0.0349, 0.0]])
    assert torch.equal(grid.integers(weight, 4), torch.tensor([[0, 0, 0], [7, 0, -3], [7, -3, 0]], dtype=torch.int8))
    assert torch.equal(grid.on_grid(weight, 4)[0], torch.zeros(3))
    assert grid.integers(-weight, 4).min() == -7  # -8 is never used, or the largest value could not tell the scale
    assert torch.equal(
        grid.integers(torch.tensor([[7.0, 0.5, 1.5, 2.5]]), 4)[0], torch.tensor([7, 0, 2, 2], dtype=torch.int8)
    )


def test_the_gradient_goes_straight_through() -> None:
    weight = torch.randn(5, 32, requires_grad=True)
    x = torch.randn(3, 32, requires_grad=True)
    coefficients = torch.randn(3, 5)
    (torch.nn.functional.linear(grid.dynamic_int8(x), grid.rounded(weight, 4)) * coefficients).sum().backward()
    assert weight.grad is not None
    assert x.grad is not None
    # d/dW of sum(C * (x W^T)) is C^T x, and d/dx is C W, with the rounded values of the other factor
    assert torch.allclose(weight.grad, coefficients.T @ grid.dynamic_int8(x.detach()), atol=1e-5)
    assert torch.allclose(x.grad, coefficients @ grid.on_grid(weight.detach(), 4), atol=1e-5)


def test_activations_lie_on_a_row_of_256_values_with_zero_among_them() -> None:
    x = torch.randn(6, 300, generator=torch.Generator().manual_seed(0)) + torch.tensor([-9.0, -1, 0, 1, 9, 0])[:, None]
    x[5] = 0
    seen = grid.dynamic_int8(x)
    step = (x.amax(-1).clamp_min(0) - x.amin(-1).clamp_max(0)) / 255
    assert (
        (seen - x).abs().amax(-1) <= step * 1.001
    ).all()  # half a step, and half a one more at the end that the zero point moved
    for row, distance in zip(seen[:5], step[:5], strict=True):
        whole = row / distance
        assert (whole - whole.round()).abs().max() < 1e-3
    assert torch.equal(seen[5], x[5])


@pytest.mark.slow
@pytest.mark.parametrize(("family", "block"), [("bert", 32), ("roberta", None)])
def test_the_files_integers_and_answers_are_the_training_graphs(
    family: str, block: int | None, teacher: Bundle, roberta: Bundle, tmp_path: Path
) -> None:
    source = {"bert": teacher, "roberta": roberta}[family]
    settings = {"embedding_bits": 4, "int8_modules": ["classifier", "layer.0.attention"], "block_size": block or "none"}
    made = _make("quantize_aware", SHORT | settings, source, tmp_path / "mixed")
    float_file = _make("to_tflite", {"lengths": 24}, made, tmp_path / "float")
    model = open_classifier(made.path)
    chosen = plan(model, Rounding(4, block), Rounding(4), ("classifier", "layer.0.attention"))
    assert {rounding.bits for rounding in chosen.values()} == {4, 8}
    assert family == "bert" or not model.roberta.embeddings.token_type_embeddings.weight.any()
    file = float_file.path / "model.tflite"
    quantize_as_planned(file, model, chosen, file)
    assert differing(model, chosen, file) == ([], [])
    texts = HostTokenizer(made.path, 24).encode(
        [(text,) for text, _ in sentences(60, 1)]
    )  # of the training, which it is sure of
    batch = pad(texts, 24, Signature.read(made.path).pad_id)
    known = {name: torch.from_numpy(batch[name]).long() for name in Signature.read(made.path).inputs}
    expected = torch_logits(made.path, [known], chosen, activations=True)
    with target.for_format("tflite").open(float_file.path) as runner:
        found = runner.predict(texts)
    assert np.abs(found - expected).max() / expected.std(axis=0).mean() < 0.1
    assert (found.argmax(1) == expected.argmax(1)).mean() > 0.97


def test_the_quantize_stage_gives_the_training_graphs_integers(int4: Bundle, tmp_path: Path) -> None:
    assert int4.card.facts["scheme"] == "dynamic_int4"
    float_file = _make("to_tflite", {"lengths": 24}, int4, tmp_path / "float")
    file = _make("quantize", {"scheme": int4.card.facts["scheme"]}, float_file, tmp_path / "file").path / "model.tflite"
    model = open_classifier(int4.path)
    assert differing(model, plan(model, Rounding(4), Rounding(8), ()), file) == ([], [])
    for tensor in stored(file):
        assert np.abs(tensor.integers).max() == {4: 7, 8: 127}[tensor.bits], tensor.name


def test_the_bundle_is_an_ordinary_model_on_the_grid_and_has_learnt(teacher: Bundle, int4: Bundle) -> None:
    from transformers import AutoModelForSequenceClassification

    model = AutoModelForSequenceClassification.from_pretrained(int4.path)
    before, after = (load_file(bundle.path / "model.safetensors") for bundle in (teacher, int4))
    assert before.keys() == after.keys()
    assert not np.array_equal(before["classifier.bias"], after["classifier.bias"])
    weight = model.bert.encoder.layer[1].output.dense.weight.detach()
    assert torch.allclose(grid.on_grid(weight, 4), weight, rtol=3e-7, atol=0)
    assert max(len(row.unique()) for row in weight) <= 15
    assert int4.card.facts["teacher"] == teacher.digest


def test_training_brings_the_int4_model_nearer_to_its_teacher_than_rounding(teacher: Bundle, tmp_path: Path) -> None:
    coarse = {"embedding_bits": 4, "activations": False, "cosine_weight": 0, "temperature": 4, "epochs": 12}
    trained = open_classifier(_make("quantize_aware", SHORT | coarse, teacher, tmp_path / "trained").path)
    float_model, post = open_classifier(teacher.path), open_classifier(teacher.path)
    round_in_training(post, plan(post, Rounding(4), Rounding(4), ()), activations=False)
    texts = HostTokenizer(teacher.path, 24).encode([(text,) for text, _ in sentences(90, 1)])
    batch = {name: torch.from_numpy(value).long() for name, value in pad(texts, 24, 0).items()}
    with torch.no_grad():
        wanted, late, aware = (
            torch.log_softmax(model(**batch).logits / 4, -1) for model in (float_model, post.eval(), trained)
        )
    harm = [
        torch.nn.functional.kl_div(answer, wanted, log_target=True, reduction="batchmean") for answer in (late, aware)
    ]
    assert harm[1] < harm[0] / 2


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_what_is_written_back_answers_as_the_training_graph_in_every_family(family: str, tmp_path: Path) -> None:
    from transformers import AutoModelForSequenceClassification

    torch.manual_seed(0)
    kept = AutoModelForSequenceClassification.from_pretrained(
        write_model(tmp_path / "model", family), attn_implementation="eager"
    ).eval()
    kept.save_pretrained(tmp_path / "classifier")
    if FAMILIES[family].mended_by:
        called(FAMILIES[family].mended_by)(kept)
    trained, written = (open_classifier(tmp_path / "classifier") for _ in range(2))
    chosen = plan(trained, Rounding(4), Rounding(8), ())
    round_in_training(trained, chosen, activations=False)
    write_back(written, chosen)
    batch = {
        "input_ids": torch.randint(5, 60, (3, 9)),
        "attention_mask": torch.tensor([[1] * 9, [1] * 6 + [0] * 3, [1] * 2 + [0] * 7]),
    }
    logits = trained(**batch).logits
    with torch.no_grad():
        assert torch.allclose(logits, written(**batch).logits, atol=1e-6)
        assert not torch.allclose(logits, kept(**batch).logits, atol=1e-3)
    logits.square().sum().backward()
    unread = {"bert.pooler"} if family == "big_bird" else set()  # its class has one that its head passes over
    assert {name for name in chosen if trained.get_submodule(name).weight.grad is None} == unread
    assert trained.state_dict().keys() == kept.state_dict().keys()


def test_the_only_token_type_joins_the_positions_and_no_logit_changes(roberta: Bundle) -> None:
    before, after = open_classifier(roberta.path), open_classifier(roberta.path)
    join_only_type(after)
    assert not after.roberta.embeddings.token_type_embeddings.weight.any()
    ids, mask = torch.randint(5, 60, (3, 9)), torch.tensor([[1] * 9, [1] * 6 + [0] * 3, [1] * 2 + [0] * 7])
    with torch.no_grad():
        first, second = (model(input_ids=ids, attention_mask=mask).logits for model in (before, after))
    assert torch.allclose(first, second, atol=1e-5)  # the same sum in another order


def test_another_teacher_is_a_part_of_the_origin_and_must_fit(teacher: Bundle, tmp_path: Path) -> None:
    other = _make("finetune", SHORT | {"seed": 1}, teacher, tmp_path / "other")
    made = _make("quantize_aware", SHORT | {"teacher": str(other.path), "epochs": 1}, teacher, tmp_path / "taught")
    assert made.card.origin.inputs["teacher"] == other.digest == made.card.facts["teacher"]
    with pytest.raises(
        UserError, match=r"stranger and teacher cut texts up differently \(normalizer in tokenizer.json\)"
    ):
        _make(
            "quantize_aware", {"teacher": str(_stranger(other, tmp_path / "stranger").path)}, teacher, tmp_path / "no"
        )


def test_bad_settings_are_refused_before_any_work(teacher: Bundle, tmp_path: Path) -> None:
    kind = stage.find("quantize_aware")
    for name in ("linear_bits", "embedding_bits"):
        with pytest.raises(UserError, match=f"{name}: 3 bits: give 8 or 4"):
            build(kind, {name: 3}, "q")
    with pytest.raises(UserError, match="block_size is 32, but linear_bits is 8"):
        build(kind, {"linear_bits": 8, "block_size": 32}, "q")
    with pytest.raises(UserError, match="int8_modules names modules that keep 8 bits, but all of them have 8"):
        build(kind, {"linear_bits": 8, "int8_modules": ["classifier"]}, "q")
    with pytest.raises(UserError, match="nothing would be learnt"):
        build(kind, {"soft_weight": 0, "cosine_weight": 0}, "q")
    with pytest.raises(UserError, match="quantize_aware needs a fine-tuned or distilled model"):
        kind().outline(Outline("torch", "bert", 2, None))
    with pytest.raises(
        UserError,
        match=r"no linear layer or embedding has 'clasifier' in its name; did you mean 'classifier'\?\n"
        "block_size is 128, which doesn't divide the width 32 or 64 of linear layers",
    ):
        _make("quantize_aware", SHORT | {"int8_modules": ["clasifier"], "block_size": 128}, teacher, tmp_path / "wrong")
    assert not (tmp_path / "wrong").exists()


def _teacher(family: str, folder: Path) -> Bundle:
    """Fine-tuned; the gains and shifts of its norms are far from 1 and 0, so that folding one into a weight would be
    seen."""
    model = write_model(folder / "model", family)
    weights, random = load_file(model / "model.safetensors"), np.random.default_rng(0)
    for name in weights:
        if "LayerNorm" in name:
            weights[name] = weights[name] + random.normal(0, 0.3, weights[name].shape).astype(np.float32)
    save_file(weights, model / "model.safetensors", metadata={"format": "pt"})
    return taught(folder, model, ["train"]).teacher


def _stranger(other: Bundle, folder: Path) -> Bundle:
    """The same model with a tokenizer that minds capitals."""
    shutil.copytree(other.path, folder, ignore=shutil.ignore_patterns("palmtop.json", "logs"))
    path = folder / "tokenizer.json"
    path.write_text(path.read_text().replace('"lowercase": true', '"lowercase": false'))
    return sealed(folder, "torch", "finetune")


def _make(use: str, settings: dict[str, Any], source: Bundle | None, out: Path) -> Bundle:
    return make(use, stage.find(use)(**settings), source, out, print)
