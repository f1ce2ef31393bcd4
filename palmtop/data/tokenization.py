"""Texts to token ids on the host, from the tokenizer.json that every bundle carries."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from palmtop import task_kinds
from palmtop.data.encoding import Encoding, Text
from palmtop.errors import UserError
from palmtop.signature import Signature

if TYPE_CHECKING:
    from palmtop.task_kinds.kind import TaskKind

FILE = "tokenizer.json"


class HostTokenizer:
    """The Hugging Face tokenizer of a bundle, without padding, truncating at `max_length`.

    Args:
        output: what signature.json says of the outputs, by which the kind of task is known that says how its texts are
            encoded.
        kind: the same, as a whole signature settles it.
    """

    def __init__(self, folder: Path, max_length: int, output: str = "logits", kind: "TaskKind | None" = None) -> None:
        from tokenizers import Tokenizer  # the measuring side's dependency; the vocabulary loads without it

        path = folder / FILE
        if not path.is_file():
            raise UserError(f"{folder} has no {FILE}: a bundle carries its tokenizer; adopt the model again")
        self._tokenizer = Tokenizer.from_file(str(path))
        self._tokenizer.no_padding()
        self._max_length, self._kind = max_length, kind or task_kinds.by_output(output)
        self._kind.check_length(max_length)

    @classmethod
    def of(cls, folder: Path, signature: Signature) -> "HostTokenizer":
        """The tokenizer in `folder` for an artefact of this signature."""
        kind = task_kinds.by_output(signature.output).as_signed(signature)
        return cls(folder, signature.max_length, kind=kind)

    def encode(self, texts: Sequence[Text]) -> list[Encoding]:
        """Encode texts or pairs, in order; several windows of one that is read in windows, one after the other."""
        return self._kind.encode(self._tokenizer, texts, self._max_length)

    def plain(self, text: str) -> list[int]:
        """All tokens of a text, without special ones around it."""
        self._tokenizer.no_truncation()
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """Tokens as a text, without special ones."""
        text: str = self._tokenizer.decode(list(ids), skip_special_tokens=True)
        return text
