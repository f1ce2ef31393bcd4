"""tflite_cascade: two .tflite files of one task, the smaller asked first, the larger only where that isn't sure."""

from palmtop.format import BESIDE, FileFormat, InApp, part_files
from palmtop.formats.tflite import FORMAT as PART

FORMAT = FileFormat(
    name="tflite_cascade",
    called="cascade of tflite files",
    files=part_files(PART.files),
    target="host_litert",
    beside=(*BESIDE, *part_files(BESIDE)),
    explained=False,
    in_app=InApp(
        "LiteRT, two models by the rule in signature.json",
        ("ai-edge-litert", "flatbuffers"),
        "Apache-2.0 (LiteRT.js, tokenizers.js, palmtop)",
        page="browser_litert",
    ),
    parts="tflite",
)
