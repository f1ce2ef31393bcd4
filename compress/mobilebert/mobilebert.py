"""Distil a teacher into a MobileBERT, layer by layer: feature maps, attention, then its answers (Sun et al. 2020,
2004.02984)."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from palmtop.bundle import Bundle
from palmtop.compress.distillation.guards import unchanged
from palmtop.compress.distillation.teacher_signals import Wanted, signals
from palmtop.compress.learning.encoded import Encoded
from palmtop.compress.learning.torch_bundles import write_classifier
from palmtop.compress.mobilebert.inverted_bottleneck import check_teacher
from palmtop.compress.mobilebert.mobilebert_settings import MobilebertSettings
from palmtop.models.family import family_named
from palmtop.stage import Outline, Work

if TYPE_CHECKING:
    from palmtop.compress.learning.training_loop import Signals
    from palmtop.compress.mobilebert.map_transfer import Transfer

    Heard = Callable[[Sequence[int]], Signals]


class Mobilebert(MobilebertSettings):
    """Train a MobileBERT (bottlenecks, stacked feed-forward networks, NoNorm, ReLU, trigram embedding) from a teacher's
    layers.

    The teacher is an IB-BERT (stage inverted_bottleneck), whose maps are as wide as the student's: the paper's recipe.
    Or an ordinary BERT or RoBERTa, whose maps a projection brings to the student's width: then what is made is a
    MobileBERT with a BERT for a teacher, and the facts call it so. Compare with transfer_epochs: 0, which learns from
    the answers alone.
    """

    def outline(self, source: Outline | None) -> Outline:
        """A MobileBERT with the teacher's labels."""
        check_teacher("mobilebert", source, self.task, ("mobilebert",))
        assert source is not None
        self.check_more(source.task)
        sizes = self.sizes()
        if not family_named(source.family).bottlenecks:
            sizes.check()
        return Outline(
            "torch", "mobilebert", sizes.layers, source.labels, self.width, self.embedding_size, task=source.task
        )

    def run(self, source: Bundle | None, work: Work) -> dict[str, Any]:
        """Build the student, run the phases of the strategy, and write a Hugging Face folder."""
        from palmtop.compress.mobilebert.mobilebert_pair import pair_of
        from palmtop.compress.mobilebert.mobilebert_phases import train

        assert source is not None  # the driver checked `accepts`
        teaching = self.teaching(source)
        sizes = self.sizes(teaching.model.config)
        data = self.training_data(self.rows_of(teaching.task.load("train")), source, teaching.signature, work)
        with unchanged(teaching.model):
            pair = pair_of(teaching.model, sizes, self, data)
            heard, cost = self._heard(pair.transfer, source, data, work)
            fitted = train(pair, self, teaching.task, data, heard, work)
        write_classifier(pair.student, source, teaching.task, teaching.signature, work.out)
        return fitted | pair.facts() | cost | data.facts() | {"teacher": source.digest}

    def _heard(self, transfer: "Transfer", source: Bundle, data: Encoded, work: Work) -> "tuple[Heard, dict[str, Any]]":
        """What gives the teacher's answers and some of its hidden states, and what that costs."""
        answers = signals(source, data, Wanted(), work.say).batch
        if not self.transfer_epochs:
            return lambda _: answers, {}
        passes = self.transfer_epochs + (self.epochs if self.strategy == "auxiliary" else 0)
        asked = self.ask(source, data, transfer.hidden(range(1, len(transfer.facing) + 1)), passes, work)
        return lambda hidden: asked.only(hidden) if hidden else answers, asked.facts()
