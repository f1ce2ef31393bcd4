"""A torch bundle's weights taken apart: the header of model.safetensors says what lies where. There is no graph in
it."""

import json
from pathlib import Path

from palmtop.anatomy import Anatomy, Stored, Tensor, stored
from palmtop.errors import UserError

FILE = "model.safetensors"
DTYPES = {
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "F64": "float64",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U8": "uint8",
    "BOOL": "bool",
}
LENGTH_BYTES = 8
"""The header's length, little endian, stands before it."""


def read(folder: Path) -> Anatomy:
    """Take the weights of a bundle apart, all its .safetensors files.

    Raises:
        UserError: there is none, or one is damaged.
    """
    paths = sorted(folder.glob("*.safetensors"))
    if not paths:
        raise UserError(f"{folder} has no {FILE}: make the bundle again")
    held: dict[str, Stored] = {}
    tensors: dict[str, Tensor] = {}
    for path in paths:
        raw = memoryview(path.read_bytes())
        try:
            start = LENGTH_BYTES + int.from_bytes(raw[:LENGTH_BYTES], "little")
            header = json.loads(bytes(raw[LENGTH_BYTES:start]))
        except ValueError:
            raise UserError(f"{path} isn't a safetensors file: make the bundle again") from None
        for name, said in header.items():
            if name == "__metadata__":
                continue
            first, last = said["data_offsets"]
            tensors[name] = Tensor(name, DTYPES.get(said["dtype"], said["dtype"].lower()), tuple(said["shape"]), name)
            held[name] = stored(raw[start + first : start + last], tensors[name].dtype)
    return Anatomy("torch", sum(path.stat().st_size for path in paths), held, tensors, ())
