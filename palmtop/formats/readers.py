"""The reader of each format's files."""

from collections.abc import Callable
from pathlib import Path

from palmtop.formats import read_onnx, read_safetensors, read_tfjs, read_tflite
from palmtop.formats.anatomy import Anatomy

READERS: dict[str, Callable[[Path], Anatomy]] = {
    "tflite": read_tflite.read,
    "onnx": read_onnx.read,
    "tfjs": read_tfjs.read,
    "torch": read_safetensors.read,
}
