"""Remove attention heads, feed-forward neurons and whole layers until a model is as fast as asked: smaller matrices, no
retraining."""

from dataclasses import replace
from typing import Any

from palmtop.bundle import Bundle
from palmtop.compress.learning.encoded import Encoded
from palmtop.compress.learning.torch_bundles import task_of, write_classifier
from palmtop.compress.pruning.latency_table import check_measurable
from palmtop.compress.pruning.structure_settings import StructureSettings
from palmtop.errors import UserError
from palmtop.models.family import check_family
from palmtop.models.opening import keep_layers, open_with_head
from palmtop.models.reshaped import check_own_weights, with_shape
from palmtop.stage import Outline, Work

CHECKED = 64
"""Texts on which the smaller model is compared with the masked one, and by which whole layers are chosen."""


class PruneStructures(StructureSettings):
    """Cut heads, feed-forward neurons and layers to a budget; the weights that are left are fitted to do what was done
    before."""

    def outline(self, source: Outline | None) -> Outline:
        """The source with fewer layers, where some are dropped."""
        if source is None or source.labels is None or source.layers is None or source.family is None:
            raise UserError(
                "prune_structures needs a fine-tuned or distilled model: put a 'finetune' or 'distill' step before it"
            )
        check_family(source.family)
        if self.speedup is not None:
            check_measurable(source.family)
        if self.drop_layers >= source.layers:
            raise UserError(
                f"drop_layers is {self.drop_layers}, but the source has {source.layers} layers: at least one must stay"
            )
        check_own_weights(source.changes)
        left = source.layers - self.drop_layers
        return replace(source, format="torch", layers=left, layer_sets=left, changes=with_shape(source.changes))

    def takes_times(self) -> bool:
        """Of heads and neurons in LiteRT, for the latency table."""
        return self.speedup is not None

    def about(self) -> str | None:
        """Layers share out what is kept by what they have learnt."""
        return "which heads and neurons of which layers are kept goes by trained weights; the budget is the same"

    def run(self, source: Bundle | None, work: Work) -> dict[str, Any]:
        """Choose, remove, fit, cut, compare, write a Hugging Face folder (which palmtop opens: its layers differ in
        width)."""
        from palmtop.compress.pruning.calibration import calibration_batches
        from palmtop.compress.pruning.slicing import check_equal, shape_facts, sliced
        from palmtop.compress.pruning.structure_choice import chosen_structures
        from palmtop.compress.pruning.sublayers import kept_of
        from palmtop.compress.pruning.whole_layers import layers_to_keep
        from palmtop.models.linears import layers_of

        assert source is not None  # the driver checked `accepts`
        task, signature, model = task_of(source, None), source.signature, open_with_head(source.path)
        data, before = Encoded.of(task.load("train"), source.path, signature), model
        batches, few = (calibration_batches(data, rows, self.seed) for rows in (self.rows, CHECKED))
        layers = len(layers_of(model))
        left = list(range(layers - self.drop_layers))
        if self.drop_layers and self.learns:
            left = layers_to_keep(model, layers, self.drop_layers, few, task)
        model = keep_layers(model, left).eval() if self.drop_layers else model
        chosen = chosen_structures(model, self, layers, batches, task, work.say)
        smaller = sliced(chosen.masked, kept_of(chosen.sublayers, chosen.kept))
        facts = shape_facts(smaller, before) | check_equal(chosen.masked, smaller, few)
        write_classifier(smaller, source, task, signature, work.out)
        return facts | chosen.facts | {"layers_kept": left, "rows": min(self.rows, len(data))}
