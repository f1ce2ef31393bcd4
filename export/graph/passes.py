"""All passes in their order: one graph, cleaned once, for every format."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import fx
from torch.export import ExportedProgram

from palmtop.export.graph.attention import add_finite_mask, fold_scale
from palmtop.export.graph.convolutions import pointwise_as_linear
from palmtop.export.graph.embeddings import fold_equal_rows, merge_embeddings, slice_positions
from palmtop.export.graph.flat import flatten_rows
from palmtop.export.graph.fold import drop_no_ops, fold_affine, fold_constants, fuse_gelu, join_views, share_calls
from palmtop.export.graph.graph_edit import open_graph
from palmtop.export.graph.head_rows import read_rows
from palmtop.export.graph.litert_forms import keep_rank_four, look_up_gathered, shift_by_subtraction, spell_out_norms
from palmtop.export.graph.norms import fuse_norms
from palmtop.export.graph.splits import slices_for_splits

if TYPE_CHECKING:
    from palmtop.export.graph.edge import EdgeClassifier

Pass = Callable[[fx.GraphModule], int]
"""Rewrites a graph in place into one that answers the same, and says at how many places; none where there is nothing to
do."""

FOR_ALL: tuple[Pass, ...] = (
    drop_no_ops,
    fold_constants,
    pointwise_as_linear,
    slices_for_splits,
    fold_equal_rows,
    slice_positions,
    merge_embeddings,
    fuse_gelu,
    fuse_norms,
    add_finite_mask,
    fold_scale,
    fold_affine,
    read_rows,
    flatten_rows,
    join_views,
    drop_no_ops,
    fold_constants,
    share_calls,
)
"""Constants first, so that later passes see them; rows before flattening, which leaves [CLS] as a matrix of its own."""
FOR_LITERT: tuple[Pass, ...] = (spell_out_norms, shift_by_subtraction, keep_rank_four, look_up_gathered)


FOR_STEPS: tuple[Pass, ...] = (
    drop_no_ops,
    fold_constants,
    slices_for_splits,
    fuse_gelu,
    join_views,
    drop_no_ops,
    fold_constants,
    spell_out_norms,
    keep_rank_four,
    look_up_gathered,
)
"""Of graphs of a model that writes: those that don't look for a classifier's mask and rows."""


def clean_steps(program: ExportedProgram) -> tuple[fx.GraphModule, dict[str, int]]:
    """`clean` for a model that writes, in LiteRT's forms."""
    return clean(program, FOR_STEPS)


def clean(program: ExportedProgram, passes: Sequence[Pass] = FOR_ALL) -> tuple[fx.GraphModule, dict[str, int]]:
    """The graph after all passes, ready to be run or exported again; and for each pass the number of places it
    changed."""
    module = open_graph(program)
    facts: dict[str, int] = {}
    for each in passes:
        facts[each.__name__] = facts.get(each.__name__, 0) + each(module)
    return module, facts


def clean_at(edge: "EdgeClassifier", inputs: Sequence[str], tokens: int) -> tuple[fx.GraphModule, dict[str, int]]:
    """The cleaned graph for one text of `tokens` tokens, in LiteRT's forms."""
    from palmtop.export.graph.edge import example

    with torch.no_grad():
        program = torch.export.export(edge, (), example(inputs, 1, tokens), strict=False)
    return clean(program, (*FOR_ALL, *FOR_LITERT))
