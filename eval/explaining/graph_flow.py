"""How numbers flow through a model: what is fixed, who makes and who reads a tensor, and what part of a transformer an
operator plays."""

from collections import defaultdict, deque
from collections.abc import Callable, Collection, Iterator
from functools import cached_property
from typing import Literal

from palmtop.anatomy import Anatomy, Operator

PRODUCTS = {
    "FULLY_CONNECTED",
    "BATCH_MATMUL",
    "CONV_2D",
    "DEPTHWISE_CONV_2D",
    "Gemm",
    "MatMul",
    "MatMulInteger",
    "QLinearMatMul",
    "QGemm",
    "MatMulNBits",
    "DynamicQuantizeMatMul",
    "MatMulIntegerToFloat",
    "FusedMatMul",
    "Conv",
    "Einsum",
    "_FusedMatMul",
    "BatchMatMul",
    "BatchMatMulV2",
}
LOOKUPS = {"EMBEDDING_LOOKUP", "GATHER", "GATHER_ND", "Gather", "GatherV2", "ResourceGather", "GatherBlockQuantized"}
NORMS = {
    "RSQRT",
    "SQRT",
    "Rsqrt",
    "Sqrt",
    "LayerNormalization",
    "SkipLayerNormalization",
    "EmbedLayerNormalization",
    "SimplifiedLayerNormalization",
    "RMSNormalization",
}
SUMS = {"ADD", "Add", "AddV2"}
SOFTMAXES = {"SOFTMAX", "Softmax"}
MATRIX = 2
"""The rank of a matrix."""

Role = Literal["linear", "attend", "lookup", "norm", ""]
"""linear: a product with stored numbers; attend: a product of two computed tensors; lookup: rows of a stored table;
norm: the root in a normalization."""
Step = Callable[[Operator], Iterator[Operator]]


class Flow:
    """The graph of an anatomy, ready to be walked."""

    def __init__(self, anatomy: Anatomy) -> None:
        self.anatomy = anatomy
        self._makers = {output: operator for operator in anatomy.operators for output in operator.outputs}
        self._readers: dict[str, list[Operator]] = defaultdict(list)
        for operator in anatomy.operators:
            for name in operator.inputs:
                self._readers[name].append(operator)

    @cached_property
    def fixed(self) -> dict[str, frozenset[str]]:
        """The tensors that depend on no input, with the keys of the stored numbers behind each."""
        found = {
            key: frozenset((tensor.stored,))
            for key, tensor in self.anatomy.tensors.items()
            if tensor.stored is not None
        }
        for operator in self.anatomy.operators:
            if operator.inputs and all(name in found for name in operator.inputs):
                behind = frozenset().union(*(found[name] for name in operator.inputs))
                found |= {output: behind for output in operator.outputs}
        return found

    def fixed_inputs(self, operator: Operator) -> list[str]:
        """The operands that depend on no input."""
        return [name for name in operator.inputs if name in self.fixed]

    def computed_inputs(self, operator: Operator) -> list[str]:
        """The operands that depend on an input."""
        return [name for name in operator.inputs if name not in self.fixed]

    def role(self, operator: Operator) -> Role:
        """What part an operator plays."""
        if operator.name in LOOKUPS and any(self._is_matrix(name) for name in self.fixed_inputs(operator)):
            return "lookup"
        if operator.name in PRODUCTS:
            return "linear" if any(self._is_matrix(name) for name in self.fixed_inputs(operator)) else "attend"
        return "norm" if operator.name in NORMS else ""

    def above(self, operator: Operator) -> Iterator[Operator]:
        """The operators that make its computed operands."""
        return (self._makers[name] for name in self.computed_inputs(operator) if name in self._makers)

    def below(self, operator: Operator) -> Iterator[Operator]:
        """The operators that read its results."""
        return (reader for name in operator.outputs for reader in self._readers[name])

    def reached(self, start: Operator, step: Step, stops: Collection[Role] = ()) -> Iterator[Operator]:
        """All operators that `step` leads to, nearest first, not beyond those that play a part among `stops`."""
        seen, waiting = {start.outputs}, deque(step(start))
        while waiting:
            operator = waiting.popleft()
            if operator.outputs in seen:
                continue
            seen.add(operator.outputs)
            yield operator
            if self.role(operator) not in stops:
                waiting.extend(step(operator))

    def nearest(self, start: Operator, step: Step) -> list[Operator]:
        """The operators that play a part, of those that `step` leads to in the fewest steps."""
        seen, level = {start.outputs}, list(step(start))
        while level:
            if playing := [operator for operator in level if self.role(operator)]:
                return playing
            seen |= {operator.outputs for operator in level}
            level = list(
                {
                    other.outputs: other for operator in level for other in step(operator) if other.outputs not in seen
                }.values()
            )
        return []

    def joins(self, operator: Operator) -> bool:
        """Whether it adds two computed tensors, as a residual connection does."""
        return operator.name in SUMS and len(set(self.computed_inputs(operator))) > 1

    def _is_matrix(self, name: str) -> bool:
        """Whether a fixed operand is a table or matrix of numbers, not a list of sizes or indices."""
        return not self.fixed[name].isdisjoint(self._matrices)

    @cached_property
    def _matrices(self) -> frozenset[str]:
        return frozenset(
            tensor.stored
            for tensor in self.anatomy.tensors.values()
            if tensor.stored is not None
            and len(tensor.shape or ()) >= MATRIX
            and tensor.dtype not in ("int32", "int64", "bool")
        )
