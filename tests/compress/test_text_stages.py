"""Learning from plain text, from end to end on tiny models: heads, students of every family, decoders, what is
refused."""

import json
import random
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tiny import WORDS, write_model, write_task, write_tokenizer
from transformers import (
    AlbertForPreTraining,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    DistilBertModel,
    GPT2Config,
    GPT2LMHeadModel,
)

from palmtop import stage
from palmtop.bundle import Bundle
from palmtop.compress.language_models.distilbert_body import as_distilbert
from palmtop.compress.language_models.next_token_targets import NextWords
from palmtop.compress.language_models.teacher_words import WantedWords, words
from palmtop.errors import UserError
from palmtop.making import make
from palmtop.models.family import FAMILIES
from palmtop.models.language_model import open_language_model
from palmtop.models.opening import keep_layers
from palmtop.recipe import recipe
from palmtop.signature import Signature
from palmtop.stage import Outline, check_kind, outline_of

LONGER = {"epochs": 10, "learning_rate": 5e-3}
"""Until every term of the loss has clearly fallen."""


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A file of 160 lines of two sentences, each of words that always follow one another: there is something to
    learn."""
    chosen, words = random.Random(3), [word for label in sorted(WORDS) for word in WORDS[label]]
    starts = [(chosen.randrange(len(words)), chosen.randint(3, 5)) for _ in range(320)]
    rows = [" ".join((words + words)[start : start + count]).capitalize() + "." for start, count in starts]
    path = tmp_path_factory.mktemp("text") / "lines.txt"
    path.write_text("\n".join(" ".join(pair) for pair in zip(rows[::2], rows[1::2], strict=True)))
    return str(path)


@pytest.fixture(scope="module")
def quick(text: str) -> dict[str, Any]:
    """Settings of a training of seconds."""
    return {
        "text": text,
        "max_length": 24,
        "held_out": 20,
        "batch_size": 16,
        "epochs": 2,
        "learning_rate": 2e-3,
        "dropout": "off",
    }


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A BERT of four layers without a head."""
    folder = tmp_path_factory.mktemp("bare")
    return _make("adopt", {"model": str(write_model(folder / "model", "bert", 4))}, None, folder / "bare")


@pytest.fixture(scope="module")
def teacher(bare: Bundle, quick: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The same with a head trained."""
    return _make(
        "masked_lm", quick | {"epochs": 20, "learning_rate": 5e-3}, bare, tmp_path_factory.mktemp("teacher") / "teacher"
    )


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A GPT-2 of three layers, adopted; its tokenizer is byte-level BPE, its config without padding."""
    folder = tmp_path_factory.mktemp("gpt2")
    size = write_tokenizer(folder, "roberta")
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer | {"post_processor": None}))
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=size,
        n_embd=32,
        n_layer=3,
        n_head=4,
        n_positions=64,
        bos_token_id=0,
        eos_token_id=0,
        initializer_range=0.2,
    )
    GPT2LMHeadModel(config).save_pretrained(folder)
    return _make("adopt", {"model": str(folder)}, None, folder / "adopted")


def test_a_head_is_trained_by_name_and_never_taken_at_random(
    bare: Bundle, teacher: Bundle, quick: dict[str, Any], tmp_path: Path
) -> None:
    with pytest.raises(
        UserError,
        match=r"bare has no head over the vocabulary: 6 of its weights are missing \(cls.predictions.bias, ...\),"
        r" and random ones would teach noise; train them first with the stage 'masked_lm'",
    ):
        _make("distill_masked_lm", quick, bare, tmp_path / "student")
    facts = teacher.card.facts
    assert len(facts["new_weights"]) == 6
    assert facts["loss_after"]["words"] < facts["loss_before"]["words"] - 0.2
    assert abs(facts["asked_share"] - 0.15) < 0.005
    assert facts["texts"] == 160
    _, report = AutoModelForMaskedLM.from_pretrained(teacher.path, output_loading_info=True)
    assert not report["missing_keys"]


def test_the_head_alone_can_be_trained(bare: Bundle, quick: dict[str, Any], tmp_path: Path) -> None:
    made = _make("masked_lm", quick | {"train": "head", "epochs": 8, "learning_rate": 1e-2}, bare, tmp_path / "head")
    before, after = (load_file(bundle.path / "model.safetensors") for bundle in (bare, made))
    assert all(
        torch.equal(weight, after[f"bert.{name}"]) for name, weight in before.items() if not name.startswith("pooler")
    )
    assert made.card.facts["loss_after"]["words"] < made.card.facts["loss_before"]["words"]


def test_weights_that_lack_a_layer_are_no_language_model(teacher: Bundle, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes((teacher.path / "model.safetensors").read_bytes())
    config = json.loads((teacher.path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 5}))
    with pytest.raises(UserError, match="lack 16 of the transformer's own"):
        open_language_model(tmp_path)


def test_a_student_with_all_layers_is_its_teacher(teacher: Bundle) -> None:
    model = open_language_model(teacher.path).model
    ids, mask = torch.randint(5, 60, (3, 9)), torch.ones(3, 9, dtype=torch.int64)
    mask[1, 5:] = 0
    with torch.no_grad():
        expected = model(input_ids=ids, attention_mask=mask).logits
        same = keep_layers(model, range(4)).eval()(input_ids=ids, attention_mask=mask).logits
        converted = as_distilbert(model)(input_ids=ids, attention_mask=mask).logits
    real = mask.bool()
    assert torch.equal(same, expected)
    assert torch.allclose(
        converted[real], expected[real], atol=1e-5
    )  # the type's vector is added to the position's first: rounding


def test_what_distilbert_cannot_be_is_told(teacher: Bundle, tmp_path: Path) -> None:
    model = open_language_model(teacher.path).model
    model.config.layer_norm_eps = 1e-5
    model.config.palmtop_shape = []
    with pytest.raises(
        UserError,
        match=r"layer_norm_eps is 1e-05, DistilBERT's is always 1e-12; set as_distilbert: f(.|\n)*palmtop_shape",
    ):
        as_distilbert(model)


def test_the_pretraining_form_makes_a_distilbert_that_learns_and_can_be_fine_tuned(
    teacher: Bundle, quick: dict[str, Any], tmp_path: Path
) -> None:
    student = _make("distill_masked_lm", quick | LONGER | {"layers": 2}, teacher, tmp_path / "student")
    facts = student.card.facts
    assert (facts["layers_copied"], facts["family"]) == ([0, 3], "distilbert")
    assert facts["teacher_loss"]["words"] == pytest.approx(
        teacher.card.facts["loss_after"]["words"], abs=1e-3
    )  # the same text kept apart
    for term in ("soft", "words", "cosine"):
        assert facts["loss_after"][term] < facts["loss_before"][term], term
    assert isinstance(AutoModel.from_pretrained(student.path), DistilBertModel)
    assert not AutoModelForMaskedLM.from_pretrained(student.path, output_loading_info=True)[1]["missing_keys"]
    assert Signature.read(student.path).inputs == ("input_ids", "attention_mask")
    tuned = _make(
        "finetune", {"task": write_task(tmp_path / "data"), "epochs": 1, "batch_size": 16}, student, tmp_path / "tuned"
    )
    assert tuned.card.facts["new_weights"] == [
        "classifier.bias",
        "classifier.weight",
        "pre_classifier.bias",
        "pre_classifier.weight",
    ]


@pytest.mark.slow
def test_fixed_masks_let_the_teacher_answer_once(
    teacher: Bundle,
    quick: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("PALMTOP_CACHE", str(tmp_path / "cache"))
    settings = (
        quick | LONGER | {"epochs": 4, "layers": 2, "masks": "fixed", "top": 64}
    )  # longer, and it learns these masks by heart
    first = _make("distill_masked_lm", settings, teacher, tmp_path / "first").card.facts
    second = _make("distill_masked_lm", settings | {"epochs": 1}, teacher, tmp_path / "second").card.facts
    assert (first["signals_reused"], second["signals_reused"]) == (False, True)
    assert first["signals_bytes"] < first["tokens"] * (64 * 8 + 4 + 32 * 2) + 1000
    assert 0 < first["rest_mean"] <= first["rest_largest"] < 1
    _make("distill_masked_lm", settings | {"top": 16, "epochs": 0.1}, teacher, tmp_path / "few")
    assert re.search("the 16 most probable words leave [0-9]+% of the teacher's probability", capsys.readouterr().out)
    for term in ("soft", "words", "cosine"):
        assert first["loss_after"][term] < first["loss_before"][term], term
    other = _make(
        "distill_masked_lm", settings | {"soft_positions": "masked", "cosine_weight": 0}, teacher, tmp_path / "masked"
    ).card.facts
    assert other["signals_bytes"] < first["signals_bytes"] / 5


@pytest.mark.slow
@pytest.mark.parametrize("family", sorted(name for name, family in FAMILIES.items() if family.word_head))
def test_every_family_keeps_its_class_or_becomes_distilbert(family: str, quick: dict[str, Any], tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model", family)
    fresh = AutoModelForMaskedLM.from_pretrained(folder)
    torch.nn.init.zeros_(fresh.get_output_embeddings().bias)  # transformers leaves Longformer's as the memory was
    fresh.save_pretrained(folder)
    base = _make("adopt", {"model": str(folder)}, None, tmp_path / "base")
    student = _make("distill_masked_lm", quick | {"epochs": 0.1, "layers": 1}, base, tmp_path / "student")
    assert outline_of(student).family == ("distilbert" if family == "bert" else family)
    assert outline_of(student).layers == 1
    model, report = AutoModelForMaskedLM.from_pretrained(student.path, output_loading_info=True)
    assert not report["missing_keys"]
    assert type(AutoModel.from_pretrained(student.path)).__name__.removesuffix("Model") == type(
        model
    ).__name__.removesuffix("ForMaskedLM").removesuffix("WithLMHeadModel")


def test_an_albert_learns_the_order_of_sentences_too_taught_by_a_bert(
    teacher: Bundle, quick: dict[str, Any], tmp_path: Path
) -> None:
    folder = write_model(tmp_path / "model", "albert")
    for name in (
        "tokenizer.json",
        "tokenizer_config.json",
    ):  # an ALBERT of the BERT's words, as factorizing and sharing make it
        (folder / name).write_bytes((teacher.path / name).read_bytes())
    torch.manual_seed(0)
    config = AutoModel.from_pretrained(folder).config
    config.update({"vocab_size": 150, "pad_token_id": 0})
    AlbertForPreTraining(config).save_pretrained(folder)
    base = _make("adopt", {"model": str(folder)}, None, tmp_path / "base")
    order = quick | {"sentence_order_weight": 1.0, "mask_smoothing": 0.0, "mask_spans": 3, "dropout": "auto"}
    alone = _make("masked_lm", order, base, tmp_path / "alone")
    assert alone.card.facts["dropout"] is False
    assert set(alone.card.facts["loss_after"]) == {"words", "order"}
    taught = _make("distill_masked_lm", order | {"teacher": str(teacher.path)}, alone, tmp_path / "taught")
    assert taught.card.facts["layers_copied"] == [0, 1]
    assert taught.card.facts["teacher"] == teacher.digest
    assert taught.card.facts["loss_after"]["soft"] < taught.card.facts["loss_before"]["soft"]
    assert isinstance(AlbertForPreTraining.from_pretrained(taught.path), AlbertForPreTraining)
    assert not AutoModelForMaskedLM.from_pretrained(taught.path, output_loading_info=True)[1]["missing_keys"]


def test_only_families_with_a_head_for_it_learn_the_order_of_sentences(teacher: Bundle, quick: dict[str, Any]) -> None:
    with pytest.raises(
        UserError, match=r"sentence_order_weight is 1.0, but the family 'bert' has no head for it: .*one of: albert"
    ):
        stage.find("masked_lm")(**quick, sentence_order_weight=1.0).outline(outline_of(teacher))


def test_a_teacher_of_other_words_or_width_is_refused(teacher: Bundle, quick: dict[str, Any], tmp_path: Path) -> None:
    other = _make("adopt", {"model": str(write_model(tmp_path / "model", "roberta"))}, None, tmp_path / "base")
    head = _make("masked_lm", quick | {"epochs": 0.1}, other, tmp_path / "head")
    with pytest.raises(UserError, match="the token ids of teacher and head mean different words"):
        _make("distill_masked_lm", quick | {"teacher": str(teacher.path)}, head, tmp_path / "student")


@pytest.mark.slow
def test_a_training_cut_short_in_its_second_epoch_goes_on_to_the_same_weights(
    teacher: Bundle, quick: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = quick | {"layers": 2, "epochs": 3, "checkpoint_every": 4}
    whole = _make("distill_masked_lm", settings, teacher, tmp_path / "whole")
    from palmtop.compress.language_models.masked_targets import Masks

    drawn, plain = [0], Masks.batch

    def cut_short(self: Masks, rows: Any) -> Any:
        drawn[0] += 1
        if drawn[0] == 25:
            raise RuntimeError("cut short")
        return plain(self, rows)

    monkeypatch.setattr(Masks, "batch", cut_short)
    with pytest.raises(RuntimeError, match="cut short"):
        _make("distill_masked_lm", settings, teacher, tmp_path / "cut")
    monkeypatch.setattr(Masks, "batch", plain)
    assert list((tmp_path / ".cut.partial").glob("scratch/checkpoints/*/complete"))
    again = _make("distill_masked_lm", settings, teacher, tmp_path / "cut")
    first, second = (load_file(bundle.path / "model.safetensors") for bundle in (whole, again))
    for name, weight in first.items():
        assert torch.allclose(weight, second[name], atol=1e-6), name


def test_a_decoder_is_distilled_to_a_decoder(
    gpt2: Bundle, quick: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = {name: value for name, value in quick.items() if name != "dropout"}
    student = _make("distill_causal", settings | {"layers": 2}, gpt2, tmp_path / "student")
    assert "the teacher finds the right words no better than by chance" in capsys.readouterr().out  # it is a random one
    facts = student.card.facts
    assert facts["layers_copied"] == [0, 2]
    for term in ("soft", "words", "cosine"):
        assert facts["loss_after"][term] < facts["loss_before"][term], term
    model = AutoModelForCausalLM.from_pretrained(student.path)
    assert isinstance(model, GPT2LMHeadModel)
    assert (model.config.n_layer, outline_of(student).layers) == (2, 2)
    whole = open_language_model(gpt2.path, "causal").model
    ids = torch.randint(5, 60, (2, 9))
    with torch.no_grad():
        assert torch.equal(keep_layers(whole, range(3)).eval()(input_ids=ids).logits, whole(input_ids=ids).logits)


def test_a_decoders_answers_can_be_kept(
    gpt2: Bundle, quick: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PALMTOP_CACHE", str(tmp_path / "cache"))
    settings = {name: value for name, value in quick.items() if name != "dropout"} | {"layers": 2, "epochs": 1}
    anew = _make("distill_causal", settings, gpt2, tmp_path / "anew").card.facts
    kept = _make("distill_causal", settings | {"keep_answers": True, "top": 300}, gpt2, tmp_path / "kept").card.facts
    assert kept["loss_after"]["soft"] == pytest.approx(anew["loss_after"]["soft"], rel=0.05)
    assert kept["rest_mean"] < 0.1
    with pytest.raises(UserError, match=r"top is 1024, but the vocabulary has \d+ tokens: choose fewer"):
        _make("distill_causal", settings | {"keep_answers": True, "top": 1024}, gpt2, tmp_path / "more")


def test_words_on_disk_are_those_of_the_teacher(
    gpt2: Bundle, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from palmtop.compress.language_models.corpus import Corpus
    from palmtop.compress.language_models.sequences import sequences

    monkeypatch.setenv("PALMTOP_CACHE", str(tmp_path / "cache"))
    data, _ = sequences(Corpus.find(text).documents(), gpt2.path, Signature.read(gpt2.path), wrapped=False)
    targets = NextWords(data, 16)
    said = words(gpt2, targets, WantedWords("causal", 5, 2.0, False, True), print)
    rows = [7, 3, 40]
    given, batch = said.batch(rows), data.batch(rows)
    with torch.no_grad():
        output = open_language_model(gpt2.path, "causal").model(
            batch["input_ids"], attention_mask=batch["attention_mask"], output_hidden_states=True
        )
    chosen = targets.batch(rows)["token_labels"] != -100
    expected = (output.logits[chosen] / 2).log_softmax(-1)
    assert torch.allclose(given["teacher_log_probabilities"], expected.gather(-1, given["teacher_ids"]), atol=1e-4)
    assert torch.allclose(
        given["teacher_log_probabilities"].exp().sum(-1) + given["teacher_log_rest"].exp(),
        torch.ones(int(chosen.sum())),
    )
    real = batch["attention_mask"].bool()
    assert torch.allclose(given["teacher_hidden"][real], output.hidden_states[-1][real], atol=2e-2)  # float16


@pytest.mark.parametrize(
    "name", ["masked_lm", "distill_masked_lm", "to_tfjs", "to_executorch", "to_app", "minilm", "prune_structures"]
)
def test_a_decoder_is_refused_by_name_where_encoders_are_wanted(name: str, gpt2: Bundle) -> None:
    kind = stage.find(name)
    with pytest.raises(
        UserError,
        match=rf"^{name} works on encoders, but a model of the family 'gpt2' is a decoder: what there is for "
        "decoders is 'distill_causal'",
    ):
        check_kind(name, kind.model_construct(), outline_of(gpt2))


def test_an_encoder_is_refused_where_decoders_are_wanted_also_in_a_recipe(tmp_path: Path, text: str) -> None:
    model = write_model(tmp_path / "model", "bert")
    steps = [
        {"name": "base", "use": "adopt", "settings": {"model": str(model)}},
        {"name": "small", "use": "distill_causal", "settings": {"text": text}},
    ]
    (tmp_path / "recipe.yaml").write_text(json.dumps({"steps": steps}))
    with pytest.raises(
        UserError,
        match="step 'small': distill_causal works on decoders, but a model of the family 'bert' is an encoder",
    ):
        recipe.Recipe.read(str(tmp_path / "recipe.yaml"))


def test_a_classifier_is_no_language_model(text: str) -> None:
    source = Outline("torch", "bert", 4, ("a", "b"))
    with pytest.raises(
        UserError, match=r"its source was fine-tuned and has a classifier instead: .*put a 'masked_lm' step between"
    ):
        stage.find("distill_masked_lm")(text=text).outline(source)
    made = stage.find("masked_lm")(text=text).outline(source)
    assert (made.labels, made.layers) == (None, 4)


@pytest.mark.parametrize(
    ("name", "settings", "told"),
    [
        (
            "distill_masked_lm",
            {"soft_weight": 0, "mlm_weight": 0, "cosine_weight": 0},
            "mlm_weight and cosine_weight are all 0",
        ),
        (
            "distill_causal",
            {"soft_weight": 0, "clm_weight": 0, "cosine_weight": 0},
            "clm_weight and cosine_weight are all 0",
        ),
        ("masked_lm", {"max_length": 11}, "greater than or equal to 12"),
    ],
)
def test_settings_that_make_no_sense_are_refused(name: str, settings: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        stage.find(name)(text="x.txt", **settings)


def test_layers_that_are_not_there_and_too_little_text_are_told(
    teacher: Bundle, quick: dict[str, Any], tmp_path: Path
) -> None:
    outline = outline_of(teacher)
    with pytest.raises(UserError, match="layers is 9, but there are 4: choose 1 to 4"):
        stage.find("distill_masked_lm")(**quick, layers=9).outline(outline)
    assert stage.find("distill_masked_lm")(**quick, layers=(0, 1, 3)).outline(outline).layers == 3
    with pytest.raises(
        UserError,
        match=r"the text makes \d+ sequences, of which held_out would keep 500 apart: .*held_out to \d+ at most",
    ):
        _make("masked_lm", quick | {"held_out": 500}, teacher, tmp_path / "out")


def _make(use: str, settings: dict[str, Any], source: Bundle | None, out: Path) -> Bundle:
    return make(use, stage.find(use)(**settings), source, out, print)
