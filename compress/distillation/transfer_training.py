"""Training on matches of layers: both models' features, the learnt projections, and the phases of a stage that matches
layers."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import Linear, ModuleDict

from palmtop.compress.distillation.answer_losses import distillation_loss, distillation_terms
from palmtop.compress.distillation.feature_losses import HeadSizes, check_shapes, transfer_terms
from palmtop.compress.distillation.layer_transfer_settings import LayerTransferSettings
from palmtop.compress.distillation.matches import Match
from palmtop.compress.distillation.taps import StudentTaps, TeacherTaps, pick
from palmtop.compress.learning import phases
from palmtop.compress.learning.batches import model_inputs
from palmtop.compress.learning.encoded import Encoded
from palmtop.compress.learning.fit import fit
from palmtop.compress.learning.special import Fitted, Special
from palmtop.models.family import family_named
from palmtop.models.pruned_layers import head_size
from palmtop.stage import Work
from palmtop.task import Task

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from palmtop.compress.distillation.across import Across
    from palmtop.compress.distillation.keep_or_recompute import Asked
    from palmtop.compress.learning.training_loop import Batch

PROJECTIONS = "projections"
"""The module below a student that holds its projections while it learns."""
SHARED = "shared"


class Comparison:
    """A teacher and a student, and the matches between them."""

    def __init__(self, matches: Sequence[Match], teacher: "PreTrainedModel", student: "PreTrainedModel") -> None:
        self._matches, self._model, self._student = list(matches), teacher, student
        self._theirs = [match.taps(match.teacher_layer) for match in matches]
        self._ours = [match.taps(match.student_layer) for match in matches]
        self._taps = TeacherTaps(teacher, [tap for taps in self._theirs for tap in taps])
        self._sizes = HeadSizes(head_size(teacher.config), head_size(student.config))
        self._terms = transfer_terms(matches, self._sizes)

    @property
    def teacher_layers(self) -> int:
        """How many the teacher has."""
        return int(self._model.config.num_hidden_layers)

    @property
    def hidden_layers(self) -> tuple[int, ...]:
        """The teacher's `hidden_states` that are needed."""
        return self._taps.hidden_layers

    @torch.no_grad()
    def check(self) -> None:
        """Let both models read a few tokens, and compare what they give with what the matches need.

        Raises:
            UserError: every match that doesn't fit.
        """
        ids = torch.ones(1, 4, dtype=torch.int64)
        batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        said = self._model(**batch, output_hidden_states=True).hidden_states
        theirs = self._teachers(batch | {f"teacher_hidden_{layer}": said[layer] for layer in self.hidden_layers})
        watched = StudentTaps(self._student.eval(), self._ours, answers=False)
        ours = self._student(**batch, output_hidden_states=True)["features"]
        watched.remove()
        check_shapes(self._matches, ours, theirs, self._sizes)

    @contextmanager
    def watching(self, answers: bool, seed: int) -> Iterator[None]:
        """Make the student's forward pass give its features, through new projections; both are gone afterwards."""
        torch.manual_seed(seed)
        names = [self._projection(place, match) for place, match in enumerate(self._matches)]
        widths = self._student.config.hidden_size, self._model.config.hidden_size
        needed = dict.fromkeys(name for name in names if name is not None)
        self._student.add_module(PROJECTIONS, ModuleDict({name: Linear(*widths) for name in needed}))
        watched = StudentTaps(self._student, self._ours, answers, [name and f"{PROJECTIONS}.{name}" for name in names])
        try:
            yield
        finally:
            watched.remove()
            delattr(self._student, PROJECTIONS)

    def terms(self, features: Sequence[tuple[Tensor, ...]], batch: "Batch") -> dict[str, Tensor]:
        """The weighted losses of a batch, [batch] each."""
        return self._terms(features, self._teachers(batch), batch)

    def _teachers(self, batch: "Batch") -> list[tuple[Tensor, ...]]:
        return pick(self._taps(batch), self._theirs)

    @staticmethod
    def _projection(place: int, match: Match) -> str | None:
        return {"none": None, "own": f"match_{place}", "shared": SHARED}[match.projection]


class TransferTraining:
    """The phases of one student."""

    def __init__(
        self,
        settings: LayerTransferSettings,
        task: Task,
        student: "PreTrainedModel",
        data: Encoded,
        comparison: Comparison,
        asked: "Asked | Across",
        random_head: Sequence[str] = (),
    ) -> None:
        """
        Args:
            random_head: modules of the head that the student was given without having learnt.
        """
        self._settings, self._student, self._data, self._comparison, self._asked = (
            settings,
            student,
            data,
            comparison,
            asked,
        )
        self._random_head = tuple(random_head)
        self._answers = distillation_terms(settings, task, settings.cosine_weight)
        self._prediction = distillation_loss(settings, task, settings.cosine_weight)
        self._last = settings.last(comparison.teacher_layers)

    def run(self, work: Work) -> dict[str, Any]:
        """Train, and say what happened."""
        wanted = [phases.Phase("layers", self._imitate_layers)]
        if self._settings.prediction == "after":
            wanted.append(phases.Phase("prediction", self._predict))
        done = phases.run(self._student, wanted, work.scratch)
        phases.keep_logs(wanted, work)
        return {"steps": sum(facts["steps"] for facts in done.values()), "phases": done} | self._asked.facts()

    def _imitate_layers(self, folder: Path) -> Fitted:
        settings, together = self._settings, self._settings.prediction == "together"
        special = Special((PROJECTIONS, *(self._new_head if together else ())), settings.head_rate)
        wanted = {*self._comparison.hidden_layers, *(self._last if together else ())}
        signals = self._asked.only(sorted(wanted))
        with self._comparison.watching(together, settings.seed):
            return fit(self._student, self._data, partial(self._loss, together), settings, folder, signals, special)

    def _predict(self, folder: Path) -> Fitted:
        rate = self._settings.prediction_rate or self._settings.learning_rate
        settings = self._settings.model_copy(update={"epochs": self._settings.prediction_epochs, "learning_rate": rate})
        special = Special(self._new_head, settings.head_rate)
        return fit(self._student, self._data, self._prediction, settings, folder, self._asked.only(self._last), special)

    def _loss(self, together: bool, student: "PreTrainedModel", batch: "Batch") -> dict[str, Tensor]:
        output = student(**model_inputs(batch), output_hidden_states=True)
        terms = self._comparison.terms(output["features"], batch)
        return terms | self._answers(output["logits"], output["last"], batch) if together else terms

    @property
    def _new_head(self) -> tuple[str, ...]:
        if self._settings.sizes.any:
            return family_named(self._student.config.model_type).new_head
        return self._random_head
