"""The folder that StaticModel opens: `palmtop to_app BUNDLE --layout model2vec`, of a static student."""

import json
import shutil
from pathlib import Path
from typing import Any

from palmtop.app_manifest import LABELS
from palmtop.bundle import Bundle
from palmtop.data.tokenization import FILE as TOKENIZER
from palmtop.signature import FILE as SIGNATURE

WEIGHTS, HEAD = "model.safetensors", "head.safetensors"
TABLE = "word_embeddings.weight"
README = """\
# {title}

{description}

For model2vec (tried with 0.10.0), and for sentence-transformers, which opens it as a StaticEmbedding.

```python
from model2vec import StaticModel

model = StaticModel.from_pretrained(".")  # this folder
vectors = model.encode(["a text", "another"])
```

## Which vectors are equal, and which are only close

The student's own vector of a text is the mean over all its tokens, the special ones too. model2vec leaves those out,
and unknown tokens as well, so that its vectors are close to the student's and not equal. sentence-transformers leaves
out the special ones alone: its vectors are equal to model2vec's where a text has no unknown token. A text of more than
{tokens} tokens is cut by each at another place, for the special ones count as tokens only here.
With the special tokens in, the vector is the student's own, to the last bits of float32, for every text:

```python
vector = model.embedding[model.tokenizer.encode("a text").ids].mean(axis=0)
```
"""
ANSWERS = """\

## Its answers

`{head}` is the student's head; with the vector above it answers as the student does:

```python
from safetensors.numpy import load_file

head = load_file("{head}")
{hidden}scores = head["classifier.weight"] @ {read} + head["classifier.bias"]
print(open("{labels}", encoding="utf-8").read().splitlines()[scores.argmax()])
```
"""
HIDDEN = 'hidden = (head["dense.weight"] @ vector + head["dense.bias"]).clip(min=0)\n'


def lay_out(source: Bundle, title: str, description: str, out: Path) -> None:
    """Write the table, the tokenizer and the config as model2vec has them, and the head beside them."""
    from safetensors.numpy import load_file, save_file

    weights = load_file(source.path / WEIGHTS)
    table = weights.pop(TABLE)
    save_file({"embeddings": table}, out / WEIGHTS)
    save_file(weights, out / HEAD)
    for name in (TOKENIZER, LABELS, SIGNATURE):
        if (source.path / name).is_file():
            shutil.copyfile(source.path / name, out / name)
    _write(out / "config.json", config(table.shape[1], source.signature.max_length))
    static = {"idx": 0, "name": "0", "path": ".", "type": "sentence_transformers.models.StaticEmbedding"}
    _write(out / "modules.json", [static])
    text = README.format(title=title, description=description, tokens=source.signature.max_length)
    if _answers(source):
        dense = "dense.weight" in weights
        text += ANSWERS.format(
            head=HEAD, labels=LABELS, hidden=HIDDEN if dense else "", read="hidden" if dense else "vector"
        )
    (out / "README.md").write_text(text, encoding="utf-8")


def config(width: int, max_length: int) -> dict[str, Any]:
    """What model2vec reads of a model; texts are cut where the student's are."""
    return {
        "model_type": "model2vec",
        "architectures": ["StaticModel"],
        "normalize": False,
        "hidden_dim": width,
        "max_length": max_length,
        "seq_length": max_length,
        "apply_pca": False,
    }


def _answers(source: Bundle) -> bool:
    """Whether its head gives one label of several, through the function that README's lines compute."""
    known = json.loads((source.path / "config.json").read_text(encoding="utf-8"))
    return bool(source.task and source.task.of_kind.one_label and known["hidden_act"] == "relu")


def _write(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
