"""Masks over a model's linear layers while it is trained: attached, set anew before each step, folded into the weights
at the end."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from palmtop.compress.pruning import binarize
from palmtop.compress.pruning.prunable import Granularity, Group, groups_of
from palmtop.compress.pruning.sparsity_schedule import Schedule
from palmtop.models.linears import PARTS

if TYPE_CHECKING:
    from transformers import PreTrainedModel

SCORES = "mask_scores"
"""The word in the names of the scores, which learn at a rate of their own."""

Method = Literal["magnitude", "hard", "soft", "l0"]
Start = Literal["zero", "magnitude"]


@dataclass(frozen=True)
class Rule:
    """Which are kept."""

    method: Method
    schedule: Schedule
    keep: float | None
    """Share that is kept in the end; None: whatever threshold and penalty leave (soft, l0)."""
    scope: Literal["local", "global"]
    """Ranked within each group, or over all groups of a kind."""
    threshold: float
    """Of sigmoid(score) at the end of the ramp, for soft."""
    penalty: float
    """Weight of the penalty at the end of the ramp, for soft and l0."""
    start: Start = "zero"
    """What the scores of hard and soft start from."""


class Masks:
    """The masks of a model. They are a function of weights, scores and step alone, so that a training continued in the
    middle goes on with the masks that it had.
    """

    def __init__(self, model: "PreTrainedModel", rule: Rule, granularity: Granularity) -> None:
        self.groups = groups_of(model, granularity)
        self._model, self._rule = model, rule
        self._pressed: list[Group] = []
        self._pressure = 0.0
        if rule.method != "magnitude":
            for group in self.groups:
                group.scores = nn.Parameter(_first_scores(rule, group))
            setattr(model, SCORES, nn.ParameterDict({group.name: group.scores for group in self.groups}))
        self._plain = _attach(
            model, {id(group.matrices[group.masked]): self._factor_of(group) for group in self.groups}
        )

    def each_step(self, step: int, steps: int) -> None:
        """Set the masks and the penalty's weight as they are before step `step` of `steps`."""
        progress = self._rule.schedule.progress(step, steps)
        kept = None if self._rule.keep is None else self._rule.schedule.kept(self._rule.keep, step, steps)
        by_kind: dict[str, list[Group]] = defaultdict(list)
        for group in self.groups:
            by_kind[group.kind].append(group)
        self._pressed, self._pressure = [], self._rule.penalty * progress
        for groups in by_kind.values():
            values = [group.magnitudes() if group.scores is None else group.scores.detach() for group in groups]
            masks, too_many = _choose(self._rule, values, kept, progress)
            self._pressed += groups if too_many else []
            for group, mask in zip(groups, masks, strict=True):
                group.mask = mask

    def penalty(self) -> Tensor | None:
        """The term of the loss that closes masks: its weight times the mean over groups of the mean sigmoid(score), or
        of the chance that a gate is open. None for methods without one. It rests for kinds of which no more is open
        than the schedule wants.
        """
        if self._rule.method not in ("soft", "l0"):
            return None
        if not self._pressed:
            return torch.zeros((), device=self.groups[0].weight.device)
        opened = torch.sigmoid if self._rule.method == "soft" else binarize.open_chance
        means = [opened(group.scores).mean() for group in self._pressed if group.scores is not None]
        return self._pressure * torch.stack(means).mean()

    def fold(self) -> None:
        """Set the masks to the end of the training, multiply them into the weights, and give the model its own linear
        layers back."""
        self.each_step(1, 1)
        for name, linear in self._plain.items():
            self._model.set_submodule(name, linear)
        if self._rule.method != "magnitude":
            delattr(self._model, SCORES)
        for group in self.groups:
            with torch.no_grad():
                group.fold(self._factor(group, False))

    def facts(self) -> dict[str, Any]:
        """After folding: the share of weights that is not 0 in all matrices with masks, in each part and layer; encoder
        totals."""
        with_masks = [(group.layer, part, matrix) for group in self.groups for part, matrix in group.matrices.items()]
        layers = sorted({layer for layer, _, _ in with_masks})
        whole = [group.matrices[group.masked] for group in groups_of(self._model, "weight")]
        structures = {
            f"{kind}s_kept": [int(group.mask.sum()) for group in self.groups if group.kind == kind]
            for kind in ("head", "row")
            if any(group.kind == kind for group in self.groups)
        }
        by_part = {part: [matrix for _, of, matrix in with_masks if of == part] for part in PARTS}
        return {
            "kept": _share([matrix for _, _, matrix in with_masks]),
            "kept_asked": self._rule.keep,
            "kept_by_part": {part: _share(matrices) for part, matrices in by_part.items() if matrices},
            "kept_by_layer": [_share([matrix for of, _, matrix in with_masks if of == layer]) for layer in layers],
            "encoder_weights": sum(matrix.weight.numel() for matrix in whole),
            "encoder_nonzeros": sum(int(matrix.weight.count_nonzero()) for matrix in whole),
        } | structures

    def _factor_of(self, group: Group) -> Callable[[bool], Tensor]:
        return lambda training: group.spread(self._factor(group, training))

    def _factor(self, group: Group, training: bool) -> Tensor:
        """What the group's weights are multiplied by, in its shape."""
        if group.scores is None:
            return group.mask.to(group.weight.dtype)
        if self._rule.method == "l0":
            return (binarize.sampled_gate if training else binarize.settled_gate)(group.scores) * group.mask
        return binarize.straight_through(group.scores, group.mask)


class _MaskedLinear(nn.Linear):
    """Computes with weight * factor; its parameters are the linear layer's own, under their names."""

    def __init__(self, linear: nn.Linear, factor: Callable[[bool], Tensor]) -> None:
        nn.Module.__init__(self)
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.weight, self.bias = linear.weight, linear.bias
        self._factor = factor

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  # torch's own name for it
        """[..., inputs] -> [..., outputs]."""
        return nn.functional.linear(input, self.weight * self._factor(self.training), self.bias)


def _first_scores(rule: Rule, group: Group) -> Tensor:
    """What learning starts from: open gates, zeros, or the share of its group that each one is larger than, from 0 to
    1."""
    if rule.method == "l0":
        return torch.full(group.shape, binarize.GATE_START)
    return torch.zeros(group.shape) if rule.start == "zero" else binarize.ranks(group.magnitudes())


def _attach(model: "PreTrainedModel", factors: dict[int, Callable[[bool], Tensor]]) -> dict[str, nn.Linear]:
    """Put masked layers in the place of plain ones, by their id; return the plain ones by name."""
    plain = {
        name: module
        for name, module in model.named_modules(remove_duplicate=False)
        if id(module) in factors and isinstance(module, nn.Linear)
    }
    masked = {id(linear): _MaskedLinear(linear, factors[id(linear)]) for linear in plain.values()}
    for name, linear in plain.items():
        model.set_submodule(name, masked[id(linear)])
    return plain


def _choose(rule: Rule, values: Sequence[Tensor], kept: float | None, progress: float) -> tuple[list[Tensor], bool]:
    """The masks of groups of one kind, and whether more of them is open than wanted, so that a penalty has to press.

    Args:
        kept: the schedule's share, an upper bound for soft and l0; None for no bound.
    """
    rank = binarize.largest_of_each if rule.scope == "local" else binarize.largest_of_all
    if rule.method in ("magnitude", "hard"):
        assert kept is not None  # the settings have checked it
        return rank(values, kept), False
    everything = [torch.ones_like(one, dtype=torch.bool) for one in values]
    opened = (
        binarize.over(values, rule.threshold * progress)
        if rule.method == "soft"
        else [one > binarize.CLOSED for one in values]
    )
    unbound = opened if rule.method == "soft" else everything  # a closed gate may still be sampled open
    if kept is None:
        return unbound, True
    if rule.scope == "global":
        return (rank(values, kept), True) if binarize.share_of(opened) > kept else (unbound, False)
    masks, too_many = [], False
    for one, mask, free in zip(values, opened, unbound, strict=True):
        many = binarize.share_of([mask]) > kept
        masks += rank([one], kept) if many else [free]
        too_many |= many
    return masks, too_many


def _share(matrices: Sequence[nn.Linear]) -> float:
    return sum(int(matrix.weight.count_nonzero()) for matrix in matrices) / sum(
        matrix.weight.numel() for matrix in matrices
    )
