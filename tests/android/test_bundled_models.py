"""The models that the Android app comes with, on the JVM with LiteRT itself: 500 texts, bit for bit as in Python."""

import gzip
from pathlib import Path

import numpy as np
import pytest
from kotlin_jvm import Jvm

from palmtop import target

ROOT = Path(__file__).parents[2]
MODELS = sorted((ROOT / "android_demo" / "app" / "src" / "main" / "assets" / "models").glob("*/manifest.json"))
TEXTS = 500


@pytest.mark.slow
@pytest.mark.parametrize("manifest", MODELS, ids=lambda path: path.parent.name)
def test_a_bundled_model_answers_as_in_python(manifest: Path, jvm: Jvm) -> None:
    folder = manifest.parent
    (report,) = jvm.ask("golden", folder)
    assert report["fault"] is None and report["difference"] == "0.0" and report["other_tokens"] == 0
    with gzip.open(ROOT / "palmtop" / "tasks" / "clinc150" / "test.tsv.gz", "rt", encoding="utf-8") as file:
        texts = [line.split("\t")[0] for line in file][:TEXTS]
    with target.for_format("tflite").open(folder) as runner:
        outputs = runner.predict(runner.tokenize([(text,) for text in texts]))
    found = jvm.ask("answers", folder, [{"text": [text]} for text in texts])
    assert [row["bits"] for row in found] == outputs.astype(np.float32).view(np.int32).tolist()
