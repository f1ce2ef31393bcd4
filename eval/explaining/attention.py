"""Where a model looks: the attention of its layers and heads for one text, in numbers, and beside its teacher's."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from palmtop.bundle import Bundle
from palmtop.data.encoding import Text, pad
from palmtop.data.special_tokens import Vocabulary, plain_tokenizer
from palmtop.data.tokenization import HostTokenizer
from palmtop.errors import UserError

Map = Float[ndarray, "heads queries keys"]
"""Of a layer: how much each token (query) looks at each token (key); a row adds up to 1."""


@dataclass(frozen=True)
class Heads:
    """What a layer's heads look at, each the mean over the text's tokens, [heads]."""

    entropy: Float[ndarray, " heads"]
    """In bits: 0 where every token looks at one, log2 of the number of tokens where it looks at all alike."""
    special: Float[ndarray, " heads"]
    """Share that goes to [CLS], [SEP] and the like."""
    itself: Float[ndarray, " heads"]
    """Share of the token's own place."""
    neighbours: Float[ndarray, " heads"]
    """Share of the tokens right before and after."""


@dataclass(frozen=True)
class Attention:
    """A model's attention for one text."""

    name: str
    tokens: tuple[str, ...]
    """As the tokenizer spells them."""
    special: tuple[bool, ...]
    """Which of them the tokenizer added."""
    layers: tuple[Map, ...]

    def heads(self, layer: int) -> Heads:
        """What a layer's heads look at."""
        maps = self.layers[layer].astype(np.float64)
        places = np.arange(maps.shape[-1])
        beside = np.abs(places[:, None] - places) == 1
        return Heads(
            entropy=-(maps * np.log2(np.where(maps > 0, maps, 1))).sum(-1).mean(-1),
            special=maps[..., np.asarray(self.special)].sum(-1).mean(-1),
            itself=np.trace(maps, axis1=-2, axis2=-1) / maps.shape[-1],
            neighbours=(maps * beside).sum(-1).mean(-1),
        )

    def nearest(self, other: "Attention", layer: int) -> tuple[int, float]:
        """The layer of another model that looks most alike at the same tokens, and how far it is from this one's
        (`divergence`)."""
        distances = [divergence(self.layers[layer].mean(0), theirs.mean(0)) for theirs in other.layers]
        return int(np.argmin(distances)), float(min(distances))


def divergence(first: Float[ndarray, "queries keys"], second: Float[ndarray, "queries keys"]) -> float:
    """Jensen-Shannon divergence of two maps in bits, mean over queries (Lin 1991): 0 where they are equal, 1 where no
    token looks at what the other one does."""
    mean = (first + second) / 2
    return float(sum(_kl(one, mean).mean() for one in (first, second)) / 2)


def attention_of(bundle: Bundle, text: Text) -> Attention:
    """The attention of a torch bundle's model for a text, or a pair of texts, cut to what the model reads.

    Raises:
        UserError: another format, a model without attention, or as many texts as its task doesn't have.
    """
    if bundle.format != "torch":
        raise UserError(
            f"{bundle.name} is {bundle.format}, and an exported file gives answers, not attention: name the torch "
            "bundle that it was made of"
        )
    _check_texts(bundle, text)
    signature = bundle.signature
    encoding = HostTokenizer.of(bundle.path, signature).encode([text])[0]  # of a long context its first window
    padded = pad([encoding], signature.only_length or len(encoding), signature.pad_id)
    layers = _layers(bundle, {name: padded[name] for name in signature.inputs}, len(encoding))
    spelt = plain_tokenizer(bundle.path)
    vocabulary = Vocabulary.of(bundle.path)
    added = set(vocabulary.special) - {vocabulary.unknown}
    ids = encoding.input_ids.tolist()
    words = tuple(spelt.id_to_token(number) or str(number) for number in ids)
    return Attention(bundle.name, words, tuple(number in added for number in ids), layers)


def _layers(bundle: Bundle, inputs: dict[str, ndarray], tokens: int) -> tuple[Map, ...]:
    """Each layer's maps of the first so many tokens, which are the real ones."""
    import torch

    from palmtop.models.opening import open_as_named

    model = open_as_named(bundle.path, bundle.name).eval()
    given = {name: torch.from_numpy(values).long() for name, values in inputs.items()}
    with torch.inference_mode():
        answer = model(**given, output_attentions=True)
    layers: Sequence[torch.Tensor] = getattr(answer, "attentions", None) or ()
    if not layers:
        raise UserError(
            f"{bundle.name} is a {model.config.model_type}, a model without attention: there is none to show"
        )
    whole = len(inputs["input_ids"][0])
    if any(layer.shape[-2:] != (whole, whole) for layer in layers):
        raise UserError(
            f"{bundle.name} is a {model.config.model_type}, whose attention transformers gives by windows or chunks, "
            "not as a map of all tokens: there is none to show"
        )
    return tuple(layer[0, :, :tokens, :tokens].float().numpy() for layer in layers)


def _check_texts(bundle: Bundle, text: Text) -> None:
    if bundle.task is None or len(text) == (wanted := bundle.task.texts_at_a_time):
        return
    several, columns = "s" if wanted > 1 else "", ", ".join(bundle.task.columns)
    do = "leave out --second" if len(text) > wanted else "give the second with --second"
    raise UserError(f"{bundle.name} reads {wanted} text{several} at a time ({columns}), not {len(text)}: {do}")


def _kl(first: Float[ndarray, "queries keys"], second: Float[ndarray, "queries keys"]) -> Float[ndarray, " queries"]:
    quotient = np.where(first > 0, first / np.where(second > 0, second, 1), 1)
    divergences: Float[ndarray, " queries"] = (first * np.log2(quotient)).sum(-1)
    return divergences
