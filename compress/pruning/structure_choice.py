"""Choosing the structures that stay, by criterion and budget, and making the model masked to them."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from palmtop.compress.pruning.latency_probes import Widths
from palmtop.compress.pruning.latency_table import LatencyTable, latency_table
from palmtop.compress.pruning.layerwise_matching import check_layers, match
from palmtop.compress.pruning.mask_fisher import mask_gradients, rearranged
from palmtop.compress.pruning.second_order_removal import Path, removal_path, seen_by
from palmtop.compress.pruning.structure_budget import Levels, choose, sizes_of
from palmtop.compress.pruning.structure_settings import StructureSettings
from palmtop.compress.pruning.sublayers import SubLayer, operations, silence, sublayers_of
from palmtop.errors import UserError
from palmtop.models.family import family_named
from palmtop.models.linears import PARTS, part_of
from palmtop.models.pruned_layers import head_size
from palmtop.task import Task

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from palmtop.compress.learning.training_loop import Batch


@dataclass(frozen=True)
class Chosen:
    """What stays."""

    sublayers: list[SubLayer]
    kept: list[tuple[int, ...]]
    """Structures of each sub-layer, ascending."""
    masked: "PreTrainedModel"
    """The model in the widths it had, with what goes silenced and the rest fitted."""
    facts: dict[str, Any]


def chosen_structures(
    model: "PreTrainedModel",
    settings: StructureSettings,
    full_layers: int,
    batches: "Sequence[Batch]",
    task: Task,
    say: Callable[[str], None],
) -> Chosen:
    """Choose by the settings' criterion within their budget; `say` before a latency table is measured.

    Raises:
        UserError: the budget can't be met, or the model is within it already.
    """
    if settings.criterion == "second_order" or (settings.criterion == "fisher" and settings.rescale):
        check_layers(model.config)
    sublayers = sublayers_of(model)
    cost = _Cost(model, settings, full_layers, say)
    cost.check(sublayers)
    paths, gradients = _paths(model, sublayers, settings, batches, task)
    levels = []
    for sub, path in zip(sublayers, paths, strict=True):
        sizes = sorted(path.losses)
        levels.append(Levels(np.array(sizes), cost.of(sub, sizes), np.array([path.losses[size] for size in sizes])))
    kept = _kept(sublayers, paths, choose(levels, cost.budget))
    if gradients is not None and settings.rearrange:
        kept = [
            _others(sub, rearranged(rows, _others(sub, its)))
            for sub, its, rows in zip(sublayers, kept, gradients, strict=True)
        ]
    masked = copy.deepcopy(model)
    silence(masked, sublayers, kept, constants=settings.criterion == "magnitude")
    fitted = _fit(model, masked, sublayers, kept, settings, batches)
    return Chosen(sublayers, kept, masked, cost.facts(sublayers, kept) | fitted)


def _paths(
    model: "PreTrainedModel",
    sublayers: list[SubLayer],
    settings: StructureSettings,
    batches: "Sequence[Batch]",
    task: Task,
) -> tuple[list[Path], list[torch.Tensor] | None]:
    """The order in which each sub-layer's structures would go; and the gradients of masks, where the criterion takes
    them."""
    if not settings.learns:
        importance = _drawn(model, sublayers, settings.seed)
        return _by_importance_of_all(sublayers, importance, settings), None
    if settings.criterion == "second_order":
        seen = seen_by(model, sublayers, batches, task, settings.labels, settings.seed)
        return [
            removal_path(sub.last(model), sub, its, settings.width_multiple, settings.damping)
            for sub, its in zip(sublayers, seen, strict=True)
        ], None
    gradients = None
    if settings.criterion == "fisher":
        gradients = mask_gradients(model, sublayers, batches, task, settings.labels, settings.seed)
        importance = [rows.square().mean(0) / 2 for rows in gradients]
    else:
        importance = [_squares(model, sub) for sub in sublayers]
    return _by_importance_of_all(sublayers, importance, settings), gradients


def _by_importance_of_all(
    sublayers: list[SubLayer], importance: Sequence[torch.Tensor], settings: StructureSettings
) -> list[Path]:
    return [
        by_importance(values, settings.width_multiple if sub.kind == "feed_forward" else 1)
        for sub, values in zip(sublayers, importance, strict=True)
    ]


def _drawn(model: "PreTrainedModel", sublayers: Sequence[SubLayer], seed: int) -> list[torch.Tensor]:
    """Importance where nothing has learnt any: drawn, in proportion to a structure's weights, so that every layer has
    some that are worth little, as a trained one has."""
    random = torch.Generator().manual_seed(seed)
    parts = [3 if sub.kind == "attention" else 1 for sub in sublayers]
    weights = [sub.size * (into + 1) * sub.last(model).out_features for sub, into in zip(sublayers, parts, strict=True)]
    return [count * torch.rand(sub.structures, generator=random) for sub, count in zip(sublayers, weights, strict=True)]


def by_importance(importance: torch.Tensor, multiple: int) -> Path:
    """The least important first; what is lost is the sum of what has gone."""
    order = torch.argsort(importance, stable=True)
    lost = torch.cat([torch.zeros(1), importance[order].double().cumsum(0)]).tolist()
    return Path(order.tolist(), {size: lost[len(order) - size] for size in sizes_of(len(order), multiple)})


def _squares(model: "PreTrainedModel", sub: SubLayer) -> torch.Tensor:
    """The sum of squares of all weights that are a structure's: its rows of what comes in, its columns of what goes
    out."""
    into = [
        part_of(sub.within(model), part, model.config.model_type)
        for part in (PARTS[:3] if sub.kind == "attention" else PARTS[4:5])
    ]
    rows = sum(
        (linear.weight.detach().square().sum(1) for linear in into), sub.last(model).weight.detach().square().sum(0)
    )
    return rows.reshape(sub.structures, sub.size).sum(1)


def _kept(sublayers: list[SubLayer], paths: list[Path], sizes: list[int]) -> list[tuple[int, ...]]:
    return [
        tuple(sorted(path.order[len(path.order) - size :]))
        for _, path, size in zip(sublayers, paths, sizes, strict=True)
    ]


def _others(sub: SubLayer, structures: Sequence[int]) -> tuple[int, ...]:
    return tuple(sorted(set(range(sub.structures)) - set(structures)))


def _fit(
    full: "PreTrainedModel",
    masked: "PreTrainedModel",
    sublayers: list[SubLayer],
    kept: list[tuple[int, ...]],
    settings: StructureSettings,
    batches: "Sequence[Batch]",
) -> dict[str, int]:
    if not settings.learns:
        return {}
    if settings.criterion == "second_order":
        return {"refitted_sublayers": match(full, masked, sublayers, kept, batches, "refit", settings.damping)}
    if settings.criterion == "fisher" and settings.rescale:
        return {"rescaled_sublayers": match(full, masked, sublayers, kept, batches, "rescale", settings.damping)}
    return {}


class _Cost:
    """What sub-layers cost, in milliseconds or multiply-adds, and how much of it the settings leave."""

    def __init__(
        self, model: "PreTrainedModel", settings: StructureSettings, full_layers: int, say: Callable[[str], None]
    ) -> None:
        self._model, self._settings, self._layers = model, settings, model.config.num_hidden_layers
        config = model.config
        heads, size = int(config.num_attention_heads), head_size(config)
        word = family_named(config.model_type).feed_forward
        assert word is not None  # a family whose layers can be cut says so
        neurons = int(getattr(config, word))
        widths = Widths(config.hidden_size, heads, size, neurons)
        self._table = (
            latency_table(widths, settings.length, settings.threads, say) if settings.speedup is not None else None
        )
        self._fixed = self._table.ends_ms if self._table else 0.0
        whole = [
            float(self.of(sub, [sub.structures])[0])
            for layer in (-1, self._layers - 1)
            for sub in (SubLayer(layer, "attention", heads, size), SubLayer(layer, "feed_forward", neurons, 1))
        ]
        self.full = self._fixed + sum(whole[:2]) * (full_layers - 1) + sum(whole[2:])
        self.budget = (
            self.full * (settings.keep if settings.keep is not None else 1 / (settings.speedup or 1)) - self._fixed
        )
        self._dropped = full_layers > self._layers

    def of(self, sub: SubLayer, sizes: Sequence[int]) -> "np.ndarray[Any, np.dtype[np.float64]]":
        """The cost of a sub-layer at some sizes."""
        if self._table is None:
            return np.asarray(sizes, float) * operations(self._model, sub, self._settings.length)
        last = sub.layer == self._layers - 1
        return (
            self._table.attention_ms(sizes, last)
            if sub.kind == "attention"
            else self._table.feed_forward_ms(sizes, last)
        )

    def check(self, sublayers: Sequence[SubLayer]) -> None:
        """Raises: UserError: nothing would be removed."""
        present = sum(float(self.of(sub, [sub.structures])[0]) for sub in sublayers)
        if present <= self.budget and not self._dropped:
            asked = (
                f"speedup {self._settings.speedup:g}"
                if self._settings.speedup is not None
                else f"keep {self._settings.keep:g}"
            )
            now = (
                f"{self.full / (present + self._fixed):.2f} times as fast as with"
                if self._table
                else f"{present / self.full:.0%} of"
            )
            raise UserError(f"{asked} is met already: the source is {now} all heads and neurons; ask for more")

    def facts(self, sublayers: Sequence[SubLayer], kept: Sequence[Sequence[int]]) -> dict[str, Any]:
        """What is expected of what is kept; and the table."""
        left = self._fixed + sum(float(self.of(sub, [len(its)])[0]) for sub, its in zip(sublayers, kept, strict=True))
        if self._table is None:
            return {"operations_kept": round(left / self.full, 4)}
        table: LatencyTable = self._table
        return {
            "speedup_by_table": round(self.full / left, 3),
            "table_ms_full": round(self.full, 4),
            "table_ms_left": round(left, 4),
            "table_length": table.length,
            "table_threads": table.threads,
            "table_machine": table.machine,
        }
