"""The folder that SentenceTransformer opens: `palmtop to_app BUNDLE --layout sentence-transformers`."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from palmtop.bundle import Bundle
from palmtop.errors import UserError
from palmtop.paths import without_places

Pooling = Literal["mean", "cls", "max"]
CONFIG, TOKENIZER_CONFIG = "config.json", "tokenizer_config.json"
TRAINED = "palmtop_embedding"
"""Where config.json says how a model that was trained for vectors makes them: pooling, normalize, width."""
OLD_NAMES = "sentence_transformers.models"
"""The classes' names of before version 6, which that opens too."""
CODE = """\
```python
from sentence_transformers import SentenceTransformer  # tried with 6.2.0

model = SentenceTransformer(".")  # this folder
vectors = model.encode(["a text", "another"])  # the {pooling} of the tokens' last states{length}
print(model.similarity(vectors, vectors))
```
"""
README = """\
# {title}

{description}

For sentence-transformers, and for palmtop as before: all files of the bundle are here, with three of
sentence-transformers' own (modules.json, 1_Pooling/config.json, sentence_bert_config.json) beside them. A text is cut
at {tokens} tokens. A head for a task that the model may have is left out of account there.

{code}"""


@dataclass(frozen=True)
class Vector:
    """How a text's vector is made of its tokens' last hidden states."""

    pooling: Pooling
    normalize: bool


def vector_of(source: Bundle, pooling: Pooling | None, normalize: bool | None) -> Vector:
    """As it is asked for; where it isn't, as the model was trained; else the mean, as it is.

    Raises:
        UserError: the model was trained for a shorter vector, or for another one than is asked for.
    """
    config = json.loads((source.path / CONFIG).read_text(encoding="utf-8"))
    trained: dict[str, Any] = config.get(TRAINED, {})
    if trained.get("width") is not None:
        raise UserError(
            f"{source.path} keeps the first {trained['width']} numbers of a vector, which no file of "
            "sentence-transformers says: hand over the model with whole vectors, and give truncate_dim there"
        )
    for name, asked in (("pooling", pooling), ("normalize", normalize)):
        if asked is not None and trained.get(name, asked) != asked:
            raise UserError(f"{source.path} was trained with {name}: {trained[name]}, asked is {asked}: leave it out")
    return Vector(pooling or trained.get("pooling", "mean"), trained.get("normalize", bool(normalize)))


def lay_out(source: Bundle, vector: Vector, title: str, description: str, out: Path) -> None:
    """Copy what is sealed, and write what sentence-transformers reads besides."""
    for name in source.card.files:
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source.path / name, out / name)
    if (out / TOKENIZER_CONFIG).is_file():
        told = without_places((out / TOKENIZER_CONFIG).read_text(encoding="utf-8"))
        (out / TOKENIZER_CONFIG).write_text(told, encoding="utf-8")
    config, tokens = json.loads((out / CONFIG).read_text(encoding="utf-8")), source.signature.max_length
    width = config.get("hidden_size", config.get("dim"))
    modules = ["Transformer", "Pooling", *(["Normalize"] if vector.normalize else [])]
    places = ["", *(f"{place}_{name}" for place, name in enumerate(modules) if place)]
    _write(
        out / "modules.json",
        [
            {"idx": place, "name": str(place), "path": path, "type": f"{OLD_NAMES}.{name}"}
            for place, (name, path) in enumerate(zip(modules, places, strict=True))
        ],
    )
    for path in places[1:]:
        (out / path).mkdir(exist_ok=True)  # it may be such a folder already
    _write(out / places[1] / CONFIG, _pooling(vector.pooling, width))
    _write(out / "sentence_bert_config.json", {"max_seq_length": tokens, "do_lower_case": False})
    code = CODE.format(pooling=vector.pooling, length=", at length 1" if vector.normalize else "")
    text = README.format(title=title, description=description, tokens=tokens, code=code)
    (out / "README.md").write_text(text, encoding="utf-8")


def _pooling(pooling: Pooling, width: int) -> dict[str, Any]:
    return {
        "word_embedding_dimension": width,
        "pooling_mode_cls_token": pooling == "cls",
        "pooling_mode_mean_tokens": pooling == "mean",
        "pooling_mode_max_tokens": pooling == "max",
    }


def _write(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
