"""Language models: opened with the head they were trained with, never with a random one by accident."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from palmtop.errors import UserError
from palmtop.models.family import FAMILIES, family_named, inputs_of

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module
    from transformers import PreTrainedModel

Kind = Literal["masked", "masked and sentence order", "causal"]

_AUTO: dict[Kind, str] = {
    "masked": "AutoModelForMaskedLM",
    "masked and sentence order": "AutoModelForPreTraining",
    "causal": "AutoModelForCausalLM",
}
SENTENCE_ORDER = tuple(name for name, family in FAMILIES.items() if family.order_head)
"""Families whose class for pre-training has a head for the order of two segments."""


@dataclass(frozen=True)
class Opened:
    """A language model, and the names of weights that its folder had not: they are random."""

    model: "PreTrainedModel"
    new: tuple[str, ...]


def open_language_model(folder: Path, kind: Kind = "masked", new_head: bool = False) -> Opened:
    """The language model in a Hugging Face folder, float32, in eval mode; only safetensors, nothing from the network.

    The head over the vocabulary must be there, unless `new_head` asks for one that is to be trained; that for the order
    of sentences may be new.

    Raises:
        UserError: the head, or weights of the transformer itself, are missing.
    """
    import transformers

    from palmtop.models.reshaped import opener

    transformers.logging.disable_progress_bar()  # of opening a file, a blink; training keeps its own
    said = transformers.logging.get_verbosity()
    transformers.logging.set_verbosity_error()  # what is missing is judged and told here
    model, report = opener(folder, getattr(transformers, _AUTO[kind])).from_pretrained(
        folder,
        attn_implementation="eager",
        dtype="float32",
        local_files_only=True,
        use_safetensors=True,
        output_loading_info=True,
    )
    transformers.logging.set_verbosity(said)
    new = tuple(sorted(report["missing_keys"]))
    allowed = family_named(model.config.model_type).order_head if kind == "masked and sentence order" else ()
    lacking = [name for name in new if not name.startswith(allowed)]
    body = [name for name in lacking if name.startswith(f"{model.base_model_prefix}.")]
    if body:
        raise UserError(
            f"the weights in {folder} lack {len(body)} of the transformer's own ({body[0]}, ...): they don't belong "
            "to its config.json"
        )
    if lacking and not new_head:
        raise UserError(
            f"{folder} has no head over the vocabulary: {len(lacking)} of its weights are missing ({lacking[0]}, "
            "...), and random ones would teach noise; train them first with the stage 'masked_lm'"
        )
    for name, weight in model.named_parameters():
        if name in new and name.endswith("bias"):  # transformers leaves Longformer's as the memory was
            weight.data.zero_()
    return Opened(model.eval(), new)


class Asked:
    """Makes a model's head over the vocabulary answer at chosen positions only: logits [chosen, vocabulary].

    The head costs about as much as some layers, and a row of logits 120 KB with BERT's vocabulary.
    """

    def __init__(self, model: "PreTrainedModel") -> None:
        self.chosen: Tensor | None = None
        """[batch, tokens], bool; set before each forward pass. None: all, padding too."""
        head = family_named(model.config.model_type).word_head
        assert head is not None  # families without one are no language models
        model.get_submodule(head).register_forward_pre_hook(self._choose)

    def _choose(self, _: "Module", given: "tuple[Tensor, ...]") -> "tuple[Tensor, ...]":
        return given if self.chosen is None else (given[0][self.chosen], *given[1:])


class Answering:
    """A teacher that answers while its student learns: in eval mode, without gradients."""

    def __init__(self, model: "PreTrainedModel") -> None:
        self._model, self._head, self._inputs = model.eval(), Asked(model), inputs_of(model.config.to_dict())

    def answer(self, batch: "dict[str, Tensor]", chosen: "Tensor", hidden: bool) -> "tuple[Tensor, Tensor | None]":
        """Logits at the chosen positions, [chosen, vocabulary], and the last hidden states, [batch, tokens, width]."""
        import torch

        if self._model.training:
            raise RuntimeError("the teacher is in training mode: its dropout would be taught")
        self._head.chosen = chosen
        with torch.no_grad():
            output = self._model.to(chosen.device)(
                **{name: batch[name] for name in self._inputs}, output_hidden_states=hidden
            )
        return output[0], output.hidden_states[-1] if hidden else None


def head_parts(new: Sequence[str]) -> tuple[str, ...]:
    """The top modules of weights that are new, for a rate of their own."""
    return tuple(dict.fromkeys(name.split(".")[0] for name in new))
