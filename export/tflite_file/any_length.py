"""One .tflite for texts of any length, made of the same graph at two lengths: what differs between them follows the
length.

A runtime gives such a file new sizes whenever a text of another length comes, and keeps its packed weights (LiteRT
2.3.0, MediaPipe 1.2.2 and tflite-support 0.4.4 do, the last two by themselves). litert-torch 0.10.0 fails on these
models where sizes are open, and a file of several fixed lengths has several graphs, which Google's Task clients refuse.
"""

from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from palmtop.errors import UserError
from palmtop.export.tflite_file.additions import OPEN, Additions, kind_of, numpy_types, set_options
from palmtop.export.tflite_file.layers import kinds, module_of, text
from palmtop.export.tflite_file.packing import pack, parse

SUMS = ("ADD", "SUB", "MUL")


def open_length(file: Path, shorter: str, longer: str) -> None:
    """Make one signature of two, in place: 'serving_default', for any number of tokens. What is longer than `longer` is
    cut to it.

    Args:
        file: a float .tflite.
        shorter, longer: two of its signatures, of the same model at two lengths.

    Raises:
        UserError: the model follows the length in a way that can't be opened, as DeBERTa's lists of pairs of tokens.
    """
    model = parse(file.read_bytes())
    signatures = {text(signature.signatureKey): signature for signature in model.signatureDefs}
    at_two = _Graphs(model, *(model.subgraphs[signatures[key].subgraphIndex] for key in (shorter, longer)))
    at_two.open()
    kept = signatures[longer]
    kept.signatureKey, kept.subgraphIndex = b"serving_default", 0
    for tensor in (at_two.long.tensors[index] for index in (*at_two.long.inputs, *at_two.long.outputs)):
        tensor.name = text(tensor.name).replace(longer, "serving_default").encode()
    model.subgraphs, model.signatureDefs = [at_two.long], [kept]
    _drop_unread(model)
    file.write_bytes(pack(model))


class _Graphs:
    """The graph at two lengths; the one of the longer is changed."""

    def __init__(self, model: Any, short: Any, long: Any) -> None:
        self._model, self._short, self.long = model, short, long
        self._additions = Additions(model, long)
        self._cuts: dict[int, int] = {}
        self._picked: dict[tuple[bytes, tuple[int, ...]], int] = {}
        self._menders: dict[str, Callable[[Any, int, Any, Any], None]] = {
            "RESHAPE": self._reshape,
            "SLICE": self._slice,
            **dict.fromkeys(SUMS, self._table),
        }

    def open(self) -> None:
        """Free what follows the length: sizes in the operators' constants, tables of positions, the tensors' shapes."""
        names = kinds(self._model, self.long)
        if kinds(self._model, self._short) != names:
            raise UserError(
                "lengths: any: this model's graph has other operators at another length: give lengths, such as 32 or "
                "[16, 32]"
            )
        for name, short, long in zip(names, self._short.operators, self.long.operators, strict=True):
            for place, (before, after) in enumerate(zip(short.inputs, long.inputs, strict=True)):
                if after >= 0 and self._follows_length(self._short.tensors[before], self.long.tensors[after]):
                    self._mend(name, long, place, self._short.tensors[before])
        self._open_shapes()
        self._cut_inputs()
        self.long.operators = [*self._additions.operators, *self.long.operators]

    def _follows_length(self, short: Any, long: Any) -> bool:
        values = [self._model.buffers[tensor.buffer].data for tensor in (short, long)]
        if values[0] is None or values[1] is None:
            return False  # computed
        return list(short.shape) != list(long.shape) or bytes(values[0]) != bytes(values[1])

    def _mend(self, name: str, operator: Any, place: int, short: Any) -> None:
        mend = self._menders.get(name)
        if mend is None or short.type not in numpy_types():
            raise self._refusal(name, operator)
        mend(operator, place, self._value(short), self._value(self.long.tensors[operator.inputs[place]]))

    def _reshape(self, operator: Any, place: int, short: Any, long: Any) -> None:
        """[1, 31, 12, 32] and [1, 32, 12, 32]: what is left over."""
        differing = short != long
        if differing.sum() > 1:
            raise self._refusal("RESHAPE", operator)
        _put(operator, place, self._additions.constant("sizes", np.where(differing, OPEN, long)))
        operator.builtinOptions, operator.builtinOptionsType = None, 0  # holds the sizes once more

    def _slice(self, operator: Any, place: int, short: Any, long: Any) -> None:
        """To the end, or to as many before it as at both lengths: a SLICE's sizes can't say this, a STRIDED_SLICE's
        ends can."""
        begin = self._value(self.long.tensors[operator.inputs[1]])
        twins = ((self._short, self._twin(operator), short), (self.long, operator, long))
        left = [np.array(graph.tensors[twin.inputs[0]].shape) - begin - sizes for graph, twin, sizes in twins]
        if place == 1 or (left[0] != left[1]).any():
            raise self._refusal("SLICE", operator)
        _put(operator, 2, self._additions.constant("ends", -left[1].astype(np.int32)))
        operator.inputs = np.array(
            [*operator.inputs, self._additions.constant("strides", np.ones(len(long), np.int32))], np.int32
        )
        operator.opcodeIndex = self._additions.code("STRIDED_SLICE")
        set_options(operator, "STRIDED_SLICE", endMask=int(((left[1] == 0) << np.arange(len(long))).sum()))

    def _table(self, operator: Any, place: int, short: Any, long: Any) -> None:
        """A row for each token, or a number for each pair of tokens: one for all if they are equal, else those of the
        text's positions."""
        if short.ndim != long.ndim or not np.array_equal(short, long[tuple(map(slice, short.shape))]):
            raise self._refusal("a constant", operator)
        differing = [axis for axis in range(long.ndim) if short.shape[axis] != long.shape[axis]]
        alike = [axis for axis in differing if (long == long.take([0], axis)).all()]
        for axis in alike:
            long = long.take([0], axis)
        opened = [axis for axis in differing if axis not in alike]
        _put(operator, place, self._of_positions(long, opened) if opened else self._additions.constant("row", long))

    def _of_positions(self, table: Any, axes: "list[int]") -> int:
        """Of each axis as many of the first as the text has tokens. GATHER, because quantizers leave its table as it
        is: so at any length the file answers as one that was made for that length alone, where positions are
        constants."""
        key = (table.tobytes(), table.shape)
        if key not in self._picked:
            picked = self._additions.constant("table_of_positions", table)
            for done, axis in enumerate(axes, start=1):
                source, picked = (
                    picked,
                    self._additions.tensor("of_positions", table.shape, kind_of(table), opened=axes[:done]),
                )
                self._additions.operator("GATHER", (source, self._positions), picked, axis=axis)
            self._picked[key] = picked
        return self._picked[key]

    @cached_property
    def _positions(self) -> int:
        """[0, 1, 2, ...], one for each token: ones are counted, because RANGE would leave the runtime without sizes
        until it runs."""
        add, tokens = self._additions, int(self.long.inputs[0])
        sizes, kind = list(self.long.tensors[tokens].shape), self.long.tensors[tokens].type
        nothing, ones, counts = (add.tensor(name, sizes, kind, opened=[1]) for name in ("nothing", "ones", "counts"))
        positions = add.tensor("positions", sizes[1:], kind, opened=[0])
        add.operator("MUL", (self._cut(tokens), add.number(0)), nothing)
        add.operator("ADD", (nothing, add.number(1)), ones)
        add.operator("CUMSUM", (ones, add.number(1)), counts, exclusive=True)
        add.operator("RESHAPE", (counts, add.integers("flat", OPEN)), positions)
        return positions

    def _cut_inputs(self) -> None:
        """Leave of a text that is too long the first tokens and its last, [SEP], as tokenizers do: clients that give
        each text its own length don't cut it (measured: MediaPipe, tflite-support)."""
        for index in self.long.inputs:
            for operator in self.long.operators:
                operator.inputs = np.where(
                    np.array(operator.inputs) == index, self._cut(int(index)), operator.inputs
                ).astype(np.int32)

    def _cut(self, index: int) -> int:
        """x[:, :-1][:, :longest - 1] and x[:, -1:], one after the other."""
        if index not in self._cuts:
            add, (rows, longest), kind = self._additions, self.long.tensors[index].shape, self.long.tensors[index].type
            but_last, first = (
                add.tensor(name, [rows, longest - 1], kind, opened=[1]) for name in ("but_last", "first")
            )
            last, cut = add.tensor("last", [rows, 1], kind), add.tensor("cut", [rows, longest], kind, opened=[1])
            self._columns(index, but_last, None, -1)
            self._columns(but_last, first, None, longest - 1)
            self._columns(index, last, -1, None)
            add.operator("CONCATENATION", (first, last), cut, axis=1)
            self._cuts[index] = cut
        return self._cuts[index]

    def _columns(self, source: int, output: int, begin: int | None, end: int | None) -> None:
        """source[:, begin:end]; a mask has a bit for each axis on which the number doesn't count."""
        add, whole, rows = self._additions, 0b11, 0b01
        places = (add.integers("begin", 0, begin or 0), add.integers("end", 0, end or 0), add.integers("strides", 1, 1))
        masks = {"beginMask": whole if begin is None else rows, "endMask": whole if end is None else rows}
        add.operator("STRIDED_SLICE", (source, *places), output, **masks)

    def _open_shapes(self) -> None:
        """Say of every tensor which of its sizes is open; clients look at those of the inputs."""
        pairs = [(self._short.inputs, self.long.inputs), (self._short.outputs, self.long.outputs)]
        pairs += [
            (short.outputs, long.outputs)
            for short, long in zip(self._short.operators, self.long.operators, strict=True)
        ]
        for before, after in ((before, after) for pair in pairs for before, after in zip(*pair, strict=True)):
            short, long = np.array(self._short.tensors[before].shape), np.array(self.long.tensors[after].shape)
            self.long.tensors[after].shapeSignature = np.where(short != long, OPEN, long).astype(np.int32)

    def _twin(self, operator: Any) -> Any:
        [place] = [number for number, other in enumerate(self.long.operators) if other is operator]
        return self._short.operators[place]

    def _value(self, tensor: Any) -> Any:
        return np.frombuffer(bytes(self._model.buffers[tensor.buffer].data), numpy_types()[tensor.type]).reshape(
            tensor.shape
        )

    def _refusal(self, what: str, operator: Any) -> UserError:
        name = text(self.long.tensors[operator.outputs[0]].name)
        return UserError(
            f"lengths: any: {what} of {module_of(name) or name} is made for one length in a way that can't be opened: "
            "give lengths, such as 32 or [16, 32]"
        )


def _put(operator: Any, place: int, tensor: int) -> None:
    inputs = list(operator.inputs)
    inputs[place] = tensor
    operator.inputs = np.array(inputs, np.int32)


def _drop_unread(model: Any) -> None:
    """Empty the buffers that no operator reads any more."""
    [graph] = model.subgraphs
    used = {int(index) for operator in graph.operators for index in operator.inputs if index >= 0}
    read = {graph.tensors[index].buffer for index in used} | {entry.buffer for entry in model.metadata or []}
    for number, buffer in enumerate(model.buffers):
        if number not in read:
            buffer.data = None
