"""Make a student of another family than its teacher's, with what of the teacher's weights it can start from; it has
learnt nothing yet."""

import json
from typing import TYPE_CHECKING, Any, ClassVar, Self

from pydantic import Field, model_validator

from palmtop.bundle import Bundle, Format
from palmtop.compress.distillation.teachers import torch_teacher
from palmtop.compress.learning.torch_bundles import copy_tokenizer, task_of
from palmtop.compress.mobilebert.mobilebert_body import PRESETS
from palmtop.compress.other_family.bodies import (
    ALBERTS_TABLE,
    BEGINS,
    EVERY_OWN_SIZE,
    Body,
    StudentFamily,
    config_of,
)
from palmtop.compress.start.finetune import check_kind
from palmtop.effect import Effect
from palmtop.errors import UserError
from palmtop.models.family import family_named, inputs_of, lengths_of
from palmtop.models.opening import open_as_named, with_random_weights
from palmtop.signature import Signature
from palmtop.stage import Outline, Stage, Work
from palmtop.task import Task, task_input

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel

    from palmtop.compress.other_family.token_sources import Words

SIZES = ("layers", "width", "heads", "feed_forward", *EVERY_OWN_SIZE)


class NewStudent(Stage):
    """A DistilBERT, an FNet (no attention: tokens are mixed by a Fourier transform), an ALBERT, a MobileBERT or a BERT
    after any teacher, on the teacher's tokens or another bundle's; then 'distill', 'transfer', 'tinybert' or 'minilm'
    teach it, with the teacher as their setting teacher.

    What means the same in both is the teacher's: rows of tokens (where the student's are narrower, their principal
    components), positions, norms, feed-forward parts, attention; all else is random. The card counts both.
    """

    accepts: ClassVar[frozenset[Format]] = frozenset({"torch"})
    produces: ClassVar[Format] = "torch"
    effect: ClassVar[Effect] = "cuts"
    packages: ClassVar[tuple[str, ...]] = ("torch", "transformers", "tokenizers", "safetensors")

    family: StudentFamily
    """Of the student."""
    layers: int | None = Field(default=None, ge=1, le=64)
    """Of the student; half of the teacher's by default."""
    width: int | None = Field(default=None, ge=4)
    """Of hidden states; the teacher's by default, which lets the most be taken."""
    heads: int | None = Field(default=None, ge=1)
    """Of the attention; by default the teacher's, where it has some; an FNet has none."""
    feed_forward: int | None = Field(default=None, ge=1)
    """Width inside the feed-forward parts; by default the teacher's where the widths are equal, else four times the
    width."""
    embedding_size: int | None = Field(default=None, ge=4)
    """Width of an ALBERT's (128, as the paper's) or a MobileBERT's table of words."""
    groups: int | None = Field(default=None, ge=1)
    """Sets of weights that an ALBERT's layers share; 1 by default, as the paper's."""
    inner_width: int | None = Field(default=None, ge=4)
    """Width inside a MobileBERT's blocks."""
    stack: int | None = Field(default=None, ge=1, le=16)
    """Feed-forward networks in a MobileBERT's block; all its sizes are those of the stage mobilebert's preset tiny by
    default, and its norms LayerNorm."""
    tokenizer: str | None = None
    """Folder of a torch bundle whose tokenizer the student has; in a recipe a step's, as 'with: {tokenizer: STEP}'. By
    default the teacher's."""
    max_length: int = Field(default=128, ge=4, le=8192)
    """Tokens of the longest text that it takes: it has so many positions. An FNet is run at exactly so many, in
    training and in every file, since it mixes padding into each token: give the stages that teach it the same."""
    task: str | dict[str, Any] | None = None
    """The task: a shipped name, a YAML file, or written out; by default the one the source was trained for."""
    seed: int = 0

    @model_validator(mode="after")
    def _own_sizes(self) -> Self:
        made = family_named(self.family).new_body
        assert made is not None  # the families that the setting takes have one
        own = made.own_sizes
        faults = [
            f"{name} is no size of the family '{self.family}'"
            for name in EVERY_OWN_SIZE
            if getattr(self, name) is not None and name not in own
        ]
        if self.heads is not None and not family_named(self.family).has_heads:
            faults.append(f"a model of the family '{self.family}' has no heads")
        if faults:
            raise ValueError(f"{'; '.join(faults)}: leave it out")
        return self

    def inputs(self) -> dict[str, str]:
        """The data, where the task is named here, and the bundle with the tokenizer."""
        named = {"tokenizer": torch_teacher(self.tokenizer).digest} if self.tokenizer is not None else {}
        return task_input(self.task) | named

    def outline(self, source: Outline | None) -> Outline:
        """The student, with the task's head."""
        if source is None or source.family is None or not source.layers:
            raise UserError(
                "new_student needs a transformer to start from: put an 'adopt' or 'finetune' step before it"
            )
        task = Task.find(self.task) if self.task is not None else None
        labels = task.label_names if task is not None else source.labels
        if labels is None:
            raise UserError(
                "new_student needs a task, for its head: a teacher that was fine-tuned, or a task's name or YAML file"
            )
        if self.tokenizer is None and family_named(source.family).last_speaks:
            raise UserError(BEGINS.format(name=f"a teacher of the family '{source.family}'"))
        body = self._body(source.layers, source.width or self.width or PRESETS["tiny"].width, 1, None)
        kind = task.kind if task is not None else source.task
        made = Outline(
            "torch", self.family, body.layers, labels, body.width, body.embedding_size, body.groups, task=kind
        )
        check_kind(made, self.max_length)
        return made

    def run(self, source: Bundle | None, work: Work) -> dict[str, Any]:
        """Build it, take what can be taken, and write a Hugging Face folder."""
        import torch

        from palmtop.compress.other_family.taken import Taking
        from palmtop.compress.other_family.token_sources import Words, check_begins, sources_of_tokens
        from palmtop.compress.other_family.told import counted, new_head, token_facts, told

        assert source is not None  # the driver checked `accepts`
        task = task_of(source, self.task)
        teacher = open_as_named(source.path, source.name)
        lender = torch_teacher(self.tokenizer) if self.tokenizer is not None else source
        words = Words.of(lender.path)
        check_begins(words, lender.name)
        body = self._body_after(teacher.config)
        rows = words.size if self.tokenizer is not None else teacher.config.vocab_size
        config = config_of(body, self._said(teacher.config, words, rows, lender.signature.pad_id, task))
        for key, value in task.of_kind.in_config(config.to_dict()).items():
            setattr(config, key, value)
        torch.manual_seed(self.seed)
        student = with_random_weights(config, task.of_kind.architecture)
        sources = sources_of_tokens(words, Words.of(source.path)) if self.tokenizer is not None else None
        counts = Taking(student, teacher, body).all(sources)
        facts = counted(student, counts) | token_facts(sources)
        work.say(told(facts, self.seed))
        self._write(student, lender, task, work)
        return facts | {"teacher": source.digest, "new_head": new_head(student, counts)}

    def _body(self, layers: int, width: int, heads: int, feed_forward: int | None) -> Body:
        """The sizes for a teacher of so many layers, of this width."""
        tiny, family = PRESETS["tiny"], family_named(self.family)
        ours = self.width or (tiny.width if family.bottlenecks else width)
        usual = feed_forward if feed_forward is not None and ours == width else 4 * ours
        depth = self.layers or (tiny.layers if family.bottlenecks else max(1, layers // 2))
        narrow = tiny.embedding_size if family.bottlenecks else min(ALBERTS_TABLE, ours)
        made = Body(
            self.family,
            depth,
            ours,
            self.heads or (tiny.heads if family.bottlenecks else heads),
            self.feed_forward or (tiny.feed_forward if family.bottlenecks else usual),
            self.embedding_size or (narrow if family.narrow_table else ours),
            self.groups or (depth if family.groups is None else 1),
            self.inner_width or tiny.inner_width,
            self.stack or tiny.stack,
        )
        made.check()
        return made

    def _body_after(self, teacher: "PreTrainedConfig") -> Body:
        family = family_named(teacher.model_type)
        said = teacher.to_dict()
        inside = said.get(family.feed_forward) if family.feed_forward is not None else None
        heads = teacher.num_attention_heads if family.has_heads else max(1, teacher.hidden_size // 64)
        if not family_named(self.family).has_heads:
            heads = 1
        return self._body(teacher.num_hidden_layers, teacher.hidden_size, heads, inside)

    def _said(self, teacher: "PreTrainedConfig", words: "Words", rows: int, pad_id: int, task: Task) -> dict[str, Any]:
        """What the student's config says besides its sizes."""
        theirs, ours, names = (
            family_named(teacher.model_type),
            family_named(self.family),
            dict(enumerate(task.label_names)),
        )
        written = teacher.to_dict()
        taken = {
            here: written[there]
            for here, there in ((ours.activation, theirs.activation), ("layer_norm_eps", "layer_norm_eps"))
            if written.get(there) is not None
        }
        return taken | {
            "vocab_size": rows,
            "pad_token_id": pad_id,
            "bos_token_id": words.roles["first"],
            "eos_token_id": words.roles.get("last"),
            "max_position_embeddings": self.max_length,
            "type_vocab_size": words.types,
            "id2label": names,
            "label2id": {name: number for number, name in names.items()},
            "problem_type": task.of_kind.problem_type,
        }

    def _write(self, student: "PreTrainedModel", lender: Bundle, task: Task, work: Work) -> None:
        student.save_pretrained(work.out)
        copy_tokenizer(lender.path, work.out)
        task.write(work.out)
        written = json.loads((work.out / "config.json").read_text(encoding="utf-8"))
        Signature(
            inputs=inputs_of(written),
            output=task.of_kind.output,
            lengths=lengths_of(written, self.max_length),
            max_length=self.max_length,
            pad_id=lender.signature.pad_id,
        ).write(work.out)
