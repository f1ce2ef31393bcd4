"""Write a .tflite through litert-torch, at fixed lengths that share one set of weights."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

import numpy as np
from pydantic import Field, field_validator, model_validator

from palmtop import task_kinds
from palmtop.bundle import Bundle, Format
from palmtop.effect import Effect
from palmtop.errors import UserError
from palmtop.export import check_export
from palmtop.export.file_timing import mean_ms, medians_by_length_ms
from palmtop.export.lengths import Histogram, cheapest, cost_facts, cost_facts_of_any, longest_needed, probes
from palmtop.families.family import Kind
from palmtop.models.family import family_named
from palmtop.settings import LATER
from palmtop.signature import Signature
from palmtop.stage import Outline, Stage, Work

if TYPE_CHECKING:
    from palmtop.export.graph.edge import EdgeClassifier

FILE = "model.tflite"
SHORTEST = 4
"""Tokens: [CLS], [SEP] and some text."""
TIMED_TEXTS = 100
"""Of the training texts, by which the cost of a file for any length is told."""


class ToTflite(Stage):
    """Convert for LiteRT (TensorFlow Lite); only built-in operators, no Select TF ops."""

    accepts: ClassVar[frozenset[Format]] = frozenset({"torch"})
    takes: ClassVar[frozenset[Kind]] = frozenset({"encoder", "decoder"})
    without_layers: ClassVar[bool] = True
    produces: ClassVar[Format] = "tflite"
    effect: ClassVar[Effect] = "none"
    usual_seconds: ClassVar[float] = 40
    packages: ClassVar[tuple[str, ...]] = ("torch", "transformers", "litert-torch", "ai-edge-litert")
    extra: ClassVar[str] = "tflite"

    lengths: Literal["auto", "any"] | tuple[int, ...] = "auto"
    """Token counts the file accepts, each a signature of its own over the same weights; auto: chosen from the training
    texts; any: one signature for every count up to the model's longest, which LiteRT, MediaPipe and tflite-support size
    anew for each text. For processors: GPU and NPU delegates take fixed counts only."""
    length_count: int = Field(default=1, ge=1, le=8)
    """Of auto: how many at most. One takes 99.5 % of the texts whole; several are those of the fewest expected
    milliseconds, measured here, and the longest takes all texts. Google's Task clients open files of one length, or of
    any."""
    cache_length: Annotated[int | None, LATER] = Field(default=None, ge=8)
    """Of a model that writes: tokens of a prompt and its continuation together, for which the file keeps keys and
    values; by default as many as the model was trained on at once. Its lengths are those at which a prompt is read: one
    of 32 by default, and a longer prompt is read in parts."""
    probabilities: bool = False
    """Put the softmax into the file; without it the file answers logits."""
    tolerance: float = Field(default=1e-3, gt=0)
    """Largest difference from torch that is let through, as a share of the outputs' spread."""

    @field_validator("lengths", mode="before")
    @classmethod
    def _one_is_enough(cls, value: Any) -> Any:
        return (value,) if isinstance(value, int) else value

    @model_validator(mode="after")
    def _usable_lengths(self) -> Self:
        if isinstance(self.lengths, tuple) and (
            not self.lengths or min(self.lengths) < SHORTEST or len(set(self.lengths)) < len(self.lengths)
        ):
            raise ValueError(
                f"{list(self.lengths)}: give different token counts of at least {SHORTEST}, such as [32, 128]"
            )
        if self.lengths != "auto" and "length_count" in self.model_fields_set:
            raise ValueError("length_count is for lengths: auto; leave one of the two out")
        return self

    def outline(self, source: Outline | None) -> Outline:
        """A file with the source's labels."""
        from palmtop.export.graph.edge import outline_of_export

        made = outline_of_export("to_tflite", source, self.produces, self.probabilities)
        why = family_named(made.family).padding_counts if made.family is not None else None
        if why is not None and self.lengths == "any":
            raise UserError(
                f"lengths: any isn't for the family '{made.family}', which {why}: leave lengths out, and the file "
                "takes the one that the model was trained at"
            )
        writes = made.task is not None and task_kinds.find(made.task).writes
        if self.cache_length is not None and not writes:
            raise UserError("cache_length is for models that write, which keep keys and values: leave it out")
        if writes and (self.lengths == "any" or self.length_count != 1):
            raise UserError(
                "a model that writes reads prompts in graphs of fixed lengths: name them, such as lengths: [16, 64], "
                "or leave lengths and length_count out"
            )
        if made.task is not None and isinstance(self.lengths, tuple):
            task_kinds.find(made.task).check_length(min(self.lengths))
        return made

    def unpriced(self) -> str | None:
        """Several lengths are chosen by a clock."""
        if self.length_count == 1:
            return None
        return f"length_count {self.length_count} chooses lengths by times measured here: give them with lengths"

    def run(self, source: Bundle | None, work: Work) -> dict[str, Any]:
        """Convert, write, and compare with torch in the LiteRT interpreter."""
        assert source is not None  # the driver checked `accepts`
        if source.signature.generation is not None:
            return self._of_steps(source, work.out)
        if self.lengths == "any":
            return self._of_any_length(source, work.out)
        only = source.signature.only_length
        histogram = _histogram(source) if self.lengths == "auto" and only is None else None
        lengths = self._cheapest(source, histogram, work.scratch) if histogram else self._given(source)
        passes = self._write(source, lengths, work.out)
        found = check_export.check(("torch", source.path), ("tflite", work.out), self.tolerance, self.learns)
        cost: dict[str, Any] = {}
        if histogram and self.learns:
            cost = cost_facts(histogram, lengths, medians_by_length_ms("tflite", work.out, lengths))
        return {"precision": "float32", "lengths": list(lengths), "passes": passes} | found | cost

    def _of_any_length(self, source: Bundle, out: Path) -> dict[str, Any]:
        from palmtop.export.tflite_file.any_length import open_length

        longest = source.signature.max_length
        pair = (longest - 1, longest)
        passes = self._write(source, pair, out, opened=True)
        open_length(out / FILE, *(name_of(pair, length) for length in pair))
        Signature.read(out).model_copy(update={"lengths": None}).write(out)
        found = check_export.check(("torch", source.path), ("tflite", out), self.tolerance, self.learns)
        return (
            {"precision": "float32", "lengths": f"any up to {longest}", "passes": passes}
            | found
            | (_cost_as_they_come(source, out) if self.learns else {})
        )

    def _of_steps(self, source: Bundle, out: Path) -> dict[str, Any]:
        """Of a model that writes."""
        from palmtop.export import writing_parity, writing_tflite
        from palmtop.export.graph.edge import converting, copy_app_files

        longest = source.signature.max_length
        slots = longest if self.cache_length is None else self.cache_length
        usual = min(writing_tflite.USUAL_PREFILL, slots)
        prefills = tuple(sorted(self.lengths)) if isinstance(self.lengths, tuple) else (usual,)
        if slots > longest or prefills[-1] > slots:
            raise UserError(
                f"cache_length is {slots} and the longest prefill {prefills[-1]} tokens, but {source.name} was trained "
                f"on {longest} at once: prompts are read in no more than the cache holds, and that is no more than the "
                "model knows positions of"
            )
        with converting(out):
            signature, passes = writing_tflite.write(source, prefills, slots, out / FILE)
        signature.write(out)
        copy_app_files(source, out)
        found = check_export.check(("torch", source.path), ("tflite", out), self.tolerance, self.learns)
        written = writing_parity.check(source, ("tflite", out), self.tolerance) if self.learns else {}
        facts = {"precision": "float32", "prefills": list(prefills), "cache_length": slots, "passes": passes}
        return facts | found | written

    def _given(self, source: Bundle) -> tuple[int, ...]:
        longest, only = source.signature.max_length, source.signature.only_length
        if only is not None and self.lengths in ("auto", (only,)):
            return (only,)
        assert isinstance(self.lengths, tuple)
        if only is not None:
            raise UserError(
                f"lengths is {list(self.lengths)}, but {source.name} was trained on texts padded to {only} tokens, and "
                "padding changes its answers: leave lengths out, or fine-tune with another max_length"
            )
        if max(self.lengths) > longest:
            raise UserError(
                f"length {max(self.lengths)} is more than the model takes ({longest} tokens): it was trained, or "
                "made, for no more"
            )
        return tuple(sorted(self.lengths))

    def _cheapest(self, source: Bundle, histogram: Histogram, scratch: Path) -> tuple[int, ...]:
        """The longest that is needed, and of several those that cost least, as a file of a few lengths shows here."""
        longest = longest_needed(histogram, self.length_count, source.signature.max_length)
        if self.length_count == 1:
            return (longest,)
        probe, tried = scratch / "probe", probes(longest)
        shutil.rmtree(probe, ignore_errors=True)
        probe.mkdir(parents=True)
        self._write(source, tried, probe)
        milliseconds = medians_by_length_ms("tflite", probe, tried)
        shutil.rmtree(probe)
        return cheapest(
            histogram, longest, self.length_count, lambda length: float(np.interp(length, tried, milliseconds))
        )

    def _write(self, source: Bundle, lengths: tuple[int, ...], out: Path, opened: bool = False) -> dict[str, int]:
        """The file and what belongs beside it; returns what the passes over the graph did.

        Args:
            opened: whether the file will be made one for any length, of graphs that must not be for theirs alone.
        """
        from palmtop.export.graph.edge import converting, copy_app_files, edge_classifier, signature_of_export

        known, _ = signature_of_export(source, self.probabilities)
        signature = known.model_copy(update={"lengths": lengths, "max_length": lengths[-1]})
        with converting(out):
            edge = edge_classifier(source, self.probabilities)
            passes = _convert(edge if opened else edge.at_one_length(), signature, out / FILE)
        signature.write(out)
        copy_app_files(source, out)
        return passes


def _histogram(source: Bundle) -> Histogram:
    from palmtop.export.graph.edge import task_lengths

    return Histogram.of(task_lengths(source))


def _cost_as_they_come(source: Bundle, out: Path) -> dict[str, Any]:
    """Of a file for any length: milliseconds of some training texts, and what they would be padded; nothing where there
    is no task."""
    from palmtop.export.quantization.trials import encoded

    if source.task is None:
        return {}
    histogram = _histogram(source)
    padded = longest_needed(histogram, 1, Signature.read(out).max_length)
    texts = [text for text in encoded(source, "train", TIMED_TEXTS) if len(text) <= padded]
    return cost_facts_of_any(histogram, padded, len(texts), *mean_ms("tflite", out, texts, padded))


def name_of(lengths: tuple[int, ...], length: int) -> str:
    """The signature of a length in the file."""
    return "serving_default" if len(lengths) == 1 else f"length_{length}"


def _convert(edge: "EdgeClassifier", signature: Signature, file: Path) -> dict[str, int]:
    import litert_torch

    from palmtop.export.graph.edge import example
    from palmtop.export.graph.passes import clean_at

    lengths = signature.lengths or ()
    facts: dict[str, int] = {}
    converter: Any = litert_torch
    for length in lengths:
        module, facts = clean_at(edge, signature.inputs, length)
        converter = converter.signature(
            name_of(lengths, length), module, sample_kwargs=example(signature.inputs, 1, length)
        )
    file.write_bytes(converter.convert().model_content())  # its own writer ends the process where the disk is full
    return facts
