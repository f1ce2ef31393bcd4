"""onnx_cascade: two ONNX files of one task, the smaller asked first, the larger only where that isn't sure."""

from palmtop.format import BESIDE, FileFormat, InApp, part_files
from palmtop.formats.onnx import FORMAT as PART

FORMAT = FileFormat(
    name="onnx_cascade",
    called="cascade of onnx files",
    files=part_files(PART.files),
    target="host_onnx",
    beside=(*BESIDE, *part_files(BESIDE)),
    explained=False,
    in_app=InApp("ONNX Runtime, two models by the rule in signature.json", ("onnxruntime",)),
    parts="onnx",
)
