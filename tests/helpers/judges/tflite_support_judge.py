"""What tflite-support's clients answer: run in an environment of its own, questions on stdin, answers on stdout.

In: {"model": path of a .tflite, "texts": [...]} for BertNLClassifier, or {"model": ..., "questions": [[question,
context], ...]} for BertQuestionAnswerer. Out: {"answers": [{label: score}, ...]} or {"answers": [the best answer,
...]}, or {"refused": what it said}.
"""

import json
import sys

from tflite_support.task import core, text


def main() -> None:
    """Answer what was asked."""
    asked = json.load(sys.stdin)
    model = core.BaseOptions(file_name=asked["model"])
    try:
        answers = _classified(model, asked["texts"]) if "texts" in asked else _read(model, asked["questions"])
    except (RuntimeError, ValueError) as error:
        json.dump({"refused": str(error)}, sys.stdout)
        return
    json.dump({"answers": answers}, sys.stdout)


def _classified(model: core.BaseOptions, texts: "list[str]") -> "list[dict[str, float]]":
    classifier = text.BertNLClassifier.create_from_options(text.BertNLClassifierOptions(model))
    return [_scores(classifier.classify(words)) for words in texts]


def _read(model: core.BaseOptions, questions: "list[tuple[str, str]]") -> "list[str | None]":
    reader = text.BertQuestionAnswerer.create_from_options(text.BertQuestionAnswererOptions(model))
    found = [reader.answer(context, question).answers for question, context in questions]
    return [answers[0].text if answers else None for answers in found]


def _scores(result: text.BertNLClassifier) -> "dict[str, float]":
    return {category.category_name: category.score for category in result.classifications[0].categories}


if __name__ == "__main__":
    main()
