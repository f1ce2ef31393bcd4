"""What layers say, of every family: the teacher's features from its hidden states alone, the student's as it runs,
losses of a copy."""

from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import TAKEN_APART, _config, write_tokenizer
from transformers import AutoModelForSequenceClassification, PreTrainedModel

from palmtop.compress.distillation.matches import OTHER_TERMS, Match, Pair, Tap, check, hidden, minilm, tinybert
from palmtop.compress.distillation.student import Sizes, fresh, make_student
from palmtop.compress.distillation.taps import StudentTaps, TeacherTaps, pick
from palmtop.compress.distillation.transfer_training import Comparison
from palmtop.compress.learning.training_loop import Batch
from palmtop.errors import UserError
from palmtop.format import called
from palmtop.models.family import FAMILIES
from palmtop.models.linears import layers_of, part_of
from palmtop.models.opening import keep_layers

KINDS = ("query", "key", "value")
TAPS = [Tap("hidden", layer) for layer in range(3)] + [Tap(kind, layer) for kind in KINDS for layer in (1, 2)]
REAL = (9, 5, 7)
"""Tokens of the texts of a batch."""


@pytest.fixture(scope="module", params=sorted(TAKEN_APART))
def teacher(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> PreTrainedModel:
    """A random classifier of two layers, which have queries, keys and values."""
    return _classifier(request.param, tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="module", params=sorted({*FAMILIES} - {*TAKEN_APART}))
def built_otherwise(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> PreTrainedModel:
    """The same of a family whose layers aren't made of six linear layers."""
    return _classifier(request.param, tmp_path_factory.mktemp(request.param))


def _classifier(family: str, folder: Path) -> PreTrainedModel:
    torch.manual_seed(0)
    config = _config(family, write_tokenizer(folder, family), 2)
    model: PreTrainedModel = AutoModelForSequenceClassification.from_config(config, attn_implementation="eager").eval()
    if FAMILIES[family].mended_by:
        called(FAMILIES[family].mended_by)(model)
    return model


def batch_of(teacher: PreTrainedModel, extra: int = 0) -> Batch:
    """Texts of different lengths, padded, and `extra` pads more."""
    ids = torch.randint(5, 60, (len(REAL), max(REAL)), generator=torch.Generator().manual_seed(3))
    mask = (torch.arange(max(REAL) + extra)[None] < torch.tensor(REAL)[:, None]).long()
    padded = torch.cat([ids, torch.ones(len(REAL), extra, dtype=torch.int64)], dim=1)
    return {"input_ids": padded * mask + (1 - mask) * teacher.config.pad_token_id, "attention_mask": mask}


def taught(teacher: PreTrainedModel, batch: Batch, spoil: bool = False) -> Batch:
    """The batch with the teacher's hidden states, zero on padding as a cache gives them, or spoilt there."""
    with torch.no_grad():
        states = teacher(**batch, output_hidden_states=True).hidden_states
    real = batch["attention_mask"][..., None]
    return batch | {
        f"teacher_hidden_{layer}": state * real + (1 - real) * (77.0 if spoil else 0.0)
        for layer, state in enumerate(states)
    }


def matches_for(family: str, layers: int = 2) -> list[Match]:
    """Every feature and distance that the family has."""
    states = [
        Match(feature="embedding"),
        Match(feature="embedding", loss="cosine"),
        Match(feature="hidden", teacher_layer=2, student_layer=layers),
        Match(feature="hidden", teacher_layer=1, student_layer=1, loss="cosine", weight=2),
    ]
    place: dict[str, Any] = {"teacher_layer": 2, "student_layer": layers}
    relations = [Match(feature=f"{kind}_relation", relation_heads=8, **place) for kind in KINDS]  # type: ignore[arg-type]  # made of a word
    own = (
        []
        if family in OTHER_TERMS
        else [
            Match(feature="attention_scores", **place),
            Match(feature="attention", **place),
            Match(feature="attention", loss="mse", **place),
        ]
    )
    return [*states, *relations, *own]


def test_the_teachers_taps_are_what_its_linears_made(teacher: PreTrainedModel) -> None:
    seen: dict[Tap, torch.Tensor] = {}
    calls = {kind: list[torch.Tensor]() for kind in KINDS}
    hooks = [
        part_of(layer, kind, teacher.config.model_type).register_forward_hook(
            lambda _, __, made, kind=kind: calls[kind].append(made)
        )
        for kind in KINDS
        for layer in dict.fromkeys(layers_of(teacher))
    ]
    batch = batch_of(teacher)
    given = taught(teacher, batch)
    for hook in hooks:
        hook.remove()
    for kind in KINDS:
        own = [
            made for made in calls[kind] if made.shape[:2] == batch["input_ids"].shape
        ]  # DeBERTa's positions go through them too
        assert len(own) == 2
        seen |= {Tap(kind, layer): made for layer, made in enumerate(own, 1)}
    taps = TeacherTaps(teacher, TAPS)
    assert taps.hidden_layers == (0, 1, 2)
    found, real = taps(given), batch["attention_mask"].bool()
    for tap, expected in seen.items():
        assert torch.allclose(found[tap][real], expected[real], atol=1e-6), tap
        assert not found[tap].requires_grad


def test_a_students_taps_are_the_teachers_where_it_is_the_teacher(teacher: PreTrainedModel) -> None:
    student, batch = keep_layers(teacher, range(2)).eval(), batch_of(teacher)
    expected, real = TeacherTaps(teacher, TAPS)(taught(teacher, batch)), batch["attention_mask"].bool()
    watched = StudentTaps(student, [(tap,) for tap in TAPS], answers=True)
    output = student(**batch, output_hidden_states=True)
    for (found,), tap in zip(output["features"], TAPS, strict=True):
        assert torch.allclose(found[real], expected[tap][real], atol=1e-6), tap
    watched.remove()
    plain = student(**batch)
    assert torch.equal(plain.logits, output["logits"])
    assert torch.equal(plain.logits, teacher(**batch).logits)


def test_a_copy_has_no_losses_and_padding_changes_none(teacher: PreTrainedModel) -> None:
    family = teacher.config.model_type
    matches = matches_for(family)
    copy = keep_layers(teacher, range(2)).eval()
    comparison = Comparison(matches, teacher, copy)
    comparison.check()
    assert all(value.abs().max() < 1e-5 for value in _terms(comparison, copy, teacher, batch_of(teacher)).values())
    other = keep_layers(teacher, range(2)).eval()
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(5)) * 0.05)
        # padding's own vector is 0 and stays so; MobileBERT's embeddings read the next token, so a text's last one
        # reads it
        other.get_input_embeddings().weight[teacher.config.pad_token_id] = 0
    comparison = Comparison(matches, teacher, other)
    short, long = (_terms(comparison, other, teacher, batch_of(teacher, extra), spoil=bool(extra)) for extra in (0, 10))
    assert set(short) == {match.feature for match in matches}
    for name, values in short.items():
        assert values.min() > 1e-6, name
        assert torch.allclose(values, long[name], rtol=1e-4, atol=1e-6), name


def test_a_narrower_student_learns_through_projections(teacher: PreTrainedModel) -> None:
    family = teacher.config.model_type
    if family == "mobilebert":
        with pytest.raises(UserError, match="don't say enough for the family 'mobilebert', which has bottlenecks too"):
            fresh(teacher, 1, Sizes(width=16), 0)
        return
    student = make_student(teacher, [0], Sizes(16, None, 24), seed=1)
    assert (student.config.hidden_size, student.config.num_hidden_layers, student.config.num_attention_heads) == (
        16,
        1,
        4,
    )
    assert part_of(layers_of(student)[0], "feed_forward_in", family).out_features == 24
    pair = Pair(family, 2, 1, 32, 16, 4, 4, (2,))
    matches = [*tinybert(pair, scores=0.0 if family in OTHER_TERMS else 1.0), *minilm(pair, heads=8)]
    check(matches, pair)
    comparison = Comparison(matches, teacher, student)
    comparison.check()
    names = set(student.state_dict())
    with comparison.watching(answers=False, seed=0):
        batch = taught(teacher, batch_of(teacher))
        terms = comparison.terms(student(**batch_of(teacher), output_hidden_states=True)["features"], batch)
        torch.stack(list(terms.values())).sum().backward()  # type: ignore[no-untyped-call]  # torch's own
        assert {
            name
            for name, parameter in student.named_parameters()
            if "projections" in name and parameter.grad is not None
        } == {f"projections.match_{place}.{kind}" for place in (0, 1) for kind in ("weight", "bias")}
    assert set(student.state_dict()) == names
    assert part_of(layers_of(student)[0], "value", family).weight.grad.abs().max() > 0  # type: ignore[union-attr]  # there after backward


def test_attention_of_families_with_position_terms_is_refused(teacher: PreTrainedModel) -> None:
    family = teacher.config.model_type
    pair = Pair(family, 2, 1, 32, 32, 4, 4, (2,))
    if family not in OTHER_TERMS:
        check(tinybert(pair), pair)
        return
    with pytest.raises(
        UserError,
        match=f"attention_scores of the family '{family}' can't be compared: its scores hold .* positions; take",
    ):
        check(tinybert(pair), pair)


def test_a_teacher_in_training_mode_is_found_out(teacher: PreTrainedModel) -> None:
    taps, batch = TeacherTaps(teacher, TAPS), taught(teacher, batch_of(teacher))
    teacher.train()
    with pytest.raises(RuntimeError, match="the teacher is in training mode: its dropout would be taught"):
        taps(batch)
    teacher.eval()


def _terms(
    comparison: Comparison,
    student: PreTrainedModel,
    teacher: PreTrainedModel,
    batch: Batch,
    spoil: bool = False,
) -> dict[str, torch.Tensor]:
    with comparison.watching(answers=False, seed=0):
        return comparison.terms(student(**batch, output_hidden_states=True)["features"], taught(teacher, batch, spoil))


def test_picking_keeps_the_order_of_features() -> None:
    one, two = torch.zeros(1), torch.ones(1)
    assert pick({Tap("key", 1): two, Tap("query", 1): one}, [(Tap("query", 1), Tap("key", 1))]) == [(one, two)]


def test_states_alone_are_compared_where_layers_are_built_otherwise(built_otherwise: PreTrainedModel) -> None:
    family = built_otherwise.config.model_type
    pair = Pair(family, 2, 1, 32, 16, 4, 4, (2,))
    check(hidden(pair), pair)
    for matches in (tinybert(pair), minilm(pair, heads=8)):
        with pytest.raises(UserError, match=f"of the family '{family}' can't be compared: its .*; take hidden states"):
            check(matches, pair)
    inside = 24 if FAMILIES[family].feed_forward else None  # of some it follows from the width
    student = make_student(built_otherwise, [0], Sizes(16, None, inside), seed=1)
    assert (student.config.hidden_size, student.config.num_hidden_layers) == (16, 1)
    comparison = Comparison([*hidden(pair), *tinybert(pair, scores=0.0)], built_otherwise, student)
    comparison.check()
    with comparison.watching(answers=False, seed=0):
        batch = taught(built_otherwise, batch_of(built_otherwise))
        features = student(**batch_of(built_otherwise), output_hidden_states=True)["features"]
        torch.stack(list(comparison.terms(features, batch).values())).sum().backward()  # type: ignore[no-untyped-call]  # torch's own
    assert any(parameter.grad is not None and parameter.grad.any() for parameter in layers_of(student)[0].parameters())
