"""Pruning in a training: the share asked for, masks that survive a kill and a reload, teachers, and everything that is
refused."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tiny import TAKEN_APART, write_model, write_task
from tiny_bundles import Taught
from transformers import AutoModelForSequenceClassification

from palmtop import stage
from palmtop.bundle import Bundle
from palmtop.compress.pruning.masks import Masks
from palmtop.compress.pruning.pruned_training import PruningStage
from palmtop.errors import UserError
from palmtop.making import make
from palmtop.models.linears import PARTS, layers_of, part_of
from palmtop.models.opening import open_classifier
from palmtop.settings import build
from palmtop.stage import Outline, outline_of

LABELS = ("money", "music", "weather")
FAST: dict[str, Any] = {"epochs": 2, "learning_rate": 1e-3, "batch_size": 16}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("use", "settings"),
    [
        ("magnitude", {}),
        ("magnitude", {"scope": "global"}),
        ("movement", {}),
        ("movement", {"scope": "global"}),
        ("movement", {"method": "soft", "score_rate": 0.3}),
        ("movement", {"method": "l0", "score_rate": 0.3}),
    ],
)
def test_the_share_asked_for_is_reached(
    taught_bert: Taught, tmp_path: Path, use: str, settings: dict[str, Any]
) -> None:
    pruned = _make(use, FAST | {"keep": 0.2} | settings, taught_bert.teacher, tmp_path / "pruned")
    facts, model = pruned.card.facts, AutoModelForSequenceClassification.from_pretrained(pruned.path)
    matrices = [part_of(layer, part, "bert").weight for layer in layers_of(model) for part in PARTS]
    nonzeros = [int(matrix.count_nonzero()) for matrix in matrices]
    assert (facts["encoder_nonzeros"], facts["encoder_weights"]) == (
        sum(nonzeros),
        sum(matrix.numel() for matrix in matrices),
    )
    assert facts["kept"] == pytest.approx(sum(nonzeros) / facts["encoder_weights"])
    assert facts["kept_asked"] == 0.2
    if settings.get("method", "hard") == "hard" and "scope" not in settings:
        assert nonzeros == [round(0.2 * matrix.numel()) for matrix in matrices]
        assert facts["kept_by_part"] == pytest.approx(dict.fromkeys(PARTS, 0.2), abs=1e-3)
        assert facts["kept_by_layer"] == pytest.approx([0.2, 0.2], abs=1e-3)
    elif settings.get("method") in ("soft", "l0"):
        assert 0.004 < facts["kept"] <= 0.2001
    else:
        assert facts["kept"] == pytest.approx(0.2, abs=1e-4)
    assert not [name for name in load_file(pruned.path / "model.safetensors") if "score" in name]


@pytest.mark.parametrize(("use", "told"), [("movement", "12 steps of training are few to learn in"), ("magnitude", "")])
def test_too_few_steps_for_scores_are_told(
    use: str,
    told: str,
    taught_bert: Taught,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pruned = _make(use, FAST | {"keep": 0.5}, taught_bert.teacher, tmp_path / "pruned")
    assert told in capsys.readouterr().out
    assert pruned.card.facts.get("few_steps", "").startswith(told) and ("few_steps" in pruned.card.facts) == bool(told)


def test_the_unpruned_rest_learns_and_embeddings_stay(taught_bert: Taught, tmp_path: Path) -> None:
    pruned = _make("movement", FAST | {"keep": 0.5}, taught_bert.teacher, tmp_path / "pruned")
    before, after = (load_file(bundle.path / "model.safetensors") for bundle in (taught_bert.teacher, pruned))
    assert set(before) == set(after)
    for name, weight in before.items():
        assert torch.equal(weight, after[name]) == ("embeddings" in name), name
    free = _make("movement", FAST | {"keep": 0.5, "freeze_embeddings": False}, taught_bert.teacher, tmp_path / "free")
    words = "bert.embeddings.word_embeddings.weight"
    assert not torch.equal(before[words], load_file(free.path / "model.safetensors")[words])


@pytest.mark.slow
@pytest.mark.parametrize("family", sorted(TAKEN_APART))
def test_every_family_is_pruned(tmp_path: Path, family: str) -> None:
    task = write_task(tmp_path / "data", train=48)
    base = _make("adopt", {"model": str(write_model(tmp_path / "model", family))}, None, tmp_path / "base")
    short: dict[str, Any] = {"epochs": 1, "learning_rate": 1e-3, "batch_size": 16, "keep": 0.25, "soft_weight": 0}
    tuned = _make("movement", short | {"task": task}, base, tmp_path / "pruned")
    assert tuned.card.facts["kept"] == pytest.approx(0.25, abs=0.01)
    assert tuned.card.facts["new_weights"]
    model = open_classifier(tuned.path)
    assert torch.isfinite(model(input_ids=torch.randint(5, 60, (2, 9))).logits).all()
    smaller = _make(
        "magnitude", short | {"granularity": "structured", "soft_weight": 0.5}, tuned, tmp_path / "structured"
    )
    assert set(smaller.card.facts["heads_kept"]) == {1}


@pytest.mark.slow
@pytest.mark.parametrize("settings", [{"keep": 0.2, "scope": "global"}, {"method": "l0"}])
def test_a_pruning_cut_short_goes_on_to_the_same_masks(
    taught_bert: Taught, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any]
) -> None:
    settings = FAST | {"epochs": 4, "score_rate": 0.1, "checkpoint_every": 9} | settings
    _make("movement", settings, taught_bert.teacher, tmp_path / "whole")
    real, interrupted = Masks.each_step, 14

    def until(masks: Masks, step: int, steps: int) -> None:
        if step == interrupted:
            raise KeyboardInterrupt
        real(masks, step, steps)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(Masks, "each_step", until)
        _make("movement", settings, taught_bert.teacher, tmp_path / "killed")
    said: list[str] = []
    make(
        "movement",
        build(stage.find("movement"), settings, "movement"),
        taught_bert.teacher,
        tmp_path / "killed",
        said.append,
    )
    assert said[0] == "killed: movement, continuing what was cut short"
    assert len(said) == 2 and said[1].startswith("24 steps of training are few")
    first, second = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "killed"))
    for name, weight in first.items():
        assert torch.equal(weight == 0, second[name] == 0), name
        assert torch.allclose(weight, second[name], atol=1e-6), name


def test_another_teacher_can_be_named(taught_bert: Taught, tmp_path: Path) -> None:
    short = FAST | {"keep": 0.5, "task": taught_bert.task, "teacher": str(taught_bert.teacher.path), "label_weight": 0}
    pruned = _make("magnitude", short, taught_bert.base, tmp_path / "pruned")
    assert pruned.card.facts["teacher"] == taught_bert.teacher.digest
    assert list(pruned.card.facts["loss"]) == ["soft"]
    assert pruned.card.origin.inputs["teacher"] == taught_bert.teacher.digest
    alone = _make("magnitude", FAST | {"keep": 0.5, "soft_weight": 0}, taught_bert.teacher, tmp_path / "alone")
    assert alone.card.facts["teacher"] is None
    assert list(alone.card.facts["loss"]) == ["labels"]


def test_a_regression_is_pruned(taught_bert: Taught, tmp_path: Path) -> None:
    task = write_task(tmp_path / "data", kind="regression", train=48)
    teacher = _make("finetune", FAST | {"task": task}, taught_bert.base, tmp_path / "teacher")
    pruned = _make("movement", FAST | {"keep": 0.3, "method": "soft"}, teacher, tmp_path / "pruned")
    assert set(pruned.card.facts["loss"]) == {"soft", "labels", "penalty"}


@pytest.mark.parametrize(
    ("use", "settings", "fault"),
    [
        ("magnitude", {"keep": 0}, "keep is 0: input should be greater than 0"),
        ("movement", {"keep": 1.5}, "keep is 1.5: input should be less than or equal to 1"),
        ("magnitude", {}, "keep is missing: say which share of the weights is to be kept, such as 0.1"),
        (
            "movement",
            {},
            "keep is missing: say which share of the weights is to be kept, such as 0.1 (soft and l0 can do without)",
        ),
        (
            "magnitude",
            {"keep": 0.1, "mask_warmup": 0.6, "mask_cooldown": 0.5},
            "the schedule is longer than the training: mask_warmup 0.6 and mask_cooldown 0.5 of the steps leave none "
            "to prune in; lower one of them",
        ),
        (
            "magnitude",
            {"keep": 0.1, "soft_weight": 0, "label_weight": 0},
            "soft_weight and label_weight are both 0: nothing would be learnt",
        ),
        (
            "magnitude",
            {"keep": 0.1, "soft_weight": 0, "teacher": "t"},
            "teacher is t, but soft_weight is 0, so that nobody would ask it: leave one of them out",
        ),
        (
            "movement",
            {"keep": 0.1, "penalty": 3},
            "penalty is 3.0, but method hard has none: leave it out, or take soft or l0",
        ),
        (
            "movement",
            {"keep": 0.1, "method": "l0", "threshold": 0.2},
            "threshold is 0.2, but method l0 has none: leave it out, or take soft",
        ),
        (
            "movement",
            {"keep": 0.1, "method": "l0", "score_start": "magnitude"},
            "score_start is magnitude, but gates of l0 start open: leave it out, or take hard or soft",
        ),
        (
            "movement",
            {"keep": 0.1, "method": "l0", "granularity": "head"},
            "granularity is head, but l0 gates stand on weights and block32 only: take hard or soft",
        ),
    ],
)
def test_settings_that_make_no_sense_are_told_before_work(use: str, settings: dict[str, Any], fault: str) -> None:
    with pytest.raises(UserError) as caught:
        build(stage.find(use), settings, "step 'p'")
    assert caught.value.faults == (f"step 'p': {fault}",)


def test_sources_and_teachers_that_do_not_fit_are_told_before_work(taught_bert: Taught, tmp_path: Path) -> None:
    base, teacher = outline_of(taught_bert.base), outline_of(taught_bert.teacher)
    assert _refusal(base, {}) == "pruning needs a task: the name of a shipped one, or of a task's YAML file"
    with pytest.raises(
        UserError, match=r"^base has no head of a task, so it can't teach: name a teacher, set soft_weight: 0, or put a"
    ):
        _make("magnitude", {"keep": 0.5, "task": taught_bert.task}, taught_bert.base, tmp_path / "untaught")
    assert _refusal(teacher, {"teacher": str(taught_bert.base.path)}) == (
        "the teacher base has no head of a task, not the 3 labels of this task in their order: fine-tune it on this "
        "task first"
    )
    other = Outline("torch", "bert", 2, ("a", "b"))
    assert _refusal(other, {"teacher": str(taught_bert.teacher.path)}) == (
        "the teacher teacher has the labels money, music, weather, ..., not the 2 labels of this task in their "
        "order: fine-tune it on this task first"
    )
    assert "the teacher has 2 labels (a, b, ...), the task 'tiny' 3" in _refusal(other, {"task": taught_bert.task})
    linear = _make("tfidf", {"task": taught_bert.task}, None, tmp_path / "floor")
    assert _refusal(teacher, {"teacher": str(linear.path)}) == "the teacher floor is a linear bundle: give a torch one"
    stranger = _make("adopt", {"model": str(write_model(tmp_path / "model", "roberta"))}, None, tmp_path / "stranger")
    taught = _make("finetune", FAST | {"task": taught_bert.task, "epochs": 0.2}, stranger, tmp_path / "taught")
    with pytest.raises(
        UserError, match=r"^the token ids of taught and teacher mean different words \(id 0 is .*\): take a student"
    ):
        _make("magnitude", {"keep": 0.5, "teacher": str(taught.path)}, taught_bert.teacher, tmp_path / "out")


def _refusal(source: Outline, settings: dict[str, Any]) -> str:
    kind = stage.find("magnitude")
    assert issubclass(kind, PruningStage)
    with pytest.raises(UserError) as caught:
        kind(keep=0.5, **settings).outline(source)
    (fault,) = caught.value.faults
    return fault


def _make(use: str, settings: dict[str, Any], source: Bundle | None, out: Path) -> Bundle:
    return make(use, build(stage.find(use), settings, use), source, out, print)
