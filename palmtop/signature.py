"""Signature: what an artefact takes and gives, graph by graph, written beside it as signature.json."""

from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from palmtop.errors import UserError, did_you_mean

FILE = "signature.json"
MAIN = "main"
"""The graph that answers a text whole."""


class Tensor(BaseModel):
    """An input or an output of a graph."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    dtype: Literal["int32", "int64", "float32", "float16", "int8", "bool"]
    axes: tuple[str | int, ...]
    """Of each axis its size, or what it counts where that is open: batch, tokens; "..." for those that the kind of task
    says."""


class Graph(BaseModel):
    """What is run in one call; both in the artefact's order."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


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
            UserError: it accepts nothing as long as that.
        """
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
        }
        unsaid = {name for name, said in optional.items() if said is None}
        (folder / FILE).write_text(self.model_dump_json(indent=1, exclude=unsaid) + "\n", encoding="utf-8")

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
