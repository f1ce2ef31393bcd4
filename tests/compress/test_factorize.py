"""Factorized word embeddings: the factors against numpy, both forms, the fit, and what is refused before any work."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from tiny import sentences
from tiny_bundles import adopted
from transformers import AutoModelForSequenceClassification

from palmtop import stage
from palmtop.bundle import Bundle
from palmtop.compress.albert.as_albert import to_albert
from palmtop.compress.albert.embedding_fit import EmbeddingOutput, output_error, solve_mapping
from palmtop.compress.albert.factorized_model import build
from palmtop.compress.albert.table_factors import Decomposition, relative_error
from palmtop.compress.learning.encoded import Encoded
from palmtop.errors import UserError
from palmtop.making import make
from palmtop.models.factorized_embedding import FactorizedEmbedding
from palmtop.models.family import FAMILIES
from palmtop.models.opening import open_classifier
from palmtop.settings import build as build_settings
from palmtop.signature import Signature
from palmtop.stage import Outline, outline_of
from palmtop.task import Task

IDS = torch.tensor([[2, 7, 9, 30, 3], [2, 8, 3, 0, 0]])
MASK = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
LABELS = ("money", "music", "weather")


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A random BERT, 32 wide."""
    return adopted(tmp_path_factory.mktemp("bert"), "bert")


def table_and_counts() -> tuple[Any, Any]:
    random = np.random.default_rng(0)
    table = (random.normal(size=(60, 12)) * np.linspace(3, 0.2, 12) + 5).astype(np.float32)
    return table, np.floor(200 / np.arange(1, 61)) + 1


def test_equal_weights_give_the_plain_svd() -> None:
    table, _ = table_and_counts()
    left, values, right = np.linalg.svd(table - table.mean(0), full_matrices=False)
    factors = Decomposition(table, np.ones(60)).factors(5)
    assert np.allclose(factors.table(), (left[:, :5] * values[:5]) @ right[:5] + table.mean(0), atol=1e-4)
    assert factors.energy == pytest.approx((values[:5] ** 2).sum() / (values**2).sum())
    assert np.allclose(factors.wide @ factors.wide.T, np.eye(5), atol=1e-5)


def test_the_weighted_factors_are_the_best_in_the_weighted_norm() -> None:
    table, counts = table_and_counts()
    plain, weighted = (Decomposition(table, weights).factors(4) for weights in (np.ones(60), counts))
    assert relative_error(table, weighted.table(), counts) < relative_error(table, plain.table(), counts)
    assert relative_error(table, plain.table(), np.ones(60)) < relative_error(table, weighted.table(), np.ones(60))
    root = np.sqrt(counts)[:, None]
    mean = np.average(table, axis=0, weights=counts)
    left, values, right = np.linalg.svd(root * (table - mean), full_matrices=False)
    assert np.allclose(weighted.table(), (left[:, :4] * values[:4]) @ right[:4] / root + mean, atol=1e-4)
    random = np.random.default_rng(1)
    for _ in range(20):  # nothing near it is better
        narrow, wide = (factor + 1e-2 * random.normal(size=factor.shape) for factor in (weighted.narrow, weighted.wide))
        assert relative_error(table, narrow @ wide + weighted.mean, counts) > relative_error(
            table, weighted.table(), counts
        )


def test_a_width_chosen_by_energy_is_the_least_multiple_of_eight() -> None:
    table = np.random.default_rng(0).normal(size=(90, 40)).astype(np.float32)
    found = Decomposition(table, np.ones(90))
    size = found.size_for(0.7)
    assert size % 8 == 0
    assert found.factors(size).energy >= 0.7 > found.factors(size - 8).energy
    assert found.size_for(1.0) == 40


@pytest.mark.parametrize("family", ["bert", "roberta", "xlm-roberta"])
def test_alberts_class_with_full_width_answers_as_the_source(family: str, tmp_path: Path) -> None:
    model = open_classifier(adopted(tmp_path / family, family).path)
    ids = IDS.masked_fill(MASK == 0, model.config.pad_token_id)
    made = to_albert(model, 32)
    assert (made.config.hidden_act, made.config.layer_norm_eps) == (
        model.config.hidden_act,
        model.config.layer_norm_eps,
    )
    with torch.no_grad():
        expected, found = (one(input_ids=ids, attention_mask=MASK).logits for one in (model, made))
    assert torch.allclose(expected, found, atol=1e-5 * float(expected.std()) + 1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("family", ["bert", "distilbert", "deberta-v2", "mpnet", "roberta"])
def test_the_kept_norm_is_exact_but_for_the_table(family: str, tmp_path: Path) -> None:
    model = open_classifier(adopted(tmp_path / family, family).path)
    table = model.get_input_embeddings().weight.detach().numpy()
    whole = build(model, Decomposition(table, np.ones(len(table))).factors(32), "keep_norm")
    with torch.no_grad():
        expected, found = (one(input_ids=IDS, attention_mask=MASK).logits for one in (model, whole))
        assert torch.allclose(expected, found, atol=1e-4 * float(expected.std()) + 1e-6)
        factors = Decomposition(table, np.ones(len(table))).factors(8)
        narrow = build(model, factors, "keep_norm")
        model.get_input_embeddings().weight.copy_(torch.from_numpy(factors.table()))
        expected, found = (one(input_ids=IDS, attention_mask=MASK).logits for one in (model, narrow))
    assert torch.allclose(expected, found, atol=1e-4 * float(expected.std()) + 1e-6)


def test_the_mapping_is_that_of_numpys_least_squares(bert: Bundle) -> None:
    model, data = open_classifier(bert.path), _encoded(bert)
    table = model.get_input_embeddings().weight.detach().numpy()
    made = build(model, Decomposition(table, np.ones(len(table))).factors(8), "albert")
    student, teacher = EmbeddingOutput(made).eval(), EmbeddingOutput(model).eval()
    solve_mapping(student, teacher, data)
    batch = data.batch(range(len(data)))
    real = batch.pop("attention_mask").bool()
    with torch.no_grad():
        narrow, wide = student.normed(**batch)[real].numpy(), teacher(**batch)[real].numpy()
        found = student.mapping(torch.from_numpy(narrow)).numpy()
    # a norm's outputs add up to 0: there are many solutions, which all give the same
    given = np.c_[narrow, np.ones(len(narrow))].astype(np.float64)
    expected = given @ np.linalg.lstsq(given, wide, rcond=1e-5)[0]
    assert np.allclose(found, expected, atol=1e-3)
    assert output_error(student, teacher, data) == pytest.approx(
        ((expected - wide) ** 2).sum() / ((wide - wide.mean(0)) ** 2).sum(), rel=1e-3
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "form", "result"),
    [
        ("bert", "albert", "albert"),
        ("electra", "albert", "electra"),
        ("bert", "keep_norm", "bert"),
        ("distilbert", "keep_norm", "distilbert"),
    ],
)
def test_the_fit_brings_the_embeddings_nearer_and_the_folder_opens(
    family: str, form: str, result: str, tmp_path: Path
) -> None:
    source = adopted(tmp_path / family, family, **({"embedding_size": 32} if family == "electra" else {}))
    made = _make(
        {"form": form, "embedding_size": 8, "epochs": 6, "batch_size": 8, "learning_rate": 5e-3},
        source,
        tmp_path / "made",
    )
    facts = made.card.facts
    assert facts["output_error_after_fit"] < facts["output_error_before_fit"] < 1.2
    assert facts["parameters"] < facts["parameters_before"]
    model = open_classifier(made.path)
    assert model.config.model_type == result
    assert facts["parameters"] == sum(parameter.numel() for parameter in model.parameters())
    stored = load_file(made.path / "model.safetensors")
    [table] = [value for name, value in stored.items() if name.endswith("word_embeddings.weight")]
    assert np.array_equal(table, model.get_input_embeddings().weight.detach().numpy())
    if form == "keep_norm":
        assert isinstance(model.get_input_embeddings(), FactorizedEmbedding)
        with pytest.raises(RuntimeError):  # transformers alone doesn't open it, rather than answer wrongly
            AutoModelForSequenceClassification.from_pretrained(made.path)
    else:
        elsewhere = AutoModelForSequenceClassification.from_pretrained(made.path, attn_implementation="eager")
        with torch.no_grad():
            assert torch.equal(elsewhere(input_ids=IDS).logits, model(input_ids=IDS).logits)


def test_a_text_file_can_stand_in_for_the_training_texts(bert: Bundle, tmp_path: Path) -> None:
    file = tmp_path / "texts.txt"
    file.write_text("\n\n".join(text for text, _ in sentences(30, 3)))
    made = _make(
        {"embedding_size": 8, "texts": str(file), "weighting": "none", "fit_output": False}, bert, tmp_path / "made"
    )
    assert (made.card.facts["texts"], made.card.facts["held_out_texts"]) == (27, 3)
    assert "output_error_after_fit" not in made.card.facts
    with pytest.raises(UserError, match=r"texts: there is no file .*none.txt: give a text file"):
        make("factorize", _stage({"texts": str(tmp_path / "none.txt")}), bert, tmp_path / "no", print)


def test_energy_chooses_the_width(bert: Bundle, tmp_path: Path) -> None:
    made = _make({"kept_energy": 0.6, "fit_output": False}, bert, tmp_path / "made")
    assert made.card.facts["embedding_size"] % 8 == 0
    assert made.card.facts["kept_energy"] >= 0.6
    with pytest.raises(
        UserError,
        match=r"kept_energy 1\.0 needs all 32 columns of the table: there is nothing to factorize; choose less",
    ):
        _make({"kept_energy": 1.0}, bert, tmp_path / "no")


def test_every_family_is_factorized_or_refused_by_name() -> None:
    refused = {}
    for family in FAMILIES:
        for form in ("albert", "keep_norm"):
            known = Outline("torch", family, 2, LABELS, 32, 32)
            try:
                _stage({"form": form, "embedding_size": 8}).outline(known)
            except UserError as error:
                assert f"'{family}'" in str(error)
                refused.setdefault(form, set()).add(family)
    assert refused["keep_norm"] == {"albert", "mobilebert"}
    assert refused["albert"] == {
        name
        for name, family in FAMILIES.items()
        if family.narrow_table or (family.no_albert and not family.narrow_norm)
    }
    assert refused["albert"] >= {"albert", "mobilebert", "distilbert", "mpnet", "deberta-v2"}


def test_what_can_not_be_is_told_before_any_work(bert: Bundle) -> None:
    known = outline_of(bert)
    with pytest.raises(
        UserError, match=r"embedding_size is 40, but the model is 32 wide: .* smaller than V x H for E below 32 only"
    ):
        _stage({"embedding_size": 40}).outline(known)
    with pytest.raises(UserError, match="embedding_size is 128, but the model is 32 wide"):
        _stage({}).outline(known)
    with pytest.raises(
        UserError, match="this electra model's embeddings are factorized already: its table is 16 wide, the model 32"
    ):
        _stage({"embedding_size": 8}).outline(Outline("torch", "electra", 2, LABELS, 32, 16))
    with pytest.raises(UserError, match="the embeddings of the family 'albert' are factorized already"):
        _stage({"embedding_size": 8}).outline(Outline("torch", "albert", 2, LABELS, 32, 16))
    with pytest.raises(
        UserError, match=r"form albert isn't for the family 'distilbert' \(its head is a ReLU layer, ALBERT's is tanh\)"
    ):
        _stage({"embedding_size": 8}).outline(Outline("torch", "distilbert", 2, LABELS, 32, 32))
    with pytest.raises(
        UserError, match=r"form albert: the source has palmtop_shape in its config.json, which ALBERT's class can't"
    ):
        _stage({"embedding_size": 8}).outline(Outline("torch", "bert", 2, LABELS, 32, 32, 2, ("palmtop_shape",)))
    with pytest.raises(UserError, match="factorize needs a model with a task's head"):
        _stage({}).outline(Outline("torch", "bert", 2, None))
    with pytest.raises(
        UserError, match="embedding_size and kept_energy both choose the table's width: give one of them"
    ):
        _stage({"embedding_size": 8, "kept_energy": 0.9})


def test_the_outline_says_what_is_made(bert: Bundle, tmp_path: Path) -> None:
    for form in ("albert", "keep_norm"):
        foretold = _stage({"form": form, "embedding_size": 8}).outline(outline_of(bert))
        made = _make({"form": form, "embedding_size": 8, "fit_output": False}, bert, tmp_path / form)
        found = outline_of(made)
        assert (foretold.family, foretold.layers, foretold.changes) == (found.family, found.layers, found.changes)
        with pytest.raises(UserError, match="factorized already"):
            _stage({"form": "keep_norm", "embedding_size": 4}).outline(found)


def _encoded(bundle: Bundle) -> Encoded:
    task = Task.of(bundle.path)
    assert task is not None
    return Encoded.of(task.load("train"), bundle.path, Signature.read(bundle.path))


def _stage(settings: dict[str, Any]) -> Any:
    return build_settings(stage.find("factorize"), settings, "factorize")


def _make(settings: dict[str, Any], source: Bundle, out: Path) -> Bundle:
    return make("factorize", _stage(settings), source, out, lambda _: None)
