"""linear: the floor's TF-IDF and linear model."""

from palmtop.format import FileFormat

FORMAT = FileFormat(
    name="linear",
    files=("*.safetensors", "vocabulary.json"),  # without its vocabulary it is nothing
    target="host_linear",
    reader="palmtop.formats.read_safetensors.read",
    explained=False,
)
