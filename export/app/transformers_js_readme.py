"""README.md of a folder for transformers.js: the lines that call it, and what it does otherwise than palmtop."""

from typing import Final

from palmtop.app_manifest import GOLDEN, LABELS, MANIFEST
from palmtop.export.app.transformers_js import CLIENT, FLOAT, INT8
from palmtop.signature import Signature
from palmtop.task import Task

PIPELINE = """\
import {{ env, pipeline }} from "@huggingface/transformers";

env.allowRemoteModels = false;
const ask = await pipeline("{pipeline}", {folder}{options});
console.log(await ask({asked}));
"""
MODEL = """\
import {{ {auto}, AutoTokenizer, env }} from "@huggingface/transformers";

env.allowRemoteModels = false;
const tokenizer = await AutoTokenizer.from_pretrained({folder});
const model = await {auto}.from_pretrained({folder}{options});
const inputs = tokenizer({asked}, {{ {pair}return_token_type_ids: true }});
const {{ logits }} = await model(inputs);
console.log({shown});
"""
ASKED: Final[dict[str | None, str]] = {
    "token-classification": '"a text"',
    "question-answering": '"a question", "its context"',
    "feature-extraction": '"a text"',
}
"""What a pipeline is asked, where that isn't a text that gets labels."""
NODE_FOLDER = "import.meta.dirname"
IN_NODE = """\
## In Node

`npm install @huggingface/transformers@4.3.2`, then in a file `ask.mjs` in this folder (elsewhere: its full path in
place of `import.meta.dirname`):

```javascript
{code}```
"""
IN_A_PAGE = """\
## In a page, with nothing fetched from elsewhere

Serve this folder as `/models/mine/`, and at the top `transformers.min.js` (of `@huggingface/transformers/dist`) and
`ort-wasm-simd-threaded.mjs` and `.wasm` (of `onnxruntime-web/dist`, the version in its node_modules). Before the lines
above, with `"mine"` in place of `import.meta.dirname` and `"./transformers.min.js"` as the module:

```javascript
env.allowLocalModels = true;
env.localModelPath = "/models/";
env.useBrowserCache = false;
env.useWasmCache = false;
env.backends.onnx.wasm.numThreads = 1;
env.backends.onnx.wasm.wasmPaths = {{
  mjs: `${{location.origin}}/ort-wasm-simd-threaded.mjs`,
  wasm: `${{location.origin}}/ort-wasm-simd-threaded.wasm`,
}};
```
"""
CUT = """\
- A text of more than {length} tokens is cut after the special tokens were added: the last of these is lost, and of a
  long pair the whole second text may be. palmtop keeps them, so the answers differ. Cut such texts yourself, before.
"""
SPANS = """\
- An answer is made of its tokens (lower-case where the model is), without its place in the context.
"""
NO_ANSWER = """\
- It always answers. This model may say that a context has no answer: where start and end logit of the first token
  ([CLS]) together are above the best span's by more than `null_threshold` in signature.json, there is none.
"""
WINDOWS = """\
- It reads the beginning of a context alone. palmtop reads a long one in windows that have `stride` tokens in common
  (signature.json), and answers with the best span over them.
"""
VECTORS = """\
- The file gives a text's vector itself, pooled and normalized as the model learnt it: ask for no `pooling` and no
  `normalize`, which would make other vectors of it.
"""
PAIRS = """\
- A pair goes to the model, as above. The pipeline takes none: of `{ text, text_pair }` or `[[a, b]]` it gives wrong
  scores without an error.
"""
NUMBER = """\
- A number is the model's own `logits`, as above. The pipeline makes a probability of it, which of one number is always
  1.
"""
TAGS = """\
- `aggregation_strategy: "simple"` joins entities over words that are none. Join the plain answers yourself.
- It gives a tag for each token, not for each word, and no place in the text. A word's tag is that of its first token.
"""
SEVERAL = """\
- By default it gives the most probable label alone; `top_k: null` gives all. A text has those labels whose score
  reaches the threshold in signature.json, in the order of labels.txt (0.5 where there are none).
"""
EXACT = '{ session_options: { extra: { session: { x64quantprecision: "1" } } } }'
"""Without it 8-bit products overflow their 16-bit sums in ONNX Runtime on x86 processors without VNNI; measured in
Node: 28 % of a small model's answers were others. palmtop's own target asks for it too."""
ROUNDED = f"""\
- The int8 file answers wrongly in Node on x86 processors without VNNI, and says nothing, unless the last argument of
  `pipeline` or `from_pretrained` has `{EXACT[2:-2]}`. A page needs nothing of the kind.
"""
PRECISIONS: Final = {
    (True, False): f"`{FLOAT}` (float32) is the only one; config.json says so, for a page would ask for int8.",
    (False, False): f"`{INT8}` (int8) is the only one; config.json says so, for Node would ask for float32.",
    (True, True): f"`{FLOAT}` (float32) is what Node takes by default, and `{INT8}` (int8) is what a page takes; "
    '`{ dtype: "q8" }` or `{ dtype: "fp32" }` as the last argument of `pipeline` or `from_pretrained` chooses.',
}
"""By whether there is a float file, and whether there is an int8 one beside it."""


def readme(title: str, description: str, task: Task, signature: Signature, files: tuple[bool, bool]) -> str:
    """The whole text.

    Args:
        files: a key of `PRECISIONS`.
    """
    return "\n".join(
        [
            f"# {title}",
            "",
            description,
            "",
            f"For {CLIENT}, in Node and in a page. {PRECISIONS[files]} Inputs are int64, as it gives them; "
            "any batch, any length. config.json calls the model a BERT, a word that transformers.js knows: what is "
            f"computed is the file. {LABELS}, signature.json, {GOLDEN} (texts, token ids and the outputs that this "
            f"model has to give) and {MANIFEST} are palmtop's; `palmtop verify .` checks all of it.",
            "",
            IN_NODE.format(code=code(task, in_int8=not files[0])),
            IN_A_PAGE.format(),
            "## What it does otherwise",
            "",
            "".join([*_traps(task, signature), *([ROUNDED] if files != (True, False) else [])]),
        ]
    )


def code(task: Task, in_int8: bool, folder: str = NODE_FOLDER) -> str:
    """The lines that ask the model."""
    kind, pair = task.of_kind, task.texts_at_a_time > 1
    options = f", {EXACT}" if in_int8 else ""
    if kind.pipeline in ASKED:
        return PIPELINE.format(pipeline=kind.pipeline, folder=folder, options=options, asked=ASKED[kind.pipeline])
    if pair or not kind.has_labels:
        label = "model.config.id2label[logits.data.indexOf(Math.max(...logits.data))]"
        return MODEL.format(
            auto=f"AutoModel{kind.architecture}",
            folder=folder,
            options=options,
            asked='"first text"' if pair else '"a text"',
            pair='text_pair: "second text", ' if pair else "",
            shown=label if kind.one_label else "logits.tolist()",
        )
    asked = '"a text"' if kind.one_label else '"a text", { top_k: null }'
    return PIPELINE.format(pipeline=kind.pipeline, folder=folder, options=options, asked=asked)


def _traps(task: Task, signature: Signature) -> list[str]:
    kind = task.of_kind
    several = kind.has_labels and not kind.one_label and not kind.per_token
    return [
        *([SPANS] if kind.pipeline == "question-answering" else []),
        *([NO_ANSWER] if signature.null_threshold is not None else []),
        *([WINDOWS] if signature.stride is not None else []),
        *([VECTORS] if kind.pipeline == "feature-extraction" else []),
        *([PAIRS] if task.texts_at_a_time > 1 and kind.pipeline not in ASKED else []),
        *([NUMBER] if kind.pipeline not in ASKED and not kind.has_labels else []),
        *([TAGS] if kind.labels_per_token else []),
        *([SEVERAL] if several else []),
        CUT.format(length=signature.max_length),
    ]
