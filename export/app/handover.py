"""README.md of an app's folder: what is in it, and the lines that call the model."""

from palmtop import format as file_format
from palmtop.app_manifest import ANSWERS, GOLDEN, LABELS, MANIFEST
from palmtop.export.app import two_models
from palmtop.export.app.clients import EMBEDDER, MEDIAPIPE

IN_PYTHON = """\
```python
import palmtop  # installed with what the format needs: its extra, as palmtop's own README says

with palmtop.load(".") as model:  # this folder
    print(model({question}))
```
"""
IN_KOTLIN = """\
```kotlin
// the dependency com.google.mediapipe:tasks-text; model.tflite in the app's assets
val classifier = TextClassifier.createFromFile(context, "model.tflite")
val categories = classifier.classify("a text").classificationResult().classifications()[0].categories()
categories.forEach { println("${it.categoryName()} ${it.score()}") }
```

Tokenizer and labels lie inside model.tflite. Before you ship, compare its answers with golden.jsonl on the device.
"""
IN_KOTLIN_VECTORS = """\
```kotlin
// the dependency com.google.mediapipe:tasks-text; model.tflite in the app's assets
val embedder = TextEmbedder.createFromFile(context, "model.tflite")
fun vector(text: String) = embedder.embed(text).embeddingResult().embeddings()[0]
println(TextEmbedder.cosineSimilarity(vector("a text"), vector("another text")))
```

The tokenizer lies inside model.tflite. Before you ship, compare its answers with golden.jsonl on the device.
"""
ONE_MODEL = (
    f"The model's files, its tokenizer (tokenizer.json), its labels ({LABELS}), its inputs and outputs "
    f"(signature.json), {GOLDEN} (texts with the answers that this model has to give) and {MANIFEST} (sha256 of every "
    "file, licences, how it was made)."
)
OWN_TOKENIZER = """\
Any other client of the runtime has to tokenize as tokenizer.json says, truncate and pad as signature.json says, and
put labels.txt beside the outputs in its order. Check it with golden.jsonl: texts, token ids and outputs.
"""
SERVED = """\
```
python3 -m http.server 8000    # in this folder; then open http://localhost:8000
```

Any static web server will do. Opened as a file (file://...) the page can load no model, and says so. From a script of
your own page, in this folder:

```javascript
// after app.js of index.html has loaded
const { answers } = await window.palmtop.classify({ texts: ["a text"] });
console.log(answers[0].label, answers[0].share);
```
"""
PLACES = {
    "tflite": "on a device: LiteRT, or one of the clients below that answer; its web page runs it in LiteRT.js",
    "onnx": "ONNX Runtime, on a device or a server",
    "tflite_cascade": "on a device: LiteRT with the rule below; its web page runs both in LiteRT.js",
    "onnx_cascade": "ONNX Runtime with the rule below, on a device or a server",
    "tfjs": "a web page: index.html, with all that it needs",
}
"""Where a format's model runs."""


def readme(title: str, description: str, made_of: str, texts: int, clients: dict[str, str], page: bool) -> str:
    """The whole text.

    Args:
        made_of: the format of the model in the folder.
        texts: how many one question has: 2 for pairs.
        clients: what each client does with the model, as the manifest has it.
        page: whether there is a web page.
    """
    of_two = file_format.find(made_of).parts is not None
    where = PLACES.get(made_of, f"the runtime of {made_of}")
    return "\n".join(
        [
            f"# {title}",
            "",
            description,
            "",
            f"For {where}. {two_models.FILES if of_two else ONE_MODEL}",
            "",
            "`palmtop verify .` checks all of it on another machine.",
            "",
            "## From Python",
            "",
            IN_PYTHON.replace("{question}", '("first text", "second text")' if texts > 1 else '"a text"'),
            *(["## As a web page", "", SERVED] if page else []),
            *_android(clients),
            "## Who can open it",
            "",
            *(f"- {client}: {said}" for client, said in clients.items()),
            "",
            two_models.RULE if of_two else OWN_TOKENIZER,
        ]
    )


def _android(clients: dict[str, str]) -> list[str]:
    told = {MEDIAPIPE: IN_KOTLIN, EMBEDDER: IN_KOTLIN_VECTORS}
    code = [lines for client, lines in told.items() if clients.get(client) == ANSWERS]
    return ["## In an Android app, with MediaPipe", "", *code] if code else []
