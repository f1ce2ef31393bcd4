"""Editing a traced graph: open it, read shapes and constants, insert calls, put one node in another's place."""

import hashlib
import operator
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import SymInt, Tensor, fx
from torch._guards import detect_fake_mode
from torch._subclasses import FakeTensorMode
from torch.export import ExportedProgram
from torch.fx.experimental.symbolic_shapes import statically_known_true

aten = torch.ops.aten

Size = int | SymInt

LAYER = ("nn_module_stack", "source_fn_stack")
"""Where a node says which module of the model it comes from."""
WHOLE = frozenset(
    {
        aten.linear.default,
        aten.layer_norm.default,
        aten.gelu.default,
        aten.softmax.int,
        aten.matmul.default,
        aten.bmm.default,
        aten.embedding.default,
    }
)
"""Operators that the passes see as they are; everything else is taken apart into core ATen."""


def open_graph(program: ExportedProgram) -> fx.GraphModule:
    """The program as a module that can be edited and run: no operator writes in place, weights are attributes,
    `reshape` for `view`.

    Every node's `meta["val"]` is a fake tensor of its type and sizes, or a symbolic size.
    """
    defaults: dict[Any, Callable[..., Any]] = torch.export.default_decompositions()
    table = {op: how for op, how in defaults.items() if op not in WHOLE}
    module: Any = program.run_decompositions(table).module(check_guards=False)
    for part in module.modules():
        part.training = False  # an exported module refuses eval()
    for node in module.graph.nodes:
        if node.target in (aten.view.default, aten._unsafe_view.default):
            node.target = aten.reshape.default
        elif node.target is aten._assert_tensor_metadata.default:
            module.graph.erase_node(node)
    settle(module)
    assert isinstance(module, fx.GraphModule)
    return module


def settle(module: fx.GraphModule) -> None:
    """After edits, which keep every node's type and sizes: drop what nothing uses, infer what is new, compile."""
    module.graph.eliminate_dead_code()
    mode = _fake_mode(module)
    for node in module.graph.nodes:
        if node.op == "get_attr" and "val" not in node.meta:
            node.meta["val"] = mode.from_tensor(value_of(module, node), static_shapes=True)
        elif node.op == "call_function" and "val" not in node.meta:
            node.meta["val"] = _infer(mode, node)
    module.graph.lint()
    module.recompile()


def calls(module: fx.GraphModule, *targets: object) -> list[fx.Node]:
    """The nodes that call one of the operators, in order, as they are now."""
    return [node for node in module.graph.nodes if node.op == "call_function" and node.target in targets]


def call(
    module: fx.GraphModule, before: fx.Node, target: Any, *args: Any, **kwargs: Any
) -> fx.Node:  # an operator's own arguments
    """Insert a call in front of a node, as a part of the same layer: converters name what they write by it."""
    with module.graph.inserting_before(before):
        node = module.graph.call_function(target, args, kwargs)
    node.meta |= {key: before.meta[key] for key in LAYER if key in before.meta}
    node.meta["val"] = _infer(_fake_mode(module), node)
    return node


def put_behind(node: fx.Node, new: fx.Node) -> None:
    """Every user of a node takes the new one, which is made of the node."""
    node.replace_all_uses_with(new, delete_user_cb=lambda user: user is not new)


def put_in_place(node: fx.Node, new: fx.Node) -> None:
    """Every user of a node takes the new one; the node goes."""
    put_behind(node, new)
    if not node.users:
        node.graph.erase_node(node)


def constant(module: fx.GraphModule, tensor: Tensor) -> fx.Node:
    """A node that gives a tensor; equal tensors are stored once."""
    tensor = tensor.detach().contiguous()
    content = hashlib.sha256(tensor.numpy().tobytes()).hexdigest()[:16]
    name = f"folded_{str(tensor.dtype)[6:]}_{'x'.join(map(str, tensor.shape))}_{content}"
    node: fx.Node
    for node in module.graph.nodes:
        if node.op == "get_attr" and node.target == name:
            return node
    module.register_buffer(name, tensor)
    with module.graph.inserting_before(next(iter(module.graph.nodes))):
        node = module.graph.get_attr(name)
    node.meta["val"] = _fake_mode(module).from_tensor(tensor, static_shapes=True)
    return node


def value_of(module: fx.GraphModule, node: object) -> Tensor:
    """The tensor of a constant node."""
    assert isinstance(node, fx.Node) and isinstance(node.target, str)
    tensor = operator.attrgetter(node.target)(module)
    assert isinstance(tensor, Tensor)
    return tensor.detach()


def is_constant(node: object) -> bool:
    """Whether a node gives a weight or a folded tensor."""
    return isinstance(node, fx.Node) and node.op == "get_attr"


def number_of(module: fx.GraphModule, argument: object) -> float | None:
    """The value of an argument that is one number: a literal or a constant of no axes."""
    if isinstance(argument, int | float):
        return float(argument)
    if isinstance(argument, fx.Node) and argument.op == "get_attr" and not shape(argument):
        return float(value_of(module, argument))
    return None


def shape(node: fx.Node) -> tuple[Size, ...]:
    """A node's sizes."""
    return tuple(node.meta["val"].shape)


def same(one: Iterable[Size], other: Iterable[Size]) -> bool:
    """Whether sizes are equal for every input."""
    ones, others = list(one), list(other)
    return len(ones) == len(others) and all(statically_known_true(a == b) for a, b in zip(ones, others, strict=True))


def is_tensor(node: object) -> bool:
    """Whether a node gives a tensor, not a size."""
    return isinstance(node, fx.Node) and isinstance(node.meta.get("val"), Tensor)


def sizes(module: fx.GraphModule, before: fx.Node, wanted: Iterable[Size]) -> list[int | fx.Node] | None:
    """Sizes as arguments of a call; None where one isn't a size of an input."""
    found: list[int | fx.Node | None] = [
        size if isinstance(size, int) else _size_node(module, before, size) for size in wanted
    ]
    return None if None in found else [size for size in found if size is not None]


def _size_node(module: fx.GraphModule, before: fx.Node, size: SymInt) -> fx.Node | None:
    for node in module.graph.nodes:
        if node.op == "placeholder":
            for axis, known in enumerate(shape(node)):
                if str(known) == str(size):
                    return call(module, before, aten.sym_size.int, node, axis)
    return None


def _infer(mode: FakeTensorMode, node: fx.Node) -> Any:
    args, kwargs = fx.node.map_arg((node.args, node.kwargs), lambda source: source.meta["val"])
    assert callable(node.target)
    with mode:
        return node.target(*args, **kwargs)


def _fake_mode(module: fx.GraphModule) -> FakeTensorMode:
    mode = detect_fake_mode([node.meta["val"] for node in module.graph.nodes if node.op == "placeholder"])
    assert mode is not None
    return mode
