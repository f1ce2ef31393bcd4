"""Every family goes the whole way: adopt, fine-tune, distil to fewer layers, every format, parity on padded inputs."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny import TAKEN_APART, sentences, write_model, write_task
from tiny_bundles import adopted
from transformers import AutoModelForSequenceClassification

from palmtop import stage, target
from palmtop.bundle import Bundle, Format
from palmtop.compress.distillation.student import Sizes, make_student
from palmtop.compress.learning.encoded import Encoded
from palmtop.data.encoding import Encoding, pad
from palmtop.data.tokenization import HostTokenizer
from palmtop.errors import UserError
from palmtop.making import make
from palmtop.models.family import FAMILIES, inputs_of, longest_input
from palmtop.models.linears import layers_of
from palmtop.models.opening import keep_layers, open_classifier
from palmtop.signature import Signature
from palmtop.stage import Outline
from palmtop.task import Task

pytestmark = pytest.mark.slow

SPREAD = 1e-4
"""Float32 rounding over a few layers is some 1e-6 of the spread of the logits."""


@pytest.fixture(scope="module", params=sorted(FAMILIES))
def student(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A student of one layer, distilled from a fine-tuned teacher of two."""
    folder = tmp_path_factory.mktemp(request.param)
    task = write_task(folder / "data")
    short: dict[str, Any] = {"task": task, "epochs": 2, "learning_rate": 1e-3, "batch_size": 16}
    if FAMILIES[request.param].padding_counts:
        short["max_length"] = 24  # at which it is run below
    base = _make("adopt", {"model": str(write_model(folder / "model", request.param))}, None, folder / "base")
    teacher = _make("finetune", short, base, folder / "teacher")
    return _make("distill", short | {"layers": 1}, teacher, folder / "student")


def test_the_student_opens_without_palmtop_and_has_one_layer(student: Bundle) -> None:
    model = AutoModelForSequenceClassification.from_pretrained(student.path)
    assert model.config.num_hidden_layers == 1
    assert model.config.id2label == {0: "money", 1: "music", 2: "weather"}


def test_keeping_every_layer_keeps_every_logit(student: Bundle) -> None:
    model = open_classifier(student.path)
    same = keep_layers(model, [0]).eval()
    ids = torch.randint(5, 60, (3, 9))
    with torch.no_grad():
        assert torch.equal(model(input_ids=ids).logits, same(input_ids=ids).logits)


@pytest.mark.parametrize(
    ("use", "settings"), [("to_tflite", {"lengths": [24]}), ("to_onnx", {}), ("to_tfjs", {}), ("to_executorch", {})]
)
def test_the_exported_file_answers_as_torch_on_padded_inputs(
    student: Bundle, use: str, settings: dict[str, Any], tmp_path: Path
) -> None:
    _needs(use, student)
    made = _make(use, settings, student, tmp_path / use)
    assert made.card.facts["parity_difference"] < SPREAD
    encodings = HostTokenizer(student.path, 24).encode([(text,) for text, _ in sentences(6, 3)])
    expected = _torch(student, encodings, 24)
    for length in (24, None):
        found = _run(made, encodings, length)
        assert np.abs(found - expected).max() / expected.std(axis=0).mean() < SPREAD


def test_the_package_for_core_ml_is_what_the_signature_says(student: Bundle, tmp_path: Path) -> None:
    _needs("to_coreml", student)
    made = _make("to_coreml", {}, student, tmp_path / "package")  # which looks at inputs, outputs and weights itself
    assert made.card.facts["stored_matrices"] > 0


def test_a_family_that_is_not_known_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "canine"}')
    with pytest.raises(Exception, match="is of the family 'canine', which palmtop doesn't know; known: albert, bert"):
        stage.find("adopt")(model=str(tmp_path)).outline(None)


TAKE_APART = {"inverted_bottleneck", "magnitude", "mobilebert", "movement", "prune_structures", "share", "shrink"}
"""Stages that read or cut the six linear layers of a transformer layer."""


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_a_stage_that_does_not_work_on_a_family_is_refused_by_name_before_any_work(family: str) -> None:
    known = Outline("torch", family, 4, ("a", "b"), 32, 32, 4, task="classification")
    refuses = FAMILIES[family].refuses
    assert FAMILIES[family].plan or refuses.keys() >= TAKE_APART
    for name, why in refuses.items():
        with pytest.raises(UserError) as raised:
            stage.check_fit(name, stage.find(name).model_construct(), known)
        assert str(raised.value) == f"{name} isn't for the family '{family}': {why}"
        assert FAMILIES[family].plan or ("export it" if name.startswith("to_") else "distil it") in why


def test_layers_that_can_not_be_the_first_are_told_before_any_work() -> None:
    known = Outline("torch", "modernbert", 4, ("a", "b"), 32, 32, 4, task="classification")
    told = (
        r"layers \[1, 3\] of a model of the family 'modernbert' can't stand without layer 0, which has no norm before "
        "its attention: choose layers from 0 on"
    )
    for name, settings in (
        ("distill", {"layers": (1, 3)}),
        ("finetune", {"layers": (1, 3)}),
        ("transfer", {"layers": 2, "matches": "hidden"}),
    ):
        with pytest.raises(UserError, match=told):
            stage.find(name)(**settings).outline(known)
    with pytest.raises(UserError, match=told):
        stage.find("distill_masked_lm")(layers=(1, 3), text="x").outline(replace(known, labels=None))


def test_local_layers_keep_their_windows_whichever_are_kept(tmp_path: Path) -> None:
    kinds = ["full_attention", "sliding_attention", "sliding_attention", "full_attention"]
    source = adopted(tmp_path, "modernbert", num_hidden_layers=4, layer_types=kinds)
    kept = keep_layers(open_classifier(source.path), [0, 2, 3])
    assert kept.config.layer_types == ["full_attention", "sliding_attention", "full_attention"]
    assert [layer.attention_type for layer in layers_of(kept)] == kept.config.layer_types


def test_a_head_that_takes_the_mean_leaves_padding_out(tmp_path: Path) -> None:
    source = adopted(tmp_path / "model", "modernbert", classifier_pooling="mean")
    for use, settings in (("to_tflite", {"lengths": "any"}), ("to_onnx", {}), ("to_tfjs", {})):
        assert _make(use, settings, source, tmp_path / use).card.facts["parity_difference"] < SPREAD


ONE_LENGTH = sorted(name for name, family in FAMILIES.items() if family.padding_counts)
"""Families that padding beside a text changes."""


@pytest.mark.parametrize("family", ONE_LENGTH)
def test_what_padding_changes_is_run_at_one_length_everywhere(family: str, tmp_path: Path) -> None:
    base = _make("adopt", {"model": str(write_model(tmp_path / "model", family))}, None, tmp_path / "base")
    assert Signature.read(base.path).lengths == (70,)
    short = {"task": write_task(tmp_path / "data"), "epochs": 1, "learning_rate": 1e-3, "max_length": 32}
    tuned = _make("finetune", short, base, tmp_path / "tuned")
    signature = Signature.read(tuned.path)
    assert (signature.lengths, signature.max_length) == ((32,), 32)
    texts = Task.find(short["task"]).load("evaluation")
    data = Encoded.of(texts, tuned.path, signature)
    assert data.batch([0, 1])["input_ids"].shape == data.batch([0, 1])["attention_mask"].shape == (2, 32)
    encodings = HostTokenizer.of(tuned.path, signature).encode(texts.texts)
    with target.find("host_torch").open(tuned.path) as runner:
        answers = runner.predict(encodings)
    assert np.abs(answers - _torch(tuned, encodings, 32)).max() / answers.std() < SPREAD
    assert np.abs(answers - _torch(tuned, encodings, 48)).max() / answers.std() > SPREAD  # padding is seen
    with pytest.raises(UserError, match=r"tuned was trained on texts padded to 32 tokens, and padding changes its "):
        _make("distill", short | {"max_length": 24}, tuned, tmp_path / "shorter")
    with pytest.raises(UserError, match=r"^lengths is \[16, 32\], but tuned was trained on texts padded to 32 tokens"):
        _make("to_tflite", {"lengths": [16, 32]}, tuned, tmp_path / "file")
    with pytest.raises(UserError, match=f"^lengths: any isn't for the family '{family}', which .*: leave lengths out"):
        stage.find("to_tflite")(lengths="any").outline(Outline("torch", family, 2, ("a", "b"), task="classification"))
    with pytest.raises(UserError, match=r"^max_length is 24, but the source answers texts padded to 32 tokens"):
        _make("trim_vocabulary", {"max_length": 24}, tuned, tmp_path / "trimmed")


def test_a_size_that_a_family_has_no_word_for_is_refused(tmp_path: Path) -> None:
    fnet, xlm = (open_classifier(adopted(tmp_path / name, name).path) for name in ("fnet", "xlm"))
    with pytest.raises(UserError, match=r"^heads is 2, but a model of the family 'fnet' has none: leave it out$"):
        make_student(fnet, [0], Sizes(heads=2), 0)
    with pytest.raises(UserError, match=r"^feed_forward is 64, but in the family 'xlm' it follows from the width: "):
        make_student(xlm, [0], Sizes(feed_forward=64), 0)
    assert make_student(fnet, [0], Sizes(width=16, feed_forward=24), 0).config.hidden_size == 16
    assert make_student(xlm, [0], Sizes(width=16, heads=2), 0).config.n_heads == 2


@pytest.mark.parametrize("family", sorted({*FAMILIES} - {*TAKEN_APART}))
def test_what_needs_no_parts_works_where_layers_are_built_otherwise(family: str, tmp_path: Path) -> None:
    short: dict[str, Any] = {"epochs": 1, "learning_rate": 1e-3, "batch_size": 16}
    teacher = adopted(tmp_path / "model", family)
    imitating = {"matches": "hidden", "layers": 1, "layer_map": (2,), "choose": "spread", "prediction_epochs": 1}
    student = _make("transfer", short | imitating, teacher, tmp_path / "student")
    assert student.card.facts["layers_copied"] == [0]
    factorized = teacher
    if "factorize" not in FAMILIES[family].refuses:
        settings: dict[str, Any] = short | {"form": "keep_norm", "embedding_size": 8}
        factorized = _make("factorize", settings, teacher, tmp_path / "factors")
        facts = factorized.card.facts
        assert ("output_error_after_fit" in facts) == FAMILIES[family].normed_embeddings
        assert facts.get("output_error_after_fit", 0.0) < facts["output_error_before_fit"]
    recovered = _make("recover", short | {"teacher": str(teacher.path)}, factorized, tmp_path / "recovered")
    for use, settings in (("to_tflite", {}), ("to_onnx", {})):
        made = _make(use, settings, recovered, tmp_path / use)
        assert made.card.facts["parity_difference"] < SPREAD
        small = _make("quantize", {"tolerance": 2.0}, made, tmp_path / f"{use}-int8")
        assert small.card.facts["parity_difference"] < 1.0  # random weights: it shows that the file runs


def test_inputs_and_lengths_follow_the_config() -> None:
    roberta = {"model_type": "roberta", "max_position_embeddings": 514, "pad_token_id": 1, "type_vocab_size": 1}
    assert inputs_of(roberta) == ("input_ids", "attention_mask")
    assert longest_input(roberta) == 512
    bert = {"model_type": "bert", "max_position_embeddings": 512, "pad_token_id": 0, "type_vocab_size": 2}
    assert inputs_of(bert) == ("input_ids", "attention_mask", "token_type_ids")
    assert longest_input(bert) == 512


def _needs(use: str, student: Bundle) -> None:
    """Skip, by name, where the converter isn't installed, or the family is refused (looked at below)."""
    family = json.loads((student.path / "config.json").read_text())["model_type"]
    if why := FAMILIES[family].refuses.get(use):
        pytest.skip(f"{use} isn't for {family}: {why}")
    extra = use.removeprefix("to_")
    package = {"executorch": "executorch", "coreml": "coremltools"}.get(extra)
    if package is not None:
        pytest.importorskip(package, reason=f"{package} isn't installed: pip install 'palmtop[{extra}]'")


def _make(use: str, settings: dict[str, Any], source: Bundle | None, out: Path) -> Bundle:
    return make(use, stage.find(use)(**settings), source, out, print)


def _torch(bundle: Bundle, encodings: list[Encoding], length: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    signature = Signature.read(bundle.path)
    batch = pad(encodings, length, signature.pad_id)
    if json.loads((bundle.path / "tokenizer_config.json").read_text()).get("padding_side") == "left":
        batch = {name: _to_the_right(rows, [len(encoding) for encoding in encodings]) for name, rows in batch.items()}
    model = AutoModelForSequenceClassification.from_pretrained(bundle.path, attn_implementation="eager").eval()
    with torch.no_grad():
        logits = model(**{name: torch.from_numpy(batch[name]).long() for name in signature.inputs}).logits
    return np.asarray(logits)


def _to_the_right(rows: np.ndarray[Any, np.dtype[np.int32]], lengths: list[int]) -> np.ndarray[Any, Any]:
    """Texts behind their padding, as transformers pads for a model whose last token speaks."""
    return np.stack([np.roll(row, -length) for row, length in zip(rows, lengths, strict=True)])


def _run(bundle: Bundle, encodings: list[Encoding], length: int | None) -> np.ndarray[Any, np.dtype[np.float32]]:
    """One by one, so that each answer stands alone; padded by hand to `length` (the mask stays the text's own)."""
    form: Format = bundle.format
    with target.for_format(form).open(bundle.path) as runner:
        if length is None:
            return runner.predict(encodings)
        longest = [Encoding(row.text, row.input_ids, row.token_type_ids) for row in encodings]
        return np.concatenate([runner.predict([row, _filler(length)])[:1] for row in longest])


def _filler(length: int) -> Encoding:
    """A long text that forces the one beside it to be padded."""
    return Encoding(("",), np.full(length, 5, np.int32), np.zeros(length, np.int32))
