"""Learn to fill in hidden words of plain text: a masked-LM head for an encoder that has none, or a whole model trained
on."""

from dataclasses import replace
from typing import Any, ClassVar, Literal

from palmtop.bundle import Bundle, Format
from palmtop.compress.language_models.text_settings import OnMaskedText, write_language_model
from palmtop.compress.learning.fit import keep_logs
from palmtop.compress.learning.torch_bundles import shortened
from palmtop.errors import UserError
from palmtop.stage import Outline, Work, outline_of


class MaskedLm(OnMaskedText):
    """Train a masked language model on plain text, and with it, where asked for, on the order of sentences."""

    produces: ClassVar[Format] = "torch"

    train: Literal["all", "head"] = "all"
    """What learns: all weights; or the head alone. Its output matrix is the word embedding, which then stays as it is
    with the encoder."""

    def outline(self, source: Outline | None) -> Outline:
        """The same transformer with another head."""
        from palmtop.compress.language_models.masked_text import kind_of_model

        if source is None:
            raise UserError("masked_lm needs a transformer to start from: put an 'adopt' step before it")
        kind_of_model(self, source.family)
        return replace(source, labels=None)

    def run(self, source: Bundle | None, work: Work) -> dict[str, Any]:
        """Train and write a Hugging Face folder that AutoModelForMaskedLM opens."""
        import torch

        from palmtop.compress.language_models.masked_text import dropping, kind_of_model, masked_text
        from palmtop.compress.language_models.text_learning import learn
        from palmtop.compress.language_models.word_losses import Weights, language_loss
        from palmtop.models.language_model import Asked, head_parts, open_language_model

        assert source is not None  # the driver checked `accepts`
        signature = shortened(source, self.max_length)
        torch.manual_seed(self.seed)  # the new head
        opened = open_language_model(source.path, kind_of_model(self, outline_of(source).family), new_head=True)
        text, dropout = masked_text(self, source, signature, fixed=False), dropping(self, opened.model)
        if self.train == "head":
            opened.model.base_model.requires_grad_(False)
        weights = Weights(words=1.0, order=self.sentence_order_weight)
        loss = language_loss(weights, Asked(opened.model), signature.inputs, None)
        facts = learn(opened.model, text, loss, self, work.scratch, head_parts(opened.new))
        write_language_model(opened.model, source, signature, work.out)
        keep_logs(work)
        return facts | {"new_weights": list(opened.new), "dropout": dropout}
