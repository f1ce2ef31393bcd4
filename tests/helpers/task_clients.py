"""What Google's Task clients answer: MediaPipe in this process, tflite-support in an environment of its own.

tflite-support 0.4.4 wants protobuf below 4 and has wheels for Python 3.11 at most, so it can't live beside the rest.
Its environment is made once, with pip, in palmtop's cache folder; after that no network is needed.
"""

import ctypes.util
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from filelock import FileLock

from palmtop.folders import cache

JUDGE = Path(__file__).parent / "judges" / "tflite_support_judge.py"
REQUIREMENTS = ("tflite-support==0.4.4", "numpy==2.4.6", "protobuf==3.20.3", "flatbuffers==25.12.19")
NEWEST_PYTHON = (3, 11)

Scores = dict[str, float]


def mediapipe_answers(model: Path, texts: list[str]) -> list[Scores]:
    """Each text's probabilities by label, of mediapipe.tasks.python.text.TextClassifier."""
    from mediapipe.tasks.python.core.base_options import BaseOptions
    from mediapipe.tasks.python.text import text_classifier

    options = text_classifier.TextClassifierOptions(base_options=BaseOptions(model_asset_path=str(model)))
    with text_classifier.TextClassifier.create_from_options(options) as client:
        return [
            {found.category_name: found.score for found in client.classify(text).classifications[0].categories}
            for text in texts
        ]


def tflite_support(model: Path, texts: list[str]) -> dict[str, Any]:
    """{"answers": [probabilities by label, for each text]} of BertNLClassifier, or {"refused": what it said}."""
    return _judged({"model": str(model), "texts": texts})


def tflite_support_answers(model: Path, questions: list[tuple[str, str]]) -> dict[str, Any]:
    """{"answers": [the best answer or None, for each question and context]} of BertQuestionAnswerer, or {"refused":
    what it said}."""
    return _judged({"model": str(model), "questions": questions})


def _judged(asked: dict[str, Any]) -> dict[str, Any]:
    done = subprocess.run([_python(), JUDGE], input=json.dumps(asked), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    answered: dict[str, Any] = json.loads(done.stdout)
    return answered


def _python() -> Path:
    home = cache("judges") / "tflite-support-0.4.4"
    with FileLock(f"{home}.lock"):
        if not (home / "made").is_file():
            _make(home)
    return home / "bin" / "python"


def _make(home: Path) -> None:
    base = sys.executable if sys.version_info[:2] <= NEWEST_PYTHON else shutil.which("python3.11")
    assert base, "tflite-support has no wheel for this Python: install python3.11 beside it"
    if ctypes.util.find_library("usb-1.0") is None:  # its wheel links libusb and doesn't bring it
        for words in (["update"], ["install", "-y", "--no-install-recommends", "libusb-1.0-0"]):
            done = subprocess.run(["apt-get", "-q", *words], capture_output=True, text=True, check=False)
            lack = f"tflite-support needs libusb-1.0 (apt-get install libusb-1.0-0): {done.stderr[-300:]}"
            assert done.returncode == 0, lack
    shutil.rmtree(home, ignore_errors=True)
    for command in (
        [base, "-m", "venv", home],
        [home / "bin" / "python", "-m", "pip", "install", "--quiet", *REQUIREMENTS],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"the environment of tflite-support can't be made in {home}: {done.stderr[-1000:]}"
    (home / "made").touch()
