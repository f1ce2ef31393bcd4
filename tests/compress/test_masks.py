"""Pruning's formulas: schedule, exact shares, floors, straight-through gradients, hard-concrete gates, penalties; masks
on every family."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from scipy import integrate
from tiny import TAKEN_APART, write_model

from palmtop.compress.pruning import binarize
from palmtop.compress.pruning.masks import SCORES, Masks, Rule
from palmtop.compress.pruning.prunable import Granularity, groups_of
from palmtop.compress.pruning.sparsity_schedule import Schedule
from palmtop.errors import UserError
from palmtop.models.linears import PARTS, layers_of, part_of

SCHEDULE = Schedule(0.1, 0.3)
HARD = Rule("hard", SCHEDULE, 0.1, "local", 0.1, 0.0)
GRANULARITIES: tuple[Granularity, ...] = ("weight", "block32", "head", "row", "structured", "hybrid")


def test_the_schedule_is_the_papers_cubic() -> None:
    kept = [SCHEDULE.kept(0.1, step, 100) for step in range(101)]
    assert kept[:11] == [1.0] * 11
    assert kept[70:] == pytest.approx([0.1] * 31)
    for step in (11, 25, 40, 69):
        assert kept[step] == pytest.approx(0.1 + (1 - 0.1) * (1 - (step - 10) / 60) ** 3)
    assert kept[40] == pytest.approx(0.1 + 0.9 / 8)
    assert Schedule(0, 0).kept(0.5, 100, 100) == 0.5


@pytest.mark.parametrize("count", [0, 1, 7, 59, 60, 99])
def test_exactly_so_many_are_kept_ties_and_all(count: int) -> None:
    values = torch.tensor([0.0, 1.0, 1.0, 1.0, 2.0, 0.0] * 10).view(6, 10)
    mask = binarize.largest(values, count)
    assert int(mask.sum()) == min(count, 60)
    if mask.any() and not mask.all():
        assert values[mask].min() >= values[~mask].max()
    assert torch.equal(mask, binarize.largest(values.clone(), count))


def test_local_and_global_ranking() -> None:
    torch.manual_seed(0)
    values = [torch.randn(40, 50), 10 + torch.randn(20, 50)]
    assert [int(mask.sum()) for mask in binarize.largest_of_each(values, 0.1)] == [200, 100]
    together = binarize.largest_of_all(values, 0.1)
    assert [int(mask.sum()) for mask in together] == [
        10,
        290,
    ]  # 0.5 % of 2,000 is the floor, the rest goes to the larger ones
    assert together[0].flatten()[values[0].flatten().topk(10).indices].all()
    assert [int(mask.sum()) for mask in binarize.largest_of_all(values, 0.001)] == [10, 5]
    assert [int(mask.sum()) for mask in binarize.largest_of_all([torch.zeros(4), torch.ones(4)], 0.5)] == [1, 3]


def test_scores_can_start_from_the_ranks_of_magnitudes(tmp_path: Path) -> None:
    """So that the first masks are magnitude's own."""
    assert binarize.ranks(torch.tensor([[3.0, 1.0, 2.0, 2.0]])).tolist() == [[0.75, 0.0, 0.5, 0.25]]
    torch.manual_seed(0)
    values = torch.randn(30, 40).abs()
    assert torch.equal(binarize.largest(binarize.ranks(values), 100), binarize.largest(values, 100))
    chosen = []
    for method in ("magnitude", "hard"):
        masks = Masks(_model(tmp_path / method, "bert"), replace(HARD, method=method, start="magnitude"), "row")
        masks.each_step(99, 100)
        chosen.append([group.mask for group in masks.groups])
    assert all(torch.equal(one, other) for one, other in zip(*chosen, strict=True))


def test_a_threshold_leaves_its_floor() -> None:
    scores = [torch.linspace(-4, 4, 1000), torch.full((1000,), -9.0)]
    masks = binarize.over(scores, 0.1)
    assert torch.equal(masks[0], torch.sigmoid(scores[0]) > 0.1)
    assert int(masks[1].sum()) == 5
    assert all(mask.all() for mask in binarize.over(scores, 0.0))


def test_scores_get_the_straight_through_gradient_kept_or_pruned() -> None:
    torch.manual_seed(1)
    weight, scores = torch.randn(5, 7, requires_grad=True), torch.randn(5, 7, requires_grad=True)
    mask, inputs = binarize.largest(scores, 9), torch.randn(4, 7)
    masked = weight * binarize.straight_through(scores, mask)
    masked.retain_grad()
    (inputs @ masked.T - 1).pow(2).sum().backward()
    assert masked.grad is not None and scores.grad is not None and weight.grad is not None
    assert torch.equal(masked, weight * mask)
    assert torch.allclose(scores.grad, weight.detach() * masked.grad)
    assert torch.allclose(weight.grad, masked.grad * mask)
    assert (scores.grad[~mask].abs() > 0).all()


@pytest.mark.parametrize("score", [-3.0, -1.0, 0.0, 2.197])
def test_hard_concrete_gates_are_what_their_formulas_say(score: float) -> None:
    torch.manual_seed(2)
    gates = binarize.sampled_gate(torch.full((4_000_000,), score))
    chance = float(binarize.open_chance(torch.tensor(score)))
    assert float((gates > 0).double().mean()) == pytest.approx(chance, abs=1e-3)

    def gate(noise: float) -> float:
        stretched = 1.2 / (1 + math.exp(-(math.log(noise / (1 - noise)) + score) * 1.5)) - 0.1
        return min(max(stretched, 0.0), 1.0)

    assert float(gates.double().mean()) == pytest.approx(integrate.quad(gate, 0, 1, limit=200)[0], abs=1e-3)
    settled = float(binarize.settled_gate(torch.tensor(score)))
    assert settled == pytest.approx(min(max(1.2 / (1 + math.exp(-score)) - 0.1, 0), 1), abs=1e-6)
    assert (settled > 0) == (score > binarize.CLOSED)
    assert pytest.approx(0.9) == 1 / (1 + math.exp(-binarize.GATE_START))


def test_the_penalty_presses_only_while_too_much_is_open(tmp_path: Path) -> None:
    for method, penalty in (("soft", 400.0), ("l0", 125.0)):
        model = _model(tmp_path / method, "bert")
        masks = Masks(model, Rule(method, SCHEDULE, 0.2, "global", 0.1, penalty), "weight")  # type: ignore[arg-type]  # one of its words
        masks.each_step(5, 100)
        assert float(masks.penalty() or 0) == 0
        masks.each_step(40, 100)
        opened = 0.5 if method == "soft" else float(binarize.open_chance(torch.tensor(binarize.GATE_START)))
        pressed = masks.penalty()
        assert pressed is not None
        assert pressed.item() == pytest.approx(penalty * 7 / 8 * opened, rel=1e-5)
        pressed.backward()
        for group in masks.groups:
            assert group.scores is not None
            assert group.scores.grad is not None
            assert (group.scores.grad > 0).all()
            group.scores.data.fill_(-9.0)
        masks.each_step(40, 100)
        assert float(masks.penalty() or 0) == 0
    assert Masks(_model(tmp_path / "hard", "bert"), HARD, "weight").penalty() is None


def test_soft_follows_threshold_and_share_whichever_keeps_less(tmp_path: Path) -> None:
    model = _model(tmp_path / "model", "bert")
    free = Masks(model, Rule("soft", SCHEDULE, None, "global", 0.1, 400.0), "weight")
    torch.manual_seed(3)
    for group in free.groups:
        assert group.scores is not None
        group.scores.data.normal_(-2, 2)
    free.each_step(100, 100)
    assert all(
        torch.equal(group.mask, torch.sigmoid(group.scores) > 0.1) for group in free.groups if group.scores is not None
    )
    free._rule = Rule("soft", SCHEDULE, 0.1, "global", 0.1, 400.0)
    free.each_step(100, 100)
    assert binarize.share_of([group.mask for group in free.groups]) == pytest.approx(
        0.1, abs=1e-4
    )  # a whole number of weights
    free._rule = Rule("soft", SCHEDULE, 0.9, "global", 0.1, 400.0)
    free.each_step(100, 100)
    assert binarize.share_of([group.mask for group in free.groups]) == pytest.approx(0.539, abs=0.01)


@pytest.mark.parametrize("granularity", GRANULARITIES)
@pytest.mark.parametrize("family", TAKEN_APART)
def test_folding_changes_no_answer_and_keeps_the_share(tmp_path: Path, family: str, granularity: Granularity) -> None:
    model = _model(tmp_path / "model", family)
    plain = {name for name, _ in model.named_parameters()}
    masks = Masks(model, Rule("hard", SCHEDULE, 0.5, "local", 0.1, 0.0), granularity)
    torch.manual_seed(4)
    for group in masks.groups:
        assert group.scores is not None
        group.scores.data.normal_()
    masks.each_step(1, 1)
    ids = torch.randint(5, 60, (3, 9))
    with torch.no_grad():
        masked = model(input_ids=ids).logits
        masks.fold()
        folded = model(input_ids=ids).logits
    assert torch.allclose(masked, folded, atol=1e-6)
    assert granularity not in ("weight", "block32") or torch.equal(masked, folded)
    assert {name for name, _ in model.named_parameters()} == plain
    facts = masks.facts()
    for group in masks.groups:
        assert int(group.mask.sum()) == max(1, round(0.5 * group.mask.numel()))
    if granularity in ("weight", "head", "row", "structured"):
        assert facts["kept"] == pytest.approx(0.5, abs=1e-3)
    if (family, granularity) != ("mobilebert", "block32"):  # whose tiny matrices are one block each
        assert facts["encoder_nonzeros"] < facts["encoder_weights"]
    assert not any(torch.signbit(group.weight[group.weight == 0]).any() for group in masks.groups)


@pytest.mark.parametrize("family", TAKEN_APART)
def test_pruned_heads_and_rows_are_zero_wherever_they_lie(tmp_path: Path, family: str) -> None:
    model = _model(tmp_path / "model", family)
    masks = Masks(model, Rule("magnitude", SCHEDULE, 0.25, "local", 0.1, 0.0), "structured")
    masks.each_step(1, 1)
    masks.fold()
    layer = layers_of(model)[0]
    parts = {part: part_of(layer, part, family) for part in PARTS}
    heads, rows = masks.groups[0].mask.repeat_interleave(masks.groups[0].size), masks.groups[1].mask
    assert masks.facts()["heads_kept"][0] == 1
    for part in ("query", "key", "value"):
        assert torch.equal(parts[part].weight.abs().sum(dim=1) != 0, heads)
        assert not parts[part].bias[~heads].any()
    assert torch.equal(parts["attention_output"].weight.abs().sum(dim=0) != 0, heads)
    assert torch.equal(parts["feed_forward_in"].weight.abs().sum(dim=1) != 0, rows)
    assert not parts["feed_forward_in"].bias[~rows].any()
    assert torch.equal(parts["feed_forward_out"].weight.abs().sum(dim=0) != 0, rows)


def test_what_layers_share_has_one_mask(tmp_path: Path) -> None:
    model = _model(tmp_path / "model", "bert")
    first, second = layers_of(model)
    second.set_submodule("intermediate.dense", part_of(first, "feed_forward_in", "bert"))
    masks = Masks(model, Rule("magnitude", SCHEDULE, 0.25, "local", 0.1, 0.0), "weight")
    assert len(masks.groups) == 11
    masks.each_step(1, 1)
    assert part_of(first, "feed_forward_in", "bert") is part_of(second, "feed_forward_in", "bert")
    ids = torch.randint(5, 60, (3, 9))
    with torch.no_grad():
        masked = model(input_ids=ids).logits
        masks.fold()
        assert torch.equal(model(input_ids=ids).logits, masked)
    assert part_of(first, "feed_forward_in", "bert") is part_of(second, "feed_forward_in", "bert")
    assert masks.facts()["kept"] == 0.25
    second.set_submodule("intermediate.dense", torch.nn.Sequential(part_of(first, "feed_forward_in", "bert")))
    with pytest.raises(
        UserError,
        match="the feed forward in of a layer is a Sequential, no plain linear layer, so its weights can't be",
    ):
        groups_of(model, "weight")


def test_magnitudes_of_structures_are_norms_over_all_that_is_theirs(tmp_path: Path) -> None:
    model = _model(tmp_path / "model", "bert")
    layer = layers_of(model)[1]
    query, key, value, out, first, second = (part_of(layer, part, "bert").weight.detach() for part in PARTS)
    head, row = (group for group in groups_of(model, "structured") if group.layer == 1)
    expected = sum(float(weight[8:16].square().sum()) for weight in (query, key, value)) + float(
        out[:, 8:16].square().sum()
    )
    assert float(head.magnitudes()[1]) == pytest.approx(math.sqrt(expected), rel=1e-5)
    assert float(row.magnitudes()[5]) == pytest.approx(
        math.sqrt(float(first[5].square().sum() + second[:, 5].square().sum())), rel=1e-5
    )
    block = next(group for group in groups_of(model, "block32") if group.name == "layer1_feed_forward_out")
    assert block.shape == (1, 2)
    assert float(block.magnitudes()[0, 1]) == pytest.approx(float(second[:, 32:].norm()), rel=1e-5)


@pytest.mark.parametrize("granularity", ["weight", "head", "row", "structured"])
def test_pruned_structures_still_get_a_gradient(tmp_path: Path, granularity: Granularity) -> None:
    model = _model(tmp_path / "model", "bert")
    masks = Masks(model, Rule("hard", SCHEDULE, 0.4, "local", 0.1, 0.0), granularity)
    masks.each_step(1, 1)
    model(input_ids=torch.randint(5, 60, (3, 9))).logits.pow(2).sum().backward()
    for group in masks.groups:
        assert group.scores is not None
        assert group.scores.grad is not None
        if not group.mask.all():
            assert float(group.scores.grad[~group.mask].abs().max()) > 0, group.name
    assert all(SCORES in name.split(".") for name, _ in model.named_parameters() if "score" in name)


def _model(folder: Path, family: str) -> Any:
    from transformers import AutoModelForSequenceClassification

    model = AutoModelForSequenceClassification.from_pretrained(
        write_model(folder, family), num_labels=3, attn_implementation="eager"
    )
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):  # fresh models have biases of 0, which would hide what becomes of them
            torch.nn.init.normal_(parameter, std=0.1)
    return model.eval()
