"""executorch: a .pte for ExecuTorch, lowered for XNNPACK."""

from palmtop.format import FileFormat, InApp, Quantizer

FORMAT = FileFormat(
    name="executorch",
    files=("model.pte",),
    target="host_executorch",
    matrices="palmtop.export.executorch_file.matrices",
    quantizer=Quantizer(
        "palmtop.export.quantization.executorch_program.ExecutorchProgram", ("dynamic_int8",), ("executorch", "torchao")
    ),
    in_app=InApp("ExecuTorch", ("executorch",)),
)
