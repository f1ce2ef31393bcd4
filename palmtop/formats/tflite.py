"""tflite: a FlatBuffer for LiteRT (TensorFlow Lite)."""

from palmtop.format import FileFormat, InApp, Quantizer

FORMAT = FileFormat(
    name="tflite",
    files=("model.tflite", "*.tflite"),
    target="host_litert",
    reader="palmtop.formats.read_tflite.read",
    reader_package=("ai_edge_litert", "ai_edge_litert"),
    matrices="palmtop.export.stored_once.in_tflite",
    quantizer=Quantizer(
        "palmtop.export.quantization.tflite.TfliteFile",
        (
            "float16",
            "weight_only_int8",
            "dynamic_int8",
            "dynamic_int8_embedding_int4",
            "dynamic_int8_embedding_int4_block32",
            "dynamic_int4",
            "dynamic_int4_embedding_int4",
            "dynamic_int4_block32",
            "dynamic_int4_block64",
            "dynamic_int4_block128",
            "static_int8",
        ),
        ("ai-edge-quantizer", "ai-edge-litert"),
    ),
    in_app=InApp(
        "LiteRT",
        ("ai-edge-litert", "flatbuffers"),
        "Apache-2.0 (LiteRT.js, tokenizers.js, palmtop)",
        page="browser_litert",
    ),
)
