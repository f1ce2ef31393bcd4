"""Each pass over the traced graph alone: it changes what it should, and the answers stay torch's; then all of them on
every family."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny import TAKEN_APART, write_model
from torch import Tensor, fx, nn
from torch.nn import functional

from palmtop.export.graph import attention, embeddings, fold, litert_forms
from palmtop.export.graph.convolutions import pointwise_as_linear
from palmtop.export.graph.edge import EdgeClassifier, any_size_program, converting, example, trace_any_size
from palmtop.export.graph.flat import flatten_rows
from palmtop.export.graph.graph_edit import aten, calls, open_graph, shape
from palmtop.export.graph.head_rows import read_rows
from palmtop.export.graph.norms import fuse_norms
from palmtop.export.graph.passes import FOR_ALL, FOR_LITERT, clean, clean_at
from palmtop.export.graph.splits import slices_for_splits
from palmtop.models.family import FAMILIES, inputs_of
from palmtop.models.reshaped import opener

WIDTH, HEADS, TOKENS = 16, 2, 10
ROUNDING = 1e-5
"""Of numbers around 1: float32, summed in another order."""
INPUTS = ("input_ids", "attention_mask")
CUSTOM, GATHER, GATHER_ND, BROADCAST_TO, FULLY_CONNECTED = 32, 36, 107, 130, 9
"""BuiltinOperator of the schema."""


class Module(nn.Module):
    """A forward pass over ids and mask, written in a test."""

    def __init__(self, forward: Callable[..., Tensor], **parts: nn.Module | Tensor) -> None:
        super().__init__()
        for name, part in parts.items():
            if isinstance(part, Tensor):
                self.register_buffer(name, part)
            else:
                setattr(self, name, part)
        self._written = forward

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        return self._written(self, input_ids, attention_mask)


@pytest.fixture(autouse=True)
def _same_weights() -> None:
    torch.manual_seed(0)


def padded(rows: int = 1) -> dict[str, Tensor]:
    """Ids and a mask: each text but the first is shorter."""
    mask = torch.ones(rows, TOKENS, dtype=torch.int32)
    for row in range(rows):
        mask[row, TOKENS - 3 - row :] = 0
    return {"input_ids": torch.randint(2, 30, (rows, TOKENS), dtype=torch.int32) * mask, "attention_mask": mask}


def traced(module: nn.Module, any_size: bool) -> fx.GraphModule:
    """The opened graph of a module, at 10 tokens or for any size."""
    if any_size:
        return open_graph(trace_any_size(module, INPUTS, 2, 40))
    with torch.no_grad():
        return open_graph(torch.export.export(module, (), example(INPUTS, 1, TOKENS), strict=False))


def check(module: nn.Module, any_size: bool, each: Callable[[fx.GraphModule], int], places: int) -> fx.GraphModule:
    """Run one pass: it says how many places it changed, and the graph still answers as the module does."""
    module.eval()
    graph = traced(module, any_size)
    for first in (fold.drop_no_ops, fold.fold_constants):  # as in the order of all
        if first is each:
            break
        first(graph)
    assert each(graph) == places
    inputs = padded(3 if any_size else 1)
    with torch.no_grad():
        assert torch.allclose(graph(**inputs), module(**inputs), atol=ROUNDING)
    return graph


def embedded(**more: Any) -> dict[str, Any]:
    return {
        "words": nn.Embedding(30, WIDTH),
        "positions": nn.Embedding(40, WIDTH),
        "types": nn.Embedding(2, WIDTH),
        "counted": torch.arange(40)[None],
        "zeros": torch.zeros(1, 40, dtype=torch.long),
        **more,
    }


def split_heads_attention(module: Any, x: Tensor, mask: Tensor, scale: Callable[[Tensor], Tensor]) -> Tensor:
    """A head-split attention with separate linear layers q, k, v, o."""
    q, k, v = (part(x).view(*x.shape[:2], HEADS, -1).transpose(1, 2) for part in (module.q, module.k, module.v))
    scores = scale(q @ k.transpose(-1, -2)) + (1.0 - mask[:, None, None, :].float()) * -1e4
    mixed = (scores.softmax(-1) @ v).transpose(1, 2).reshape(*x.shape[:2], -1)
    return module.norm(module.o(mixed) + x)  # type: ignore[no-any-return]  # a module answers Any


def linears(*names: str) -> dict[str, nn.Module]:
    return {name: nn.Linear(WIDTH, WIDTH) for name in names}


def one_attention(scale: Callable[[Tensor], Tensor]) -> Module:
    return Module(
        lambda m, ids, mask: m.head(split_heads_attention(m, m.words(ids), mask, scale)[:, 0]),
        words=nn.Embedding(30, WIDTH),
        norm=nn.LayerNorm(WIDTH),
        **linears("q", "k", "v", "o", "head"),
    )


@pytest.mark.parametrize("any_size", [False, True])
def test_what_changes_nothing_goes(any_size: bool) -> None:
    def idle(m: Any, ids: Tensor, mask: Tensor) -> Tensor:
        return functional.dropout(m.words(ids), 0.5, m.training).expand(-1, -1, -1) + 0.0

    module = Module(idle, words=nn.Embedding(30, WIDTH))
    graph = check(module, any_size, fold.drop_no_ops, 3)
    assert not calls(graph, aten.clone.default, aten.expand.default, aten.add.Tensor)


def test_constants_are_computed_now_and_nothing_is_stored_in_copies() -> None:
    module = Module(lambda m, ids, mask: m.words(ids) + m.positions(m.counted[:, : ids.shape[1]] * 1), **embedded())
    graph = check(module, False, fold.fold_constants, 2)  # the slice and the look-up
    assert len(calls(graph, aten.embedding.default)) == 1
    wide = Module(
        lambda m, ids, mask: m.words(ids) + (m.row * 2).expand(1, 10, WIDTH), **embedded(row=torch.randn(WIDTH))
    )
    assert len(calls(check(wide, False, fold.fold_constants, 1), aten.expand.default)) == 1


@pytest.mark.parametrize("any_size", [False, True])
def test_a_look_up_of_equal_indices_is_one_row(any_size: bool) -> None:
    def types_of_zeros(m: Any, ids: Tensor, mask: Tensor) -> Tensor:
        positions = torch.cumsum(mask, 1).long() * mask
        kind = torch.gather(m.zeros.expand(ids.shape[0], -1), 1, positions)
        return m.words(ids) + m.types(kind) + m.positions(positions)

    graph = check(Module(types_of_zeros, **embedded()), any_size, embeddings.fold_equal_rows, 1)
    assert len(calls(graph, aten.embedding.default)) == 2
    alone = Module(
        lambda m, ids, mask: m.types(m.zeros[:, : ids.shape[1]]), **embedded()
    )  # nothing gives the row the sum's size
    check(alone, any_size, embeddings.fold_equal_rows, 0)
    other = Module(lambda m, ids, mask: m.words(ids) + m.types(mask), **embedded())  # types that are an input
    check(other, any_size, embeddings.fold_equal_rows, 0)


def test_positions_of_any_length_are_a_slice_of_their_table() -> None:
    def placed(m: Any, ids: Tensor, mask: Tensor) -> Tensor:
        return m.words(ids) + m.positions(m.counted[:, : ids.shape[1]])  # type: ignore[no-any-return]  # a module answers Any

    graph = check(Module(placed, **embedded()), True, embeddings.slice_positions, 1)
    assert len(calls(graph, aten.embedding.default)) == 1
    backwards = embedded(counted=torch.arange(40).flip(0)[None])
    check(Module(placed, **backwards), True, embeddings.slice_positions, 0)


@pytest.mark.parametrize("any_size", [False, True])
def test_a_constant_row_joins_the_smallest_table_and_types_that_are_an_input_stay(any_size: bool) -> None:
    row = Module(lambda m, ids, mask: m.words(ids) + m.row + m.positions(mask), **embedded(row=torch.randn(WIDTH)))
    graph = check(row, any_size, embeddings.merge_embeddings, 1)
    assert len(calls(graph, aten.add.Tensor)) == 1
    types = Module(lambda m, ids, mask: m.words(ids) + m.types(mask) + m.positions(ids), **embedded())
    check(types, any_size, embeddings.merge_embeddings, 0)


def test_constants_of_a_sum_are_added_up_and_a_shared_table_is_left_alone() -> None:
    two = Module(
        lambda m, ids, mask: (m.words(ids) + m.one) + m.two,
        **embedded(one=torch.randn(TOKENS, WIDTH), two=torch.randn(WIDTH)),
    )
    assert len(calls(check(two, False, embeddings.merge_embeddings, 1), aten.add.Tensor)) == 1
    shared = Module(lambda m, ids, mask: m.words(ids) + m.words(mask) + m.row, **embedded(row=torch.randn(WIDTH)))
    check(shared, False, embeddings.merge_embeddings, 0)


@pytest.mark.parametrize("any_size", [False, True])
def test_a_filled_mask_becomes_a_finite_sum_and_is_made_once(any_size: bool) -> None:
    def twice(m: Any, ids: Tensor, mask: Tensor) -> Tensor:
        scores = m.words(ids) @ m.words(ids).transpose(-1, -2)
        for _ in range(2):
            scores = scores.masked_fill(~mask[:, None, :].bool(), torch.finfo(torch.float32).min).softmax(-1)
        return scores

    graph = check(Module(twice, words=nn.Embedding(30, WIDTH)), any_size, attention.add_finite_mask, 2)
    assert not calls(graph, aten.where.self)
    before = graph(**(inputs := padded(2 if any_size else 1)))
    assert fold.share_calls(graph) >= 3
    assert len(calls(graph, aten.mul.Tensor)) == 1
    assert torch.equal(graph(**inputs), before)


def test_a_filled_mask_is_not_spread_over_queries() -> None:
    def spread(m: Any, ids: Tensor, mask: Tensor) -> Tensor:
        scores = m.words(ids) @ m.words(ids).transpose(-1, -2)
        hidden = (mask == 0)[:, None, :].expand_as(scores)
        return scores.masked_fill(hidden, torch.finfo(torch.float32).min).softmax(-1)

    graph = check(Module(spread, words=nn.Embedding(30, WIDTH)), False, attention.add_finite_mask, 1)
    assert not calls(graph, aten.expand.default, aten.where.self)


@pytest.mark.slow
@pytest.mark.parametrize("scale", [lambda scores: scores * 0.25, lambda scores: scores / 8**0.5])
@pytest.mark.parametrize("any_size", [False, True])
def test_the_factor_of_the_scores_goes_into_the_query(scale: Callable[[Tensor], Tensor], any_size: bool) -> None:
    module = one_attention(scale)
    before = len(calls(traced(module.eval(), any_size), aten.mul.Tensor, aten.div.Tensor))
    graph = check(module, any_size, attention.fold_scale, 1)
    assert len(calls(graph, aten.mul.Tensor, aten.div.Tensor)) == before - 1


def test_a_factor_of_the_keys_and_of_positions_is_taken_only_where_all_ways_have_it() -> None:
    def relative(second: float) -> Module:
        def scores(m: Any, ids: Tensor, mask: Tensor) -> Tensor:
            x = m.words(ids)
            q = m.q(x)
            return q @ (m.k(x).mT / 4) + torch.gather(
                (q @ m.table.T) / second, -1, m.places.expand(ids.shape[0], -1, -1)
            )

        return Module(
            scores,
            words=nn.Embedding(30, WIDTH),
            table=torch.randn(12, WIDTH),
            places=torch.randint(0, 12, (1, TOKENS, TOKENS)),
            **linears("q", "k"),
        )

    for second in (4.0, 5.0):  # both into the query; one into the keys, one into the table
        assert not calls(check(relative(second), False, attention.fold_scale, 2), aten.div.Tensor)
    plain = Module(
        lambda m, ids, mask: m.k(m.q(m.words(ids)) * 0.5), words=nn.Embedding(30, WIDTH), **linears("q", "k")
    )
    check(plain, False, attention.fold_scale, 0)  # no product, no score


def test_gain_and_shift_behind_a_linear_layer_go_into_it() -> None:
    def norm(m: Any, ids: Tensor, mask: Tensor) -> Tensor:
        first = m.q(m.words(ids)) * m.gain + m.shift
        return (m.k(first) + first) * m.gain + m.shift  # a residual between them: stays

    module = Module(
        norm, words=nn.Embedding(30, WIDTH), gain=torch.randn(WIDTH), shift=torch.randn(WIDTH), **linears("q", "k")
    )
    graph = check(module, False, fold.fold_affine, 2)
    assert len(calls(graph, aten.mul.Tensor)) == 1


@pytest.mark.parametrize("any_size", [False, True])
def test_a_gelu_written_out_is_one_operator(any_size: bool) -> None:
    def new_gelu(m: Any, ids: Tensor, mask: Tensor) -> Tensor:
        x = m.words(ids)
        return 0.5 * x * (1.0 + torch.tanh((2.0 / torch.pi) ** 0.5 * (x + 0.044715 * torch.pow(x, 3.0))))

    graph = check(Module(new_gelu, words=nn.Embedding(30, WIDTH)), any_size, fold.fuse_gelu, 1)
    assert not calls(graph, aten.pow.Tensor_Scalar)
    other = Module(
        lambda m, ids, mask: m.words(ids) * 0.5 * (1.0 + torch.tanh(m.words(ids))), words=nn.Embedding(30, WIDTH)
    )
    check(other, any_size, fold.fuse_gelu, 0)


@pytest.mark.slow
@pytest.mark.parametrize("any_size", [False, True])
def test_only_the_row_that_the_head_reads_is_computed(any_size: bool) -> None:
    graph = check(one_attention(lambda scores: scores * 0.25), any_size, read_rows, 13)
    [softmax] = calls(graph, aten.softmax.int)
    assert shape(softmax)[2] == 1
    rows = [shape(node)[1] for node in calls(graph, aten.linear.default) if len(shape(node)) == 3]
    assert sum(size == 1 for size in rows) == 2  # query and output, not keys and values
    mean = Module(lambda m, ids, mask: m.q(m.words(ids)).mean(1), words=nn.Embedding(30, WIDTH), **linears("q"))
    check(mean, any_size, read_rows, 0)
    both = Module(
        lambda m, ids, mask: m.q(m.words(ids))[:, 0] + m.q(m.words(ids))[:, 1],
        words=nn.Embedding(30, WIDTH),
        **linears("q"),
    )
    check(both, any_size, read_rows, 2)  # each of the two layers for its own row


@pytest.mark.parametrize("any_size", [False, True])
def test_activations_have_two_dimensions_but_in_attention(any_size: bool) -> None:
    graph = check(one_attention(lambda scores: scores), any_size, flatten_rows, 7)
    assert all(len(shape(node)) == 2 for node in calls(graph, aten.linear.default, aten.layer_norm.default))
    assert all(len(shape(node)) == 4 for node in calls(graph, aten.softmax.int))
    scores = Module(
        lambda m, ids, mask: (m.words(ids) @ m.words(ids).mT + 1).softmax(-1), words=nn.Embedding(30, WIDTH)
    )
    check(scores, any_size, flatten_rows, 0)


def test_a_view_of_a_view_is_one_view() -> None:
    module = Module(
        lambda m, ids, mask: m.words(ids).view(-1, WIDTH)[:, None].reshape(1, TOKENS, 2, -1),
        words=nn.Embedding(30, WIDTH),
    )
    graph = check(module, False, fold.join_views, 1)
    assert len(calls(graph, aten.reshape.default)) == 1


@pytest.mark.parametrize("any_size", [False, True])
def test_a_norm_that_a_model_spells_out_is_one_operator(any_size: bool) -> None:
    def spelled_out(m: Any, ids: Tensor, mask: Tensor) -> Tensor:
        hidden = m.words(ids)
        mean = hidden.mean(-1, keepdim=True)
        variance = (hidden - mean).pow(2).mean(-1, keepdim=True)
        return m.norm.weight * ((hidden - mean) / torch.sqrt(variance + 1e-7)) + m.norm.bias

    norm = nn.LayerNorm(WIDTH)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    graph = check(Module(spelled_out, words=nn.Embedding(30, WIDTH), norm=norm), any_size, fuse_norms, 1)
    assert len(calls(graph, aten.layer_norm.default)) == 1 and not calls(graph, aten.mean.dim, aten.sqrt.default)

    def of_another_mean(m: Any, ids: Tensor, mask: Tensor) -> Tensor:
        hidden = m.words(ids)
        far = hidden - hidden.mean(1, keepdim=True)
        return m.norm.weight * (far / torch.sqrt(far.pow(2).mean(-1, keepdim=True) + 1e-7)) + m.norm.bias

    check(Module(of_another_mean, words=nn.Embedding(30, WIDTH), norm=norm), any_size, fuse_norms, 0)


def test_a_norm_spelled_out_shifts_by_subtraction() -> None:
    norm = nn.LayerNorm(WIDTH)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    module = Module(
        lambda m, ids, mask: m.q(m.norm(m.words(ids))), words=nn.Embedding(30, WIDTH), norm=norm, **linears("q")
    )
    graph = check(module, False, litert_forms.spell_out_norms, 1)
    assert not calls(graph, aten.layer_norm.default)
    before = graph(**(inputs := padded()))
    assert litert_forms.shift_by_subtraction(graph) == 1
    assert torch.equal(graph(**inputs), before)
    plain = Module(lambda m, ids, mask: functional.layer_norm(m.words(ids), (WIDTH,)), words=nn.Embedding(30, WIDTH))
    check(plain, False, litert_forms.spell_out_norms, 1)


def test_products_of_attention_keep_four_dimensions() -> None:
    graph = check(one_attention(lambda scores: scores), False, litert_forms.keep_rank_four, 2)
    assert [node.args[0] for node in calls(graph, aten.einsum.default)] == ["bhqd,bhkd->bhqk", "bhqd,bhdk->bhqk"]


def test_a_gather_by_a_constant_is_a_look_up() -> None:
    def picked(m: Any, ids: Tensor, mask: Tensor) -> Tensor:
        return torch.gather((m.words(ids)[0] @ m.heads), -1, m.places.expand(3, -1, -1))

    module = Module(
        picked,
        words=nn.Embedding(30, WIDTH),
        heads=torch.randn(3, WIDTH, 7),
        places=torch.randint(0, 7, (1, TOKENS, 5)),
    )
    assert not calls(check(module, False, litert_forms.look_up_gathered, 1), aten.gather.default)
    by_input = Module(
        lambda m, ids, mask: torch.gather(m.words(ids), -1, mask[..., None].long()), words=nn.Embedding(30, WIDTH)
    )
    check(by_input, False, litert_forms.look_up_gathered, 0)


@pytest.fixture(scope="module", params=sorted(FAMILIES))
def edge(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> EdgeClassifier:
    return tiny_edge(request.param, tmp_path_factory.mktemp(request.param) / "model")


def tiny_edge(family: str, folder: Path) -> EdgeClassifier:
    """A classifier of two random layers, its norms and biases random too."""
    from transformers import AutoModelForSequenceClassification

    write_model(folder, family)
    auto = opener(folder, AutoModelForSequenceClassification)
    model = auto.from_pretrained(folder, attn_implementation="eager", num_labels=3)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter.add_(torch.randn_like(parameter) * 0.3)
    return EdgeClassifier(model, inputs_of(model.config.to_dict()), False).eval()


def batch(edge: EdgeClassifier, rows: int) -> dict[str, Tensor]:
    made = padded(rows) | {"token_type_ids": torch.tensor([[0] * 4 + [1] * (TOKENS - 4)] * rows, dtype=torch.int32)}
    made["input_ids"] = torch.where(
        made["attention_mask"] == 1, made["input_ids"] + 5, edge.model.config.pad_token_id
    ).int()
    return {name: made[name] for name in inputs_of(edge.model.config.to_dict())}


@pytest.mark.slow
def test_every_family_is_cleaned_and_answers_as_before(edge: EdgeClassifier) -> None:
    inputs = inputs_of(edge.model.config.to_dict())
    graph, facts = clean_at(edge, inputs, TOKENS)
    given = batch(edge, 1)
    with torch.no_grad():
        assert torch.allclose(graph(**given), edge(**given), atol=ROUNDING)
    assert list(facts) == list(dict.fromkeys(each.__name__ for each in (*FOR_ALL, *FOR_LITERT)))
    if edge.model.config.model_type in TAKEN_APART:  # others turn queries by their positions, or put them together
        turned = edge.model.config.model_type == "roformer"  # between the query's weights and the scores
        assert facts["fold_scale"] >= (0 if turned else 2)  # one for each layer
        assert facts["read_rows"] >= 17
    assert all(len(shape(node)) == 2 for node in calls(graph, aten.linear.default))
    assert not calls(
        graph,
        aten.layer_norm.default,
        aten.gather.default,
        aten.pow.Tensor_Scalar,
        aten.where.self,
        aten.expand.default,
    )
    norms = {"mobilebert": 0, "modernbert": 6, "reformer": 6, "xlnet": 4}.get(edge.model.config.model_type, 5)
    assert len(calls(graph, aten.rsqrt.default)) == norms


def test_cleaned_for_any_size_every_batch_and_length_answers_as_before(tmp_path: Path) -> None:
    edge = tiny_edge("deberta-v2", tmp_path / "model")
    graph, _ = clean(any_size_program(edge, inputs_of(edge.model.config.to_dict()), 64))
    for rows in (1, 3):
        given = batch(edge, rows)
        with torch.no_grad():
            assert torch.allclose(graph(**given), edge(**given), atol=ROUNDING)


@pytest.mark.slow
@pytest.mark.parametrize("family", ["bert", "deberta-v2", "mobilebert"])
def test_the_file_holds_the_models_own_weights_and_old_operators(family: str, tmp_path: Path) -> None:
    import litert_torch
    from ai_edge_quantizer.utils.tfl_flatbuffer_utils import read_model

    edge = tiny_edge(family, tmp_path / "model")
    inputs = inputs_of(edge.model.config.to_dict())
    graph, _ = clean_at(edge, inputs, TOKENS)
    litert_torch.convert(graph, sample_kwargs=example(inputs, 1, TOKENS)).export(str(tmp_path / "model.tflite"))
    file = read_model(str(tmp_path / "model.tflite"))
    operators = {code.builtinCode: code.version for code in file.operatorCodes}
    assert operators.pop(FULLY_CONNECTED) <= 5
    assert set(operators.values()) == {1}
    assert not operators.keys() & {GATHER, GATHER_ND, BROADCAST_TO, CUSTOM}
    assert max(len(tensor.shape) for tensor in file.subgraphs[0].tensors if tensor.shape is not None) == 4
    stored = {bytes(buffer.data) for buffer in file.buffers if buffer.data is not None}
    weights = {name: np.asarray(weight) for name, weight in edge.model.state_dict().items() if weight.dim() == 2}
    lacking = [name for name, weight in weights.items() if weight.tobytes() not in stored]
    changed = (
        "position",
        "query",
        "bottleneck.",
        "rel_embeddings",
    )  # sliced, scaled, with a norm's gain, looked up at export
    assert not [name for name in lacking if not any(word in name for word in changed)]


@pytest.mark.parametrize("groups", [1, 4])
def test_a_convolution_of_one_token_is_a_linear_layer_and_a_wider_one_stays(groups: int) -> None:
    class Convolved(torch.nn.Module):
        def __init__(self, kernel: int) -> None:
            super().__init__()
            self.layer = torch.nn.Conv1d(8, 12, kernel, groups=groups, padding=kernel // 2)

        def forward(self, hidden: Tensor) -> Tensor:
            result: Tensor = self.layer(hidden)
            return result

    hidden = torch.randn(2, 8, 5)
    for kernel, gone in ((1, 1), (3, 0)):
        module = Convolved(kernel).eval()
        graph = open_graph(torch.export.export(module, (hidden,)))
        assert pointwise_as_linear(graph) == gone
        assert len(calls(graph, aten.linear.default)) == gone * groups
        assert torch.allclose(graph(hidden), module(hidden), atol=ROUNDING)


def test_the_pieces_of_a_split_are_slices() -> None:
    class Gated(torch.nn.Module):
        def forward(self, hidden: Tensor) -> Tensor:
            first, second, third = hidden.split([2, 1, 5], dim=-1)
            return (first * second).sum(-1) - third.amax(-1)

    hidden = torch.randn(3, 8)
    graph = open_graph(torch.export.export(Gated(), (hidden,)))
    assert slices_for_splits(graph) == 1
    assert not calls(graph, aten.split_with_sizes.default)
    assert torch.equal(graph(hidden), Gated()(hidden))


def test_stack_traces_are_left_out_only_while_converting(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="broken"), converting(tmp_path):
        assert fx.config.do_not_emit_stack_traces
        raise ValueError("broken")
    assert not fx.config.do_not_emit_stack_traces
