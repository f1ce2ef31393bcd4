"""Stage: settings and a run from one folder to another."""

import importlib
import json
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import PrivateAttr, SerializerFunctionWrapHandler, model_serializer

from palmtop import task_kinds
from palmtop.bundle import Bundle, Format
from palmtop.effect import Effect
from palmtop.effort import Effort
from palmtop.errors import UserError, did_you_mean
from palmtop.families.family import Kind
from palmtop.models.family import check_refused, check_transformer, family_named, kind_of
from palmtop.models.reshaped import changed
from palmtop.needs import Needs, threads
from palmtop.settings import LATER, Settings
from palmtop.stage_files import class_name, names
from palmtop.version import VERSION


@dataclass(frozen=True)
class Outline:
    """What is known of a bundle before it is made, so that a whole recipe can be checked before any work."""

    format: Format
    family: str | None = None
    """The model_type of the transformer."""
    layers: int | None = None
    labels: tuple[str, ...] | None = None
    """The labels of its head; None when it has none."""
    width: int | None = None
    """Of its hidden states; None where it isn't known."""
    embedding_width: int | None = None
    """Of its word embedding's table; None where it isn't known."""
    layer_sets: int | None = None
    """Sets of weights for its layers: fewer than layers in an ALBERT; None where it isn't known."""
    changes: tuple[str, ...] = ()
    """palmtop's own keys in its config.json (palmtop.models.reshaped), as far as they are known."""
    task: str | None = None
    """The kind of the task that its head is for; None when it has none."""
    not_wordpiece: str | None = None
    """Why clients with a vocab.txt and BERT's own rules can't stand in for its tokenizer; None where they can, or
    nothing is known of it yet."""


@dataclass(frozen=True)
class Work:
    """Where a stage works, and how it is heard."""

    out: Path
    """The folder that becomes the bundle, empty when `run` starts."""
    scratch: Path
    """A folder that outlives a killed process: what lies there when `run` starts was left by an equal run, cut
    short."""
    say: Callable[[str], None]
    """Tells the user a line."""


@dataclass(frozen=True)
class HandOver:
    """Something that is made of a finished bundle besides, outside of it, where a user asks for it by a folder. No
    setting: the bundle is the same with or without it, and a kept bundle is handed over too."""

    told: str
    """What it is, for the command's help."""
    check: Callable[[Bundle, Path], None]
    """Looks at the source and the place before any work. Raises: UserError: they won't do."""
    write: Callable[[Bundle, Bundle, Path], None]
    """Writes the folder, whole or not at all, from the source and the bundle that was made of it."""


class Stage(Settings, ABC):
    """One step of work. The fields are its settings: YAML keys, command-line flags and the docs come from them."""

    accepts: ClassVar[frozenset[Format]]
    """Formats of the source bundle; empty when the stage needs none."""
    takes: ClassVar[frozenset[Kind]] = frozenset({"encoder"})
    """Kinds of transformers that it works on."""
    produces: ClassVar[Format | Literal["same"]]
    """Format of the result; same: that of its source."""
    effect: ClassVar[Effect]
    """What it does to the model; the driver writes it to the result's card."""
    packages: ClassVar[tuple[str, ...]] = ()
    """Packages it needs, whose versions can change the result."""
    packages_for: ClassVar[Mapping[Format, tuple[str, ...]]] = {}
    """Those it needs besides for a source of one format."""
    extra: ClassVar[str] = "train"
    """The extra of palmtop that installs them."""
    without_layers: ClassVar[bool] = False
    """Whether it takes a torch model that has no transformer layers: a static student."""
    distributed: ClassVar[bool] = False
    """Whether all processes of a distributed run take part; otherwise the first does the work."""

    takes_besides: ClassVar[Format] = "torch"
    """Format of the bundles that settings name, such as a teacher."""
    hand_overs: ClassVar[Mapping[str, HandOver]] = {}
    """What can be made of its bundles besides, by the name of the option that says where."""

    usual_seconds: ClassVar[float] = 5.0
    """What it takes on an ordinary laptop besides its work on the training texts: of which order, not measured."""

    threaded: ClassVar[bool] = False
    """Whether most of its work is done in torch's threads, so that it asks for as many cores; others ask for one."""
    on_gpu: ClassVar[bool] = False
    """Whether it computes on a GPU where there is one."""
    usual_memory_gb: ClassVar[float] = 1.5
    """10^9 bytes that Python and its libraries take; of which order, not measured."""
    copies_in_memory: ClassVar[float] = 6.0
    """How many times the files of its source lie in memory besides, when most do; of which order, not measured."""

    _learns: bool = PrivateAttr(default=True)

    @abstractmethod
    def run(self, source: Bundle | None, work: Work) -> dict[str, Any]:
        """Make the model in `work.out` from `source`, which is only read, and return the facts."""

    def outline(self, source: Outline | None) -> Outline:
        """What the result will be.

        Raises:
            UserError: settings and source don't fit.
        """
        made = self.format_of(source.format if source else None)
        known = source or Outline(made)
        return replace(known, format=made)

    def beside_faults(self, source: Outline, besides: Mapping[str, Outline]) -> list[str]:
        """What doesn't fit of the bundles that settings name, by the name of the setting, and the source; a recipe asks
        it before any work."""
        return []

    def format_of(self, source: Format | None) -> Format:
        """The format of the result."""
        if self.produces != "same":
            return self.produces
        assert source is not None  # a stage that keeps its source's format accepts some
        return source

    def besides(self, source: Outline | None) -> Format:
        """Format of the bundles that settings name, where it depends on the source."""
        return self.takes_besides

    def effort(self, source: Outline | None, rows: int) -> Effort | None:
        """What it will cost for so many training rows, said before work; None where that isn't known."""
        return Effort(seconds=self.usual_seconds)

    def needs(self, source: Bundle | None) -> Needs:
        """What it asks for while it runs beside other steps."""
        size_bytes = sum(entry.size_bytes for entry in source.card.files.values()) if source is not None else 0
        memory_gb = self.usual_memory_gb + self.copies_in_memory * size_bytes / 1e9
        return Needs(threads() if self.threaded else 1, memory_gb, self.on_gpu)

    def takes_times(self) -> bool:
        """Whether it takes times on this machine, for a choice or a fact: then nothing is made beside it."""
        return False

    def pace(self, source: Bundle) -> float | None:
        """Seconds of a training text through one of the source's layers, forth and back, by a trial of about two
        seconds on this machine; None of a stage that trains on no task."""
        return None

    def shortened(self, share: float, rows: int) -> Self:
        """The same with this share of the epochs that it has for so many training rows; of a stage without any,
        itself."""
        return self

    @property
    def learns(self) -> bool:
        """Whether it does its work; else it makes what has the shapes of its result, and nothing more."""
        return self._learns

    def untrained(self) -> Self:
        """The same, learning nothing: what it makes has other numbers than its result, in the same shapes, so that
        files made of the two have equally many bytes. No setting: the card says it apart."""
        made = self.model_copy()
        made._learns = False
        return made

    def unpriced(self) -> str | None:
        """Why nobody can tell the shapes of its result before it has learnt, and what to do instead; None where they
        can be told."""
        return None

    def about(self) -> str | None:
        """Why the shapes of its result are only told about before it has learnt; None where they are told exactly."""
        return None

    @model_serializer(mode="wrap")
    def _as_before(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without the settings that came later and are at their defaults."""
        written, fields = write(self), type(self).model_fields
        return {
            name: value
            for name, value in written.items()
            if LATER not in fields[name].metadata or getattr(self, name) != fields[name].default
        }

    def inputs(self) -> dict[str, str]:
        """sha256 of what the stage reads besides its source, by role."""
        return {}

    def became(self, facts: Mapping[str, Any]) -> dict[str, str]:
        """What was chosen, by the facts of a run, for settings that leave it to the machine, where the result depends
        on it."""
        return {}


def find(name: str) -> type[Stage]:
    """The stage called `name`.

    Raises:
        UserError: there is none, with the nearest name.
    """
    module = names().get(name)
    if module is None:
        raise UserError(f"no stage '{name}'; {did_you_mean(name, names())}")
    stage: type[Stage] = getattr(importlib.import_module(module), class_name(name))
    return stage


def check_fit(name: str, stage: Stage, source: Outline | None) -> None:
    """Whether a stage works on this kind of transformer, on its layers, on its family, and for this kind of task.

    Raises:
        UserError: it doesn't.
    """
    if source is not None and source.task is not None and task_kinds.find(source.task).writes:
        check_task(name, stage, source)  # a decoder's task says why, in place of its family
    check_kind(name, stage, source)
    check_layers(name, stage, source)
    check_refused(name, source.family if source else None)
    check_task(name, stage, source)


def check_task(name: str, stage: Stage, source: Outline | None) -> None:
    """Whether a stage works for the kind of task that its settings name, or that its source has a head for.

    Raises:
        UserError: it doesn't.
    """
    named = _task_kind(stage) or (source.task if source else None)
    if named is None:
        return
    kind, shown = task_kinds.find(named), named.replace("_", " ")
    if why := kind.refuses.get(name):
        raise UserError(f"{name} isn't for {shown}: {why}")
    if not kind.works(name):
        known = [other for other in names() if kind.works(other)]
        raise UserError(f"{name} isn't for {shown} yet; what is: {', '.join(known)}")
    if source is not None and source.family is not None:
        check_transformer(name, kind, source.family)


def check_layers(name: str, stage: Stage, source: Outline | None) -> None:
    """Whether a stage that works on transformer layers finds any.

    Raises:
        UserError: the source has none.
    """
    if source is not None and source.format == "torch" and source.layers == 0 and not stage.without_layers:
        raise UserError(
            f"{name} works on transformer layers, and a model of the family '{source.family}' has none: start from a "
            "transformer, such as the model it was made of"
        )


def check_kind(name: str, stage: Stage, source: Outline | None) -> None:
    """Whether a stage works on this kind of transformer.

    Raises:
        UserError: it doesn't.
    """
    if source is None or (kind := kind_of(source.family)) in stage.takes:
        return
    taken = " and ".join(f"{taken}s" for taken in sorted(stage.takes))
    raise UserError(
        f"{name} works on {taken}, but a model of the family '{source.family}' is "
        + (
            "a decoder: what there is for decoders is 'distill_causal', and for a task of the kind causal_lm what "
            "'palmtop kinds' shows"
            if kind == "decoder"
            else "an encoder: distil it with 'distill_masked_lm' or 'distill'"
        )
    )


def _task_kind(stage: Stage) -> str | None:
    named = stage.model_dump(include={"task"}).get("task")
    if named is None:
        return None
    from palmtop.task import Task  # brings numpy, which the list of stages does without

    return Task.find(named).kind


def outline_of(bundle: Bundle) -> Outline:
    """The outline of a bundle that is there: from its config.json and its task."""

    path = bundle.path / "config.json"
    config = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    task = bundle.task
    return replace(
        outline_of_config(bundle.format, config, task.label_names if task else None), task=task.kind if task else None
    )


def outline_of_config(form: Format, config: Mapping[str, Any], labels: tuple[str, ...] | None) -> Outline:
    """What a Hugging Face config tells of a model."""
    if (model_type := config.get("model_type")) is None:
        return Outline(form, labels=labels)
    family = family_named(model_type)
    layers, width = config.get(family.layer_count), config.get(family.width)
    table = config.get("palmtop_embedding_size", config.get("embedding_size", width))
    return Outline(
        form,
        model_type,
        layers,
        labels,
        width,
        table,
        config.get("num_hidden_groups", layers),
        tuple(changed(dict(config))),
    )


def versions(stage: type[Stage], source: Format | None = None) -> dict[str, str]:
    """palmtop's version and those of the packages the stage needs, for a source of this format too where that is known.

    Raises:
        UserError: packages are missing, with the command that installs them.
    """
    found, lacking = {"palmtop": VERSION}, []
    for package in (*stage.packages, *(stage.packages_for.get(source, ()) if source else ())):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            lacking.append(package)
    if lacking:
        name = re.sub(r"(?<!^)(?=[A-Z])", "_", stage.__name__).lower()
        raise UserError(f"the stage {name} needs {', '.join(lacking)}: pip install 'palmtop[{stage.extra}]'")
    return found
