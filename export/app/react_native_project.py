"""React Native code around an app's folder: `palmtop to_app BUNDLE --react-native DIR`."""

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from palmtop.app_manifest import GOLDEN, LABELS, MANIFEST, Manifest
from palmtop.bundle import Bundle, Format, sha256_of
from palmtop.data.tokenization import FILE as TOKENIZER
from palmtop.errors import raise_all
from palmtop.export.app.phone_tokenizer import why_not
from palmtop.export.app.react_native_graph import graph_of, why_no_graph
from palmtop.export.app.react_native_readme import RUNTIMES, package_json, readme
from palmtop.export.app.whole_folder import place_faults, whole_folder
from palmtop.signature import FILE as SIGNATURE
from palmtop.stage import HandOver

CODE = Path(__file__).parents[1] / "react_native"
"""The TypeScript, as it goes into the folder."""
MODEL = "model"
"""The folder of what is the model's own."""
OPTION = "--react-native"
TEXTS = (MANIFEST, SIGNATURE, TOKENIZER, LABELS, GOLDEN)
OF_ONE_FORMAT: Final[Mapping[str, Format]] = {"tflite.ts": "tflite", "tfjs.ts": "tfjs", "int8_rows.ts": "tfjs"}
"""Files of palmtop/engine that import what only apps with such a model install."""
WRITTEN = "// Written by 'palmtop to_app --react-native'.\n"

INDEX_TFLITE = """\
import {{ tflite }} from '../palmtop/engine/tflite';
import type {{ BundledModel }} from '../palmtop/text_model';
import {{ files }} from './texts';

export const bundled: BundledModel = {{
  folder: {{ files, digest: '{digest}' }},
  runtimes: [tflite({{ asset: require('./model.tflite'), inputs: {inputs}, outputs: {outputs}, length: {length} }})],
}};
"""
INDEX_TFJS = """\
import {{ BACKENDS, tfjs }} from '../palmtop/engine/tfjs';
import type {{ BundledModel }} from '../palmtop/text_model';
import {{ files }} from './texts';

const model = {{ json: files['model.json'], shards: [{shards}] }};

export const bundled: BundledModel = {{
  folder: {{ files, digest: '{digest}' }},
  runtimes: BACKENDS.map((backend) => tfjs(model, backend)),
}};
"""


def check(source: Bundle, folder: Path) -> None:
    """Whether the code can answer with a bundle, and `folder` can be written.

    Raises:
        UserError: every reason why not, with what to do.
    """
    raise_all([*place_faults(OPTION, folder), *_model_faults(source)])


def write(source: Bundle, app: Bundle, folder: Path) -> None:
    """Write the code with the app's model in it, whole or not at all."""
    with whole_folder(OPTION, folder) as partial:
        _copy_code(source.format, partial)
        (partial / MODEL).mkdir()
        length = _WRITERS[source.format](app, partial / MODEL)
        manifest = Manifest.read(app.path)
        text = readme(manifest.name, manifest.description, source.format, length)
        (partial / "README.md").write_text(text, encoding="utf-8")
        (partial / "package.json").write_text(package_json(source.format), encoding="utf-8")


REACT_NATIVE = HandOver(
    "Also write React Native code with this model (.tflite or TensorFlow.js) in it, into this folder, which must be "
    "new or empty; without --out nothing else is kept.",
    check,
    write,
)


def _model_faults(source: Bundle) -> list[str]:
    if source.format not in RUNTIMES:
        return [
            f"the React Native code runs .tflite and TensorFlow.js, {source.path} is {source.format}: make one with "
            "'palmtop to_tflite' or 'palmtop to_tfjs', and hand that over"
        ]
    faults = [*_task_faults(source)]
    if reason := why_not(source.path) or _why_not_here(source.path):
        faults.append(f"the React Native code can't read the tokenizer of {source.path}: {reason}")
    if source.format == "tflite" and (reason := why_no_graph(source)):
        faults.append(f"{source.path}: {reason}")
    return faults


def _task_faults(source: Bundle) -> list[str]:
    task = source.task
    if task is not None and source.signature.stride is not None:
        return [
            f"{source.path} reads a context in several windows, and the React Native code reads one: train it without "
            "the option stride, or put it into a web page (to_app)"
        ]
    if task is None or task.of_kind.react_native:  # to_app itself refuses a bundle without a task
        return []
    kind = task.kind.replace("_", " ")
    return [f"the React Native code doesn't know {kind}: add it in export/react_native/palmtop/core/reader.ts"]


def _why_not_here(folder: Path) -> str | None:
    """What the Android app reads and this code doesn't; None where there is nothing of the kind."""
    normalizer = json.loads((folder / TOKENIZER).read_text(encoding="utf-8")).get("normalizer") or {}
    if all(step.get("type") != "Precompiled" for step in normalizer.get("normalizers", [normalizer])):
        return None
    return "it has the normalizer 'Precompiled', a table of SentencePiece's own, which this code doesn't read yet"


def _copy_code(made_of: Format, to: Path) -> None:
    """All of the code but what runs models of another format."""

    def left_out(_: str, names: list[str]) -> set[str]:
        return {name for name in names if name == "node_modules" or OF_ONE_FORMAT.get(name, made_of) != made_of}

    shutil.copytree(CODE, to, ignore=left_out, dirs_exist_ok=True)


def _write_tflite(app: Bundle, to: Path) -> int:
    """The model's file, and the code that opens it; returns its length in tokens."""
    graph = graph_of(app.path, app.signature)
    shutil.copyfile(app.path / "model.tflite", to / "model.tflite")
    _write_texts(app.path, to, TEXTS)
    told = INDEX_TFLITE.format(
        digest=sha256_of(app.path / MANIFEST),
        inputs=json.dumps(graph.inputs),
        outputs=json.dumps(graph.outputs),
        length=graph.length,
    )
    (to / "index.ts").write_text(WRITTEN + told, encoding="utf-8")
    return graph.length


def _write_tfjs(app: Bundle, to: Path) -> int | None:
    """The model's shards, and the code that opens them; it runs at any length."""
    model = json.loads((app.path / "model.json").read_text(encoding="utf-8"))
    paths = [path for group in model["weightsManifest"] for path in group["paths"]]
    for path in paths:
        shutil.copyfile(app.path / path, to / path)
    _write_texts(app.path, to, (*TEXTS, "model.json"))
    told = INDEX_TFJS.format(
        digest=sha256_of(app.path / MANIFEST), shards=", ".join(f"require('./{path}')" for path in paths)
    )
    (to / "index.ts").write_text(WRITTEN + told, encoding="utf-8")
    return None


_WRITERS: Final[Mapping[Format, Callable[[Bundle, Path], int | None]]] = {
    "tflite": _write_tflite,
    "tfjs": _write_tfjs,
}


def _write_texts(app: Path, to: Path, names: tuple[str, ...]) -> None:
    """Texts as strings of a module: React Native has no call that reads a packed file as text, and JSON that Metro
    packs as an object loses a token called __proto__."""
    texts = {name: (app / name).read_text(encoding="utf-8") for name in names}
    lines = "".join(f"  {json.dumps(name)}: {json.dumps(text)},\n" for name, text in texts.items())
    told = f"export const files: Readonly<Record<string, string>> = {{\n{lines}}};\n"
    (to / "texts.ts").write_text(WRITTEN + told, encoding="utf-8")
