"""Quantized ONNX files through ONNX Runtime: dynamic int8, and static int8 of the linear layers with ranges from the
user's texts."""

import ast
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

import numpy as np
from jaxtyping import Float32
from numpy import ndarray

from palmtop.bundle import Bundle
from palmtop.data.encoding import Encoding, pad
from palmtop.errors import UserError
from palmtop.export.quantization import activation_ranges
from palmtop.export.quantization.activation_ranges import Range
from palmtop.export.quantization.int8_rows import int8_rows
from palmtop.export.quantization.onnx_once import join_equal, split_shared_products
from palmtop.export.quantization.quantizable import Calibration, Quantizable
from palmtop.signature import Signature

FILE = "model.onnx"
LINEAR, LOOKUP = ("MatMul", "Gemm"), "Gather"


@dataclass(frozen=True)
class OnnxFile(Quantizable):
    """A float ONNX file. Weights are int8, symmetric, a scale for each output channel or row; activations of linear
    layers uint8."""

    folder: Path
    calibration: Calibration | None
    """None: dynamic."""

    @classmethod
    def of(cls, source: Bundle, scheme: str, calibration: Calibration | None) -> Self:
        """The ONNX file of a bundle; its two schemes differ by the calibration alone."""
        return cls(source.path, calibration)

    def __post_init__(self) -> None:
        if self.calibration is not None and self.calibration.operators != "linear":
            raise UserError(
                "static_operators 'all' is for tflite: an ONNX file takes texts unpadded, so no calibration would "
                "see its mask"
            )

    @property
    def files(self) -> frozenset[str]:
        """Graph and weights are one file."""
        return frozenset({FILE})

    @property
    def kept_as(self) -> str:
        """Layers are int8 or as they were."""
        return "float32"

    def layers(self) -> list[str]:
        """Linear layers and, in a dynamic file, embeddings."""
        return list(self._nodes)

    def write(self, out: Path, kept: Sequence[str]) -> None:
        """Write model.onnx."""
        from onnxruntime.quantization import QuantFormat, QuantType, quantize_dynamic, quantize_static

        (out / FILE).unlink(missing_ok=True)
        chosen = [node for name, nodes in self._nodes.items() if name not in kept for node in nodes]
        model = _model(self.folder / FILE)
        _lookups_by_row(model.graph, chosen)
        chosen += [f"{node}_MatMul" for node in chosen]  # what becomes of a Gemm
        if self.calibration is None:
            quantize_dynamic(
                model,
                out / FILE,
                op_types_to_quantize=[*LINEAR],
                per_channel=True,
                weight_type=QuantType.QInt8,
                nodes_to_quantize=chosen,
            )
        else:
            with TemporaryDirectory() as folder:
                quantize_static(
                    model,
                    out / FILE,
                    None,
                    QuantFormat.QDQ,
                    [*LINEAR],
                    per_channel=True,
                    activation_type=QuantType.QUInt8,
                    weight_type=QuantType.QInt8,
                    nodes_to_quantize=chosen,
                    calibration_cache_path=_write_ranges(self._ranges, Path(folder)),
                )
        _join_equal(out / FILE)

    def facts(self, out: Path) -> dict[str, Any]:
        """Of a static file: on what it was calibrated, and which activations leave their ranges on other texts."""
        given = self.calibration
        if given is None:
            return {}
        found = activation_ranges.saturations(lambda: self._run(given.others), self._ranges, (), lambda name: name)
        return given.facts() | activation_ranges.facts(found, len(self._ranges))

    def _run(self, texts: Sequence[Encoding]) -> Iterator[tuple[str, Float32[ndarray, "..."]]]:
        """What the linear layers read and give, text by text, unpadded."""
        import onnxruntime
        from onnx import TensorProto, helper

        model = _model(self.folder / FILE)
        layers = {name for nodes in self._nodes.values() for name in nodes}
        nodes = [node for node in model.graph.node if node.op_type in LINEAR and node.name in layers]
        names = list(dict.fromkeys(name for node in nodes for name in (node.input[0], node.output[0])))
        given = {output.name for output in model.graph.output}
        model.graph.output.extend(
            helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names if name not in given
        )
        session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        signature = Signature.read(self.folder)
        for text in texts:
            batch = pad([text], len(text), signature.pad_id)
            yield from zip(names, session.run(names, {name: batch[name] for name in signature.inputs}), strict=True)

    @cached_property
    def _ranges(self) -> dict[str, Range]:
        assert self.calibration is not None
        texts = self.calibration.texts
        return activation_ranges.measure(lambda: self._run(texts), self.calibration.percentile)

    @cached_property
    def _nodes(self) -> dict[str, list[str]]:
        """The nodes that read one weight, by the module of the first: a weight is int8 for all of its layers or for
        none."""
        graph = _model(self.folder / FILE).graph
        weights = {tensor.name for tensor in graph.initializer if len(tensor.dims) == 2}  # noqa: PLR2004  # a matrix
        readers: dict[str, list[Any]] = defaultdict(list)
        for node in graph.node:
            if node.op_type in (*LINEAR, LOOKUP) and weights & set(node.input):
                readers[next(name for name in node.input if name in weights)].append(node)
        return {_module(nodes[0]): [node.name for node in nodes] for nodes in readers.values()}


def _module(node: Any) -> str:
    """The torch module that a node comes from, as the exporter noted it; else the node's name."""
    scopes = next((entry.value for entry in node.metadata_props if entry.key.endswith("name_scopes")), "[]")
    return ".".join(ast.literal_eval(scopes)[-2:]) or str(node.name)


def _model(file: Path) -> Any:
    """A model without the shapes of inner tensors, which don't hold once a Gemm has become a product and a sum."""
    import onnx

    model = onnx.load(str(file))
    split_shared_products(model)
    del model.graph.value_info[:]
    return model


def _join_equal(file: Path) -> None:
    """Write a file again with each tensor once: scales and zero points too are made for each node."""
    import onnx

    model = onnx.load(str(file))
    if join_equal(model):
        onnx.save(model, str(file))


def _lookups_by_row(graph: Any, nodes: Sequence[str]) -> None:
    """Embeddings as int8 rows and their scales, looked up and multiplied. (ONNX Runtime's own have one scale for the
    whole table.)"""
    from onnx.numpy_helper import from_array, to_array

    tables = {str(tensor.name): tensor for tensor in graph.initializer}
    lookups = [node for node in graph.node if node.op_type == LOOKUP and node.name in nodes]
    for name in sorted({str(node.input[0]) for node in lookups}):
        integers, scales = int8_rows(to_array(tables[name]))
        graph.initializer.extend([from_array(integers, f"{name}_int8"), from_array(scales[:, None], f"{name}_scale")])
    for node in lookups:
        place = list(graph.node).index(node)
        for one in reversed(_lookup(str(node.name), str(node.input[0]), str(node.input[1]), str(node.output[0]))):
            graph.node.insert(place + 1, one)
        graph.node.remove(node)
    read = {name for node in graph.node for name in node.input}
    for name, tensor in tables.items():
        if name not in read:
            graph.initializer.remove(tensor)


def _lookup(name: str, table: str, ids: str, output: str) -> list[Any]:
    """Nodes from token ids to rows of the table, [..., width] float32.

    What is between has names of its own: a linear layer that reads the rows rounds them to `{output}_scale` and others.
    """
    from onnx import TensorProto
    from onnx.helper import make_node

    return [
        make_node(LOOKUP, [f"{table}_int8", ids], [f"{output}_row_int8"], f"{name}_int8"),
        make_node("Cast", [f"{output}_row_int8"], [f"{output}_row_wide"], f"{name}_wide", to=TensorProto.FLOAT),
        make_node(LOOKUP, [f"{table}_scale", ids], [f"{output}_row_scale"], f"{name}_scale"),
        make_node("Mul", [f"{output}_row_wide", f"{output}_row_scale"], [output], f"{name}_product"),
    ]


def _write_ranges(limits: dict[str, Range], folder: Path) -> Path:
    """As ONNX Runtime keeps them between two calls."""
    from onnxruntime.quantization import CalibrationMethod
    from onnxruntime.quantization.calibrate import TensorData, TensorsData, save_tensors_data

    found = {
        name: TensorData(lowest=np.array(limit.low, np.float32), highest=np.array(limit.high, np.float32))
        for name, limit in limits.items()
    }
    save_tensors_data(TensorsData(CalibrationMethod.MinMax, found), folder / "ranges.json")
    return folder / "ranges.json"
