"""Which clients an app's file is for: what keeps Google's Task clients from a model, and what was found of those that
open it."""

from palmtop.app_manifest import ANSWERS
from palmtop.bundle import Bundle
from palmtop.data.wordpiece import why_not as no_wordpiece
from palmtop.signature import Signature
from palmtop.task import Task

MEDIAPIPE = "MediaPipe TextClassifier 1.2.2"
TASK_LIBRARY = "tflite-support BertNLClassifier 0.4.4"
QUESTION_ANSWERER = "tflite-support BertQuestionAnswerer 0.4.4"
LENGTH = 384
"""Tokens that BertQuestionAnswerer writes into a model's inputs, a constant of its C++ (kMaxSeqLen). It opens a file of
another length, and dies of the first question (measured)."""
TASK_CLIENTS = (MEDIAPIPE, TASK_LIBRARY, QUESTION_ANSWERER)
EMBEDDER = "MediaPipe TextEmbedder 1.2.2"


FIRST = {"classifier": MEDIAPIPE, "question_answerer": QUESTION_ANSWERER, "embedder": EMBEDDER}
"""The client that asks a model of a kind of task, by the word of the kind."""


def client_for(task: Task) -> str:
    """The client that a model of the task is made for first."""
    return FIRST[task.of_kind.task_client or "classifier"]


def why_not(source: Bundle, task: Task | None) -> str | None:
    """Why the Task clients can't answer with a .tflite; None when they can."""
    if task is None or task.of_kind.task_client is None:
        return task.of_kind.no_task_client if task else "they classify, this model doesn't"
    if task.texts_at_a_time > 1 and client_for(task) == MEDIAPIPE:
        return "they take one text, this model a pair"
    return no_wordpiece(source.path) or _why_not_file(source.signature)


def _why_not_file(signature: Signature) -> str | None:
    if len(signature.lengths or ()) > 1:
        return (
            f"they open a file of one length or of any, this one has {len(signature.lengths or ())}: export it with "
            "one, or lengths: any"
        )
    if signature.null_threshold is not None:
        return "BertQuestionAnswerer always answers, and this model may say that there is no answer"
    if signature.stride is not None:
        return "BertQuestionAnswerer reads the beginning of a context, and this model reads it in windows"
    if signature.output == "spans" and signature.lengths != (LENGTH,):
        takes = signature.lengths[0] if signature.lengths else "any number"
        return (
            f"BertQuestionAnswerer always gives {LENGTH} tokens, this file takes {takes}: export it with lengths: "
            f"{LENGTH}"
        )
    if signature.output == "logits":
        return "they take the outputs for probabilities, this file answers logits: export it with probabilities: true"
    return None


def task_clients(task: Task, reason: str | None, old: str | None) -> dict[str, str]:
    """What each Task client does with a .tflite.

    Args:
        reason: why none of them can answer with it.
        old: why runtimes as old as tflite-support's refuse it.
    """
    if client_for(task) == QUESTION_ANSWERER:
        answerer = f"no: {reason}" if reason is not None else _of_old(old)
        return {
            MEDIAPIPE: "no: MediaPipe has no client for questions",
            TASK_LIBRARY: "no: this model doesn't classify",
            QUESTION_ANSWERER: answerer,
        }
    if client_for(task) == EMBEDDER:
        others = dict.fromkeys(TASK_CLIENTS, "no: this model gives a vector")
        return others | {EMBEDDER: ANSWERS if reason is None else f"no: {reason}"}
    if reason is not None:
        return dict.fromkeys(TASK_CLIENTS, f"no: {reason}")
    return {MEDIAPIPE: ANSWERS, TASK_LIBRARY: _of_old(old), QUESTION_ANSWERER: "no: this model classifies"}


def _of_old(refused: str | None) -> str:
    return f"refuses it: {refused}; float16 and weight_only_int8 it answers" if refused else ANSWERS
