"""What tflite-support's BertNLClassifier answers: run in an environment of its own, questions on stdin, answers on stdout.

In: {"model": path of a .tflite, "texts": [...]}. Out: {"answers": [{label: score}, ...]} or {"refused": what it said}.
"""

import json
import sys

from tflite_support.task import core, text


def main() -> None:
    """Answer one question."""
    asked = json.load(sys.stdin)
    options = text.BertNLClassifierOptions(core.BaseOptions(file_name=asked["model"]))
    try:
        classifier = text.BertNLClassifier.create_from_options(options)
    except (RuntimeError, ValueError) as error:
        json.dump({"refused": str(error)}, sys.stdout)
        return
    json.dump({"answers": [_scores(classifier.classify(words)) for words in asked["texts"]]}, sys.stdout)


def _scores(result: text.BertNLClassifier) -> "dict[str, float]":
    return {category.category_name: category.score for category in result.classifications[0].categories}


if __name__ == "__main__":
    main()
