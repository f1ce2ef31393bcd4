"""Opening the model in a torch bundle's folder, with the head its config names, and keeping some of its layers."""

import importlib
import json
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from palmtop import task_kinds
from palmtop.errors import UserError
from palmtop.families.family import Family
from palmtop.format import called
from palmtop.models.family import EVERY_FAMILY, FAMILIES, check_kept, family_named, group_of_layers
from palmtop.models.reshaped import opener, reshaped_class
from palmtop.models.whole_weights import check_finite, check_whole, quiet
from palmtop.task import Task

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedConfig, PreTrainedModel
    from transformers.utils import ModelOutput

UNBUILDABLE = (
    ValueError,
    TypeError,
    KeyError,
    AttributeError,
    IndexError,
    ImportError,
    RuntimeError,
    ArithmeticError,
    AssertionError,
)
"""What transformers and torch raise where a config asks for what can't be."""
SAID = 200
"""Characters of a library's own words in a message, at most."""
HEADS = tuple({part for family in FAMILIES.values() for part in (*family.new_head, *family.span_head)})
"""Modules that a task trains anew, of any family."""
OWN_HEADS = {"ForSentenceEmbedding": "palmtop.models.embedder"}
"""Heads of palmtop's own, and the module with their Auto class."""


def open_classifier(folder: Path, attention: str = "eager") -> "PreTrainedModel":
    """The sequence classifier in a Hugging Face folder, float32, in eval mode; only safetensors, nothing from the
    network.

    Eager attention by default: it is the path that exports, and the only one that is right on padded inputs everywhere.
    """
    from transformers import AutoModelForSequenceClassification

    return _opened(folder, AutoModelForSequenceClassification, attention)


def head_of(config: dict[str, Any]) -> str | None:
    """How the class that a Hugging Face config names ends, where it has a task's head: 'ForSequenceClassification'.

    A head over the vocabulary for what comes next counts for decoders alone: of encoders there are such classes too,
    and their bodies are what is wanted.
    """
    named, family = config.get("architectures") or (), EVERY_FAMILY.get(str(config.get("model_type")))
    kind = family.kind if family is not None else "encoder"
    if family is not None and family.word_class is not None and family.word_class in named:
        return task_kinds.architectures("decoder")[0]
    return next((end for end in task_kinds.architectures(kind) if any(end in name for name in named)), None)


def open_with_head(folder: Path) -> "PreTrainedModel":
    """As `open_classifier`, with the head that the folder's config names.

    Raises:
        UserError: it names none.
    """
    head = head_of(json.loads((folder / "config.json").read_text(encoding="utf-8")))
    if head is None:
        raise UserError(f"{folder} has no task's head (architectures in its config.json name none): fine-tune it first")
    return _opened(folder, _auto(head), "eager")


def open_as_named(folder: Path, where: str) -> "PreTrainedModel":
    """As `open_with_head` where config.json names a class with such a head; else the body alone.

    Raises:
        UserError: its config.json can't be built, the folder hasn't the weights that it asks for, or they aren't
            finite; it is called `where`.
    """
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    with building(config, where):
        model = _opened(folder, _auto(head_of(config) or ""), "eager", where)
    check_finite(model, where)
    return model


@contextmanager
def building(config: dict[str, Any], where: str) -> Iterator[None]:
    """While transformers builds a config or a model of it.

    Raises:
        UserError: it can't, with what it said and the words of the config that it speaks of; the model is called
            `where`.
    """
    from huggingface_hub.errors import StrictDataclassError  # transformers' own, of a value of another type

    try:
        yield
    except (*UNBUILDABLE, StrictDataclassError) as error:
        words = [word for word, value in config.items() if isinstance(value, str) and value in error.args]
        said = ": ".join([*words, in_one_line(error)])
        raise UserError(
            f"{where} can't be built as its config.json says ({said}): mend config.json, or fetch the model again"
        ) from None


def in_one_line(error: Exception) -> str:
    """What a library said, in a line of a message."""
    said = " ".join(str(error).split())
    named = said if type(error) in (Exception, ValueError, RuntimeError) else f"{type(error).__name__}: {said}"
    return textwrap.shorten(named, SAID, placeholder=" ...") or type(error).__name__


def _auto(head: str) -> Any:
    """transformers' Auto class for a head, or palmtop's where transformers has none; for no head, the body's."""
    import transformers

    if head in OWN_HEADS:
        return getattr(importlib.import_module(OWN_HEADS[head]), f"AutoModel{head}")
    return getattr(transformers, f"AutoModel{head}")


def with_random_weights(config: "PreTrainedConfig", head: str) -> "PreTrainedModel":
    """A new model after a config, with a kind's head ('ForSequenceClassification'), in eval mode; torch's seed says
    which."""
    base = _auto(head)._model_mapping[type(config)]
    kind = base if family_named(config.model_type).mended_by is None else reshaped_class(base)
    made: PreTrainedModel = kind._from_config(config, attn_implementation="eager").eval()
    return made


def outputs_of(answer: "ModelOutput") -> "Tensor":
    """What a head answers: logits [batch, outputs], or start and end logits [batch, 2, tokens]."""
    import torch

    if "start_logits" in answer:
        return torch.stack([answer.start_logits, answer.end_logits], dim=1)
    logits: Tensor = answer.logits
    return logits


def keep_layers(model: "PreTrainedModel", layers: Sequence[int]) -> "PreTrainedModel":
    """A new model of the same family with only these layers (0-based, ascending), every weight copied.

    With all layers it computes the same function: logits are equal bit for bit.

    Raises:
        UserError: the model has no layers.
    """
    import copy

    from palmtop.models.reshaped import keep_in_config, rebuilt

    family = family_named(model.config.model_type)
    if not family.has_layers:
        raise UserError(
            f"a model of the family '{family.model_type}' has no transformer layers to keep some of: name a transformer"
        )
    check_kept(family.model_type, layers)
    config = copy.deepcopy(model.config)
    setattr(config, family.layer_count, len(layers))
    keep_in_config(config, layers)
    for word in family.listed_by_layer:
        setattr(config, word, [getattr(model.config, word)[layer] for layer in layers])
    if family.layers_said_by is not None:
        called(family.layers_said_by)(config)
    groups = group_of_layers(model.config) if family.groups is not None else []
    if groups:
        config.num_hidden_groups = len({groups[layer] for layer in layers})
        _check_kept_groups(config, [groups[layer] for layer in layers], layers)
    smaller = rebuilt(model, config)
    smaller.load_state_dict(
        _chosen(model.state_dict(), family, [groups[layer] for layer in layers] if groups else layers)
    )
    return smaller


def _opened(folder: Path, auto: Any, attention: str, where: str | None = None) -> "PreTrainedModel":
    with quiet():
        model, report = opener(folder, auto).from_pretrained(
            folder,
            attn_implementation=attention,
            dtype="float32",
            local_files_only=True,
            use_safetensors=True,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
        )
    check_whole(model, report, where or folder)
    opened: PreTrainedModel = model.eval()
    return opened


def _check_kept_groups(config: "PreTrainedConfig", groups: Sequence[int], layers: Sequence[int]) -> None:
    """Raises: UserError: ALBERT's class, which shares out layers among groups evenly, can't have these layers'
    groups."""
    known = sorted(set(groups))
    if group_of_layers(config) != [known.index(group) for group in groups]:
        raise UserError(
            f"layers {list(layers)} are of the groups {list(groups)} of shared weights, which an ALBERT of "
            f"{len(groups)} layers can't have: choose as many layers of each group"
        )


def _chosen(state: dict[str, Any], family: Family, layers: Sequence[int]) -> dict[str, Any]:
    """The weights of some layers (of some groups, where layers share them), under their new numbers, and all others."""
    held = family.layers if family.groups is None else family.groups[0]
    prefixes = tuple(f"{path}." for path in (held, *family.beside_layers))
    place = {layer: position for position, layer in enumerate(dict.fromkeys(layers))}
    chosen = {}
    for name, weight in state.items():
        prefix = next((prefix for prefix in prefixes if name.startswith(prefix)), None)
        if prefix is None:
            chosen[name] = weight
            continue
        layer, rest = name.removeprefix(prefix).split(".", 1)
        if int(layer) in place:
            chosen[f"{prefix}{place[int(layer)]}.{rest}"] = weight
    return chosen


def with_head(folder: Path, task: Task, seed: int) -> "tuple[PreTrainedModel, list[str]]":
    """The model with the task's head, and the names of weights that the source had not (they start random)."""
    import torch
    from transformers import logging

    logging.disable_progress_bar()  # of opening a file, a blink; training keeps its own
    torch.manual_seed(seed)
    names = list(task.label_names)
    model, report = opener(folder, _auto(task.of_kind.architecture)).from_pretrained(
        folder,
        num_labels=len(names),
        id2label=dict(enumerate(names)),
        label2id={name: index for index, name in enumerate(names)},
        problem_type=task.of_kind.problem_type,
        ignore_mismatched_sizes=True,
        attn_implementation="eager",
        dtype="float32",
        local_files_only=True,
        use_safetensors=True,
        output_loading_info=True,
    )
    new = sorted({*report["missing_keys"], *(fault[0] for fault in report["mismatched_keys"])})
    heads = ("pooler", "head", *HEADS)
    body = [name for name in new if not any(part in name for part in heads)]
    if body:
        raise UserError(
            f"the weights in {folder} lack {len(body)} of the transformer's own ({body[0]}, ...): they don't belong "
            "to its config.json"
        )
    for key, value in task.of_kind.in_config(model.config.to_dict()).items():
        setattr(model.config, key, value)
    return model, new
