"""How a model that writes goes on from a text: what is chosen of its next tokens, and when it ends."""

from typing import Literal, Self

from pydantic import Field, model_validator

from palmtop.settings import Settings

SAMPLING = ("top_k", "top_p", "temperature", "seed")
SEARCHING = ("beams", "length_penalty")


class Generation(Settings):
    """The settings of a continuation, as a task names them and signature.json keeps them."""

    search: Literal["greedy", "sample", "beam"] = "greedy"
    """greedy: the most probable token each time; sample: one drawn; beam: the most probable of several continuations
    that are followed side by side."""
    max_new_tokens: int = Field(default=64, ge=1)
    """Tokens of a continuation at most; never more than the model has room for behind the prompt."""
    top_k: int | None = Field(default=None, ge=1)
    """Of sample: draw of the k most probable tokens only."""
    top_p: float | None = Field(default=None, gt=0, le=1)
    """Of sample: draw of the most probable tokens that together have this probability (Holtzman et al. 2020)."""
    temperature: float = Field(default=1.0, gt=0)
    """Of sample: logits are divided by it."""
    seed: int = 0
    """Of sample: the same seed draws the same tokens."""
    beams: int = Field(default=4, ge=2, le=16)
    """Of beam: continuations that are followed."""
    length_penalty: float = 1.0
    """Of beam: a continuation's log-probability is divided by its tokens to this power; more favours longer ones."""
    no_repeat_ngram: int = Field(default=0, ge=0, le=16)
    """Tokens of the longest run that may not come twice, the prompt counted; 0: any may."""
    end_id: int | None = Field(default=None, ge=0)
    """The token that ends a continuation; None: nothing but max_new_tokens does."""

    @model_validator(mode="after")
    def _fits_its_search(self) -> Self:
        for kind, words in (("sample", SAMPLING), ("beam", SEARCHING)):
            # by their values: a signature that is read back names all of them
            named = [word for word in words if getattr(self, word) != type(self).model_fields[word].default]
            if named and self.search != kind:
                raise ValueError(f"{', '.join(named)}: only for search: {kind}, and this is {self.search}")
        return self
