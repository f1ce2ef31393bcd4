"""torch: a Hugging Face folder, weights in safetensors."""

from palmtop.format import BESIDE, FileFormat

FORMAT = FileFormat(
    name="torch",
    files=("*.safetensors",),
    target="host_torch",
    beside=(*BESIDE, "config.json"),
    reader="palmtop.formats.read_safetensors.read",
)
