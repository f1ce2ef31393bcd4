"""Target: a place where an artefact runs and numbers are taken. Found by file name in eval/targets."""

import importlib
import platform
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from jaxtyping import Float32
from numpy import ndarray

from palmtop.data.encoding import Encoding, Text
from palmtop.errors import UserError, did_you_mean
from palmtop.format import judge
from palmtop.measurement import Kind
from palmtop.signature import Signature

ROOM = "palmtop.eval.targets"
OWN_LENGTH: Literal["own"] = "own"
"""In place of a padded length: each text ran at its own."""


@dataclass(frozen=True)
class Machine:
    """Where a number was taken: enough to tell two machines or two sets of versions apart."""

    processor: str
    cores: int
    memory_gb: float
    system: str
    versions: dict[str, str] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """The machine as it stands in measurements.jsonl."""
        return asdict(self)


class Runner(ABC):
    """An artefact loaded on a target and ready to answer. A context manager: leaving it frees what it holds."""

    @abstractmethod
    def tokenize(self, texts: Sequence[Text]) -> list[Encoding]:
        """Encode texts with the tokenizer that this target uses."""

    @abstractmethod
    def predict(self, encodings: Sequence[Encoding]) -> Float32[ndarray, "texts ..."]:
        """Answer each text, [texts, outputs]; the runner pads and batches as its runtime likes.

        Of questions and contexts (a signature of spans): start and end logits, [texts, 2, tokens of the longest], with
        `spans.OUTSIDE` where there is no token of the text's context; `spans.characters` finds the answers
        (palmtop.task_kinds).
        """

    @abstractmethod
    def latencies_ms(self, encodings: Sequence[Encoding], length: int | None, runs: int) -> list[float]:
        """Time `runs` single answers, cycling through `encodings`, without tokenization.

        `length`: pad each to so many tokens (the same work for every artefact), or None to run each text as an app
        would: alone, at the shortest length the artefact accepts. No warm-up: the caller calls once before.
        """

    @abstractmethod
    def tokenize_latencies_ms(self, texts: Sequence[Text], runs: int) -> list[float]:
        """Time the tokenization of `runs` single texts, cycling through `texts`; nothing where it is a part of the
        answer."""

    @abstractmethod
    def close(self) -> None:
        """Free the runtime."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Target(ABC):
    """A runtime on a machine. One file in eval/targets, one subclass named `Target` in it."""

    name: ClassVar[str]
    formats: ClassVar[frozenset[str]]
    """Bundle formats that it runs."""
    kind: ClassVar[Kind] = "measured"
    """What its numbers are."""
    own_tokenizer: ClassVar[bool] = False
    """Texts go through a tokenizer of the target's own, whose ids are compared with the Hugging Face tokenizer's."""

    @abstractmethod
    def missing(self) -> str | None:
        """What this machine lacks, in one line that says how to get it; None when the target can be used."""

    @abstractmethod
    def machine(self) -> Machine:
        """The machine and the versions of the runtime."""

    def client_files(self) -> dict[str, Path]:
        """Files of the runtime that an app ships beside its model, by their names in the app's folder; mostly none."""
        return {}

    def refuses(self, folder: Path) -> str | None:
        """Why it can't run this bundle, though it runs others of its format; None where it can."""
        return None

    def padded_to(self, folder: Path, length: int) -> int | Literal["own"] | None:
        """Tokens that a timed answer really has when `length` is asked for; None where nothing is padded, or the file
        can't hold it."""
        try:
            return Signature.read(folder).accepted(length)
        except UserError:
            return None

    def threads_used(self, asked: int) -> int:
        """Threads that answers really get when so many are asked for; where another number makes no difference, those
        asked for."""
        return asked

    @abstractmethod
    def open(self, folder: Path, threads: int = 1) -> Runner:
        """Load the artefact in `folder` (a bundle, sealed or being made)."""

    @abstractmethod
    def cost_of_loading(self, folder: Path, text: Text, threads: int = 1) -> tuple[float, float]:
        """Milliseconds from file to first answer, and MB of peak memory that loading and answering added, in a fresh
        process."""


def names() -> list[str]:
    """The targets there are, by file name."""
    folder = Path(__file__).parent / "eval" / "targets"
    if not folder.is_dir():  # an installed wheel: the room is a package of its own
        folder = Path(str(importlib.import_module(ROOM).__path__[0]))
    return sorted(path.stem for path in folder.glob("*.py") if not path.stem.startswith("_"))


def find(name: str) -> Target:
    """The target called `name`.

    Raises:
        UserError: there is none, with the nearest name.
    """
    if name not in names():
        raise UserError(f"no target '{name}'; {did_you_mean(name, names())}")
    target: Target = importlib.import_module(f"{ROOM}.{name}").Target()
    return target


def for_format(bundle_format: str) -> Target:
    """The target that judges a format by default: the artefact's own runtime on this machine.

    Raises:
        UserError: there is no such format, or nothing runs it.
    """
    return find(judge(bundle_format))


def host_machine(packages: Sequence[str]) -> Machine:
    """This machine, with the versions of the named packages."""
    from importlib.metadata import version

    info = dict(line.split(":", 1) for line in _read("/proc/cpuinfo").split("\n\n")[0].splitlines() if ":" in line)
    processor = {key.strip(): value.strip() for key, value in info.items()}.get(
        "model name", platform.processor() or platform.machine()
    )
    kilobytes = next(
        (int(line.split()[1]) for line in _read("/proc/meminfo").splitlines() if line.startswith("MemTotal")), 0
    )
    return Machine(
        processor,
        _cores(),
        round(kilobytes / 2**20, 1),
        f"{platform.system()} {platform.release().split('-')[0]}",
        {"python": platform.python_version(), **{name: version(name) for name in packages}},
    )


def _cores() -> int:
    import os

    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError:
        return ""
