"""What a model writes behind a prompt: pieces of text as they come, and the whole as an answer."""

from collections.abc import Iterator

from palmtop.generation import Generation
from palmtop.task_kinds.causal_lm import Written
from palmtop.writer import Writer, room_for_prompt, write

HALF = "\N{REPLACEMENT CHARACTER}"
"""What a tokenizer gives for the bytes of a letter that isn't whole yet."""


class Continuation:
    """A continuation that is being written. To be gone through once; afterwards `written` says what it was."""

    def __init__(self, writer: Writer, prompt: str, settings: Generation) -> None:
        self._writer, self._settings = writer, settings
        self._prompt = writer.prompt(prompt)
        self._ids: list[int] = []
        self._shown = ""

    def __iter__(self) -> Iterator[str]:
        """Pieces of text; a letter of several tokens comes when it is whole."""
        for token in write(self._writer, self._prompt, self._settings):
            self._ids.append(token)
            text = self._writer.decode(self._ids)
            if not text.endswith(HALF) and len(text) > len(self._shown):
                yield text[len(self._shown) :]
                self._shown = text
        rest = self._writer.decode(self._ids)[len(self._shown) :]
        if rest:
            yield rest

    @property
    def written(self) -> Written:
        """What was written so far."""
        cut = len(self._prompt) > room_for_prompt(self._writer, self._settings)
        return Written(truncated=cut, text=self._writer.decode(self._ids), tokens=len(self._ids))

    def whole(self) -> Written:
        """Write all of it."""
        for _ in self:
            pass
        return self.written
