"""The cleaned graph of a bundle for inputs of any size. The last one is kept: another format of the same bundle, in the
same process, is made of it."""

from dataclasses import dataclass, field
from functools import lru_cache

import torch
from torch import fx
from torch.export import ExportedProgram

from palmtop.bundle import Bundle
from palmtop.export.graph.edge import any_size_program, edge_classifier, example, family, trace_any_size
from palmtop.export.graph.passes import clean


@dataclass(frozen=True)
class _Wanted:
    """What a graph is made of: equal for equal bundles, wherever they lie."""

    digest: str
    probabilities: bool
    source: Bundle = field(compare=False)


@dataclass(frozen=True)
class _Cleaned:
    module: fx.GraphModule
    facts: dict[str, int]
    shortest: int
    """Tokens that the family takes at least."""


def any_size(source: Bundle, probabilities: bool) -> tuple[ExportedProgram, dict[str, int]]:
    """The cleaned program of a torch bundle for any batch and any length up to its longest, and for each pass the
    number of places it changed. Others are given the same program: read it, don't change it."""
    wanted = _Wanted(source.digest, probabilities, source)
    return _program(wanted), dict(_cleaned(wanted).facts)


def any_length(source: Bundle, probabilities: bool) -> tuple[ExportedProgram, dict[str, int]]:
    """The cleaned program for one text of any length up to the longest, for what plans its memory by the largest
    input; traced anew for each caller."""
    cleaned, known = _cleaned(_Wanted(source.digest, probabilities, source)), source.signature
    only = known.only_length
    tokens = {} if only else {1: torch.export.Dim("tokens", min=cleaned.shortest, max=known.max_length)}
    sizes = dict.fromkeys(known.inputs, tokens)
    arguments = example(known.inputs, 1, only or min(16, known.max_length))
    with torch.no_grad():
        program = torch.export.export(cleaned.module, (), arguments, dynamic_shapes=sizes, strict=False)
    return program, dict(cleaned.facts)


@lru_cache(maxsize=1)
def _program(wanted: _Wanted) -> ExportedProgram:
    cleaned, known = _cleaned(wanted), wanted.source.signature
    return trace_any_size(cleaned.module, known.inputs, cleaned.shortest, known.max_length, known.only_length)


@lru_cache(maxsize=1)
def _cleaned(wanted: _Wanted) -> _Cleaned:
    edge, known = edge_classifier(wanted.source, wanted.probabilities), wanted.source.signature
    module, facts = clean(any_size_program(edge, known.inputs, known.max_length, known.only_length))
    return _Cleaned(module, facts, family(edge.model).shortest)
