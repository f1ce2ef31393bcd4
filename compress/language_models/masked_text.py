"""Text with words hidden, as the stages that learn from it take it: sequences or sentence pairs, masks, the kind of
model."""

from typing import TYPE_CHECKING

from palmtop.bundle import Bundle
from palmtop.compress.language_models.corpus import Corpus
from palmtop.compress.language_models.masked_targets import Masks, Rule
from palmtop.compress.language_models.sequences import sentence_pairs, sequences
from palmtop.compress.language_models.text_learning import LearntText, parted
from palmtop.compress.language_models.text_settings import OnMaskedText
from palmtop.compress.learning.dropout import without_dropout
from palmtop.data.special_tokens import Vocabulary
from palmtop.errors import UserError
from palmtop.models.language_model import SENTENCE_ORDER, Kind
from palmtop.signature import Signature

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def masked_text(settings: OnMaskedText, source: Bundle, signature: Signature, fixed: bool) -> LearntText:
    """Read and tokenize the text, and draw what is hidden; that of the text kept apart never changes.

    Raises:
        UserError: no text, too little of it, or a tokenizer without a mask token.
    """
    documents = Corpus.find(settings.text).documents()
    if settings.sentence_order_weight:
        data, counts = sentence_pairs(documents, source.path, signature, settings.seed)
    else:
        data, counts = sequences(documents, source.path, signature)
    learnt, apart = parted(data, settings.held_out, settings.seed)
    rule, vocabulary = (
        Rule(settings.mask_share, settings.mask_smoothing, settings.mask_spans),
        Vocabulary.of(source.path),
    )
    masks = Masks(learnt, rule, vocabulary, settings.batch_size, settings.seed, fixed)
    measured = (apart, Masks(apart, rule, vocabulary, settings.batch_size, settings.seed, True)) if apart else None
    return LearntText(learnt, masks, measured, counts)


def kind_of_model(settings: OnMaskedText, family: str | None) -> Kind:
    """Which heads are wanted.

    Raises:
        UserError: the family has no head for the order of sentences.
    """
    if not settings.sentence_order_weight:
        return "masked"
    if family not in SENTENCE_ORDER:
        raise UserError(
            f"sentence_order_weight is {settings.sentence_order_weight}, but the family '{family}' has no head for "
            f"it: set it to 0, or learn with one of: {', '.join(SENTENCE_ORDER)}"
        )
    return "masked and sentence order"


def dropping(settings: OnMaskedText, model: "PreTrainedModel") -> bool:
    """Set the model's dropout as the settings say; return whether it has any left."""
    off = settings.dropout == "off" or (settings.dropout == "auto" and settings.sentence_order_weight > 0)
    if off:
        without_dropout(model)
    return not off
