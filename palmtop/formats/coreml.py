"""coreml: an .mlpackage for Core ML, converted and not run."""

from palmtop.format import FileFormat

PACKAGE = "model.mlpackage"

FORMAT = FileFormat(
    name="coreml",
    files=(
        f"{PACKAGE}/Data/com.apple.CoreML/model.mlmodel",
        f"{PACKAGE}/Data/com.apple.CoreML/weights/weight.bin",
        f"{PACKAGE}/Manifest.json",
    ),
    not_run="Core ML runs on Apple's systems alone, so nothing here tells its answers or its speed; checked are its "
    "program, names, types and weights",
    matrices="palmtop.export.coreml_package.matrices",
)
