"""Verifying a bundle on any machine: its seal, and of an app the manifest, the tokenizer, the labels and the golden
answers."""

import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from palmtop import format as file_format
from palmtop import parity, target, task_kinds
from palmtop.app_manifest import (
    ANSWERS,
    GOLDEN,
    LABELS,
    LIMITS,
    MANIFEST,
    VOCABULARY,
    GoldenRow,
    Manifest,
    golden_outputs,
    read_golden,
    unseen_labels,
)
from palmtop.bundle import Bundle, Format
from palmtop.data.encoding import Encoding
from palmtop.data.tokenization import FILE as TOKENIZER
from palmtop.data.tokenization import HostTokenizer
from palmtop.data.wordpiece import vocabulary
from palmtop.errors import UserError, raise_all
from palmtop.paths import without_paths
from palmtop.signature import FILE as SIGNATURE
from palmtop.signature import Signature

Say = Callable[[str], None]

AGAIN = "make the app again"
OF_VECTORS = "model2vec"
"""The layout of an app's folder that has no manifest."""
PACKED = (VOCABULARY, LABELS)
"""Files that lie in an app's folder and, for the Task clients, in its .tflite; the labels only of a classifier."""


def verify(folder: Path, say: Say) -> None:
    """Check all that can be checked of a bundle, and say a line of each thing found right.

    Files are compared before anything reads them, so that a damaged model is never run.

    Raises:
        UserError: every fault of the first check that finds any, each with the file's name.
    """
    bundle = Bundle.open(folder)
    _check_seal(bundle)
    size = sum(entry.size_bytes for entry in bundle.card.files.values())
    say(f"sealed files: {len(bundle.card.files)} files, {size / 1e6:.2f} MB, digest {bundle.digest[:16]}: as sealed")
    if bundle.format == "app":
        _verify_app(bundle, say)
    else:
        _verify_model(bundle, say)


def _check_seal(bundle: Bundle) -> None:
    bundle.verify()
    raise_all(
        [f"{bundle.path / name} wasn't there when the bundle was sealed: remove it" for name in bundle.unsealed()]
    )


def _verify_app(bundle: Bundle, say: Say) -> None:
    if bundle.card.origin.settings.get("layout") == OF_VECTORS:
        say(f"a folder for {OF_VECTORS}, which has vectors for answers: none are stated, so none are compared")
        return
    manifest = Manifest.read(bundle.path)
    raise_all([*_manifest_faults(bundle, manifest), *_folder_faults(bundle.path)])
    say(
        f"{MANIFEST}: {len(manifest.files)} files, {len(manifest.lineage)} steps from {manifest.lineage[0].stage} on: "
        "as stated"
    )
    parts = bundle.signature.parts(bundle.path) if bundle.is_cascade else ()
    for part in parts:
        raise_all(_folder_faults(part))
        _verify_answers(part, part, say)
    _verify_answers(bundle.path, parts[0] if parts else bundle.path, say)


def _folder_faults(folder: Path) -> list[str]:
    """What a folder's files say against each other."""
    manifest, rows = Manifest.read(folder), read_golden(folder)
    return [
        *_promise_faults(folder, manifest, rows),
        *(_label_faults(folder, manifest, rows) or _unseen_faults(folder, manifest, rows)),
        *_packed_faults(folder, manifest),
    ]


def _verify_answers(folder: Path, asked: Path, say: Say) -> None:
    """Its tokens and its golden answers.

    Args:
        asked: the folder whose tokenizer makes the golden token ids: of a cascade that of its first model.
    """
    manifest, rows = Manifest.read(folder), read_golden(folder)
    kind, labels = task_kinds.find(manifest.kind), _lines(folder / LABELS)
    say(f"{GOLDEN}: {kind.golden_says}" if kind.per_token else f"{LABELS}: as the golden answers have them")
    if unseen := unseen_labels(rows, kind, labels):
        say(f"{GOLDEN} has no answer with {_some(unseen)}: a client that mixes these up isn't found out by it")
    encodings = HostTokenizer.of(asked, Signature.read(asked)).encode([row.text for row in rows])
    raise_all(_token_faults(folder, rows, encodings))
    say(f"{TOKENIZER}: the same token ids for all {len(rows)} golden texts")
    say(_check_outputs(folder, manifest, rows, encodings))


def _manifest_faults(bundle: Bundle, manifest: Manifest) -> list[str]:
    """Where manifest and card differ: each was written from the files on its own."""
    sealed = {name: entry for name, entry in bundle.card.files.items() if name != MANIFEST}
    faults = [
        f"{bundle.path / name} isn't the file that {MANIFEST} states: {AGAIN}"
        for name in sorted(sealed.keys() | manifest.files.keys())
        if sealed.get(name) != manifest.files.get(name)
    ]
    way = [(step.stage, step.format, step.digest, without_paths(step.settings)) for step in bundle.card.lineage]
    if way != [(step.stage, step.format, step.digest, step.settings) for step in manifest.lineage]:
        faults.append(f"{bundle.path / MANIFEST} states another lineage than the card: {AGAIN}")
    return faults


def _promise_faults(folder: Path, manifest: Manifest, rows: list[GoldenRow]) -> list[str]:
    """What every app has, and what its manifest says of golden answers: a check that finds nothing to look at isn't
    passed."""
    faults = [
        f"{folder / name} isn't among the files of {MANIFEST}: {AGAIN}"
        for name in (*_packed(manifest), *_tokenizers(manifest), LABELS, SIGNATURE, GOLDEN)
        if name not in manifest.files
    ]
    least = len(parity.PLAIN) if manifest.golden_texts is None else manifest.golden_texts
    if len(rows) < least:
        faults.append(f"{folder / GOLDEN} has {len(rows)} answers, and should have {least}: {AGAIN}")
    let, most = manifest.tolerance, LIMITS
    if not (let.difference <= most.difference and let.typical <= most.typical and let.agreement >= most.agreement):
        faults.append(
            f"{folder / MANIFEST} lets through what is no longer the same model (differences of {let.difference:g} and "
            f"{let.typical:g}, an agreement of {let.agreement:g}; the limits are {most.difference:g}, "
            f"{most.typical:g} and {most.agreement:g}): {AGAIN}"
        )
    return faults


def _tokenizers(manifest: Manifest) -> tuple[str, ...]:
    """Of two models each has its own."""
    return (TOKENIZER,) if file_format.find(manifest.format).parts is None else file_format.part_files([TOKENIZER])


def _unseen_faults(folder: Path, manifest: Manifest, rows: list[GoldenRow]) -> list[str]:
    """Labels that no golden answer has are those that the manifest names; older manifests name none."""
    unseen = unseen_labels(rows, task_kinds.find(manifest.kind), _lines(folder / LABELS))
    if manifest.unseen_labels is None or manifest.unseen_labels == unseen:
        return []
    differ = unseen.items() ^ manifest.unseen_labels.items()
    return [
        f"{folder / LABELS} and {GOLDEN} aren't those that {MANIFEST} was written with (no golden answer has "
        f"{_some(dict(differ))}, by one of them): {AGAIN}"
    ]


def _some(labels: Mapping[int, str]) -> str:
    """Some labels for a message, by their places."""
    named = [f"'{label}' (output {place})" for place, label in sorted(labels.items())]
    return ", ".join(named[:3]) + (f" and {len(named) - 3} more" if len(named) > 3 else "")  # noqa: PLR2004  # as shown


def _label_faults(folder: Path, manifest: Manifest, rows: list[GoldenRow]) -> list[str]:
    kind, labels = task_kinds.find(manifest.kind), _lines(folder / LABELS)
    if kind.per_token:
        each = kind.outputs_per_token or len(labels)
        uneven = [row for row in rows if len(row.outputs) != each * len(row.input_ids)]
        return [f"{folder / GOLDEN} hasn't {kind.golden_wants} of {uneven[0].text!r}: {AGAIN}"] if uneven else []
    outputs = {len(row.outputs) for row in rows}
    if not kind.names_outputs:
        return [f"{folder / GOLDEN} has answers of different sizes: {AGAIN}"] if len(outputs) > 1 else []
    if outputs != {len(labels)}:
        return [
            f"{folder / LABELS} has {len(labels)} labels, the model gives {', '.join(map(str, sorted(outputs)))} "
            f"outputs: {AGAIN}"
        ]
    said = kind.said(golden_outputs(rows, kind), [], labels)
    if len(labels) > 1 and said[0] is None:
        return [f"{folder / MANIFEST} says {manifest.kind}, which gives one number, of {len(labels)} labels: {AGAIN}"]
    wrong = [(row, answer) for row, answer in zip(rows, said, strict=True) if row.answer != answer]
    if not wrong:
        return []
    first, answer = wrong[0]
    return [
        f"{folder / LABELS} isn't the model's: {len(wrong)} of {len(rows)} golden answers have another label (the "
        f"first: {first.answer!r} in {GOLDEN}, {answer!r} by {LABELS}): {AGAIN}"
    ]


def _packed_faults(folder: Path, manifest: Manifest) -> list[str]:
    """What is packed in a .tflite is what lies beside it, and the vocabulary is the tokenizer's."""
    wanted, model = _packed(manifest), folder / "model.tflite"
    if not wanted and not (manifest.format == "tflite" and zipfile.is_zipfile(model)):
        return []
    try:
        with zipfile.ZipFile(model) as archive:
            packed = {name: archive.read(name) for name in archive.namelist()}
    except zipfile.BadZipFile as error:
        return [f"{model} is damaged: what is packed behind the model can't be read ({error}): {AGAIN}"]
    faults = [
        f"{model} holds another {name} than the one beside it: {AGAIN}"
        for name in wanted or packed
        if packed.get(name) != _content(folder / name)
    ]
    if (folder / VOCABULARY).is_file() and _lines(folder / VOCABULARY) != list(vocabulary(folder)):
        faults.append(f"{folder / VOCABULARY} isn't the vocabulary of {TOKENIZER}: {AGAIN}")
    return faults


def _packed(manifest: Manifest) -> tuple[str, ...]:
    """The files that the manifest promises to be in the .tflite: where one of Google's Task clients answers with it."""
    found = file_format.find(manifest.format).in_app
    others = {client for client, said in manifest.clients.items() if said == ANSWERS} - {found.client if found else ""}
    if manifest.format != "tflite" or not others:
        return ()
    return PACKED if task_kinds.find(manifest.kind).task_client == "classifier" else PACKED[:1]


def _content(file: Path) -> bytes | None:
    return file.read_bytes() if file.is_file() else None


def _token_faults(folder: Path, rows: list[GoldenRow], found: list[Encoding]) -> list[str]:
    wrong = [
        row
        for row, made in zip(rows, found, strict=True)
        if row.input_ids != tuple(made.input_ids.tolist()) or row.token_type_ids != tuple(made.token_type_ids.tolist())
    ]
    return (
        [
            f"{folder / TOKENIZER} gives other token ids than {GOLDEN} for {len(wrong)} of {len(rows)} texts (the "
            f"first: {wrong[0].text!r}): {AGAIN}, or install the version of tokenizers that the manifest states"
        ]
        if wrong
        else []
    )


def _check_outputs(folder: Path, manifest: Manifest, rows: list[GoldenRow], encodings: list[Encoding]) -> str:
    kind = task_kinds.find(manifest.kind)
    expected = golden_outputs(rows, kind)
    if kind.per_token:
        labels, signature = _lines(folder / LABELS), Signature.read(folder)
        _check_answers(folder, rows, kind.said(expected, encodings, labels, signature))
    outputs = parity.answers((manifest.format, folder), encodings)
    if outputs.shape != expected.shape:
        raise UserError(f"{folder} answers with {outputs.shape[1]} outputs, {GOLDEN} has {expected.shape[1]}: {AGAIN}")
    found = parity.compare(expected, outputs, [row.text for row in rows], Signature.read(folder).output)
    allowed = manifest.tolerance
    told = (
        f"they differ by {found.typical:.2g} of their spread, at most by {found.difference:.2g} (tolerance "
        f"{allowed.typical:g} and {allowed.difference:g}), {found.agreement:.1%} agree (at least "
        f"{allowed.agreement:.0%})"
    )
    if not (
        found.difference <= allowed.difference
        and found.typical <= allowed.typical
        and found.agreement >= allowed.agreement
    ):
        raise UserError(
            f"{folder} answers the golden texts otherwise than stated: {told}; worst text: {found.worst!r}. "
            f"{_differences(manifest)}"
        )
    return f"{GOLDEN}: {len(rows)} answers of {target.for_format(manifest.format).name}: {told}"


def _check_answers(folder: Path, rows: list[GoldenRow], said: Sequence[str | None]) -> None:
    wrong = [(row, answer) for row, answer in zip(rows, said, strict=True) if row.answer != answer]
    if wrong:
        raise UserError(
            f"{folder / GOLDEN} has {len(wrong)} answers that aren't its own logits' (the first: "
            f"{wrong[0][0].answer!r}, by the logits {wrong[0][1]!r}): {AGAIN}"
        )


def _differences(manifest: Manifest) -> str:
    """What is other here than where the golden answers were made: where to look for the reason."""
    machine = target.for_format(manifest.format).machine()
    there = manifest.versions | {"processor": manifest.processor}
    here: dict[str, Any] = machine.versions | {"processor": machine.processor}
    other = [
        f"{name} {here.get(name, 'none')}, there {value}" for name, value in there.items() if here.get(name) != value
    ]
    return f"Here is {'; '.join(other)}" if other else f"Machine and versions are the same: {AGAIN}"


def _verify_model(bundle: Bundle, say: Say) -> None:
    """A bundle that isn't an app has no golden answers: it is asked plain texts, and has to give a number for each
    label."""
    task = bundle.task
    if task is None:
        say("no task: there are no labels and no answers to check")
        return
    labels, form = _lines(bundle.path / LABELS), bundle.format
    if labels != list(task.label_names):
        raise UserError(
            f"{bundle.path / LABELS} has other labels than task.json: remove the folder and make the bundle again"
        )
    if (why := file_format.find(form).not_run) is not None:
        say(f"{form} is converted, not run: {why}")
        return
    outputs = _plain_answers(bundle.path, form, task.texts_at_a_time)
    if task.of_kind.names_outputs and outputs.shape[1] != len(labels):
        raise UserError(
            f"{bundle.path / LABELS} has {len(labels)} labels, the model gives {outputs.shape[1]} outputs: make it "
            "again"
        )
    if not np.isfinite(outputs).all():
        raise UserError(f"{bundle.path} answers with numbers that aren't finite: make the bundle again")
    as_many = ", as many as labels" if task.of_kind.names_outputs else ""
    say(
        f"{len(outputs)} plain texts in {target.for_format(form).name}: {outputs.shape[1]} finite outputs each{as_many}"
    )
    say("its answers are compared with nothing: 'palmtop to_app' adds golden ones")


def _plain_answers(folder: Path, form: Format, columns: int) -> "np.ndarray[Any, np.dtype[np.float32]]":
    runtime = target.for_format(form)
    if lack := runtime.missing():
        raise UserError(f"a {form} file is checked in its own runtime, but {lack}")
    with runtime.open(folder) as runner:
        return runner.predict(runner.tokenize([text * columns for text in parity.PLAIN]))


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").removesuffix("\n").split("\n")
    except FileNotFoundError:
        raise UserError(f"{path.parent} has no {path.name}: make the bundle again") from None
