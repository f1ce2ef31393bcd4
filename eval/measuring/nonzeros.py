"""How many of a model's weights are not zero, counted in its files as they are."""

from collections.abc import Iterator
from importlib.util import find_spec

from palmtop import format as file_format
from palmtop.anatomy import Anatomy
from palmtop.bundle import Bundle
from palmtop.eval.explaining.graph_flow import Flow
from palmtop.eval.explaining.weight_kinds import kinds
from palmtop.metrics import Score

NO_WEIGHTS = ("scales", "other")
"""Kinds of stored numbers of a graph that nobody trained: of quantization, and masks, sizes and such."""


def nonzeros(bundle: Bundle) -> Score:
    """The weights that aren't zero; `n` is how many there are. Matrices, tables, norms and biases, each counted once
    where tied."""
    made = file_format.find(bundle.model_format)
    if made.reader is None:
        return Score(None, "weights", why=f"there is nothing that reads the weights of {made.name} files")
    module, package = made.reader_package or (None, None)
    if module is not None and find_spec(module) is None:
        return Score(
            None, "weights", why=f"reading {made.name} files needs the package {package}, which isn't installed"
        )
    anatomy: Anatomy = file_format.called(made.reader)(bundle.path)
    found, total = 0, 0
    for key, numbers in _weights(anatomy):
        counted = anatomy.stored[key].nonzeros
        if counted is None:
            return Score(None, "weights", why="weights are stored as unsigned integers, of which 0 isn't zero")
        found, total = found + counted, total + numbers
    return Score(found, "weights", n=total)


def _weights(anatomy: Anatomy) -> Iterator[tuple[str, int]]:
    """The keys of stored weights, and how many numbers each has. A bundle of weights has nothing else, but for whole
    numbers."""
    known = kinds(anatomy, Flow(anatomy)) if anatomy.operators else {}
    for _, tensor in anatomy.users():
        assert tensor.stored is not None  # `users` yields those that show stored numbers
        is_weight = known[tensor.stored] not in NO_WEIGHTS if known else tensor.dtype not in ("int64", "int32", "bool")
        if is_weight:
            yield tensor.stored, tensor.numbers
