"""Quantized .pte files through XNNPACK's quantizer: dynamic int8, from the graph that the float file was lowered
from."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from palmtop.bundle import Bundle
from palmtop.errors import UserError
from palmtop.export.executorch_file import FILE, PROGRAM, write
from palmtop.export.quantization.int8_rows import int8_rows
from palmtop.export.quantization.quantizable import Calibration, Quantizable

if TYPE_CHECKING:
    from torch.export import ExportedProgram
    from torch.fx import GraphModule, Node

SMALLEST = 1024
"""Numbers of a table from which its rows become int8: token types aren't worth their scales."""


@dataclass(frozen=True)
class ExecutorchProgram(Quantizable):
    """The program beside a float .pte. Weights are int8, symmetric, a scale for each output channel or row; activations
    of linear layers int8 with a range of their own for each text."""

    folder: Path

    @classmethod
    def of(cls, source: Bundle, scheme: str, calibration: Calibration | None) -> Self:
        """The program of a bundle; there is one scheme.

        Raises:
            UserError: the bundle has none.
        """
        if not (source.path / PROGRAM).is_file():
            raise UserError(
                f"{source.name} has no {PROGRAM}, from which the int8 file is made: export the bundle again"
            )
        return cls(source.path)

    @property
    def files(self) -> frozenset[str]:
        """The float file, and the program, which is the float file's."""
        return frozenset({FILE, PROGRAM})

    @property
    def kept_as(self) -> str:
        """Layers are int8 or as they were."""
        return "float32"

    def layers(self) -> list[str]:
        """Linear layers and embeddings."""
        return list(dict.fromkeys(_layers(self._program.module()).values()))

    def write(self, out: Path, kept: Sequence[str]) -> None:
        """Write model.pte."""
        import torch
        from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (
            XNNPACKQuantizer,
            get_symmetric_quantization_config,
        )
        from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

        module = self._program.module()
        chosen = [node for node, layer in _layers(module).items() if layer not in kept]
        _lookups_by_row(module, chosen)
        linear = {node.name for node in chosen}
        quantizer = XNNPACKQuantizer().set_global(
            get_symmetric_quantization_config(is_per_channel=True, is_dynamic=True)
        )
        quantizer.set_filter_function(lambda node: node.name in linear)
        arguments, sizes = self._program.example_inputs[1], _sizes(self._program)
        prepared = prepare_pt2e(module, quantizer)
        with torch.no_grad():
            prepared(**arguments)
            program = torch.export.export(convert_pt2e(prepared), (), arguments, dynamic_shapes=sizes, strict=False)
        write(program, out / FILE)

    def facts(self, out: Path) -> dict[str, Any]:
        """Nothing besides what every quantization tells."""
        return {}

    @cached_property
    def _program(self) -> "ExportedProgram":
        import torch

        return torch.export.load(self.folder / PROGRAM)


def _layers(module: "GraphModule") -> dict["Node", str]:
    """The nodes that read a large weight, with the layer's name: the module of the first of them, and the weight's
    shape."""
    import torch

    aten = torch.ops.aten
    first: dict[str, str] = {}
    found: dict[Node, str] = {}
    for node in module.graph.nodes:
        place = {aten.linear.default: 1, aten.embedding.default: 0}.get(node.target)
        if place is None or node.args[place].op != "get_attr":
            continue
        shape = tuple(_weight(module, node.args[place]).shape)
        if node.target is aten.linear.default or np.prod(shape) >= SMALLEST:
            name = first.setdefault(node.args[place].target, f"{_module(node)} {'x'.join(map(str, shape))}")
            found[node] = name
    return found


def _module(node: "Node") -> str:
    """The torch module that a node comes from, as the trace noted it; else the node's name."""
    places = [path for path, _ in node.meta.get("nn_module_stack", {}).values() if path]
    return places[-1] if places else node.name


def _weight(module: "GraphModule", node: Any) -> Any:
    import torch

    found = module
    for name in str(node.target).split("."):
        found = getattr(found, name)
    assert isinstance(found, torch.Tensor)
    return found


def _lookups_by_row(module: "GraphModule", chosen: "Sequence[Node]") -> None:
    """Embeddings as int8 rows and their scales, looked up and multiplied."""
    import torch

    aten = torch.ops.aten
    for number, node in enumerate(node for node in chosen if node.target is aten.embedding.default):
        integers, scales = int8_rows(_weight(module, node.args[0]).detach().numpy())
        module.register_buffer(f"rows_{number}", torch.from_numpy(integers))
        module.register_buffer(f"scales_{number}", torch.from_numpy(scales[:, None].copy()))
        graph = module.graph
        with graph.inserting_before(node):
            rows, factors = graph.get_attr(f"rows_{number}"), graph.get_attr(f"scales_{number}")
            looked_up = graph.call_function(aten.embedding.default, (rows, node.args[1]))
            wide = graph.call_function(aten.to.dtype, (looked_up, torch.float32))
            scale = graph.call_function(aten.embedding.default, (factors, node.args[1]))
            product = graph.call_function(aten.mul.Tensor, (wide, scale))
        node.replace_all_uses_with(product)
        graph.erase_node(node)
    module.graph.eliminate_dead_code()
    module.recompile()


def _sizes(program: "ExportedProgram") -> dict[str, Any]:
    """Any number of tokens, as the program takes them."""
    import torch

    (bounds,) = program.range_constraints.values()
    tokens = torch.export.Dim("tokens", min=int(bounds.lower), max=int(bounds.upper))
    return {name: {1: tokens} for name in program.example_inputs[1]}
