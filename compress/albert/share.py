"""Let layers of a trained model share their weights, as ALBERT's do (Lan et al. 2019), with corrections of low rank on
request."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from palmtop.bundle import Bundle, Format
from palmtop.compress.learning.encoded import Encoded
from palmtop.compress.learning.torch_bundles import task_of, write_classifier
from palmtop.effect import Effect
from palmtop.errors import UserError
from palmtop.models.family import check_refused, family_named, plan_of
from palmtop.models.opening import open_with_head
from palmtop.signature import Signature
from palmtop.stage import Outline, Stage, Work
from palmtop.task import Task, task_input
from palmtop.task_kinds import find

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from palmtop.compress.albert.hidden_fit import HiddenStates
    from palmtop.compress.albert.shared_weights import Layers
    from palmtop.models.layer_weights import Half, LayerWeights

KEY = "palmtop_sharing"


class Share(Stage):
    """Fewer sets of weights than layers: a file as many times smaller, not a faster model. It needs a distillation
    after it."""

    accepts: ClassVar[frozenset[Format]] = frozenset({"torch"})
    produces: ClassVar[Format] = "torch"
    effect: ClassVar[Effect] = "cuts"
    packages: ClassVar[tuple[str, ...]] = ("torch", "transformers", "tokenizers", "scipy")

    what: Literal["all", "attention", "feed_forward"] = "all"
    """What layers share: all their weights, or one half of them with its norm. Sharing the feed-forward half is what
    costs accuracy."""
    groups: int = Field(default=1, ge=1)
    """Sets of weights, the layers shared out among them evenly; the paper's 1: all layers are one."""
    order: Literal["sequence", "cycle"] = "sequence"
    """Which layers share a set: neighbours (0 0 1 1), as in ALBERT's groups, or by turns (0 1 0 1; Takase and Kiyono
    2021)."""
    start: Literal["middle", "first", "stepwise", "average", "best"] = "middle"
    """What a set starts from: the middle or first of its layers; layers spread from the first to the last; the mean of
    its layers, heads and neurons matched first; or the one of its layers that reproduces hidden states best on texts of
    the task."""
    rank: int = Field(default=0, ge=0)
    """Rank of each layer's own corrections to the shared matrices, from the SVD of what they lack; biases and norms
    stay each layer's own then. 0: none, sharing is strict."""
    form: Literal["auto", "albert", "own"] = "auto"
    """The class of the result. albert: transformers' own, for all weights in sequence and no corrections; its mapping
    behind the embeddings, of width x width, is the identity where they were not factorized. own: the source's, opens
    with palmtop only. auto: albert where it can be."""
    calibration_texts: int = Field(default=64, ge=1)
    """Texts of the training split on which hidden states are compared, for start: best and for the facts."""
    task: str | dict[str, Any] | None = None
    """The task: a shipped name, a YAML file, or written out; by default the one the source was trained for."""

    @model_validator(mode="after")
    def _expressible(self) -> Self:
        if self.form not in ("auto", "own") and (odd := self._against_albert()):
            raise ValueError(
                f"form albert can't have {odd}: ALBERT's class has groups of whole layers in sequence; leave form out"
            )
        return self

    def inputs(self) -> dict[str, str]:
        """The data, where the task is named here."""
        return task_input(self.task)

    def outline(self, source: Outline | None) -> Outline:
        """The source with fewer sets of weights.

        Raises:
            UserError: groups that don't divide the layers, or a source whose layers can't share.
        """
        if source is None or source.labels is None or source.family is None:
            raise UserError("share needs a model with a task's head: put a 'finetune' step before it")
        self._check(source)
        if self._becomes_albert(source):
            return replace(source, family="albert", layer_sets=self.groups)
        return replace(source, changes=(*source.changes, KEY))

    def run(self, source: Bundle | None, work: Work) -> dict[str, Any]:
        """Choose or compute the shared weights, build, compare hidden states, and write a Hugging Face folder."""
        from palmtop.compress.albert.as_albert import to_albert
        from palmtop.compress.albert.hidden_fit import HiddenStates
        from palmtop.compress.albert.shared_weights import Layers, distance, sets_of
        from palmtop.compress.albert.sharing_model import in_groups, in_own_class, ungrouped
        from palmtop.stage import outline_of

        assert source is not None  # the driver checked `accepts`
        known, task, signature = outline_of(source), task_of(source, self.task), source.signature
        self._check(known)
        model = open_with_head(source.path)
        _check_positions(model)
        teacher = HiddenStates(model, self._calibration(task, source, signature))
        before = _parameters(model)
        grouped = family_named(known.family).groups is not None
        if grouped:
            model = ungrouped(model)
        layers = Layers.of(model)
        sets = sets_of(len(layers.weights), self.groups, self.order)
        used: dict[Half, list[int]] = {half: sets for half in self._halves()}
        shared, started = self._started(model, layers, sets, teacher)
        if self._becomes_albert(known):
            made = in_groups(model if grouped else to_albert(model, model.config.hidden_size), shared)
        else:
            made = in_own_class(model, used, shared, self.rank)
        write_classifier(made, source, task, signature, work.out)
        return {
            "class": type(made).__name__,
            "sets": sets,
            "shared": self.what,
            "started_from": started,
            "weights_error": distance(layers, used, shared),
            "hidden_errors": [round(error, 6) for error in teacher.errors(made)],
            "agreement_with_source": teacher.agreement(made),
            "calibration_texts": len(teacher.answers),
            "parameters_before": before,
            "parameters": _parameters(made),
            "bytes_before": 4 * before,
            "bytes": 4 * _parameters(made),
        }

    def _started(
        self, model: "PreTrainedModel", layers: "Layers", sets: list[int], teacher: "HiddenStates"
    ) -> "tuple[list[LayerWeights], list[Any]]":
        """The weights of each set, and the layers they come from."""
        from palmtop.compress.albert.hidden_fit import best_layers
        from palmtop.compress.albert.shared_weights import members, picked

        if self.start == "average":
            users = [members(sets, number) for number in range(self.groups)]
            return [layers.average(chosen) for chosen in users], users
        chosen = best_layers(model, sets, self._halves(), teacher) if self.start == "best" else picked(sets, self.start)
        return [layers.weights[layer] for layer in chosen], chosen

    def _halves(self) -> "tuple[Half, ...]":
        return ("attention", "feed_forward") if self.what == "all" else (self.what,)

    def _calibration(self, task: Task, source: Bundle, signature: Signature) -> Encoded:
        split = task.load("train")
        rows = np.unique(
            np.linspace(0, len(split) - 1, min(self.calibration_texts, len(split))).round().astype(np.int64)
        )
        return Encoded.of(split.take(rows), source.path, signature)

    def _against_albert(self) -> str | None:
        """What ALBERT's class can't express."""
        odd = [f"what: {self.what}"] * (self.what != "all") + [f"order: {self.order}"] * (self.order != "sequence")
        return ", ".join(odd + [f"rank: {self.rank}"] * (self.rank > 0)) or None

    def _becomes_albert(self, source: Outline) -> bool:
        from palmtop.compress.albert.as_albert import SOURCES

        grouped = family_named(source.family).groups is not None
        can = not self._against_albert() and not source.changes and (grouped or source.family in SOURCES)
        whole_text = source.task is None or not find(source.task).per_token
        return self.form != "own" and can and whole_text

    def _check(self, source: Outline) -> None:
        from palmtop.compress.albert.as_albert import REASONS

        check_refused("share", source.family)
        for key, reason in (
            ("palmtop_shape", "its layers have different heads and neurons: share before you prune"),
            (KEY, "its layers share weights already: start from the source that it was made of"),
        ):
            if key in source.changes:
                raise UserError(f"the source can't share ({key} in its config.json): {reason}")
        if self.form not in ("auto", "own") and not self._becomes_albert(source):
            reason = (
                f"{', '.join(source.changes)} in its config.json"
                if source.changes
                else REASONS.get(str(source.family), "its class")
            )
            raise UserError(
                f"form albert isn't for this {source.family} model ({reason}): leave form out, and it keeps its own "
                "class"
            )
        if source.layers is not None and source.layers % self.groups:
            fitting = [str(groups) for groups in range(1, source.layers) if source.layers % groups == 0]
            raise UserError(
                f"groups is {self.groups}, which doesn't divide the {source.layers} layers: choose {', '.join(fitting)}"
            )
        if source.width is not None and self.rank > source.width:
            raise UserError(
                f"rank is {self.rank}, but the model is {source.width} wide, and no matrix of it has a higher rank: "
                "choose less, such as 8"
            )
        sets = source.layer_sets or source.layers
        if sets is not None and self.groups >= sets:
            raise UserError(
                f"groups is {self.groups}, but the source has {sets} sets of layer weights: nothing would be shared; "
                "choose fewer"
            )


def _parameters(model: "PreTrainedModel") -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def _check_positions(model: "PreTrainedModel") -> None:
    from palmtop.models.linears import layers_of

    kind = model.config.model_type
    core = plan_of(kind).core
    besides = {name for layer in layers_of(model) for name, _ in layer.get_submodule(core.path).named_children()}
    if besides & {*core.position_projections}:
        raise UserError(
            f"share isn't for {kind} with share_att_key: false: its layers have projections of relative positions "
            "besides, which are of neither half"
        )
