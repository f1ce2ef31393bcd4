"""Weights that a folder should have: what transformers' loading report says is missing is refused by name, never left
random."""

import json
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from palmtop.errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

HEADS = ("ForSequenceClassification", "ForQuestionAnswering", "ForCausalLM", "LMHeadModel")
"""What the classes are called by whose heads are a task's own; a head over the vocabulary for hidden words is judged
where it is used (palmtop.language_model)."""
TOLD = 3
"""Names of weights in a message, at most."""
BUFFERS = ("position_ids", "token_type_ids", "attn.bias", "attn.masked_bias")
"""Ends of names that older versions of transformers saved, and newer ones compute."""


def check_shards(folder: Path, whole: str, index: str) -> None:
    """Raises: UserError: the folder hasn't the one file of weights, nor all the files that its index names."""
    if (folder / whole).is_file():
        return
    try:
        named = sorted(
            {str(name) for name in json.loads((folder / index).read_text(encoding="utf-8"))["weight_map"].values()}
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        raise UserError(
            f"{folder / index} isn't an index of weights (a JSON object with a weight_map): fetch it again"
        ) from None
    gone = [name for name in named if Path(name).name != name or not (folder / name).is_file()]
    if gone:
        raise UserError(
            f"{folder} lacks {len(gone)} of the {len(named)} files of weights that {index} names ({_some(gone)}): "
            "fetch the model again"
        )


@contextmanager
def quiet() -> Iterator[None]:
    """Without transformers' bar and its own table of what is missing: that is judged and told here."""
    from transformers import logging

    logging.disable_progress_bar()  # of opening a file, a blink; training keeps its own
    said = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(said)


def check_whole(model: "PreTrainedModel", report: dict[str, Any], where: str | Path) -> None:
    """Whether the model that was opened is the folder's own.

    A pooler may be missing, and a head, where config.json doesn't name a class with that head: they are new then, and
    are trained.

    Args:
        report: of `from_pretrained(..., output_loading_info=True)`.
        where: the folder or the model, as messages call it.

    Raises:
        UserError: weights are missing, have other shapes than the config's, or would be left out.
    """
    named = _has_named_head(model)
    lacking = sorted(name for name in report["missing_keys"] if named or _is_of_body(model, name))
    if lacking:
        raise UserError(
            f"{where} lacks {len(lacking)} of the weights that its config.json asks for "
            f"({_some(lacking)}){_others(report)}; random ones would stand in their place: {_remedy(model, lacking)}"
        )
    sizes = {name: f"{name}: {list(found)}, not {list(asked)}" for name, found, asked in report["mismatched_keys"]}
    if sizes:
        raise UserError(
            f"{where} has {_counted(sizes)} of other shapes than its config.json asks for "
            f"({_some(sorted(sizes.values()), '; ')}): they don't belong together; fetch the model again, config and "
            "weights"
        )
    extra = sorted(name for name in report["unexpected_keys"] if _is_of_body(model, name))
    if extra:
        raise UserError(
            f"{where} has {_counted(extra)} in the transformer itself that {type(model).__name__} has no place for "
            f"({_some(extra)}): without them its answers would not be the model's own; give a model of a family that "
            "transformers knows as it is"
        )


def check_finite(model: "PreTrainedModel", where: str) -> None:
    """Raises: UserError: weights that are infinite or no numbers."""
    broken = sorted(name for name, weight in model.named_parameters() if not weight.isfinite().all())
    if broken:
        raise UserError(
            f"{where} has {_counted(broken)} with values that aren't finite numbers ({_some(broken)}): fetch it "
            "again, or take a checkpoint from before its training diverged"
        )


def _has_named_head(model: "PreTrainedModel") -> bool:
    """Whether config.json names a class with the very kind of head that the model was opened with."""
    kind = next((kind for kind in HEADS if kind in type(model).__name__), None)
    return kind is not None and any(kind in name for name in model.config.architectures or ())


def _is_of_body(model: "PreTrainedModel", name: str) -> bool:
    """Whether a weight is in the transformer itself; its pooler aside, which not every class has."""
    first = name.removeprefix(f"{model.base_model_prefix}.").split(".")[0]
    return first in {part for part, _ in model.base_model.named_children()} - {"pooler"} and not name.endswith(BUFFERS)


def _counted(names: Collection[str]) -> str:
    return f"{len(names)} weight{'s' if len(names) > 1 else ''}"


def _some(names: Sequence[str], between: str = ", ") -> str:
    return between.join(names[:TOLD]) + (f"{between}..." if len(names) > TOLD else "")


def _others(report: dict[str, Any]) -> str:
    """What stands in the file under names that the model doesn't know: they often tell what happened."""
    others = sorted(report["unexpected_keys"])
    return f", and has {len(others)} that it doesn't ask for ({_some(others)})" if others else ""


def _remedy(model: "PreTrainedModel", lacking: Sequence[str]) -> str:
    if any(_is_of_body(model, name) for name in lacking):
        return "fetch the model again, or save it from the class that its config.json names"
    body = type(model.base_model).__name__
    return f'fetch the model with its head; to train a new one, write "architectures": ["{body}"] into its config.json'
