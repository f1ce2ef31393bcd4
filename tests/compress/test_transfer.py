"""The stages that match layers, from end to end: what they learn, a kill between their phases, their guards, and the
same for distill."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tiny import _config, sentences, write_model, write_task
from tiny_bundles import Taught
from transformers import AutoModelForMaskedLM, AutoModelForSequenceClassification

from palmtop import stage, target
from palmtop.bundle import Bundle, is_sealed
from palmtop.compress.distillation.augment import KEPT, Augmentation, WordModel, augment
from palmtop.compress.distillation.guards import check_inputs, check_same_tokens, unchanged
from palmtop.compress.learning import phases
from palmtop.compress.learning.encoded import Encoded
from palmtop.compress.learning.special import Fitted
from palmtop.errors import UserError
from palmtop.making import make
from palmtop.models.language_model import open_language_model
from palmtop.models.opening import open_classifier
from palmtop.signature import Signature
from palmtop.stage import Work
from palmtop.task import Task

FAST: dict[str, Any] = {
    "epochs": 3,
    "prediction_epochs": 8,
    "learning_rate": 2e-3,
    "prediction_rate": 2e-3,
    "batch_size": 16,
    "layers": 1,
}


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A masked language model with a head."""
    folder = write_model(tmp_path_factory.mktemp("words") / "model", "bert")
    vocabulary = json.loads((folder / "config.json").read_text())["vocab_size"]
    torch.manual_seed(3)
    AutoModelForMaskedLM.from_config(_config("bert", vocabulary, 1)).save_pretrained(folder)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    ("use", "settings", "features"),
    [
        ("tinybert", {}, {"embedding", "hidden", "attention_scores"}),
        ("minilm", {"relation_heads": 8}, {"query_relation", "key_relation", "value_relation"}),
        (
            "minilm",
            {"relation_heads": 8, "width": 16, "heads": 2, "epochs": 1, "prediction_epochs": 1},
            {"query_relation", "key_relation", "value_relation"},
        ),
        (
            "transfer",
            {
                "prediction": "together",
                "cosine_weight": 1,
                "epochs": 11,
                "teacher_signals": "recompute",
                "matches": [
                    {
                        "feature": "hidden",
                        "teacher_layer": 2,
                        "student_layer": 1,
                        "loss": "cosine",
                        "projection": "shared",
                    },
                    {"feature": "attention", "teacher_layer": 2, "student_layer": 1, "weight": 0.5},
                ],
            },
            {"hidden", "attention", "soft", "labels", "cosine"},
        ),
    ],
)
def test_a_student_learns_by_layers_and_answers(
    taught_bert: Taught, tmp_path: Path, use: str, settings: dict[str, Any], features: set[str]
) -> None:
    student = _make(use, FAST | settings, taught_bert.teacher, tmp_path / "student")
    facts = student.card.facts
    assert set(facts["phases"]["layers"]["loss"]) == features
    together = settings.get("prediction") == "together"
    assert list(facts["phases"]) == (["layers"] if together else ["layers", "prediction"])
    assert facts["steps"] == sum(phase["steps"] for phase in facts["phases"].values())
    assert facts["signals"] == ("recompute" if together else "cache")
    assert facts["layers_copied"] == (
        [] if "width" in settings else [1] if use == "tinybert" else [0]
    )  # of two, that which it imitates
    assert not any("projections" in name for name in load_file(student.path / "model.safetensors"))
    assert (student.path / "logs" / "layers").is_dir()
    assert AutoModelForSequenceClassification.from_pretrained(student.path).config.num_hidden_layers == 1
    if "width" in settings:  # random weights take longer to learn than a test may
        return
    split = Task.find(taught_bert.task).load("evaluation")
    with target.find("host_torch").open(student.path) as runner:
        accuracy = (runner.predict(runner.tokenize(split.texts)).argmax(-1) == split.labels).mean()
    assert accuracy > 0.8


@pytest.mark.slow
def test_a_run_killed_in_its_second_phase_goes_on_there(taught_bert: Taught, tmp_path: Path) -> None:
    options = [
        "--layers",
        "1",
        "--epochs",
        "1",
        "--prediction-epochs",
        "8",
        "--batch-size",
        "16",
        "--learning-rate",
        "1e-3",
        "--checkpoint-every",
        "12",
        "--out",
    ]
    start = [sys.executable, "-m", "palmtop", "tinybert", str(taught_bert.teacher.path), *options]
    whole = _make(
        "tinybert",
        {
            "layers": 1,
            "epochs": 1,
            "prediction_epochs": 8,
            "batch_size": 16,
            "learning_rate": 1e-3,
            "checkpoint_every": 12,
        },
        taught_bert.teacher,
        tmp_path / "whole",
    )
    out, scratch = tmp_path / "killed", tmp_path / ".killed.partial" / "scratch"
    # as many threads as here, which other tests may have changed: sums would round otherwise, and the bias of keys,
    # whose gradient is
    # nothing but rounding, would go elsewhere
    threads = {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())}
    process = subprocess.Popen([*start, str(out)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=threads)
    deadline = time.monotonic() + 120
    while not list(scratch.glob("prediction/checkpoints/*/complete")):
        assert process.poll() is None, "the training ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not is_sealed(out)
    assert (scratch / "layers" / phases.FINISHED).is_file()
    assert not (scratch / "layers" / "checkpoints").exists()
    killed = _make(
        "tinybert",
        {
            "layers": 1,
            "epochs": 1,
            "prediction_epochs": 8,
            "batch_size": 16,
            "learning_rate": 1e-3,
            "checkpoint_every": 12,
        },
        taught_bert.teacher,
        out,
    )
    assert killed.card.facts["phases"]["layers"] == whole.card.facts["phases"]["layers"]
    first, second = (load_file(bundle.path / "model.safetensors") for bundle in (whole, killed))
    for name, weight in first.items():
        assert torch.allclose(weight, second[name], atol=1e-5), name


def test_a_finished_phase_is_not_done_again(tmp_path: Path) -> None:
    model, calls = torch.nn.Linear(2, 2), list[str]()

    def adding(name: str, fails: bool = False) -> phases.Phase:
        def fit(folder: Path) -> Fitted:
            assert folder == tmp_path / name
            calls.append(name)
            if fails:
                raise KeyboardInterrupt
            with torch.no_grad():
                model.bias.add_(1)
            return Fitted(3, 1, "cpu", "float32", {"loss_x": 0.5})

        return phases.Phase(name, fit)

    torch.nn.init.zeros_(model.bias)
    with pytest.raises(KeyboardInterrupt):
        phases.run(model, [adding("one"), adding("two", fails=True)], tmp_path)
    torch.nn.init.zeros_(model.bias)
    done = phases.run(model, [adding("one"), adding("two")], tmp_path)
    assert calls == ["one", "two", "two"]
    assert model.bias.tolist() == [2.0, 2.0]
    assert (
        done["one"]
        == done["two"]
        == {"steps": 3, "processes": 1, "device": "cpu", "precision": "float32", "loss": {"x": 0.5}}
    )


@pytest.mark.parametrize("use", ["distill", "tinybert"])
def test_labels_in_another_order_are_refused(taught_bert: Taught, tmp_path: Path, use: str) -> None:
    task = taught_bert.task | {"labels": ["weather", "music", "money"]}
    with pytest.raises(UserError, match=r"in another order \(output 0 is 'money', the task has 'weather'\)"):
        _make(use, {"task": task, "layers": 1}, taught_bert.teacher, tmp_path / "out")


@pytest.mark.parametrize("use", ["distill", "minilm"])
def test_a_teacher_that_would_miss_its_token_types_is_refused(taught_bert: Taught, tmp_path: Path, use: str) -> None:
    source = Bundle(_copied(taught_bert.teacher.path, tmp_path / "teacher"), taught_bert.teacher.card)
    Signature.read(source.path).model_copy(update={"inputs": ("input_ids", "attention_mask")}).write(source.path)
    settings = {"layers": 1} | ({"relation_heads": 8} if use == "minilm" else {})
    for folder in ("out", "scratch"):
        (tmp_path / folder).mkdir()
    with pytest.raises(
        UserError,
        match=r"the teacher teacher takes input_ids, attention_mask, token_type_ids, but its signature.json "
        r"says input_ids, attention_mask: adopt the model again",
    ):
        stage.find(use)(**settings).run(source, Work(tmp_path / "out", tmp_path / "scratch", print))


def test_token_types_change_what_a_teacher_says(taught_bert: Taught, tmp_path: Path) -> None:
    task = Task.find(write_task(tmp_path, pair=True))
    teacher = open_classifier(taught_bert.teacher.path)
    check_inputs(teacher.config, ("input_ids", "attention_mask", "token_type_ids"), "teacher")
    batch = Encoded.of(task.load("train"), taught_bert.teacher.path, Signature.read(taught_bert.teacher.path)).batch(
        [0, 1]
    )
    without = {name: value for name, value in batch.items() if name != "token_type_ids"}
    assert (teacher(**batch).logits - teacher(**without).logits).abs().max() > 1e-4


def test_a_teacher_that_changes_is_found_out(taught_bert: Taught) -> None:
    model = open_classifier(taught_bert.teacher.path)
    with unchanged(model):
        assert not model.training
        assert not any(parameter.requires_grad for parameter in model.parameters())
    with pytest.raises(RuntimeError, match="the teacher changed while its student was trained"), unchanged(model):
        model.state_dict()["classifier.bias"].add_(1)
    with (
        pytest.raises(RuntimeError, match="the teacher was put in training mode: its dropout was learnt"),
        unchanged(model),
    ):
        model.train()


def test_token_ids_are_compared_by_what_they_mean(taught_bert: Taught, tmp_path: Path) -> None:
    teacher = taught_bert.teacher.path
    other = _copied(teacher, tmp_path / "other")
    written = json.loads((other / "tokenizer.json").read_text())
    _write(other, written | {"truncation": None, "padding": None})
    check_same_tokens(teacher, other)
    vocabulary = written["model"]["vocab"]
    one, two = (next(token for token, index in vocabulary.items() if index == number) for number in (20, 21))
    swapped = vocabulary | {one: 21, two: 20}  # as many tokens, other ids
    _write(other, written | {"model": written["model"] | {"vocab": swapped}})
    with pytest.raises(UserError, match=rf"mean different words \(id 20 is '{one}' in one and '{two}' in the other\)"):
        check_same_tokens(teacher, other)
    _write(other, written | {"normalizer": None})
    with pytest.raises(UserError, match=r"teacher and other cut texts up differently \(normalizer in tokenizer.json\)"):
        check_same_tokens(teacher, other)


def test_attention_comes_from_no_path_that_may_not_return_it(taught_bert: Taught) -> None:
    """With fused attention `output_attentions` gives nothing; the features are made of queries and keys, and don't ask
    for it."""
    from palmtop.compress.distillation.feature_losses import log_relations
    from palmtop.compress.distillation.matches import Tap
    from palmtop.compress.distillation.taps import TeacherTaps

    ids = torch.randint(5, 60, (2, 7))
    mask = torch.ones_like(ids)
    eager, fused = (open_classifier(taught_bert.teacher.path, attention) for attention in ("eager", "sdpa"))
    with torch.no_grad():
        said = eager(input_ids=ids, attention_mask=mask, output_attentions=True).attentions[1]
        states = fused(input_ids=ids, attention_mask=mask, output_hidden_states=True).hidden_states
    taps = TeacherTaps(fused, [Tap("query", 2), Tap("key", 2)])({"input_ids": ids, "teacher_hidden_1": states[1]})
    assert torch.allclose(log_relations(taps[Tap("query", 2)], taps[Tap("key", 2)], 4, mask).exp(), said, atol=1e-5)


def test_relation_heads_that_do_not_fit_are_told_with_those_that_do(taught_bert: Taught, tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"relation_heads 48 doesn't divide the widths 32 and 24: choose one of 1, 2, 4, 8"
    ):
        _make("minilm", FAST | {"width": 24}, taught_bert.teacher, tmp_path / "out")
    with pytest.raises(
        UserError, match="7 heads don't divide the width 32: choose a width that is a multiple of them, or other heads"
    ):
        _make("minilm", FAST | {"heads": 7}, taught_bert.teacher, tmp_path / "out")


def test_texts_are_made_of_likely_words(words: Path) -> None:
    model, how = WordModel(words), Augmentation(copies=6, candidates=5, probability=0.5, seed=1)
    text = "play the forecast, zyxwv 42 song"
    [places] = model.places([text], 5)
    spans = {text[place.start : place.end]: place for place in places}
    assert {"forecast", "song"} <= set(spans)
    assert not {"the", "42", "zyxwv"} & set(spans)  # a stop word, no letters, several pieces
    for place in places:
        assert len(place.words) == 5
        assert all(word.isalpha() and not word.startswith("##") for word in place.words)
    assert set(spans["song"].words) == _likeliest(words, text, "song", 5)
    texts, origins = augment([(text,), ("please rain", "cold forecast")], model, how)
    assert texts[0] == (text,)
    assert len(texts) == len(set(texts))
    assert set(origins) == {0, 1}
    changed = [own for own, origin in zip(texts, origins, strict=True) if origin == 0][1:]
    assert changed
    for (own,) in changed:
        assert own.startswith((*spans["play"].words, "play")) and " the " in own and " zyxwv 42 " in own
    assert augment([(text,)], model, how)[0] == [(text,), *changed]


def test_a_model_without_a_trained_head_makes_no_texts(taught_bert: Taught, words: Path, tmp_path: Path) -> None:
    with pytest.raises(
        UserError,
        match=r"has no head over the vocabulary: .* of its weights are missing .* random ones would teach noise",
    ):
        _make("tinybert", FAST | {"augment_with": str(taught_bert.base.path)}, taught_bert.teacher, tmp_path / "out")
    with pytest.raises(
        UserError, match=r"augment_with is .*, which has no config.json and no model.safetensors and no tokenizer.json"
    ):
        _make("tinybert", FAST | {"augment_with": str(tmp_path)}, taught_bert.teacher, tmp_path / "out")
    bare = _copied(words, tmp_path / "bare")
    written = json.loads((bare / "tokenizer.json").read_text())
    _write(
        bare, written | {"added_tokens": [token for token in written["added_tokens"] if token["content"] != "[MASK]"]}
    )
    with pytest.raises(UserError, match=r"the tokenizer of .* has no mask token, so no word can be masked"):
        WordModel(bare)


def test_a_stage_learns_from_more_texts_with_their_labels(taught_bert: Taught, words: Path, tmp_path: Path) -> None:
    settings = FAST | {
        "augment_with": str(words),
        "augment_copies": 2,
        "epochs": 1,
        "soft_weight": 0,
        "label_weight": 1,
    }
    facts = _make(
        "distill",
        {name: value for name, value in settings.items() if not name.startswith("prediction")},
        taught_bert.teacher,
        tmp_path / "student",
    ).card.facts
    assert 96 * 2 < facts["rows"] <= 96 * 3
    distill: Any = stage.find("distill")(**{"augment_with": str(words), "augment_copies": 2})
    (tmp_path / "scratch").mkdir()
    task = Task.find(taught_bert.task)
    data = distill.training_data(
        task.load("train"),
        taught_bert.teacher,
        Signature.read(taught_bert.teacher.path),
        Work(tmp_path / "out", tmp_path / "scratch", print),
    )
    kept = json.loads((tmp_path / "scratch" / KEPT).read_text())
    assert len(data) == facts["rows"]
    labels = task.load("train").labels
    assert data.labels.tolist() == [labels[origin] for origin in kept["origins"]]
    assert kept["texts"][0] == [sentences(96, 1)[0][0]]


def _likeliest(folder: Path, text: str, word: str, count: int) -> set[str]:
    """The words that the model finds likeliest, asked by hand."""
    from tokenizers import Tokenizer

    model, tokenizer = open_language_model(folder).model, Tokenizer.from_file(str(folder / "tokenizer.json"))
    both = tokenizer.encode(text, text)
    ids = list(both.ids)
    place = both.tokens.index(word)
    ids[place] = tokenizer.token_to_id("[MASK]")
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([ids]), token_type_ids=torch.tensor([both.type_ids])).logits[0, place]
    ranked = [tokenizer.id_to_token(index) for index in logits.argsort(descending=True).tolist()]
    return set([token for token in ranked if token and token.isalpha()][:count])


def _make(use: str, settings: dict[str, Any], source: Bundle | None, out: Path) -> Bundle:
    return make(use, stage.find(use)(**settings), source, out, print)


def _copied(folder: Path, to: Path) -> Path:
    to.mkdir()
    for path in folder.iterdir():
        if path.is_file():
            (to / path.name).write_bytes(path.read_bytes())
    return to


def _write(folder: Path, tokenizer: dict[str, Any]) -> None:
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
