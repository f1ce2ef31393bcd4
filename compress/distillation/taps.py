"""What layers say: hidden states, and queries, keys and values; the teacher's from its cached hidden states, the
student's as it runs."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from palmtop.compress.distillation.matches import Tap, TapKind
from palmtop.models.family import family_named
from palmtop.models.linears import layers_of, part_of

if TYPE_CHECKING:
    from torch.nn import Module
    from transformers import PreTrainedModel

    from palmtop.compress.learning.training_loop import Batch

_LINEARS: "tuple[Literal['query', 'key', 'value'], ...]" = ("query", "key", "value")


class TeacherTaps:
    """A teacher's taps, made of its hidden states alone: those of the layer before go through the layer's own linears.

    So only hidden states need be kept or computed. MobileBERT's queries and keys read what a bottleneck makes of that
    state; it is applied too. DeBERTa's and MPNet's position terms come after these linears, and are in none of the
    taps.
    """

    def __init__(self, teacher: "PreTrainedModel", taps: Iterable[Tap]) -> None:
        self._taps, self._layers, self._config = tuple(dict.fromkeys(taps)), layers_of(teacher), teacher.config
        self._device: torch.device | None = None
        self._teacher = teacher

    @property
    def hidden_layers(self) -> tuple[int, ...]:
        """The indices of `hidden_states` that are needed."""
        return tuple(sorted({tap.layer if tap.kind == "hidden" else tap.layer - 1 for tap in self._taps}))

    @torch.no_grad()
    def __call__(self, batch: "Batch") -> dict[Tap, Tensor]:
        """The taps for a batch that holds `teacher_hidden_<i>` of the needed layers, in float32 whatever the student
        runs in."""
        if self._teacher.training:
            raise RuntimeError("the teacher is in training mode: its dropout would be taught")
        device = batch["input_ids"].device
        if self._device != device:
            for tap in self._taps:
                if tap.kind != "hidden":
                    self._layers[tap.layer - 1].to(device)
            self._device = device
        with torch.autocast(device.type, enabled=False):
            return {tap: self._value(tap, batch) for tap in self._taps}

    def _value(self, tap: Tap, batch: "Batch") -> Tensor:
        kind = tap.kind
        if kind == "hidden":
            return batch[f"teacher_hidden_{tap.layer}"]
        layer = self._layers[tap.layer - 1]
        given = _attention_input(layer, kind, batch[f"teacher_hidden_{tap.layer - 1}"], self._config)
        made: Tensor = part_of(layer, kind, self._config.model_type)(given)
        return made


class StudentTaps:
    """Adds a student's taps to what its forward pass gives, until `remove` is called.

    They come out of the forward pass itself, with projections applied there, so that a wrapper for several processes
    sees every weight at work. A forward pass then gives a dict: `features`, a tuple of tensors for each of the wanted
    ones, and, where the answers are wanted too, `logits` and `last`, the last hidden states.
    """

    def __init__(
        self,
        student: "PreTrainedModel",
        wanted: Sequence[Sequence[Tap]],
        answers: bool,
        projections: "Sequence[str | None]" = (),
    ) -> None:
        """
        Args:
            wanted: for each feature the taps it is made of.
            answers: whether logits and last hidden states are wanted too.
            projections: for each feature the name of a module below `student` that its first tap goes through, or None.
        """
        self._student, self._wanted, self._answers = student, [tuple(taps) for taps in wanted], answers
        self._projections = list(projections) or [None] * len(self._wanted)
        self._layer, self._seen = 0, dict[Tap, Tensor]()
        kinds = {tap.kind for taps in self._wanted for tap in taps}
        self._hooks = [student.register_forward_pre_hook(self._begin), student.register_forward_hook(self._end)]
        for layer in dict.fromkeys(layers_of(student)):  # one that stands several times is counted each time it runs
            self._hooks.append(layer.register_forward_pre_hook(self._next_layer))
        for kind in _LINEARS:
            linears = dict.fromkeys(
                part_of(layer, kind, student.config.model_type) for layer in layers_of(student) if kind in kinds
            )
            self._hooks += [linear.register_forward_hook(self._keeper(kind)) for linear in linears]

    def remove(self) -> None:
        """Take every hook off; the student's forward pass gives what it always did."""
        for hook in self._hooks:
            hook.remove()

    def _begin(self, _: "Module", __: tuple[Any, ...]) -> None:
        self._layer = 0
        self._seen.clear()

    def _next_layer(self, _: "Module", __: tuple[Any, ...]) -> None:
        self._layer += 1

    def _keeper(self, kind: TapKind) -> Any:
        def keep(_: "Module", __: tuple[Any, ...], output: Tensor) -> None:
            # the first call in a layer: DeBERTa sends its relative positions through the same linears afterwards
            self._seen.setdefault(Tap(kind, self._layer), output)

        return keep

    def _end(self, _: "Module", __: tuple[Any, ...], output: Any) -> dict[str, Any]:
        states = {Tap("hidden", layer): state for layer, state in enumerate(output.hidden_states)}
        features = pick(states | self._seen, self._wanted)
        self._seen.clear()  # no graph outlives its step
        for place, name in enumerate(self._projections):
            if name is not None:
                first, *rest = features[place]
                features[place] = (self._student.get_submodule(name)(first), *rest)
        found: dict[str, Any] = {"features": features}
        return found | {"logits": output.logits, "last": output.hidden_states[-1]} if self._answers else found


def pick(taps: Mapping[Tap, Tensor], wanted: Sequence[Sequence[Tap]]) -> list[tuple[Tensor, ...]]:
    """The taps of each feature."""
    return [tuple(taps[tap] for tap in own) for own in wanted]


def _attention_input(layer: "Module", kind: TapKind, hidden: Tensor, config: Any) -> Tensor:
    """What a layer's query, key or value linear is given, of the layer's input."""
    if not family_named(config.model_type).bottlenecks or not config.use_bottleneck:
        return hidden
    query, key, value, _ = layer.get_submodule("bottleneck")(hidden)
    given: Tensor = {"query": query, "key": key, "value": value}[kind]
    return given
