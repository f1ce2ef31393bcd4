"""Signature: what an artefact takes and gives, graph by graph, written beside it as signature.json."""

from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from palmtop.errors import UserError, did_you_mean
from palmtop.generation import Generation

FILE = "signature.json"
MAIN = "main"
"""The graph that answers a text whole."""
NOT_PADDED = (
    "a cascade takes the time of one model or of two, text by text, so that its median says little: see its expected "
    "milliseconds"
)
"""Why nothing is padded to a length that is asked for."""
PREFILL, STEP = "prefill_", "step"
"""Graphs of a model that writes: what reads so many tokens at once, and what reads one more."""
PAST, PRESENT = "past_key_values", "present"
"""How the names of keys and values begin that go into such a graph, and of those that come out of it."""


class Tensor(BaseModel):
    """An input or an output of a graph."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    dtype: Literal["int32", "int64", "float32", "float16", "int8", "bool"]
    axes: tuple[str | int, ...]
    """Of each axis its size, or what it counts where that is open: batch, tokens; "..." for those that the kind of task
    says."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Its sizes, of a tensor that has no open axis."""
        assert all(isinstance(axis, int) for axis in self.axes), f"{self.name} has open axes: {self.axes}"
        return tuple(int(axis) for axis in self.axes)


class Graph(BaseModel):
    """What is run in one call; both in the artefact's order."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


class Cascade(BaseModel):
    """How two models share the texts: the first is asked each, the second those of which the first isn't sure. Each is
    a folder with its own signature and tokenizer; the arithmetic is in palmtop/cascade.py."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    first: str = "first"
    second: str = "second"
    """Folders beside signature.json."""
    temperature: float = Field(gt=0)
    """What the first's logits are divided by before the softmax."""
    threshold: float = Field(ge=0, le=1)
    """Largest probability, so calibrated, from which on the first's answer stands."""


class Signature(BaseModel):
    """Inputs and outputs of a model file; every runtime feeds the artefact by this and by nothing else.

    What it says plainly is of the graph `main`, the only one that most files have.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    inputs: tuple[str, ...]
    """Names among input_ids, attention_mask, token_type_ids, in the artefact's order; all int32 [batch, tokens]. None
    where a file has no graph that answers a text whole."""
    output: str = "logits"
    """What the artefact answers with, a word of one of the kinds of tasks (`TaskKind.outputs`): logits or
    probabilities, float32 [batch, outputs]; spans: start and end logits, each [batch, tokens]."""
    lengths: tuple[int, ...] | None = None
    """The fixed token counts the artefact accepts, ascending; None when any length up to `max_length` will do."""
    max_length: int
    """Longest text in tokens, specials included; longer ones are truncated, and counted where it is measured."""
    pad_id: int
    thresholds: tuple[float, ...] | None = None
    """Probabilities from which on each label is given, where a text has any number of labels; None: one label a
    text."""
    null_threshold: float | None = None
    """Of answers to questions: there is none where the sum of start and end logit at [CLS] (the least over the windows)
    is above the best span's by more than this; None: there always is one."""
    stride: int | None = None
    """Of answers to questions: a context that is longer than fits is read in windows that have so many tokens of it in
    common; None: its end is cut off."""
    other_graphs: dict[str, Graph] = {}
    """Graphs besides `main`, by name: encode and decode, or prefill_32 and step."""
    cascade: Cascade | None = None
    """Of two models in one bundle; then there are no inputs here, and the length is the first's. None: one model."""
    generation: Generation | None = None
    """How a model that writes goes on from a text; None: it writes nothing."""

    @field_validator("other_graphs")
    @classmethod
    def _main_is_said_plainly(cls, graphs: dict[str, Graph]) -> dict[str, Graph]:
        if MAIN in graphs:
            raise ValueError(f"'{MAIN}' is among other_graphs; 'inputs' and 'output' say what it is")
        return graphs

    @property
    def graphs(self) -> dict[str, Graph]:
        """Every graph by name."""
        if not self.inputs:
            return dict(self.other_graphs)
        given = tuple(Tensor(name=name, dtype="int32", axes=("batch", "tokens")) for name in self.inputs)
        answered = Tensor(name=self.output, dtype="float32", axes=("batch", "..."))
        return {MAIN: Graph(inputs=given, outputs=(answered,)), **self.other_graphs}

    def graph(self, name: str = MAIN) -> Graph:
        """The graph called `name`.

        Raises:
            UserError: there is none, with the nearest name.
        """
        if name not in self.graphs:
            raise UserError(f"the artefact has no graph '{name}'; {did_you_mean(name, self.graphs)}")
        return self.graphs[name]

    def parts(self, folder: Path) -> tuple[Path, Path]:
        """The folders of a cascade's first and second model.

        Args:
            folder: in which this signature lies.
        """
        assert self.cascade is not None  # who asks has looked
        return folder / self.cascade.first, folder / self.cascade.second

    @property
    def only_length(self) -> int | None:
        """The one token count at which a model in torch is run, where padding changes its answers; None elsewhere."""
        return self.lengths[0] if self.lengths is not None and len(self.lengths) == 1 else None

    def length_for(self, tokens: int) -> int:
        """The padded length at which a text of `tokens` tokens is run when it is run alone."""
        if self.lengths is None:
            return tokens
        return next((length for length in self.lengths if length >= tokens), self.lengths[-1])

    def accepted(self, length: int) -> int:
        """The padded length at which the artefact runs when the work of `length` tokens is wanted.

        Raises:
            UserError: it accepts nothing as long as that, or is two models.
        """
        if self.cascade is not None:
            raise UserError(NOT_PADDED)
        longest = self.lengths[-1] if self.lengths else self.max_length
        if length > longest:
            raise UserError(
                f"{length} tokens are more than the artefact accepts ({longest}): choose a smaller length, or export "
                "it with one more"
            )
        return self.length_for(length)

    def write(self, folder: Path) -> None:
        """Write signature.json into `folder`."""
        # files of one label a text, and of one graph, stay as they were
        optional = {
            "thresholds": self.thresholds,
            "null_threshold": self.null_threshold,
            "stride": self.stride,
            "other_graphs": self.other_graphs or None,
            "cascade": self.cascade,
            "generation": self.generation,
        }
        unsaid = {name for name, said in optional.items() if said is None}
        written = self.model_dump_json(indent=1, exclude=unsaid)
        (folder / FILE).write_text(written + "\n", encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read signature.json of an artefact.

        Raises:
            UserError: the file is missing or not a signature.
        """
        path = folder / FILE
        try:
            return cls.model_validate_json(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise UserError(
                f"{folder} has no {FILE}, so it isn't a bundle that can be run; adopt or export it with palmtop first"
            ) from None
        except ValidationError as error:
            raise UserError(f"{path} isn't a signature: {error.errors()[0]['msg']}; export the bundle again") from None


def past_of(present: str) -> str:
    """The input for the next call that an output of keys or values becomes."""
    return PAST + present.removeprefix(PRESENT)


def prefills(signature: Signature) -> list[int]:
    """The token counts of its prefill graphs, ascending."""
    return sorted(int(name.removeprefix(PREFILL)) for name in signature.other_graphs if name.startswith(PREFILL))
