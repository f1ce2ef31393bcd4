"""A stranger's config.json: read, refused by name where a model of it would answer otherwise, its defaults written
out."""

import json
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from palmtop.errors import UserError
from palmtop.families.family import Family
from palmtop.format import called
from palmtop.models.family import check_dropped, family_named, family_of
from palmtop.models.opening import building, head_of
from palmtop.task import Task

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

HEADS = {
    "multi_label_classification": "answers each label by itself",
    "single_label_classification": "gives one label",
    "regression": "gives a number",
}
"""What a head does by its problem_type."""
UNNAMED = re.compile(r"(LABEL_)?\d+")
"""A label that nobody named."""
SHOWN = 4
MOST_LABELS = 1_000_000


def read_config(folder: Path, model: str, trusted: bool) -> dict[str, Any]:
    """What config.json says, with the defaults of transformers' class for words that it leaves out and palmtop reads.

    Raises:
        UserError: it can't be read, or says something that transformers or palmtop would pass over.
    """
    path = folder / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{folder} has no config.json: it isn't a Hugging Face model folder") from None
    except (ValueError, RecursionError):
        raise UserError(f"{path} isn't JSON: fetch the model again") from None
    if not isinstance(config, dict):
        raise UserError(f"{path} holds a {type(config).__name__} where an object of settings is wanted: fetch it again")
    if config.get("auto_map") and not trusted:
        code = ", ".join(config["auto_map"]) if isinstance(config["auto_map"], dict) else str(config["auto_map"])
        raise UserError(
            f"{model} brings Python code of its own ({code}), which is not run: read it, and set trust_remote_code: "
            "true if you trust it"
        )
    family = family_of(config, model)
    check_dropped(config, model)
    _check_forms(config, family, path)
    return _with_defaults(config | {"model_type": family.model_type}, family, model)


def built_config(config: dict[str, Any], model: str) -> "PreTrainedConfig":
    """The config as transformers' class has it.

    Raises:
        UserError: it can't be one.
    """
    from transformers import AutoConfig

    if (own := family_named(config["model_type"]).own_class) is not None:
        called(own)()
    rest = {word: value for word, value in config.items() if word != "model_type"}
    with building(config, model):
        built: PreTrainedConfig = AutoConfig.for_model(config["model_type"], **rest)
    return built


def copy_config(folder: Path, out: Path, config: dict[str, Any]) -> None:
    """Write config.json: as it is, or with the defaults that it leaves out, so that all that reads it finds them."""
    written = folder / "config.json"
    if config == json.loads(written.read_text(encoding="utf-8")):
        shutil.copyfile(written, out / "config.json")
    else:
        (out / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def head_labels(config: dict[str, Any], task: str | dict[str, Any] | None) -> tuple[str, ...] | None:
    """The labels of a fine-tuned head that is the task's; None where a head must be trained first.

    Raises:
        UserError: the head is another than the task's.
    """
    wanted = Task.find(task) if task is not None else None
    if wanted is None or head_of(config) != wanted.of_kind.architecture:
        return None
    if not wanted.of_kind.has_labels and (wanted.of_kind.per_token or not wanted.of_kind.names_outputs):
        return wanted.label_names
    said, meant = config.get("problem_type"), wanted.of_kind.problem_type
    if said is not None and said != meant:
        raise UserError(
            f"the model's head {HEADS.get(str(said), 'is another')} (problem_type: {said}), and a task's texts have "
            f"{wanted.of_kind.texts_have}: fine-tune it for '{wanted.name}' first, without 'task' in adopt"
        )
    labels = _labels(config)
    if wanted.of_kind.has_labels:
        _check_labels(labels, wanted)
    elif len(labels) != len(wanted.label_names):
        raise UserError(
            f"the model's head has {len(labels)} outputs ({', '.join(labels[:SHOWN])}), and the task '{wanted.name}' "
            f"asks for {len(wanted.label_names)}: fine-tune it first, without 'task' in adopt"
        )
    return wanted.label_names  # a number's name is the task's own word for it


def _check_labels(labels: tuple[str, ...], wanted: Task) -> None:
    names = wanted.label_names
    if set(labels) != set(names):
        odd = sorted(set(labels) ^ set(names))[:SHOWN]
        raise UserError(
            f"the model's head has other labels than the task '{wanted.name}' ({len(labels)} and "
            f"{len(names)}; not in both: {', '.join(odd)}): {_way_to_keep(labels, names)}fine-tune it first, without "
            "'task' in adopt"
        )
    if labels != names:
        raise UserError(
            f"the model's head has the task's labels in another order ({', '.join(labels[:SHOWN])}, ...): give the "
            "task 'labels' in that order"
        )


def _way_to_keep(labels: tuple[str, ...], names: tuple[str, ...]) -> str:
    """How a trained head goes with the task's data nevertheless, where its labels may be the task's by other names."""
    if len(labels) != len(names):
        return ""
    pairs = ", ".join(f"{name}: {label}" for name, label in list(zip(names, labels, strict=True))[:SHOWN])
    more = ", ..." if len(names) > SHOWN else ""
    unnamed = "its labels have no names of their own; " if all(map(UNNAMED.fullmatch, labels)) else ""
    return (
        f"{unnamed}to keep the trained head, say in the task which label of it each of yours is, as it was trained, "
        f"such as labels: {{{pairs}{more}}}; or "
    )


def _labels(config: dict[str, Any]) -> tuple[str, ...]:
    """The head's labels by number, as transformers counts them: two without names where nothing is said."""
    named = config.get("id2label")
    if named is None:
        return tuple(f"LABEL_{number}" for number in range(config.get("num_labels") or 2))
    by_number = {int(number): str(label) for number, label in named.items()}
    if sorted(by_number) != list(range(len(named))):
        raise UserError(
            f"id2label in the model's config.json has the numbers {', '.join(named)} where 0 to {len(named) - 1} are "
            "wanted, one for each output of its head: mend it, or fetch the model again"
        )
    return tuple(by_number[number] for number in range(len(by_number)))


def _check_forms(config: dict[str, Any], family: Family, path: Path) -> None:
    """Raises: UserError: words of the config that are read here have a form in which they can't be."""
    for word in _words(family):
        value = config.get(word)
        if value is not None and not (type(value) is int and value >= 0):
            raise UserError(f"{path}: {word} must be a whole number from 0 on, not {str(value)[:80]}: fetch it again")
    named = config.get("id2label")
    if named is not None and not (
        isinstance(named, dict)
        and all(number.strip().isdecimal() and isinstance(label, str | int) for number, label in named.items())
    ):
        raise UserError(
            f'{path}: id2label must be a mapping from numbers to labels, such as {{"0": "no", "1": "yes"}}, not '
            f"{str(named)[:80]}: mend it, or fetch the model again"
        )
    outputs = config.get("num_labels")
    if outputs is not None and not (type(outputs) is int and 0 < outputs <= MOST_LABELS):
        raise UserError(f"{path}: num_labels must be a whole number from 1 on, not {str(outputs)[:80]}: fetch it again")
    classes = config.get("architectures")
    if classes is not None and not (isinstance(classes, list) and all(isinstance(name, str) for name in classes)):
        raise UserError(
            f'{path}: architectures must be a list of names of classes, such as ["BertModel"], not '
            f"{str(classes)[:80]}: mend it, or fetch the model again"
        )


def _words(family: Family) -> list[str]:
    """What is read of a config as it is written."""
    words = [family.layer_count, family.width, "vocab_size"]
    words += [word for word in (family.positions, family.feed_forward) if word is not None]
    words += ["pad_token_id"] if family.kind == "encoder" else []
    return words + (["type_vocab_size"] if family.token_types else [])


def _with_defaults(config: dict[str, Any], family: Family, model: str) -> dict[str, Any]:
    left_out = [word for word in _words(family) if word not in config]
    if family.own_class is not None or not left_out:
        return config
    built = built_config(config, model)
    return config | {word: value for word in left_out if (value := getattr(built, word, None)) is not None}
