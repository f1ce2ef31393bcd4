"""One .tflite for texts of any length, made of the same graph at two lengths: what differs between them follows the length.

A runtime gives such a file new sizes whenever a text of another length comes, and keeps its packed weights (LiteRT 2.3.0, MediaPipe
1.2.2 and tflite-support 0.4.4 do, the last two by themselves). litert-torch's own open sizes leave a LayerNorm behind that it can't
convert, and a file of several fixed lengths is one with several graphs, which Google's Task clients refuse.
"""

from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from palmtop.errors import UserError
from palmtop.export.tflite_layers import kinds, module_of, text
from palmtop.export.tflite_packing import pack, parse

OPEN = -1
"""A size that is known only when the file runs; of a RESHAPE's, what is left over."""
SUMS = ("ADD", "SUB", "MUL")


def open_length(file: Path, shorter: str, longer: str) -> None:
    """Make one signature of two, in place: 'serving_default', for any number of tokens up to that of the longer one.

    Args:
        file: a float .tflite.
        shorter, longer: two of its signatures, of the same model at two lengths.

    Raises:
        UserError: the model has a constant for each pair of tokens, or otherwise doesn't follow the length in a way that is known.
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
        self._added: list[Any] = []
        self._cuts: dict[int, int] = {}
        self._picked: dict[tuple[bytes, tuple[int, ...]], int] = {}
        self._constants: dict[tuple[bytes, str, tuple[int, ...]], int] = {}
        self._menders: dict[str, Callable[[Any, int, Any, Any], None]] = {
            "RESHAPE": self._reshape, "SLICE": self._slice, **dict.fromkeys(SUMS, self._table)}

    def open(self) -> None:
        """Free what follows the length: sizes in the operators' constants, tables of positions, the tensors' shapes."""
        names = kinds(self._model, self.long)
        if kinds(self._model, self._short) != names:
            raise UserError("lengths: any: this model's graph has other operators at another length: give lengths, such as 32 or [16, 32]")
        for name, short, long in zip(names, list(self._short.operators), list(self.long.operators), strict=True):
            for place, (before, after) in enumerate(zip(short.inputs, long.inputs, strict=True)):
                if after >= 0 and self._follows_length(self._short.tensors[before], self.long.tensors[after]):
                    self._mend(name, long, place, self._short.tensors[before])
        self._open_shapes()
        self._cut_inputs()
        self.long.operators = [*self._added, *self.long.operators]

    def _cut_inputs(self) -> None:
        """Leave of a text that is too long the first tokens and its last, [SEP], as tokenizers do: clients that give each text its own
        length don't cut it (measured: MediaPipe, tflite-support)."""
        for index in self.long.inputs:
            for operator in self.long.operators:
                operator.inputs = np.where(np.array(operator.inputs) == index, self._cut(int(index)), operator.inputs).astype(np.int32)

    def _cut(self, index: int) -> int:
        """x[:, :-1][:, :longest - 1] and x[:, -1:], one after the other."""
        from ai_edge_litert import schema_py_generated as schema

        if index not in self._cuts:
            sizes, kind = list(self.long.tensors[index].shape), self.long.tensors[index].type
            parts = [self._tensor(name, [1, size], kind, opened=opened) for name, size, opened in (
                ("but_last", sizes[1] - 1, [1]), ("first", sizes[1] - 1, [1]), ("last", 1, []))]
            self._strided_slice((index, parts[0]), (0, 0), (0, -1), begin_mask=0b11, end_mask=0b01)
            self._strided_slice((parts[0], parts[1]), (0, 0), (0, sizes[1] - 1), begin_mask=0b11, end_mask=0b01)
            self._strided_slice((index, parts[2]), (0, -1), (0, 0), begin_mask=0b01, end_mask=0b11)
            self._cuts[index] = self._tensor("cut", sizes, kind, opened=[1])
            options = schema.ConcatenationOptionsT()
            options.axis = 1
            self._add(schema.BuiltinOperator.CONCATENATION, tuple(parts[1:]), self._cuts[index],
                      schema.BuiltinOptions.ConcatenationOptions, options)
        return self._cuts[index]

    def _strided_slice(self, between: tuple[int, int], begin: Sequence[int], end: Sequence[int], *, begin_mask: int, end_mask: int) -> None:
        from ai_edge_litert import schema_py_generated as schema

        options = schema.StridedSliceOptionsT()
        options.beginMask, options.endMask = begin_mask, end_mask
        places = (self._constant(name, np.array(value, np.int32)) for name, value in (("begin", begin), ("end", end), ("strides", (1, 1))))
        self._add(schema.BuiltinOperator.STRIDED_SLICE, (between[0], *places), between[1],
                  schema.BuiltinOptions.StridedSliceOptions, options)

    def _follows_length(self, short: Any, long: Any) -> bool:
        values = [self._model.buffers[tensor.buffer].data for tensor in (short, long)]
        if values[0] is None or values[1] is None:
            return False  # computed
        return list(short.shape) != list(long.shape) or bytes(values[0]) != bytes(values[1])

    def _mend(self, name: str, operator: Any, place: int, short: Any) -> None:
        mend = self._menders.get(name)
        if mend is None or short.type not in _types():
            raise self._refusal(name, operator)
        mend(operator, place, self._value(short), self._value(self.long.tensors[operator.inputs[place]]))

    def _reshape(self, operator: Any, place: int, short: Any, long: Any) -> None:
        """[1, 31, 12, 32] and [1, 32, 12, 32]: what is left over."""
        differing = short != long
        if differing.sum() > 1:
            raise self._refusal("RESHAPE", operator)
        self._put(operator, place, np.where(differing, OPEN, long))
        operator.builtinOptions, operator.builtinOptionsType = None, 0  # holds the sizes once more

    def _slice(self, operator: Any, place: int, short: Any, long: Any) -> None:
        """To the end, or to as many before it as at both lengths: a SLICE's sizes can't say this, a STRIDED_SLICE's ends can."""
        from ai_edge_litert import schema_py_generated as schema

        begin = self._value(self.long.tensors[operator.inputs[1]])
        twins = ((self._short, self._twin(operator), short), (self.long, operator, long))
        left = [np.array(graph.tensors[twin.inputs[0]].shape) - begin - sizes for graph, twin, sizes in twins]
        if place == 1 or (left[0] != left[1]).any():
            raise self._refusal("SLICE", operator)
        whole = left[1] == 0
        operator.inputs = np.array([operator.inputs[0], operator.inputs[1], self._constant("ends", -left[1].astype(np.int32)),
                                    self._constant("strides", np.ones(len(long), np.int32))], np.int32)
        operator.opcodeIndex = self._code(schema.BuiltinOperator.STRIDED_SLICE)
        operator.builtinOptionsType = schema.BuiltinOptions.StridedSliceOptions
        operator.builtinOptions = schema.StridedSliceOptionsT()
        operator.builtinOptions.endMask = int((whole << np.arange(len(whole))).sum())

    def _table(self, operator: Any, place: int, short: Any, long: Any) -> None:
        """A row for each token, or a number for each pair of tokens: one for all if they are equal, else those of the text's positions."""
        if short.ndim != long.ndim or not np.array_equal(short, long[tuple(map(slice, short.shape))]):
            raise self._refusal("a constant", operator)
        differing = [axis for axis in range(long.ndim) if short.shape[axis] != long.shape[axis]]
        alike = [axis for axis in differing if (long == long.take([0], axis)).all()]
        for axis in alike:
            long = long.take([0], axis)
        opened = [axis for axis in differing if axis not in alike]
        self._put_tensor(operator, place, self._of_positions(long, opened) if opened else self._constant("row", long))

    def _of_positions(self, table: Any, axes: "list[int]") -> int:
        """Of each axis as many of the first as the text has tokens. GATHER, because quantizers leave its table as it is: so at any length
        the file answers as one that was made for that length alone, where positions are constants."""
        from ai_edge_litert import schema_py_generated as schema

        key = (table.tobytes(), table.shape)
        if key not in self._picked:
            picked = self._constant("table_of_positions", table)
            for axis in axes:
                options, source = schema.GatherOptionsT(), picked
                options.axis = axis
                picked = self._tensor("of_positions", table.shape, _kind_of(table), opened=axes[:axes.index(axis) + 1])
                self._add(schema.BuiltinOperator.GATHER, (source, self._positions), picked, schema.BuiltinOptions.GatherOptions, options)
            self._picked[key] = picked
        return self._picked[key]

    @cached_property
    def _positions(self) -> int:
        """[0, 1, 2, ...], one for each token: ones are counted, because RANGE would leave the runtime without sizes until it runs."""
        from ai_edge_litert import schema_py_generated as schema

        kind, counted = schema.BuiltinOperator, schema.CumsumOptionsT()
        counted.exclusive = True
        tokens = list(self.long.tensors[self.long.inputs[0]].shape)
        nothing, ones, counts = (self._tensor(name, tokens, schema.TensorType.INT32, opened=[1]) for name in ("nothing", "ones", "counts"))
        positions = self._tensor("positions", tokens[1:], schema.TensorType.INT32, opened=[0])
        options = schema.BuiltinOptions
        self._add(kind.MUL, (self._cut(int(self.long.inputs[0])), self._number(0)), nothing, options.MulOptions, schema.MulOptionsT())
        self._add(kind.ADD, (nothing, self._number(1)), ones, options.AddOptions, schema.AddOptionsT())
        self._add(kind.CUMSUM, (ones, self._number(1)), counts, options.CumsumOptions, counted)
        self._add(kind.RESHAPE, (counts, self._constant("flat", np.array([OPEN], np.int32))), positions)
        return positions

    def _open_shapes(self) -> None:
        """Say of every tensor which of its sizes is open; clients look at those of the inputs."""
        pairs = [(self._short.inputs, self.long.inputs), (self._short.outputs, self.long.outputs)]
        pairs += [(short.outputs, long.outputs) for short, long in zip(self._short.operators, self.long.operators, strict=True)]
        for before, after in ((before, after) for pair in pairs for before, after in zip(*pair, strict=True)):
            short, long = np.array(self._short.tensors[before].shape), np.array(self.long.tensors[after].shape)
            self.long.tensors[after].shapeSignature = np.where(short != long, OPEN, long).astype(np.int32)

    def _twin(self, operator: Any) -> Any:
        [place] = [number for number, other in enumerate(self.long.operators) if other is operator]
        return self._short.operators[place]

    def _value(self, tensor: Any) -> Any:
        return np.frombuffer(bytes(self._model.buffers[tensor.buffer].data), _types()[tensor.type]).reshape(tensor.shape)

    def _put(self, operator: Any, place: int, value: Any) -> None:
        self._put_tensor(operator, place, self._constant("open", value))

    def _put_tensor(self, operator: Any, place: int, tensor: int) -> None:
        inputs = list(operator.inputs)
        inputs[place] = tensor
        operator.inputs = np.array(inputs, np.int32)

    def _number(self, value: int) -> int:
        return self._constant("number", np.array(value, np.int32))

    def _constant(self, name: str, value: Any) -> int:
        from ai_edge_litert import schema_py_generated as schema

        content = np.ascontiguousarray(value).tobytes()
        key = (content, value.dtype.str, value.shape)
        if key not in self._constants:
            self._model.buffers.append(schema.BufferT(data=np.frombuffer(content, np.uint8)))
            self._constants[key] = self._tensor(name, value.shape, _kind_of(value), buffer=len(self._model.buffers) - 1)
        return self._constants[key]

    def _tensor(self, name: str, shape: Sequence[int], kind: int, *, buffer: int = 0, opened: Sequence[int] = ()) -> int:
        from ai_edge_litert import schema_py_generated as schema

        number = len(self.long.tensors)
        sizes, open_sizes = (np.array(shape, np.int32) for _ in range(2))
        open_sizes[list(opened)] = OPEN
        self.long.tensors.append(schema.TensorT(name=f"{name}_{number}".encode(), shape=sizes, type=kind, buffer=buffer,
                                                shapeSignature=open_sizes if opened else None))
        return number

    def _add(self, kind: int, inputs: "tuple[int, ...]", output: int, option_kind: int = 0, options: Any = None) -> None:
        from ai_edge_litert import schema_py_generated as schema

        self._added.append(schema.OperatorT(opcodeIndex=self._code(kind), inputs=np.array(inputs, np.int32),
                                            outputs=np.array([output], np.int32), builtinOptionsType=option_kind, builtinOptions=options))

    def _code(self, kind: int) -> int:
        from ai_edge_litert import schema_py_generated as schema

        for number, code in enumerate(self._model.operatorCodes):
            if code.builtinCode == kind:
                return number
        self._model.operatorCodes.append(schema.OperatorCodeT(builtinCode=kind, deprecatedBuiltinCode=min(kind, 127), version=1))
        return len(self._model.operatorCodes) - 1

    def _refusal(self, what: str, operator: Any) -> UserError:
        name = text(self.long.tensors[operator.outputs[0]].name)
        return UserError(f"lengths: any: {what} of {module_of(name) or name} is made for one length in a way that can't be opened: "
                         "give lengths, such as 32 or [16, 32]")


def _types() -> "dict[int, type[Any]]":
    from ai_edge_litert.schema_py_generated import TensorType

    return {TensorType.INT32: np.int32, TensorType.FLOAT32: np.float32}


def _kind_of(value: Any) -> int:
    return next(kind for kind, numbers in _types().items() if numbers == value.dtype)


def _drop_unread(model: Any) -> None:
    """Empty the buffers that no tensor reads any more."""
    [graph] = model.subgraphs
    used = {int(index) for operator in graph.operators for index in operator.inputs if index >= 0}
    read = {graph.tensors[index].buffer for index in used} | {entry.buffer for entry in model.metadata or []}
    for number, buffer in enumerate(model.buffers):
        if number not in read:
            buffer.data = None
