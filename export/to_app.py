"""Make the folder that goes into an app: the model, its tokenizer and labels, golden answers, a manifest, and code that
runs it."""

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar, Literal

from jaxtyping import Float32
from numpy import ndarray
from pydantic import Field, field_serializer

from palmtop import format as file_format
from palmtop import parity, target
from palmtop.app_manifest import (
    ANSWERS,
    LABELS,
    LIMITS,
    MANIFEST,
    NOT_STATED,
    README,
    VOCABULARY,
    GoldenRow,
    Manifest,
    Step,
    Tolerance,
    golden_rows,
    unseen_labels,
    write_golden,
)
from palmtop.bundle import Bundle, FileEntry, Format, sha256_of
from palmtop.data.encoding import Encoding, Text
from palmtop.data.tokenization import FILE as TOKENIZER
from palmtop.data.tokenization import HostTokenizer
from palmtop.effect import Effect
from palmtop.errors import MissingFile, UserError, raise_all
from palmtop.export import stored_once
from palmtop.export.app import golden_answers, layouts, model2vec, sentence_transformers, transformers_js, two_models
from palmtop.export.app.android_project import ANDROID
from palmtop.export.app.clients import EMBEDDER, QUESTION_ANSWERER, client_for, task_clients, why_not
from palmtop.export.app.handover import readme
from palmtop.export.app.page import why_none, write_page
from palmtop.export.app.react_native_project import REACT_NATIVE
from palmtop.export.app.transformers_js_readme import readme as readme_of_transformers_js
from palmtop.paths import without_paths, without_places
from palmtop.signature import FILE as SIGNATURE
from palmtop.signature import Signature
from palmtop.stage import HandOver, Outline, Stage, Work
from palmtop.task import Task

TOKENIZER_CONFIG, PAGE = "tokenizer_config.json", "index.html"
BESIDE = (TOKENIZER, TOKENIZER_CONFIG, LABELS, SIGNATURE)
SAME = 1e-5
"""Largest difference of the packed file's answers from those of the file it was made of, as a share of the spread: the
weights are the same bytes and the runtime is the same one."""
BY_FLOAT = Tolerance(difference=1e-2, typical=1e-3, agreement=0.98)
BY_INTEGER = Tolerance(difference=1.0, typical=0.1, agreement=0.9)
"""What computes in float32 differs from machine to machine by rounding only; activations that are rounded to 8 bits
fall to another side of a step when the float part before them was rounded otherwise."""

HARD: tuple[Text, ...] = tuple(
    (text,)
    for text in (
        "WHY IS MY CARD NOT WORKING?!",
        "price: $3.50 #1 @home a/b_c",
        "  two   spaces ",
        "Ünïcödé Ångström",
        "\u6771\u4eac and \u5317\u4eac",
        "thanks \U0001f44d\U0001f3fd!",
        "zero\u200bwidth and no-break\u00a0space",
        "supercalifragilisticexpialidocious " * 3,
        "word " * 600,
    )
)
"""On which tokenizers differ: accents, CJK, emoji, odd spaces, long words, a text longer than any model takes."""


class ToApp(Stage):
    """Put a model into an app's folder; a .tflite of a WordPiece classifier or reader gets what Google's Task clients
    need."""

    accepts: ClassVar[frozenset[Format]] = file_format.in_folders()
    without_layers: ClassVar[bool] = True
    produces: ClassVar[Format] = "app"
    effect: ClassVar[Effect] = "none"
    packages: ClassVar[tuple[str, ...]] = ("tokenizers",)
    packages_for: ClassVar[dict[Format, tuple[str, ...]]] = {
        each.name: each.in_app.packages for each in file_format.every() if each.in_app
    }
    extra: ClassVar[str] = "all"
    takes_besides: ClassVar[Format] = "onnx"
    hand_overs: ClassVar[Mapping[str, HandOver]] = {"android": ANDROID, "react_native": REACT_NATIVE}

    layout: layouts.Name = "palmtop"
    """Who opens the folder: palmtop: apps on phones, pages, palmtop itself; transformers.js: its pipelines, in a page
    or in Node, of an ONNX file; sentence-transformers: SentenceTransformer, of a torch model; model2vec: StaticModel,
    of a static student."""
    quantized: str | None = None
    """Of transformers.js: the folder of the int8 bundle of the same model, whose file goes beside the float one; it is
    what a page takes."""
    pooling: sentence_transformers.Pooling | None = None
    """Of sentence-transformers: what a text's vector is made of, the mean of the tokens' last states, the first
    token's, or each place's largest; by default as the model was trained, else mean."""
    normalize: bool | None = None
    """Of sentence-transformers: bring vectors to length 1; by default as the model was trained, else no."""
    title: str | None = None
    """The model's name, as clients show it; by default that of its task."""
    description: str | None = None
    """What it is for, in a sentence; by default its task, how many labels, and how it was made."""
    version: str = "1"
    """The app's own version of the model."""
    author: str = NOT_STATED
    """Who answers for it."""
    licence: str = NOT_STATED
    """Of the model, such as Apache-2.0; the data's is the task's own."""
    golden: Literal["task", "plain"] = "task"
    """Texts of golden.jsonl: task: 48 of the task's evaluation data, more where a label is the answer to none of them,
    and some hard ones; plain: no text of yours leaves this machine."""
    task_clients: Literal["if_possible", "required"] = "if_possible"
    """required: refuse a model that MediaPipe's TextClassifier, for vectors its TextEmbedder, or for questions
    BertQuestionAnswerer, can't answer with."""
    tolerance: float | None = Field(default=None, gt=0, le=LIMITS.difference)
    """Largest difference that 'palmtop verify' lets through on another machine, as a share of the outputs' spread; by
    default that of the precision: 0.01 for float and weight-only, 1 where activations are quantized."""

    @field_serializer("quantized", when_used="json")
    def _last_part(self, folder: str | None) -> str | None:
        """As the card has it, which is handed out; `inputs` says which bundle it was."""
        return Path(folder).name if folder else None

    def inputs(self) -> dict[str, str]:
        """The int8 bundle."""
        return {"quantized": Bundle.open(Path(self.quantized)).digest} if self.quantized else {}

    def outline(self, source: Outline | None) -> Outline:
        """A folder for the source's format; refused where its runtime isn't there to take the golden answers."""
        assert source is not None  # the driver checked `accepts`
        raise_all(layouts.faults(self.layout, source, self._changed()))
        if source.format == "torch":
            return replace(source, format=self.format_of(source.format))
        if lack := target.for_format(source.format).missing():
            raise UserError(f"to_app takes golden answers from the model's own runtime, but {lack}")
        if self.task_clients == "required" and source.format != "tflite":
            raise UserError(f"task_clients: required is for tflite, this is {source.format}: leave it out")
        if self.task_clients == "required" and source.not_wordpiece:
            raise UserError(
                f"task_clients: required, but the Task clients can't take this model: {source.not_wordpiece}; "
                "leave it out: the folder's page, its Kotlin and its TypeScript know WordPiece, byte-level BPE and "
                "Unigram"
            )
        return Outline(
            "app",
            source.family,
            source.layers,
            source.labels,
            task=source.task,
            not_wordpiece=source.not_wordpiece,
        )

    def format_of(self, source: Format | None) -> Format:
        """sentence-transformers' files lie beside a torch bundle's own: it stays one."""
        return "torch" if self.layout == "sentence-transformers" else super().format_of(source)

    def run(self, source: Bundle | None, work: Work) -> dict[str, Any]:
        """Copy, pack, ask for the golden answers, and write the manifest."""
        assert source is not None  # the driver checked `accepts`
        task = source.task
        if source.format == "torch":
            return self._of_torch(source, work.out)
        if task is None:
            raise UserError(f"{source.name} has no task, so there are no labels to ship: export a fine-tuned model")
        if self.layout == "transformers.js":
            return self._for_transformers_js(source, task, work.out)
        return self._of_two(source, task, work.out) if source.is_cascade else self._of_one(source, task, work.out)

    def _of_one(self, source: Bundle, task: Task, out: Path, page: bool = True) -> dict[str, Any]:
        """An app's folder of one model."""
        for pattern in (*file_format.find(source.format).files, *BESIDE):
            for path in source.path.glob(pattern):
                shutil.copyfile(path, out / path.name)
        if (out / TOKENIZER_CONFIG).is_file():
            (out / TOKENIZER_CONFIG).write_text(
                without_places((out / TOKENIZER_CONFIG).read_text(encoding="utf-8")), encoding="utf-8"
            )
        clients = self._fit(source, task, out)
        rows = self._write_golden(source, task, out)
        no_page = why_none(source.format, task) if page else "it lies beside another model's"
        if no_page is None:
            write_page(source.format, out)
        self._write_readme(source, task, out, clients, no_page is None)
        self._manifest(source, task, out, clients, rows).write(out)
        told = _told(source, task, clients, rows) | {"page": no_page or PAGE}
        judge = client_for(task)
        return told if clients.get(judge, ANSWERS) == ANSWERS else told | {"task_clients": clients[judge]}

    def _of_two(self, source: Bundle, task: Task, out: Path) -> dict[str, Any]:
        """An app's folder of a cascade: one of each model, and above them what both answer together."""
        for part in source.parts:
            (out / part.name).mkdir()
            self._of_one(part, task, out / part.name, page=False)
        for name in (LABELS, SIGNATURE):
            shutil.copyfile(source.path / name, out / name)
        clients = {_in_app(source).client: ANSWERS} | dict.fromkeys(two_models.CLIENTS, two_models.NO_TASK_CLIENT)
        encodings = self._golden_encodings(source.parts[0], task, out / source.parts[0].name)
        _check_same(source, encodings, parity.answers((source.format, out), encodings))
        rows = self._with_unseen(source, task, out, golden_answers.rows_of(source, task, out, encodings))
        write_golden(out, rows)
        no_page = why_none(source.format, task)
        if no_page is None:
            write_page(source.format, out)
        self._write_readme(source, task, out, clients, no_page is None)
        self._manifest(source, task, out, clients, rows).write(out)
        return _told(source, task, clients, rows) | {"page": no_page or PAGE}

    def _changed(self) -> frozenset[str]:
        """Settings that aren't as they are by default."""
        return frozenset(
            name for name, field in type(self).model_fields.items() if getattr(self, name) != field.get_default()
        )

    def _of_torch(self, source: Bundle, out: Path) -> dict[str, Any]:
        """The folder that a tool for torch models opens; without golden answers, for these are vectors."""
        title, description = self.title or source.name, self.description or _made(source)
        if self.layout == "model2vec":
            model2vec.lay_out(source, title, description, out)
            return {"layout": self.layout}
        vector = sentence_transformers.vector_of(source, self.pooling, self.normalize)
        sentence_transformers.lay_out(source, vector, title, description, out)
        return {"layout": self.layout, "pooling": vector.pooling, "normalize": vector.normalize}

    def _for_transformers_js(self, source: Bundle, task: Task, out: Path) -> dict[str, Any]:
        """The folder that transformers.js opens, with the golden answers of the file that it was made of."""
        quantized = Bundle.open(Path(self.quantized)) if self.quantized else None
        raise_all(transformers_js.faults(source, task, quantized))
        transformers_js.lay_out(source, task, quantized, out)
        clients = {_in_app(source).client: ANSWERS, transformers_js.CLIENT: transformers_js.SAID}
        rows = self._write_golden(source, task, out)
        if quantized is not None:
            self._check_beside(quantized, task, out)
        files = transformers_js.is_float(source), quantized is not None
        title, description = self._title(task), self._description(source, task)
        text = readme_of_transformers_js(title, description, task, source.signature, files)
        (out / README).write_text(text, encoding="utf-8")
        self._manifest(source, task, out, clients, rows).write(out)
        return _told(source, task, clients, rows) | {"layout": self.layout}

    def _check_beside(self, quantized: Bundle, task: Task, out: Path) -> None:
        """See that the int8 file answers as the one it was made of."""
        encodings = self._golden_encodings(quantized, task, out)
        with TemporaryDirectory() as alone:
            shutil.copyfile(out / transformers_js.INT8, Path(alone, "model.onnx"))
            for name in (TOKENIZER, SIGNATURE):
                shutil.copyfile(out / name, Path(alone, name))
            _check_same(quantized, encodings, parity.answers((quantized.format, Path(alone)), encodings))

    def _fit(self, source: Bundle, task: Task, out: Path) -> dict[str, str]:
        """Add what the format's clients need; returns what each does."""
        made = _in_app(source)
        if source.format != "tflite":
            return {made.client: ANSWERS}
        reason = why_not(source, task)
        if reason and self.task_clients == "required":
            raise UserError(f"{source.name} isn't for the Task clients: {reason}")
        old = self._pack(source, task, out) if reason is None else None
        return {made.client: ANSWERS, **task_clients(task, reason, old)}

    def _pack(self, source: Bundle, task: Task, out: Path) -> str | None:
        """Write the .tflite with metadata, and a signature with all three inputs; returns why old runtimes refuse
        it."""
        from palmtop.data.wordpiece import vocabulary
        from palmtop.export.tflite_file.task_file import write_task_file
        from palmtop.export.tflite_file.task_metadata import TENSORS, About, classifier, embedder, reader

        (out / VOCABULARY).write_text("\n".join(vocabulary(source.path)) + "\n", encoding="utf-8")
        about = About(self._title(task), self._description(source, task), self.version, self.author, self.licence)
        describe = {QUESTION_ANSWERER: reader, EMBEDDER: embedder}.get(client_for(task), classifier)
        packed = (VOCABULARY, LABELS) if describe is classifier else (VOCABULARY,)
        files = {name: (out / name).read_bytes() for name in packed}
        old = write_task_file(source.path / "model.tflite", out / "model.tflite", about, describe, files)
        known = source.signature
        known.model_copy(
            update={"inputs": (*known.inputs, *(name for name in TENSORS if name not in known.inputs))}
        ).write(out)
        return old

    def _write_golden(self, source: Bundle, task: Task, out: Path) -> list[GoldenRow]:
        """Ask the packed model, and see that it answers as the one it was made of."""
        encodings = self._golden_encodings(source, task, out)
        outputs = parity.answers((source.format, out), encodings)
        if _repacked(source, out):
            stored_once.check(source.format, out)
            _check_same(source, encodings, outputs)
        rows = self._with_unseen(source, task, out, golden_rows(encodings, outputs, task, Signature.read(out)))
        write_golden(out, rows)
        return rows

    def _with_unseen(self, source: Bundle, task: Task, out: Path, rows: list[GoldenRow]) -> list[GoldenRow]:
        return rows + golden_answers.of_unseen_labels(source, task, out, rows) if self.golden == "task" else rows

    def _golden_encodings(self, source: Bundle, task: Task, out: Path) -> list[Encoding]:
        signature = Signature.read(out)
        try:
            own = parity.texts_for(source.path, signature) if self.golden == "task" else []
        except MissingFile as error:
            raise UserError(f"{error}: put the task's evaluation data back there, or set golden: plain") from None
        hard = [text * task.texts_at_a_time for text in (*parity.PLAIN, *HARD)]
        encodings = HostTokenizer.of(out, signature).encode(list(dict.fromkeys([*own, *hard])))
        if not task.of_kind.asks_a_context:
            return encodings
        several = {row.text for row in encodings if row.part}  # a golden row is one run: of texts of one window
        return [row for row in encodings if row.text not in several]

    def _write_readme(self, source: Bundle, task: Task, out: Path, clients: dict[str, str], page: bool) -> None:
        title, description = self._title(task), self._description(source, task)
        text = readme(title, description, source.format, task.texts_at_a_time, clients, page)
        (out / README).write_text(text, encoding="utf-8")

    def _manifest(
        self, source: Bundle, task: Task, out: Path, clients: dict[str, str], rows: list[GoldenRow]
    ) -> Manifest:
        machine = target.for_format(source.format).machine()
        tolerance = BY_FLOAT if _computes_in_float(source) else BY_INTEGER
        if self.tolerance is not None:
            tolerance = tolerance.model_copy(update={"difference": self.tolerance})
        files = {
            path.relative_to(out).as_posix(): FileEntry(size_bytes=path.stat().st_size, sha256=sha256_of(path))
            for path in sorted(out.rglob("*"))
            if path.is_file() and path != out / MANIFEST
        }
        return Manifest(
            name=self._title(task),
            description=self._description(source, task),
            version=self.version,
            author=self.author,
            format=source.format,
            precision=_precision(source),
            task=f"{task.name} v{task.version}",
            kind=task.kind,
            texts=2 if task.texts_at_a_time > 1 else 1,
            clients=clients,
            licences=self._licences(source, task, out),
            tolerance=tolerance,
            golden_texts=len(rows),
            unseen_labels=unseen_labels(rows, task.of_kind, task.label_names),
            versions=machine.versions,
            processor=machine.processor,
            files=files,
            lineage=tuple(
                Step(stage=step.stage, format=step.format, digest=step.digest, settings=without_paths(step.settings))
                for step in source.lineage
            ),
        )

    def _licences(self, source: Bundle, task: Task, out: Path) -> dict[str, str]:
        data = ", ".join(filter(None, (task.licence, task.attribution))) or NOT_STATED
        licence = _in_app(source).licence
        code = {"runtime": licence} if licence and (out / PAGE).is_file() else {}
        return {"model": self.licence, "data": data, **code}

    def _title(self, task: Task) -> str:
        return self.title or task.name

    def _description(self, source: Bundle, task: Task) -> str:
        return self.description or f"{task.name}: {task.of_kind.describe(task)}. {_made(source)}"


def _made(source: Bundle) -> str:
    return f"Made by palmtop: {', '.join(step.stage for step in source.lineage)}."


def _check_same(source: Bundle, encodings: list[Encoding], outputs: Float32[ndarray, "texts ..."]) -> None:
    """See that a packed file's outputs are those of the file it was made of."""
    expected, texts = parity.answers((source.format, source.path), encodings), [row.text for row in encodings]
    found = parity.compare(expected, outputs, texts, source.signature.output)
    if not found.difference <= SAME:
        raise RuntimeError(
            f"{source.path} answers otherwise since it was packed (by {found.difference:.3g} of the spread)"
        )


def _told(source: Bundle, task: Task, clients: dict[str, str], rows: list[GoldenRow]) -> dict[str, Any]:
    """What a card says of every app."""
    told: dict[str, Any] = {
        "artefact": source.format,
        "precision": _precision(source),
        "golden_texts": len(rows),
        "clients": "; ".join(client for client, found in clients.items() if found == ANSWERS),
    }
    if unseen := unseen_labels(rows, task.of_kind, task.label_names):
        told["unseen_labels"] = len(unseen)
    return told


def _in_app(source: Bundle) -> file_format.InApp:
    found = file_format.find(source.format).in_app
    assert found is not None  # `accepts` has the formats of which an app's folder is made
    return found


def _precision(source: Bundle) -> str:
    return str(source.card.facts.get("precision", NOT_STATED))


def _repacked(source: Bundle, out: Path) -> bool:
    """Whether a model file in `out` isn't one of the source's, byte by byte."""
    known = {entry.sha256 for entry in source.card.files.values()}
    made = (path for pattern in file_format.find(source.format).files for path in out.glob(pattern))
    return any(sha256_of(path) not in known for path in made)


def _computes_in_float(source: Bundle) -> bool:
    if source.is_cascade:
        return all(map(_computes_in_float, source.parts))
    return source.format == "tfjs" or _precision(source).startswith(("float", "weight_only"))
