"""The parts of structured pruning against their formulas and brute force: slicing, second order, Fisher, least squares,
budgets."""

import copy
import itertools
from typing import Any

import numpy as np
import pytest
import torch
from biased import answers, texts_of

from palmtop.bundle import Bundle
from palmtop.compress.learning.batches import model_inputs
from palmtop.compress.pruning.layerwise_matching import match
from palmtop.compress.pruning.mask_fisher import mask_gradients, rearranged
from palmtop.compress.pruning.second_order_removal import damped, removal_path, remove, seen_by
from palmtop.compress.pruning.slicing import alive, sliced
from palmtop.compress.pruning.structure_budget import Levels, choose
from palmtop.compress.pruning.structure_choice import by_importance
from palmtop.compress.pruning.sublayers import kept_of, silence, sublayers_of
from palmtop.errors import UserError
from palmtop.models.linears import layers_of, part_of
from palmtop.models.opening import open_classifier
from palmtop.task import Task

DIFFERING = ["bert", "deberta-v2", "distilbert", "electra", "mobilebert", "mpnet", "roberta", "xlm-roberta"]
HALF = {"keep": 0.5, "rows": 48}


@pytest.fixture(scope="module")
def batches(biased_bert: Bundle) -> list[Any]:
    return texts_of(biased_bert, 48)


@pytest.mark.parametrize("what", ["heads", "neurons", "both"])
def test_sliced_equals_masked_with_what_biases_say_folded(biased_bert: Bundle, batches: list[Any], what: str) -> None:
    model = open_classifier(biased_bert.path)
    sublayers = sublayers_of(model)
    kept = [tuple(range(sub.structures)) for sub in sublayers]
    for number, sub in enumerate(sublayers):
        if what in ("both", {"attention": "heads", "feed_forward": "neurons"}[sub.kind]):
            kept[number] = [(0, 2), tuple(range(5, 21)), (), ()][number]
    masked = copy.deepcopy(model)
    silence(masked, sublayers, kept, constants=True)
    smaller = sliced(masked, kept_of(sublayers, kept))
    assert (answers(smaller, batches) - answers(masked, batches)).abs().max() < 1e-5
    unfolded = copy.deepcopy(model)
    silence(unfolded, sublayers, kept, constants=False)
    assert (
        answers(smaller, batches) - answers(unfolded, batches)
    ).abs().max() > 1e-3  # what the biases said did matter
    assert (
        answers(sliced(unfolded, kept_of(sublayers, kept)), batches) - answers(unfolded, batches)
    ).abs().max() < 1e-5


def test_dead_neurons_are_kept_only_to_make_a_multiple(biased_bert: Bundle) -> None:
    model = open_classifier(biased_bert.path)
    with torch.no_grad():
        part_of(layers_of(model)[0], "feed_forward_in", "bert").weight[3:] = 0
    assert len(alive(model, 1)[0].neurons) == 3
    assert alive(model, 8)[0].neurons == (0, 1, 2, 3, 4, 5, 6, 7)
    assert len(alive(model, 8)[1].neurons) == 64


def test_a_second_order_removal_is_the_best_that_least_squares_can_do() -> None:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(200, 12, generator=generator, dtype=torch.float64) @ torch.randn(
        12, 12, generator=generator, dtype=torch.float64
    )
    weight = torch.randn(5, 12, generator=generator, dtype=torch.float64)
    hessian = inputs.T @ inputs
    updated, inverse, costs = weight.clone(), torch.linalg.inv(hessian), []
    for columns in ([3, 4], [0], [9, 10, 11]):
        costs.append(remove(updated, inverse, torch.tensor(columns)))
    left = [1, 2, 5, 6, 7, 8]
    best = torch.linalg.lstsq(inputs[:, left], inputs @ weight.T).solution.T
    assert (updated[:, left] - best).abs().max() < 1e-6
    assert (updated[:, [0, 3, 4, 9, 10, 11]] == 0).all()
    error = float((inputs @ weight.T - inputs[:, left] @ best.T).square().sum())
    assert sum(costs) == pytest.approx(error, rel=1e-6)
    assert (inverse[left][:, left] - torch.linalg.inv(hessian[left][:, left])).abs().max() < 1e-6
    assert error < 0.5 * float((inputs[:, [0, 3, 4, 9, 10, 11]] @ weight[:, [0, 3, 4, 9, 10, 11]].T).square().sum())


def test_neurons_that_repeat_others_go_first_and_cost_nothing(biased_bert: Bundle, batches: list[Any]) -> None:
    model = open_classifier(biased_bert.path)
    first, second = (part_of(layers_of(model)[0], part, "bert") for part in ("feed_forward_in", "feed_forward_out"))
    with torch.no_grad():
        first.weight[8:16], first.bias[8:16] = first.weight[:8].clone(), first.bias[:8].clone()
    sub = sublayers_of(model)[1]
    [seen] = seen_by(model, [sub], batches, Task.of(biased_bert.path), "model", 0)  # type: ignore[arg-type]  # it has a task
    path = removal_path(second, sub, seen, 8, 1e-6)
    assert max(path.order[:8]) < 16
    assert {place % 8 for place in path.order[:8]} == set(range(8))
    assert path.losses[56] < 1e-3 * path.losses[48]
    assert sorted(path.losses) == list(range(0, 65, 8))
    assert sorted(path.losses.values(), reverse=True) == [path.losses[size] for size in sorted(path.losses)]


def test_refitting_on_the_full_models_inputs_is_the_second_order_update(
    biased_bert: Bundle, batches: list[Any]
) -> None:
    model = open_classifier(biased_bert.path).double()
    sublayers = sublayers_of(model)
    kept = [(0, 3), *(tuple(range(sub.structures)) for sub in sublayers[1:])]
    [seen, *_] = seen_by(model, sublayers, batches, Task.of(biased_bert.path), "task", 0)  # type: ignore[arg-type]  # it has a task
    linear = sublayers[0].last(model)
    expected = torch.cat([linear.weight, linear.bias[:, None]], 1).detach().double()
    moments = seen.moments / seen.tokens
    remove(
        expected,
        torch.linalg.inv(damped(moments, 0.01 * float(moments.diagonal()[:-1].mean()))),
        sublayers[0].columns([1, 2]),
    )
    pruned = copy.deepcopy(model)
    silence(pruned, sublayers, kept, constants=False)
    assert match(model, pruned, sublayers, kept, batches, "refit", 0.01) == 4
    found = sublayers[0].last(pruned)
    assert (found.weight - expected[:, :-1]).abs().max() < 1e-6
    assert (found.bias - expected[:, -1]).abs().max() < 1e-6


def test_refitting_brings_the_answers_nearer(biased_bert: Bundle, batches: list[Any]) -> None:
    model = open_classifier(biased_bert.path)
    sublayers = sublayers_of(model)
    kept = [(0, 1, 2), tuple(range(40)), (1, 2, 3), tuple(range(24, 64))]
    plain = copy.deepcopy(model)
    silence(plain, sublayers, kept, constants=False)
    distances = {}
    for method in ("none", "rescale", "refit"):
        pruned = copy.deepcopy(plain)
        if method != "none":
            assert match(model, pruned, sublayers, kept, batches, method, 0.01) > 1  # type: ignore[arg-type]  # one of its words
        distances[method] = float((answers(pruned, batches) - answers(model, batches)).square().mean())
    assert distances["refit"] < distances["rescale"] < distances["none"]


def test_a_rescaling_is_the_least_squares_solution(biased_bert: Bundle, batches: list[Any]) -> None:
    model = open_classifier(biased_bert.path)
    sublayers = sublayers_of(model)
    kept = [(0, 3), *(tuple(range(sub.structures)) for sub in sublayers[1:])]
    pruned = copy.deepcopy(model)
    silence(pruned, sublayers, kept, constants=False)
    assert match(model, pruned, sublayers, kept, batches, "rescale", 0.01) == 1
    linear, given = sublayers[0].last(model), []
    hook = linear.register_forward_pre_hook(lambda _, its: given.append(its[0].detach()))
    for batch in batches:
        model(**model_inputs(batch))
        given[-1] = given[-1][batch["attention_mask"].bool()]
    hook.remove()
    inputs = torch.cat(given).double()
    said = torch.stack(
        [inputs[:, 8 * head : 8 * head + 8] @ linear.weight[:, 8 * head : 8 * head + 8].T.double() for head in range(4)]
    )
    design = torch.cat([said[[0, 3]].flatten(1).T, torch.eye(2).double()])  # damp 1: a row for each unknown
    wanted = torch.cat([said[[1, 2]].sum(0).flatten(), torch.zeros(2)])
    scales = 1 + torch.linalg.lstsq(design, wanted[:, None]).solution[:, 0]
    ratio = (sublayers[0].last(pruned).weight / linear.weight)[0, [0, 24]]
    assert (ratio - scales).abs().max() < 1e-4


def test_mask_gradients_are_each_texts_own(biased_bert: Bundle, batches: list[Any]) -> None:
    model, task = open_classifier(biased_bert.path), Task.of(biased_bert.path)
    assert task is not None
    sublayers = sublayers_of(model)
    found = mask_gradients(model, sublayers, batches[:1], task, "task", 0)
    batch = batches[0]
    for row in (0, 7, 31):
        length = int(batch["attention_mask"][row].sum())
        alone = {name: batch[name][row : row + 1, :length] for name in model_inputs(batch)}
        masks = [torch.ones(sub.structures, requires_grad=True) for sub in sublayers]
        hooks = [
            sub.last(model).register_forward_pre_hook(
                lambda _, its, mask=mask, sub=sub: (its[0] * mask.repeat_interleave(sub.size),)
            )
            for sub, mask in zip(sublayers, masks, strict=True)
        ]  # type: ignore[misc]  # no type is found for a function with defaults
        task.of_kind.label_loss(model(**alone).logits, batch["labels"][row : row + 1]).sum().backward()
        for hook in hooks:
            hook.remove()
        for mask, gradients in zip(masks, found, strict=True):
            assert mask.grad is not None
            assert (mask.grad - gradients[row]).abs().max() < 1e-5 * max(1, float(mask.grad.abs().max()))


def test_labels_of_the_models_own_make_the_fisher_information(biased_bert: Bundle, batches: list[Any]) -> None:
    model, task = open_classifier(biased_bert.path), Task.of(biased_bert.path)
    assert task is not None
    sublayers = sublayers_of(model)[:1]
    drawn = [mask_gradients(model, sublayers, batches[:1], task, "model", seed)[0] for seed in range(60)]
    mean = torch.cat(drawn).mean(0).abs().max() / torch.cat(drawn).std(0).mean()
    assert mean < 0.1  # the score's mean is 0 under the model's own answers


def test_rearranging_finds_what_no_exchange_makes_better() -> None:
    generator = torch.Generator().manual_seed(2)
    gradients = torch.randn(40, 3, generator=generator) @ torch.randn(3, 8, generator=generator)
    fisher = gradients.T @ gradients / 40

    def lost(pruned: Any) -> float:
        mark = torch.zeros(8).index_fill_(0, torch.tensor(sorted(pruned)), 1)
        return float(mark @ fisher @ mark)

    start = [int(place) for place in fisher.diagonal().argsort()[:4]]
    found = rearranged(gradients, start)
    assert len(found) == 4
    assert lost(found) < lost(start)
    exchanges = [(set(found) - {out}) | {into} for out in found for into in set(range(8)) - set(found)]
    assert lost(found) <= min(map(lost, exchanges)) + 1e-6


def test_the_choice_within_a_budget_is_the_best_there_is() -> None:
    random = np.random.default_rng(0)
    for _ in range(5):
        parts = [
            Levels(np.arange(4), np.sort(random.integers(1, 20, 4)).astype(float), np.sort(random.random(4))[::-1])
            for _ in range(4)
        ]
        budget = 30.0
        sizes = choose(parts, budget)
        cost = sum(part.costs[size] for part, size in zip(parts, sizes, strict=True))
        assert cost <= budget
        least = sum(part.costs[0] for part in parts)
        rounded = budget - 4 * (budget - least) / 4000  # a step of the grid for each part
        possible = [
            places
            for places in itertools.product(range(4), repeat=4)
            if sum(part.costs[place] for part, place in zip(parts, places, strict=True)) <= rounded
        ]
        best = min(sum(part.losses[place] for part, place in zip(parts, places, strict=True)) for places in possible)
        assert sum(part.losses[size] for part, size in zip(parts, sizes, strict=True)) <= best + 1e-9


def test_what_cannot_be_told_apart_is_kept() -> None:
    part = Levels(np.arange(3), np.array([0.0, 1.0, 2.0]), np.zeros(3))
    assert choose([part, part], 4.0) == [2, 2]
    assert by_importance(torch.tensor([3.0, 1.0, 2.0]), 1).losses == {0: 6.0, 1: 3.0, 2: 1.0, 3: 0.0}
    with pytest.raises(
        UserError, match=r"not even without any heads and feed-forward neurons is the budget met \(1, and 2 are left"
    ):
        choose([Levels(np.arange(2), np.array([2.0, 3.0]), np.array([1.0, 0.0]))], 1.0)
