"""Stage: settings and a run from one folder to another."""

import importlib
import json
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, ClassVar, Literal

from palmtop.bundle import Bundle, Format
from palmtop.errors import UserError, did_you_mean
from palmtop.listing import class_name, names
from palmtop.settings import Settings


@dataclass(frozen=True)
class Outline:
    """What is known of a bundle before it is made, so that a whole recipe can be checked before any work."""

    format: Format
    family: str | None = None
    """The model_type of the transformer."""
    layers: int | None = None
    labels: tuple[str, ...] | None = None
    """The labels of its head; None when it has none."""


class Stage(Settings, ABC):
    """One step of work. The fields are its settings: YAML keys, command-line flags and the docs come from them."""

    accepts: ClassVar[frozenset[Format]]
    """Formats of the source bundle; empty when the stage needs none."""
    produces: ClassVar[Format | Literal["same"]]
    """Format of the result; same: that of its source."""
    packages: ClassVar[tuple[str, ...]] = ()
    """Packages it needs, whose versions can change the result."""
    packages_for: ClassVar[Mapping[Format, tuple[str, ...]]] = {}
    """Those it needs besides for a source of one format."""
    extra: ClassVar[str] = "train"
    """The extra of palmtop that installs them."""
    distributed: ClassVar[bool] = False
    """Whether all processes of a distributed run take part; otherwise the first does the work."""

    @abstractmethod
    def run(self, source: Bundle | None, out: Path, scratch: Path) -> dict[str, Any]:
        """Make the model in `out` (an empty folder) from `source`, which is only read, and return the facts.

        `scratch` outlives a killed process: what lies there when `run` starts was left by an equal run, cut short.
        """

    def outline(self, source: Outline | None) -> Outline:
        """What the result will be.

        Raises:
            UserError: settings and source don't fit.
        """
        made = self.format_of(source.format if source else None)
        known = source or Outline(made)
        return Outline(made, known.family, known.layers, known.labels)

    def format_of(self, source: Format | None) -> Format:
        """The format of the result."""
        if self.produces != "same":
            return self.produces
        assert source is not None  # a stage that keeps its source's format accepts some
        return source

    def inputs(self) -> dict[str, str]:
        """sha256 of what the stage reads besides its source, by role."""
        return {}


def find(name: str) -> type[Stage]:
    """The stage called `name`.

    Raises:
        UserError: there is none, with the nearest name.
    """
    room = names().get(name)
    if room is None:
        raise UserError(f"no stage '{name}'; {did_you_mean(name, names())}")
    stage: type[Stage] = getattr(importlib.import_module(f"palmtop.{room}.{name}"), class_name(name))
    return stage


def outline_of(bundle: Bundle) -> Outline:
    """The outline of a bundle that is there: from its config.json and its task."""
    from palmtop.task import Task  # brings numpy, which the list of stages does without

    path = bundle.path / "config.json"
    config = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    task = Task.of(bundle.path)
    return Outline(bundle.format, config.get("model_type"), config.get("num_hidden_layers", config.get("n_layers")),
                   task.label_names if task else None)


def versions(stage: type[Stage], source: Format | None = None) -> dict[str, str]:
    """palmtop's version and those of the packages the stage needs, for a source of this format too where that is known.

    Raises:
        UserError: packages are missing, with the command that installs them.
    """
    found, lacking = {"palmtop": _palmtop_version()}, []
    for package in (*stage.packages, *(stage.packages_for.get(source, ()) if source else ())):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            lacking.append(package)
    if lacking:
        name = re.sub(r"(?<!^)(?=[A-Z])", "_", stage.__name__).lower()
        raise UserError(f"the stage {name} needs {', '.join(lacking)}: pip install 'palmtop[{stage.extra}]'")
    return found


def _palmtop_version() -> str:
    from palmtop import __version__

    return __version__
