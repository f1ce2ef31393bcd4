"""What runs in a bundle: an app's folder holds one of the exported formats."""

from palmtop.bundle import Bundle

MODELS = {"model.tflite": "tflite", "model.onnx": "onnx", "model.json": "tfjs"}


def format_of(bundle: Bundle) -> str:
    """The bundle's format; of an app that of the model in it."""
    if bundle.format != "app":
        return bundle.format
    return next((made for file, made in MODELS.items() if (bundle.path / file).is_file()), bundle.format)
