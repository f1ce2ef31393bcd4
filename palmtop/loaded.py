"""Loading a bundle to ask it: the model in its format's own runtime on this machine, behind one call."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Self, overload

from palmtop import target, task_kinds
from palmtop.answering import Purpose, answers
from palmtop.app_manifest import LABELS, Manifest
from palmtop.bundle import Bundle, Format
from palmtop.data.encoding import Text
from palmtop.errors import UserError, raise_all
from palmtop.generation import Generation
from palmtop.signature import FILE as SIGNATURE
from palmtop.target import Runner
from palmtop.task_kinds.answer import Answer

if TYPE_CHECKING:  # importing this file is quick: what writes needs numpy
    from palmtop.continuation import Continuation

COUNTED = {1: "one text", 2: "two texts"}


class Model:
    """A bundle that answers texts. A context manager: leaving it, or `close()`, frees the runtime."""

    def __init__(self, bundle: Bundle, purpose: Purpose, runner: Runner) -> None:
        self.bundle = bundle
        self.purpose = purpose
        """What it reads and answers: the kind of its task, the names of its texts, its labels."""
        self._runner = runner

    @overload
    def __call__(self, asked: str | tuple[str, str]) -> Answer: ...

    @overload
    def __call__(self, asked: list[str] | list[tuple[str, str]]) -> list[Answer]: ...

    def __call__(self, asked: str | tuple[str, str] | list[str] | list[tuple[str, str]]) -> Answer | list[Answer]:
        """Answer a text; a pair, or a question and its context, as a tuple; or a list of them.

        Returns:
            One answer, or one for each of a list, in order: a `Label` of a classifier, a `Number` of a regression, a
            `Span` of a model that answers questions, ... (each kind of task has its own, palmtop.task_kinds).

        Raises:
            UserError: a pair where the model reads one text, or the other way round; something that is no text.
        """
        if isinstance(asked, str | tuple):
            return self.ask([_text(asked)])[0]
        return self.ask([_text(text) for text in _several(asked)])

    def ask(self, texts: Sequence[Text]) -> list[Answer]:
        """Answer texts, each a tuple of one or two strings, as the model reads them; of a model that writes, each is a
        prompt, and its answer what was `Written` behind it."""
        if not texts:
            return []
        raise_all([fault for number, text in enumerate(texts, 1) if (fault := _fault(text, number, self.purpose))][:1])
        if self.purpose.signature is not None and self.purpose.signature.generation is not None:
            return [self.write(prompt).whole() for (prompt,) in texts]
        encodings = self._runner.tokenize(texts)
        return answers(self.purpose, encodings, self._runner.predict(encodings))

    def write(self, prompt: str) -> "Continuation":
        """What a model that writes says behind a prompt, to be gone through piece by piece as it comes.

        Raises:
            UserError: the model doesn't write, or the prompt is no text.
        """
        from palmtop.continuation import Continuation
        from palmtop.writer import Writer

        if not isinstance(self._runner, Writer):
            raise UserError(
                f"{self.bundle.name} is for {self.purpose.kind.replace('_', ' ')}: ask it, it doesn't write"
            )
        raise_all([fault for fault in (_fault((prompt,), 1, self.purpose),) if fault])
        return Continuation(self._runner, prompt, self._generation)

    @property
    def _generation(self) -> Generation:
        signature = self.purpose.signature
        assert signature is not None and signature.generation is not None  # what opened a Writer
        return signature.generation

    def close(self) -> None:
        """Free the runtime; the model answers no more."""
        self._runner.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<palmtop model {self.bundle.name}: {self.bundle.format}, {self.purpose.kind}>"


def load(bundle: Bundle | Path | str, *, threads: int = 1) -> Model:
    """Load a bundle of any format, or an app's folder, in its own runtime on this machine.

    A .tflite runs in LiteRT, ONNX in onnxruntime, neither needs torch; a TensorFlow.js model runs in Chromium.
    Sizes of the files are checked here; 'palmtop verify' reads them.

    Args:
        threads: of the runtime.

    Raises:
        UserError: no bundle, a bundle that wasn't trained for a task, or what this machine lacks to run its format.
    """
    opened = bundle if isinstance(bundle, Bundle) else Bundle.open(Path(bundle))
    purpose = purpose_of(opened)
    runtime = target.for_format(_format(opened))
    if lack := runtime.missing():
        raise UserError(f"{opened.path} can't be run on this machine: {lack}")
    if threads < 1:
        raise UserError(f"threads is {threads}: give at least 1")
    return Model(opened, purpose, runtime.open(opened.path, threads))


def purpose_of(bundle: Bundle) -> Purpose:
    """What a bundle's model reads and answers, from its task, or of an app from its manifest.

    Raises:
        UserError: it has neither.
    """
    signed = (bundle.path / SIGNATURE).is_file()  # the linear floor has none: it reads words, and answers logits
    signature = bundle.signature if signed else None
    if bundle.format == "app":
        manifest = Manifest.read(bundle.path)
        labels = (bundle.path / LABELS).read_text(encoding="utf-8").splitlines()
        columns = task_kinds.find(manifest.kind).asked[: manifest.texts]
        return Purpose(manifest.kind, columns, tuple(labels), signature)
    task = bundle.task
    if task is None:
        raise UserError(
            f"{bundle.path} has no task, so it has no head that answers: train one with 'palmtop finetune', or name a "
            "bundle that was trained"
        )
    return Purpose(task.kind, task.of_kind.reads(task.columns), task.label_names, signature)


def _format(bundle: Bundle) -> Format:
    """Of the model in the folder."""
    return Manifest.read(bundle.path).format if bundle.format == "app" else bundle.format


def _several(asked: object) -> Iterable[object]:
    if not isinstance(asked, Iterable) or isinstance(asked, bytes | dict):
        raise UserError(f"{asked!r} is no text: give a text, a pair as a tuple, or a list of them")
    return asked


def _text(asked: object) -> Text:
    parts = asked if isinstance(asked, tuple) else (asked,)
    if not all(isinstance(part, str) for part in parts):
        raise UserError(f"{asked!r} is no text: give a text, a pair as a tuple, or a list of them")
    return parts


def _fault(text: Text, number: int, purpose: Purpose) -> str | None:
    """What is wrong with a text that is asked, the `number`th, or None."""
    fits = len(text) in COUNTED if task_kinds.find(purpose.kind).apart else len(text) == len(purpose.columns)
    if not fits:
        given = COUNTED.get(len(text), f"{len(text)} texts")
        return f"the model reads {wanted(purpose)} at a time, and text {number} is {given}"
    try:
        "".join(text).encode()
    except UnicodeEncodeError:
        return f"text {number} isn't valid Unicode (it has half of a surrogate pair): {text!r}"
    return None


def wanted(purpose: Purpose) -> str:
    """What a model reads, in words: two texts (question, context)."""
    names = f" ({', '.join(purpose.columns)})" if len(purpose.columns) > 1 else ""
    return COUNTED[len(purpose.columns)] + names
