"""Cut out the heads and feed-forward neurons that pruning has zeroed: smaller matrices, the same answers."""

from dataclasses import replace
from typing import Any, ClassVar

from pydantic import Field

from palmtop.bundle import Bundle, Format
from palmtop.compress.learning.encoded import Encoded
from palmtop.compress.learning.torch_bundles import task_of, write_classifier
from palmtop.effect import Effect
from palmtop.errors import UserError
from palmtop.models.family import check_family
from palmtop.models.opening import open_with_head
from palmtop.models.reshaped import check_own_weights, with_shape
from palmtop.stage import Outline, Stage, Work

CHECKED = 64
"""Texts on which the smaller model is compared with its source."""


class Shrink(Stage):
    """Make matrices smaller by the heads and neurons whose weights are 0; what they still say goes into biases."""

    accepts: ClassVar[frozenset[Format]] = frozenset({"torch"})
    produces: ClassVar[Format] = "torch"
    effect: ClassVar[Effect] = "cuts"
    packages: ClassVar[tuple[str, ...]] = ("torch", "transformers", "tokenizers")

    width_multiple: int = Field(default=8, ge=1, le=256)
    """Feed-forward widths are multiples of this, as kernels like them; neurons of zeros are kept where it takes
    them."""

    def outline(self, source: Outline | None) -> Outline:
        """The source with narrower layers."""
        if source is None or source.labels is None or source.family is None:
            raise UserError(
                "shrink needs a model with a task's head, of which heads or feed-forward rows were pruned: put such "
                "a step before it"
            )
        check_family(source.family)
        check_own_weights(source.changes)
        return replace(source, format="torch", changes=with_shape(source.changes))

    def unpriced(self) -> str | None:
        """What is zeroed is learnt."""
        return (
            "which heads and neurons are zero, and so go, is known when they are trained: take prune_structures, which "
            "cuts to a share that you give"
        )

    def run(self, source: Bundle | None, work: Work) -> dict[str, Any]:
        """Find what is dead, cut it out, compare the answers, write a Hugging Face folder."""
        from palmtop.compress.pruning.calibration import calibration_batches
        from palmtop.compress.pruning.slicing import alive, check_equal, shape_facts, sliced

        assert source is not None  # the driver checked `accepts`
        task, signature, model = task_of(source, None), source.signature, open_with_head(source.path)
        smaller = sliced(model, alive(model, self.width_multiple))
        found = shape_facts(smaller, model)
        if found["layer_parameters_kept"] == 1:
            raise UserError(
                f"{source.name} has no head and no {self.width_multiple} feed-forward neurons of a layer whose "
                "weights are all 0: prune heads or rows first (movement or magnitude with granularity head, row or "
                "structured)"
            )
        data = Encoded.of(task.load("train"), source.path, signature)
        difference = check_equal(model, smaller, calibration_batches(data, CHECKED, 0))
        write_classifier(smaller, source, task, signature, work.out)
        return found | difference
