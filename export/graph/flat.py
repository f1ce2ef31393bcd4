"""The pass that keeps activations in two dimensions between attentions: [batch * tokens, width]."""

from torch import fx

from palmtop.export.graph.graph_edit import aten, call, is_constant, put_in_place, same, settle, shape, sizes
from palmtop.export.graph.head_rows import ALONG_LAST, POINTWISE

FLAT, DEEP = 2, 3


def flatten_rows(module: fx.GraphModule) -> int:
    """f(x [batch, tokens, width]) = f(x [batch * tokens, width]) for what treats rows alike, from embeddings to the
    head.

    A runtime's product wants a matrix, and a linear layer of three dimensions is a reshape, a product and a reshape.
    Returns how many nodes lost a dimension.
    """
    chosen = _rowwise(module)
    flat: dict[fx.Node, fx.Node] = {}
    for node in list(module.graph.nodes):
        if node in chosen:
            flat[node] = _flattened(module, node, flat)
    for node, new in flat.items():
        _hand_over(module, node, new, chosen)
    settle(module)
    return len(flat)


def _rowwise(module: fx.GraphModule) -> set[fx.Node]:
    """Linear layers, norms and look-ups of three dimensions, and what lies between them and is computed place by
    place."""
    chosen = {node for node in module.graph.nodes if node.op == "call_function" and _could_be_flat(node)}
    while True:
        kept = {node for node in chosen if _belongs(node, chosen)}
        if kept == chosen:
            return chosen
        chosen = kept


def _could_be_flat(node: fx.Node) -> bool:
    if node.target not in ALONG_LAST | POINTWISE | {aten.embedding.default} or len(shape(node)) != DEEP:
        return False
    if node.target is aten.embedding.default:
        return isinstance(node.args[1], fx.Node) and len(shape(node.args[1])) == FLAT and is_constant(node.args[0])
    if node.target is aten.layer_norm.default and len(node.args[1]) != 1:  # type: ignore[arg-type]  # the normalized sizes
        return False
    return isinstance(shape(node)[-1], int)


def _belongs(node: fx.Node, chosen: set[fx.Node]) -> bool:
    if node.target in ALONG_LAST:
        return True
    if node.target is aten.embedding.default:
        return all(user in chosen for user in node.users)
    fits = all(_fits(node, source) for source in node.all_input_nodes)
    return fits and any(source in chosen for source in node.all_input_nodes)


def _fits(node: fx.Node, source: fx.Node) -> bool:
    """Whether an operand goes with the rows: of the result's size, or one number for each row, or the same for each
    row."""
    return same(shape(source), shape(node)) or same(shape(source), (*shape(node)[:-1], 1)) or len(shape(source)) <= 1


def _flattened(module: fx.GraphModule, node: fx.Node, flat: dict[fx.Node, fx.Node]) -> fx.Node:
    def operand(source: fx.Node) -> fx.Node:
        if source in flat:
            return flat[source]
        if len(shape(source)) == DEEP:
            return call(module, node, aten.reshape.default, source, [-1, shape(source)[-1]])
        return source

    if node.target is aten.embedding.default:
        table, index = node.args[:2]
        return call(module, node, aten.embedding.default, table, call(module, node, aten.reshape.default, index, [-1]))
    args, kwargs = fx.node.map_arg((node.args, node.kwargs), operand)
    return call(module, node, node.target, *args, **kwargs)


def _hand_over(module: fx.GraphModule, node: fx.Node, new: fx.Node, chosen: set[fx.Node]) -> None:
    """Give the users that still want three dimensions theirs: reshapes take the matrix as it is, and a row is a row of
    the matrix."""
    for user in list(node.users):
        if user.target is aten.reshape.default:
            user.args = (new, *user.args[1:])
        elif user.target is aten.select.int and user.args[1] == 1 and same(shape(node)[1:2], [1]):
            put_in_place(user, new)
        elif user.target is aten.slice.Tensor and user.args[1] == 1 and same(shape(node)[:1], [1]):
            row = call(module, user, aten.slice.Tensor, new, 0, *user.args[2:])
            put_in_place(user, call(module, user, aten.unsqueeze.default, row, 0))
    if any(user not in chosen for user in node.users):
        before = new.next
        wanted = sizes(module, before, shape(node)[:-1])
        assert wanted is not None  # batch and tokens are the inputs' own
        again = call(module, before, aten.reshape.default, new, [*wanted, shape(node)[-1]])
        node.replace_all_uses_with(again, delete_user_cb=lambda user: user not in chosen)
