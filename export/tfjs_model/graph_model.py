"""A traced torch program as a TensorFlow.js graph model: model.json and weight shards, written without TensorFlow."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import SymInt, Tensor, fx
from torch._ops import OpOverload
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind

from palmtop.errors import UserError
from palmtop.export.tfjs_model.aten_call import Call
from palmtop.export.tfjs_model.aten_products import MATRIX_ARGUMENTS
from palmtop.export.tfjs_model.aten_table import LOWERINGS
from palmtop.export.tfjs_model.graph import Graph, Node, Value, fingerprint, kind
from palmtop.export.tfjs_model.weights import write_shards

Environment = dict[fx.Node, Any]


def write_graph_model(
    program: ExportedProgram,
    input_names: Sequence[str],
    output_names: Sequence[str],
    out: Path,
    precision: Literal["float32", "float16"],
) -> dict[str, Any]:
    """Write model.json and its shards into `out`, for `tf.loadGraphModel` of TensorFlow.js 4.

    What depends on no input is computed now. A weight is stored once, whatever its uses. float16 halves the file; the
    runtime widens it when it loads, so memory and speed stay those of float32.

    Args:
        input_names: the inputs' names in the program's order.
        output_names: the names of its outputs, in the program's order.

    Returns:
        facts: the number of nodes, weights, shards, bytes of weights, and how many values are stored as float16.

    Raises:
        UserError: operators that have no counterpart, all of them; or values that TensorFlow.js cannot hold.
    """
    program = _decompose(program)
    _check_outputs(program, output_names)
    graph, outputs = _translate(program, input_names)
    named = dict(zip(output_names, outputs, strict=True))
    for name, output in named.items():
        graph.op("Identity", output, attributes={"T": output.dtype}, name=name)
    graph.prune(output_names)
    manifest, facts = write_shards(graph.weights, out, precision)
    signature = {
        "inputs": {node["name"]: _tensor_info(node) for node in graph.nodes if node["op"] == "Placeholder"},
        "outputs": {name: _output_info(name, output) for name, output in named.items()},
    }
    model = {
        "format": "graph-model",
        "generatedBy": "palmtop",
        "convertedBy": None,
        "signature": signature,
        "modelTopology": {"node": graph.nodes, "library": {}, "versions": {}},
        "weightsManifest": manifest,
    }
    (out / "model.json").write_text(json.dumps(model, allow_nan=False), encoding="utf-8")
    return {"nodes": len(graph.nodes) - len(graph.weights), "weights": len(graph.weights), **facts}


def _decompose(program: ExportedProgram) -> ExportedProgram:
    """To core ATen, except for the operators that map onto TensorFlow.js better as they are; a program that has no
    others is taken as it is, for this traces it anew."""
    if not _has_others(program.graph):
        return program
    defaults: dict[Any, Callable[..., Any]] = torch.export.default_decompositions()
    table = {op: how for op, how in defaults.items() if op not in LOWERINGS}
    decomposed: ExportedProgram = program.run_decompositions(table)
    return decomposed


def _has_others(graph: fx.Graph) -> bool:
    """Whether an operator that the output needs isn't in the table, or one writes in place."""
    needed = {node.target for node in _live(graph) if node.op == "call_function"}
    called = {node.target for node in graph.nodes if node.op == "call_function"}
    in_place = any(isinstance(target, OpOverload) and target._schema.is_mutable for target in called)
    return in_place or not needed <= LOWERINGS.keys()


def _translate(program: ExportedProgram, input_names: Sequence[str]) -> tuple[Graph, list[Value]]:
    live = _live(program.graph)
    environment = _constants(program, live)
    calls = [node for node in live if node.op == "call_function" and node not in environment]
    _refuse_unknown(calls)
    graph = Graph()
    graph.rows = _rows(calls, environment)
    _add_inputs(graph, program, input_names, environment)
    for node in calls:
        environment[node] = _lower(graph, node, environment)
    return graph, _outputs(graph, program, environment)


def _live(graph: fx.Graph) -> list[fx.Node]:
    """The nodes that the output needs, in order; assertions about sizes aren't among them."""
    needed = set(graph.output_node().all_input_nodes)
    for node in reversed(graph.nodes):
        if node in needed:
            needed.update(node.all_input_nodes)
    return [node for node in graph.nodes if node in needed]


def _constants(program: ExportedProgram, live: Sequence[fx.Node]) -> Environment:
    """The values of the weights and of everything that depends on no input."""
    environment: Environment = {}
    for spec, node in zip(program.graph_signature.input_specs, program.graph.nodes, strict=False):
        if spec.kind != InputKind.USER_INPUT:
            environment[node] = _stored_tensor(program, str(spec.target))
    with torch.no_grad():
        for node in live:
            if node.op == "call_function" and all(source in environment for source in node.all_input_nodes):
                arguments, named = fx.node.map_arg((node.args, node.kwargs), environment.__getitem__)
                assert callable(node.target)
                environment[node] = node.target(*arguments, **named)
    return environment


def _stored_tensor(program: ExportedProgram, name: str) -> Tensor:
    """A parameter, buffer or lifted constant; buffers that aren't saved stand among the constants."""
    tensor = program.state_dict[name] if name in program.state_dict else program.constants[name]
    assert isinstance(tensor, Tensor)
    return tensor


def _refuse_unknown(calls: Sequence[fx.Node]) -> None:
    unknown = sorted({_op_name(node.target) for node in calls if node.target not in LOWERINGS})
    if unknown:
        raise UserError(
            f"no TensorFlow.js counterpart for {', '.join(unknown)}: export to ONNX or TFLite instead, or add the "
            "operator to LOWERINGS in export/aten_to_tfjs.py"
        )


def _op_name(target: Callable[..., Any] | str) -> str:
    return str(target) if isinstance(target, OpOverload) else f"operator.{getattr(target, '__name__', target)}"


def _rows(calls: Sequence[fx.Node], environment: Environment) -> set[str]:
    """Fingerprints of the matrices that are read by something else than a product."""
    rows: set[str] = set()
    for node in calls:
        matrix = MATRIX_ARGUMENTS.get(node.target)
        for argument, source in Call.of(node, environment).arguments.items():
            if argument != matrix and isinstance(source, Tensor) and source.dim() == 2:  # noqa: PLR2004  # a matrix
                rows.add(fingerprint(source))
    return rows


def _add_inputs(graph: Graph, program: ExportedProgram, input_names: Sequence[str], environment: Environment) -> None:
    users = [
        node
        for spec, node in zip(program.graph_signature.input_specs, program.graph.nodes, strict=False)
        if spec.kind == InputKind.USER_INPUT
    ]
    for name, node in zip(input_names, users, strict=True):
        environment[node] = graph.placeholder(name, node.meta["val"])


def _lower(graph: Graph, node: fx.Node, environment: Environment) -> Value:
    call = Call.of(node, environment)
    name = LOWERINGS[node.target](graph, call)
    result = node.meta["val"]
    if isinstance(result, Tensor):
        return Value(name, result.dtype, tuple(result.shape))
    assert isinstance(result, SymInt)
    return Value(name, torch.int32, ())


def _check_outputs(program: ExportedProgram, names: Sequence[str]) -> None:
    given = len(_given(program))
    if given != len(names):
        raise UserError(f"the traced model gives {given} outputs, and named are {', '.join(names)}: return only these")


def _outputs(graph: Graph, program: ExportedProgram, environment: Environment) -> list[Value]:
    values = [environment[node] for node in _given(program)]
    return [
        value if isinstance(value, Value) else Value(graph.constant(value), value.dtype, tuple(value.shape))
        for value in values
    ]


def _given(program: ExportedProgram) -> list[fx.Node]:
    """The nodes of the outputs, in their order; one may be given twice."""
    nodes: Any = program.graph.output_node().args[0]
    return list(nodes)


def _tensor_info(node: Node) -> Node:
    return {
        "name": f"{node['name']}:0",
        "dtype": node["attr"]["dtype"]["type"],
        "tensorShape": node["attr"]["shape"]["shape"],
    }


def _output_info(name: str, output: Value) -> Node:
    sizes = [{"size": str(size) if isinstance(size, int) else "-1"} for size in output.shape]
    return {"name": f"{name}:0", "dtype": kind(output.dtype), "tensorShape": {"dim": sizes}}
