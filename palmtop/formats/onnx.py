"""onnx: one file for ONNX Runtime."""

from palmtop.format import FileFormat, InApp, Quantizer

FORMAT = FileFormat(
    name="onnx",
    files=("model.onnx", "*.onnx", "*.onnx.data", "*.onnx_data", "onnx/*.onnx"),
    also_at=("onnx/model.onnx", "onnx/model_quantized.onnx"),
    target="host_onnx",
    reader="palmtop.formats.read_onnx.read",
    reader_package=("onnx", "onnx"),
    matrices="palmtop.export.stored_once.in_onnx",
    quantizer=Quantizer(
        "palmtop.export.quantization.onnx_file.OnnxFile", ("dynamic_int8", "static_int8"), ("onnx", "onnxruntime")
    ),
    in_app=InApp("ONNX Runtime", ("onnxruntime",)),
)
