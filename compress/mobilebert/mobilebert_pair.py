"""A MobileBERT student beside its teacher: built, given the teacher's embeddings and head, and told what to compare
with what."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from palmtop.compress.learning.encoded import Encoded
from palmtop.compress.mobilebert.inverted_bottleneck import sample_of
from palmtop.compress.mobilebert.layer_maps import Watched, normalised
from palmtop.compress.mobilebert.map_transfer import (
    Attention,
    MapTeacher,
    Transfer,
    common_heads,
    facing_layers,
    learned_projections,
)
from palmtop.compress.mobilebert.mobilebert_body import Sizes, labels_of, mobilebert_config
from palmtop.compress.mobilebert.mobilebert_settings import MobilebertSettings
from palmtop.compress.mobilebert.narrow_embeddings import embedding_sizes, settle_norm, token_counts, write_embeddings
from palmtop.compress.mobilebert.principal_maps import Survey, aligned_bases, linear_head, survey
from palmtop.errors import raise_all
from palmtop.models.family import family_named
from palmtop.models.ib_bert import is_ib_bert
from palmtop.models.linears import layers_of, part_of

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel


PROJECTIONS = "map_projections"
"""What learned projections are called in the student while it learns."""


@dataclass(frozen=True)
class Pair:
    """Student and teacher."""

    student: "PreTrainedModel"
    transfer: Transfer
    sizes: Sizes
    recipe: str
    projection: str

    def facts(self) -> dict[str, Any]:
        """As a bundle's card holds it."""
        attention = self.transfer.attention
        return {
            "recipe": self.recipe,
            "projection": self.projection,
            "sizes": asdict(self.sizes),
            "attention": f"{attention.form}, {attention.heads} heads" if attention.form != "none" else "none",
            "teacher_layers": list(self.transfer.facing),
            "parameters": sum(parameter.numel() for parameter in self.student.parameters()),
        }


def pair_of(teacher: "PreTrainedModel", sizes: Sizes, settings: MobilebertSettings, data: Encoded) -> Pair:
    """Build the student; survey an ordinary teacher for its principal components.

    Raises:
        UserError: sizes, heads or a teacher that don't fit, all told together, before any work.
    """
    direct = family_named(teacher.config.model_type).bottlenecks
    inner = part_of(layers_of(teacher)[0], "query", teacher.config.model_type).out_features
    raise_all(_faults(teacher.config, sizes, settings, inner))
    attention = _attention(teacher.config, sizes, settings, inner)
    rows = sample_of(len(data), settings.sample, settings.seed)
    found = survey(Watched(teacher, normalised=not direct, attention=False), data, rows)
    torch.manual_seed(settings.seed)
    student = _student(teacher.config, sizes, settings.attention_dropout)
    facing = facing_layers(sizes.layers, teacher.config.num_hidden_layers)
    bases = None if direct else aligned_bases(found, sizes.width)
    with torch.no_grad():
        if bases is None:
            _copy_outside(student, teacher, found, data, rows)
        else:
            _fit_outside(student, teacher, found, bases, data, rows)
    learned = settings.projection == "learned" and bases is not None
    if learned:
        assert bases is not None
        student.add_module(PROJECTIONS, learned_projections(bases, facing))
    looks = attention.form != "none"
    transfer = Transfer(
        Watched(student, normalised=False, attention=looks),
        MapTeacher(teacher, None if learned else bases, looks),
        attention,
        settings.map_weights(),
        facing,
        student.get_submodule(PROJECTIONS) if learned else None,
    )
    return Pair(student, transfer, sizes, _recipe(teacher.config, settings), "none" if direct else settings.projection)


def _faults(teacher: "PreTrainedConfig", sizes: Sizes, settings: MobilebertSettings, inner: int) -> list[str]:
    faults = []
    if sizes.inner_width % sizes.heads:
        faults.append(f"heads is {sizes.heads}, which does not divide inner_width {sizes.inner_width}")
    if family_named(teacher.model_type).bottlenecks:
        for name, wanted, there in (
            ("width", sizes.width, teacher.hidden_size),
            ("embedding_size", sizes.embedding_size, teacher.embedding_size),
        ):
            if wanted != there:
                faults.append(
                    f"{name} is {wanted}, but the teacher's is {there}, and its maps and embeddings are taken as they "
                    f"are: leave {name} out"
                )
        if not teacher.trigram_input:
            faults.append(
                "the teacher's embeddings know no neighbours (trigram_input is false): its embeddings can't be copied"
            )
    elif sizes.embedding_size > teacher.hidden_size:
        faults.append(
            f"embedding_size is {sizes.embedding_size}, but the teacher's token vectors have {teacher.hidden_size} "
            f"values: choose up to {teacher.hidden_size}"
        )
    if settings.attention == "maps" and sizes.heads != teacher.num_attention_heads:
        faults.append(
            f"attention is 'maps', but the teacher has {teacher.num_attention_heads} heads and the student "
            f"{sizes.heads}: set heads to the teacher's, or attention: relations"
        )
    if settings.relation_heads and (sizes.inner_width % settings.relation_heads or inner % settings.relation_heads):
        faults.append(
            f"relation_heads is {settings.relation_heads}, which must divide inner_width {sizes.inner_width} and the "
            f"teacher's {inner}: the most that do are {common_heads(sizes.inner_width, inner, 1)}"
        )
    return faults


def _attention(teacher: "PreTrainedConfig", sizes: Sizes, settings: MobilebertSettings, inner: int) -> Attention:
    equal = sizes.heads == teacher.num_attention_heads
    form = settings.attention if settings.attention != "auto" else "maps" if equal else "relations"
    if form == "none" or not settings.transfer_epochs or not settings.attention_weight:
        return Attention("none")
    return Attention(
        form, sizes.heads if form == "maps" else settings.relation_heads or common_heads(sizes.inner_width, inner)
    )


def _student(teacher: "PreTrainedConfig", sizes: Sizes, dropout: float) -> "PreTrainedModel":
    from transformers import MobileBertForSequenceClassification

    same = ("vocab_size", "pad_token_id", "max_position_embeddings", "type_vocab_size")
    taken = (
        {name: getattr(teacher, name) for name in same}
        if family_named(teacher.model_type).bottlenecks
        else embedding_sizes(teacher)
    )
    config = mobilebert_config(sizes, dropout, taken | labels_of(teacher))
    student: PreTrainedModel = MobileBertForSequenceClassification._from_config(config, attn_implementation="eager")
    return student


def _fit_outside(
    student: "PreTrainedModel",
    teacher: "PreTrainedModel",
    found: Survey,
    bases: "Sequence[Tensor]",
    data: Encoded,
    rows: list[int],
) -> None:
    """Embeddings and head that are right once the blocks say what an ordinary teacher's layers do, in their bases."""
    write_embeddings(student, teacher, bases[0], token_counts(data, teacher.config.vocab_size))
    settle_norm(student.base_model.embeddings, data, rows, torch.tensor(1.0), torch.tensor(0.0))
    _write_head(student, normalised(found.first @ bases[-1].T), found)


def _copy_outside(
    student: "PreTrainedModel", teacher: "PreTrainedModel", found: Survey, data: Encoded, rows: list[int]
) -> None:
    """Copy what lies outside a MobileBERT-shaped teacher's blocks, as the authors' code does: embeddings and head; a
    LayerNorm is made a NoNorm, and a head behind a pooler, which the student has not, fitted anew."""
    new, old = student.base_model.embeddings, teacher.base_model.embeddings
    for name in ("word_embeddings", "position_embeddings", "token_type_embeddings", "embedding_transformation"):
        new.get_submodule(name).load_state_dict(old.get_submodule(name).state_dict())
    new.word_embeddings.weight[student.config.pad_token_id] = 0  # or padding would leak into the last token's trigram
    if teacher.config.normalization_type == "no_norm":
        new.LayerNorm.load_state_dict(old.LayerNorm.state_dict())
    else:
        settle_norm(new, data, rows, old.LayerNorm.weight, old.LayerNorm.bias)
    if teacher.config.classifier_activation:
        _write_head(student, found.first, found)
    else:
        student.classifier.load_state_dict(teacher.classifier.state_dict())


def _write_head(student: "PreTrainedModel", features: Tensor, found: Survey) -> None:
    """The linear map from what the last layer is to say at [CLS] to the teacher's answers."""
    weight, bias = linear_head(features, found.logits)
    student.classifier.weight.copy_(weight)
    student.classifier.bias.copy_(bias)


def _recipe(teacher: "PreTrainedConfig", settings: MobilebertSettings) -> str:
    name = (
        "MobileBERT"
        if is_ib_bert(teacher)
        else f"MobileBERT-architecture student, {family_named(teacher.model_type).name} teacher"
    )
    return name if settings.transfer_epochs else f"{name}, prediction only"
