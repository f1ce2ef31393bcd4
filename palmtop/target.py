"""Target: a place where an artefact runs and numbers are taken. Found by file name in eval/targets."""

import importlib
import platform
import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from palmtop.data.encoding import Encoding, Text
from palmtop.errors import UserError, did_you_mean
from palmtop.format import judge
from palmtop.measurement import NOT_RUN, Kind
from palmtop.signature import FILE as SIGNATURE
from palmtop.signature import Signature

if TYPE_CHECKING:  # an app's import is quick: numpy waits for the first text
    from jaxtyping import Bool, Float32
    from numpy import ndarray

ROOM = "palmtop.eval.targets"
OWN_LENGTH: Literal["own"] = "own"
"""In place of a padded length: each text ran at its own."""
NO_ADDRESS = re.compile(r"^-|[\s,|]")
"""What programs would take for an option, a list of targets for its end, or a table for a column's."""


@dataclass(frozen=True)
class Machine:
    """Where a number was taken: enough to tell two machines or two sets of versions apart."""

    processor: str
    cores: int
    memory_gb: float
    system: str
    versions: dict[str, str] = field(default_factory=dict)
    clocks: str | None = None
    """Highest clock of each kind of core; None where nobody asked."""

    def as_dict(self) -> dict[str, Any]:
        """The machine as it stands in measurements.jsonl; without clocks where they aren't known, as it stood before
        they were asked for."""
        return {name: said for name, said in asdict(self).items() if name != "clocks" or said is not None}


class Unreachable(UserError):
    """The machine at a target's address can't be reached, or is gone; what was measured there before stands."""


@dataclass(frozen=True)
class State:
    """How a machine is doing while it is timed, as it says itself."""

    noted: dict[str, Any] = field(default_factory=dict)
    """Load, temperature and the like: kept with a latency, and needn't be the same in two that are compared."""
    doubt: str | None = None
    """Why what is timed now is not valid: the machine is hot, or busy."""


class Runner(ABC):
    """An artefact loaded on a target and ready to answer. A context manager: leaving it frees what it holds.

    It may be here, in a page, or behind a wire to another machine: what goes in and out are texts, encodings and
    numbers, and nothing else of it is ever asked for. What the other side refuses is a UserError here too; a wire that
    was cut is `Unreachable`: what was measured before stands in the run's file, and the next call goes on from there.
    """

    @abstractmethod
    def tokenize(self, texts: Sequence[Text]) -> list[Encoding]:
        """Encode texts with the tokenizer that this target uses."""

    @abstractmethod
    def predict(self, encodings: Sequence[Encoding]) -> "Float32[ndarray, 'texts ...']":
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
        answer.

        Raises:
            UserError: nothing tokenizes there, with the reason; the way from a text to its answer isn't timed then.
        """

    def answered_first(self, encodings: Sequence[Encoding]) -> "Bool[ndarray, ' texts'] | None":
        """Of a cascade, which texts the first of its two models answers; None of one model."""
        return None

    def state(self) -> State:
        """How its machine is doing; nothing is asked where it is this one."""
        return State()

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
    address_is: ClassVar[str | None] = None
    """What its address is, as messages show it: USER@HOST is asked for as ssh:USER@HOST; None where it has none."""
    default_address: ClassVar[str | None] = None
    """The address where none is given; None where one is needed."""
    formats: ClassVar[frozenset[str]]
    """Bundle formats that it runs."""
    kind: Kind
    """What its numbers are. Each target says it itself, one that has an address may say it of that address: an emulator
    in place of a phone."""
    writes: ClassVar[bool] = False
    """Whether it runs models that write, which have several graphs and a cache."""
    own_tokenizer: ClassVar[bool] = False
    """Texts go through a tokenizer of the target's own, whose ids are compared with the Hugging Face tokenizer's."""
    wordpiece_only: ClassVar[bool] = False
    """Whether that tokenizer is BERT's own, with a vocab.txt: it can't stand in for any other."""
    untimed: ClassVar[str | None] = None
    """Why its clock says nothing of the machine that it stands for: no time and no memory is ever told then; None where
    they are measured."""

    def __init__(self, address: str | None = None) -> None:
        """The target at an address.

        Raises:
            UserError: it has none and was given one, or the other way round; or no address is like that.
        """
        address = self.default_address if address is None else address
        if fault := _address_fault(self.name, self.address_is, address):
            raise UserError(fault)
        self.address = address

    @property
    def label(self) -> str:
        """How it is asked for with `--on`, and named in measurements and tables: name, or name:address."""
        return self.name if self.address is None else f"{self.name}:{self.address}"

    @property
    def place(self) -> str:
        """Artefacts on targets of one place take turns when they are timed; by default each target is a place of its
        own."""
        return self.label

    @property
    def runs(self) -> bool:
        """Whether it runs artefacts at all."""
        return self.kind != NOT_RUN

    @classmethod
    def needs(cls) -> str | None:
        """What this machine lacks for it, whatever the address, in one line that says how to get it; asks no other
        machine."""
        return cls().missing() if cls.address_is is None else None

    @abstractmethod
    def missing(self) -> str | None:
        """What this machine lacks, or the one at the address, in one line that says how to get it; None when the target
        can be used."""

    @abstractmethod
    def machine(self) -> Machine:
        """The machine on which it runs, which may be another than this one, and the versions of the runtime."""

    def client_files(self) -> dict[str, Path]:
        """Files of the runtime that an app ships beside its model, by their names in the app's folder; mostly none."""
        return {}

    def unable(self, folder: Path) -> str | None:
        """Why it can't run this bundle, though it runs others of its format; None where it can."""
        signed = (folder / SIGNATURE).is_file()
        if signed and not self.writes and Signature.read(folder).generation is not None:
            return (
                f"the bundle's model writes, token by token with a cache, and {self.name} runs one graph at a time: "
                "measure it on host_torch, host_litert or host_onnx"
            )
        return self.refuses(folder)

    def refuses(self, folder: Path) -> str | None:
        """The same of what is a target's own."""
        return None

    def answers_at_most(self, folder: Path) -> int | None:
        """Texts that it answers of a split, spread evenly, where all would take hours; None where it answers all."""
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
        """Load the artefact in `folder`, a bundle on this machine, sealed or being made; a target elsewhere brings it
        there."""

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


def find(label: str) -> Target:
    """The target that is asked for: by its name, or where it has an address by name:address, as in ssh:pi@board.

    Raises:
        UserError: there is none, with the nearest name; or an address is missing, or too much.
    """
    name, colon, address = label.partition(":")
    return class_of(name)(address if colon else None)


def class_of(name: str) -> type[Target]:
    """The class in the file of the target called `name`.

    Raises:
        UserError: there is none, with the nearest name.
    """
    if name not in names():
        raise UserError(f"no target '{name}'; {did_you_mean(name, names())}")
    found: type[Target] = importlib.import_module(f"{ROOM}.{name}").Target
    return found


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


def _address_fault(name: str, address_is: str | None, address: str | None) -> str | None:
    if address_is is None:
        return None if address is None else f"the target '{name}' has no address: write {name}, not {name}:{address}"
    if not address:
        return f"the target '{name}' needs an address: write {name}:{address_is}"
    if NO_ADDRESS.search(address):
        return (
            f"'{address}' is no address for the target '{name}': write {name}:{address_is}, without spaces, commas or "
            "'|', and with no '-' in front"
        )
    return None


def _cores() -> int:
    import os

    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError:
        return ""
