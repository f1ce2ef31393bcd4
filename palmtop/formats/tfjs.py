"""tfjs: a graph model for TensorFlow.js, model.json and its shards."""

from palmtop.format import FileFormat, InApp, Quantizer

FORMAT = FileFormat(
    name="tfjs",
    called="TensorFlow.js",
    files=("model.json", "*.bin"),
    target="browser",
    reader="palmtop.formats.read_tfjs.read",
    matrices="palmtop.export.stored_once.in_tfjs",
    quantizer=Quantizer(
        "palmtop.export.quantization.tfjs.TfjsFile", ("per_row_int8",), ("playwright",), modules_named=False
    ),
    in_app=InApp(
        "index.html, TensorFlow.js in a browser",
        ("playwright",),
        "Apache-2.0 (TensorFlow.js, tokenizers.js, palmtop)",
        page="browser",
    ),
)
