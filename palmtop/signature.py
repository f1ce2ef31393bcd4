"""Signature: what an artefact takes and gives, written beside it as signature.json."""

from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, ValidationError

from palmtop.errors import UserError

FILE = "signature.json"


class Signature(BaseModel):
    """Inputs and outputs of a model file; every runtime feeds the artefact by this and by nothing else."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    inputs: tuple[str, ...]
    """Names among input_ids, attention_mask, token_type_ids, in the artefact's order; all int32 [batch, tokens]."""
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
        unsaid = (
            {"thresholds"} if self.thresholds is None else set[str]()
        )  # files of one label a text stay as they were
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
