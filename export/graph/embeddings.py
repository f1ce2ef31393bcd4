"""Passes over what is added up before the first layer: word, position and token-type embeddings."""

import torch
from torch import Tensor, fx

from palmtop.export.graph.graph_edit import (
    aten,
    call,
    calls,
    constant,
    is_constant,
    put_in_place,
    same,
    settle,
    shape,
    value_of,
)

PICKS = (
    aten.gather.default,
    aten.slice.Tensor,
    aten.expand.default,
    aten._to_copy.default,
    aten.reshape.default,
    aten.unsqueeze.default,
)
"""Operators that choose among the numbers of their first argument."""


def fold_equal_rows(module: fx.GraphModule) -> int:
    """Look-ups whose index is the same number everywhere give one row: RoBERTa's token types, BERT's without that
    input.

    The row stands for all tokens only where it is added to something of full size. Returns how many look-ups went.
    """
    gone = 0
    for node in calls(module, aten.embedding.default):
        index = _only_value(module, node.args[1])
        table = node.args[0]
        if index is not None and is_constant(table) and all(_adds_to_full_size(user, node) for user in node.users):
            put_in_place(node, constant(module, value_of(module, table)[index]))
            gone += 1
    settle(module)
    return gone


def _only_value(module: fx.GraphModule, node: object) -> int | None:
    """The number that an index is everywhere, whatever the inputs."""
    if not isinstance(node, fx.Node):
        return None
    if node.op == "get_attr":
        values = value_of(module, node)
        return int(values.flatten()[0]) if bool((values == values.flatten()[0]).all()) else None
    if node.target is aten.full.default:
        number = node.args[1]
        return number if isinstance(number, int) else None
    return _only_value(module, node.args[0]) if node.target in PICKS else None


def _adds_to_full_size(user: fx.Node, node: fx.Node) -> bool:
    if user.target is not aten.add.Tensor or user.kwargs:
        return False
    other = user.args[1] if user.args[0] is node else user.args[0]
    return isinstance(other, fx.Node) and other is not node and same(shape(other), shape(user))


def slice_positions(module: fx.GraphModule) -> int:
    """Rows 0, 1, 2, ... of a table are a slice of it, not a look-up: positions at a length that isn't fixed. Returns
    how many."""
    sliced = 0
    for node in calls(module, aten.embedding.default):
        table, index = node.args[:2]
        if is_constant(table) and isinstance(index, fx.Node) and _counts_up(module, index):
            rows = call(module, node, aten.slice.Tensor, table, 0, *index.args[2:])
            put_in_place(node, call(module, node, aten.unsqueeze.default, rows, 0))
            sliced += 1
    settle(module)
    return sliced


def _counts_up(module: fx.GraphModule, index: fx.Node) -> bool:
    """Whether an index [1, tokens] is a slice of [[0, 1, 2, ...]]."""
    if index.target is not aten.slice.Tensor or not is_constant(index.args[0]) or index.args[1] != 1 or index.args[4:]:
        return False
    whole = value_of(module, index.args[0])
    return torch.equal(whole, torch.arange(whole.shape[-1], dtype=whole.dtype)[None])


def merge_embeddings(module: fx.GraphModule) -> int:
    """w[ids] + p[positions] + c = w[ids] + (p + c)[positions], and constants of a sum are added up now.

    So type 0 joins the positions where types are no input: in the constant of the positions at a fixed length, else in
    the table of positions (RoBERTa's are counted from the ids). Types that are an input stay a look-up: one table of
    all sums of position and type would be twice the positions in each length of a file, to save one addition.

    Returns how many additions went.
    """
    gone = 0
    for node in calls(module, aten.add.Tensor):
        if _is_plain_sum(node) and not any(_is_plain_sum(user) for user in node.users):
            gone += _merge(module, node)
    settle(module)
    return gone


def _merge(module: fx.GraphModule, node: fx.Node) -> int:
    addends = _addends(node)
    constants = [addend for addend in addends if is_constant(addend)]
    others = [addend for addend in addends if not is_constant(addend)]
    if not constants or not any(addend.target is aten.embedding.default for addend in others):
        return 0
    total = _sum(module, constants)
    table = _smallest_table(module, others) if total.dim() == 1 else None
    if table is not None:
        others[others.index(table)] = _with_row(module, table, total)
    terms = others if table is not None else [*others, constant(module, total)]
    if len(terms) == len(addends):
        return 0
    result = terms[0]
    for term in terms[1:]:
        result = call(module, node, aten.add.Tensor, result, term)
    put_in_place(node, result)
    return len(addends) - len(terms)


def _is_plain_sum(node: fx.Node) -> bool:
    return (
        node.target is aten.add.Tensor and not node.kwargs and all(isinstance(source, fx.Node) for source in node.args)
    )


def _addends(node: fx.Node) -> list[fx.Node]:
    """The terms of a sum of sums; an inner sum that something else uses too is a term."""
    found = []
    for source in node.args:
        assert isinstance(source, fx.Node)
        found += _addends(source) if _is_plain_sum(source) and len(source.users) == 1 else [source]
    return found


def _sum(module: fx.GraphModule, constants: list[fx.Node]) -> Tensor:
    total = value_of(module, constants[0])
    for other in constants[1:]:
        total = total + value_of(module, other)
    return total


def _smallest_table(module: fx.GraphModule, addends: list[fx.Node]) -> fx.Node | None:
    """The look-up in the smallest table that nothing else reads."""
    own = [node for node in addends if node.target is aten.embedding.default and _read_once(node.args[0])]
    return min(own, key=lambda node: value_of(module, node.args[0]).numel(), default=None)


def _read_once(table: object) -> bool:
    return isinstance(table, fx.Node) and is_constant(table) and len(table.users) == 1


def _with_row(module: fx.GraphModule, lookup: fx.Node, row: Tensor) -> fx.Node:
    return call(
        module, lookup, aten.embedding.default, constant(module, value_of(module, lookup.args[0]) + row), lookup.args[1]
    )
