"""Put a smaller model before a larger one in one bundle: it is asked first, the larger only where it isn't sure."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from jaxtyping import Bool, Float64
from numpy import ndarray
from pydantic import Field, model_validator

from palmtop import cascade, parity, target
from palmtop import format as file_format
from palmtop.bundle import CARD, Bundle, Format
from palmtop.data.tokenization import HostTokenizer
from palmtop.effect import Effect
from palmtop.errors import UserError, raise_all
from palmtop.export.cascades.temperature import best_temperature
from palmtop.export.cascades.threshold import Chosen, by_drop, by_share
from palmtop.export.file_timing import medians_ms
from palmtop.format import PARTS
from palmtop.signature import Cascade as Rule
from palmtop.stage import Outline, Stage, Work
from palmtop.task import Split, Task

BESIDE = ("labels.txt", "task.json")
"""What the two models have in common, and the bundle of both has too."""
UNLEARNT = Rule(temperature=1.0, threshold=0.5)
"""Of models that learnt nothing, of which only the bytes are wanted."""


class Cascade(Stage):
    """Put a smaller model before the source, which is then asked only where the smaller isn't sure."""

    accepts: ClassVar[frozenset[Format]] = frozenset({"onnx", "tflite"})
    produces: ClassVar[Format] = "tflite_cascade"
    without_layers: ClassVar[bool] = True
    effect: ClassVar[Effect] = "none"
    usual_seconds: ClassVar[float] = 20
    packages: ClassVar[tuple[str, ...]] = ("tokenizers",)
    packages_for: ClassVar[Mapping[Format, tuple[str, ...]]] = {
        "onnx": ("onnxruntime",),
        "tflite": ("ai-edge-litert",),
    }
    extra: ClassVar[str] = "all"

    first: str
    """Folder of the smaller bundle, which is asked first: of the source's format and task; in a recipe, under 'with',
    the step that makes it."""
    max_drop: float = Field(default=0.5, ge=0)
    """Points (hundredths of the task's main metric) that may be lost on the validation split against the source
    alone; of all thresholds that keep to it, the one that leaves most texts to the first."""
    task: str | dict[str, Any] | None = None
    """A shipped task, a task YAML, or a task written out, whose validation texts decide; by default the source's
    own."""
    share: float | None = Field(default=None, gt=0, lt=1)
    """Share of the validation texts that the first is to answer, in place of max_drop, whatever that loses."""

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if self.share is not None and "max_drop" in self.model_fields_set:
            raise ValueError("share and max_drop both choose the threshold: leave one of the two out")
        return self

    def inputs(self) -> dict[str, str]:
        """The smaller bundle, and the texts that decide."""
        first = Bundle.open(Path(self.first))
        task = first.task if self.task is None else Task.find(self.task)
        decides = task is not None and task.validation is not None
        return {"first": first.digest} | ({"validation": _deciding(task).digest} if task and decides else {})

    def format_of(self, source: Format | None) -> Format:
        """The cascade of files like the source."""
        assert source is not None  # the driver checked `accepts`
        return file_format.of_parts(source).name

    def besides(self, source: Outline | None) -> Format:
        """The smaller bundle has the source's format."""
        return source.format if source is not None else super().besides(source)

    def run(self, source: Bundle | None, work: Work) -> dict[str, Any]:
        """Ask both the validation texts, settle temperature and threshold, lay both side by side, and see that the
        bundle answers by that rule."""
        assert source is not None  # the driver checked `accepts`
        first = Bundle.open(Path(self.first))
        raise_all(_faults(first, source))
        task = _task(source, self.task)
        if not self.learns:
            _lay_out(first, source, UNLEARNT, work.out)
            return {"precision": _precision(first, source)}
        split = _deciding(task)
        asked = _Asked.of(first, source, split, task)
        rule, chosen = self._settled(asked)
        _lay_out(first, source, rule, work.out)
        asked.check(self.format_of(source.format), work.out, rule)
        told = _told(asked, rule, chosen, task) | _times(first, source, chosen.share)
        if "slower" in told:
            work.say(told["slower"])
        return {"precision": _precision(first, source), "first": first.name, **told}

    def _settled(self, asked: "_Asked") -> tuple[Rule, Chosen]:
        temperature = best_temperature(asked.first, asked.split.labels)
        confidence = cascade.probabilities(asked.first, temperature).max(axis=1)
        chosen = (
            by_drop(confidence, asked.metric, self.max_drop)
            if self.share is None
            else by_share(confidence, asked.metric, self.share)
        )
        return Rule(temperature=temperature, threshold=chosen.threshold), chosen


class _Asked:
    """What both models answer to the texts that decide, as logits, [texts, labels]."""

    def __init__(
        self,
        first: Float64[ndarray, "texts labels"],
        second: Float64[ndarray, "texts labels"],
        split: Split,
        task: Task,
    ) -> None:
        self.first, self.second, self.split, self._task = first, second, split, task

    @classmethod
    def of(cls, first: Bundle, second: Bundle, split: Split, task: Task) -> "_Asked":
        """Ask both, each in its own runtime with its own tokenizer."""
        return cls(_logits(first, split), _logits(second, split), split, task)

    def metric(self, answered: Bool[ndarray, " texts"]) -> float:
        """The task's main metric where the first model answers these texts, and the second all others."""
        mixed = np.where(answered[:, None], self.first, self.second)
        return self._task.of_kind.of_outputs(self._task.main_metric, mixed, self.split.labels)

    def check(self, form: Format, folder: Path, rule: Rule) -> None:
        """See that the bundle answers as the rule says of the two models' own answers.

        Raises:
            RuntimeError: it doesn't; a fault of ours.
        """
        rows = np.unique(np.linspace(0, len(self.split) - 1, min(parity.TEXTS, len(self.split))).round().astype(int))
        calibrated = cascade.probabilities(self.first[rows], rule.temperature)
        stands = cascade.sure(calibrated, rule.threshold)
        expected = np.where(stands[:, None], calibrated, cascade.probabilities(self.second[rows]))
        with target.for_format(form).open(folder) as runner:
            found = runner.predict(runner.tokenize([self.split.texts[row] for row in rows]))
        if not np.allclose(found, expected, atol=1e-6):
            raise RuntimeError(
                f"{folder} answers otherwise than its two models do (by {np.abs(found - expected).max()})"
            )


def _faults(first: Bundle, second: Bundle) -> list[str]:
    """Why two bundles make no cascade."""
    if first.format != second.format:
        return [
            f"{first.name} is {first.format}, {second.name} is {second.format}: both run in one runtime, so export or "
            "quantize them alike"
        ]
    if first.digest == second.digest:
        return [f"{first.name} and {second.name} are the same file: put a smaller one first"]
    ours, theirs = first.task, second.task
    if ours is None or theirs is None:
        without = " and ".join(one.name for one, task in ((first, ours), (second, theirs)) if task is None)
        return [f"{without}: without a task there is nothing to be sure of: name files of fine-tuned models"]
    return _task_faults(first.name, ours, second.name, theirs)


def _task_faults(first: str, ours: Task, second: str, theirs: Task) -> list[str]:
    faults = []
    if ours.kind != theirs.kind:
        faults.append(f"{first} is for {ours.kind}, {second} for {theirs.kind}: both answer one task")
    elif ours.label_names != theirs.label_names:
        faults.append(
            f"{first} and {second} have other labels, or in another order: one answer stands in for the other's, so "
            "train both on one task"
        )
    if ours.texts_at_a_time != theirs.texts_at_a_time:
        faults.append(f"{first} reads {ours.texts_at_a_time} texts at a time, {second} {theirs.texts_at_a_time}")
    return faults


def _task(source: Bundle, named: str | dict[str, Any] | None) -> Task:
    """The source's own, or the one that is named.

    Raises:
        UserError: it has other labels.
    """
    known = source.task
    assert known is not None  # `_faults` looked
    task = known if named is None else Task.find(named)
    if (task.kind, task.label_names) != (known.kind, known.label_names):
        raise UserError(f"the task {task.name} has other labels than {source.name}: name the task that it was made for")
    return task


def _deciding(task: Task) -> Split:
    """The validation split: a threshold chosen on the evaluation texts would be told better than it is."""
    if task.validation is None:
        raise UserError(
            f"the task {task.name} has no validation split, and a threshold isn't chosen on the evaluation texts: "
            "put rows that neither model learnt from into a file, name it as 'validation' in the task's YAML, and "
            "give that with --task"
        )
    return task.load("validation")


def _logits(bundle: Bundle, split: Split) -> Float64[ndarray, "texts labels"]:
    encodings = HostTokenizer.of(bundle.path, bundle.signature).encode(split.texts)
    return cascade.logits_of(parity.answers((bundle.format, bundle.path), encodings), bundle.signature.output)


def _lay_out(first: Bundle, second: Bundle, rule: Rule, out: Path) -> None:
    """Both bundles whole, each in its folder with its card; above them what they have in common, and the rule."""
    for name, bundle in zip(PARTS, (first, second), strict=True):
        for file in (*bundle.card.files, CARD):
            (out / name / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(bundle.path / file, out / name / file)
    for file in BESIDE:
        shutil.copyfile(second.path / file, out / file)
    known = first.signature
    known.model_copy(update={"inputs": (), "output": cascade.PROBABILITIES, "lengths": None, "cascade": rule}).write(
        out
    )


def _precision(first: Bundle, second: Bundle) -> str:
    """Of both, the first's before the second's; one word where they are alike."""
    return " and ".join(dict.fromkeys(str(one.card.facts.get("precision")) for one in (first, second)))


def _told(asked: _Asked, rule: Rule, chosen: Chosen, task: Task) -> dict[str, Any]:
    """Facts of the choice, all of the validation texts."""
    every = np.ones(len(asked.split), bool)
    return {
        "temperature": round(rule.temperature, 4),
        "threshold": round(rule.threshold, 6),
        "share_of_first": round(chosen.share, 4),
        "drop": chosen.drop,
        "drop_metric": task.main_metric,
        "drop_split": "validation",
        "drop_texts": len(asked.split),
        "metric_of_first": round(asked.metric(every), 4),
        "metric_of_second": round(asked.metric(~every), 4),
    }


def _times(first: Bundle, second: Bundle, share: float) -> dict[str, Any]:
    """Facts of both models' times, taken here in turns; and a sentence where the first saves nothing."""
    before, after = medians_ms([(one.format, one.path) for one in (first, second)])
    together = before + (1 - share) * after
    told = {"latency_ms_first": round(before, 3), "latency_ms_second": round(after, 3)}
    if together < after:
        return told
    return told | {
        "slower": f"no faster than {second.name} alone here: {before:.2f} ms for every text and {after:.2f} ms for "
        f"{1 - share:.0%} of them are {together:.2f} ms"
    }
