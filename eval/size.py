"""How large a model is: its own files, and all that an app fetches with them. Bytes; nothing is compressed or estimated."""

from pathlib import Path

from palmtop import signature, tokenization
from palmtop.bundle import Bundle, Format

_MODEL: dict[Format, tuple[str, ...]] = {
    "torch": ("*.safetensors",),
    "tflite": ("*.tflite",),
    "tfjs": ("model.json", "*.bin"),
    "onnx": ("*.onnx", "*.onnx.data", "*.onnx_data"),
    "linear": ("*.safetensors", "vocabulary.json"),
}
_BESIDE = (tokenization.FILE, "labels.txt", signature.FILE)


def model_bytes(bundle: Bundle) -> int:
    """The files of the model itself: weights and graph; for the linear model the vocabulary too, without which it is nothing."""
    return sum(path.stat().st_size for path in _files(bundle, _MODEL[bundle.format]))


def download_bytes(bundle: Bundle) -> int:
    """All that an app fetches: the model, its tokenizer, labels and signature."""
    config = ("config.json",) if bundle.format == "torch" else ()
    return sum(path.stat().st_size for path in _files(bundle, (*_MODEL[bundle.format], *_BESIDE, *config)))


def _files(bundle: Bundle, patterns: tuple[str, ...]) -> set[Path]:
    return {path for pattern in patterns for path in bundle.path.glob(pattern)}
