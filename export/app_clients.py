"""Which clients an app's file is for: what keeps Google's Task clients from a model, and what was found of those that open it."""

from palmtop.app import ANSWERS
from palmtop.bundle import Bundle
from palmtop.signature import Signature
from palmtop.task import Task
from palmtop.wordpiece import why_not as no_wordpiece

MEDIAPIPE = "MediaPipe TextClassifier 1.2.2"
TASK_LIBRARY = "tflite-support BertNLClassifier 0.4.4"
QUESTION_ANSWERER = "tflite-support BertQuestionAnswerer 0.4.4"
TASK_CLIENTS = (MEDIAPIPE, TASK_LIBRARY, QUESTION_ANSWERER)


def why_not(source: Bundle, task: Task | None) -> str | None:
    """Why the Task clients can't answer with a .tflite; None when they can."""
    signature = Signature.read(source.path)
    if task is None or task.kind != "classification":
        return "they classify, this model doesn't"
    if len(task.columns) > 1:
        return "they take one text, this model a pair"
    if reason := no_wordpiece(source.path):
        return reason
    if signature.lengths is None or len(signature.lengths) > 1:
        return f"they open a file of one length, this one has {len(signature.lengths or ())}: export it with one"
    if signature.output != "probabilities":
        return "they take the outputs for probabilities, this file answers logits: export it with probabilities: true"
    return None


def task_clients(reason: str | None, old: str | None) -> dict[str, str]:
    """What each Task client does with a .tflite.

    Args:
        reason: why none of them can answer with it.
        old: why runtimes as old as tflite-support's refuse it.
    """
    if reason is not None:
        return dict.fromkeys(TASK_CLIENTS, f"no: {reason}")
    return {MEDIAPIPE: ANSWERS, TASK_LIBRARY: f"refuses it: {old}; float16 and weight_only_int8 it answers" if old else ANSWERS,
            QUESTION_ANSWERER: "no: this model classifies"}
