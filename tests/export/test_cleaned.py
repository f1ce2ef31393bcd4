"""Formats of one bundle are made of one graph, which none of them changes."""

import shutil
from pathlib import Path

import pytest
import torch
from tiny_bundles import _made
from torch.export import ExportedProgram

from palmtop.bundle import Bundle
from palmtop.export.graph.cleaned import any_length, any_size


@pytest.mark.slow
def test_equal_bundles_share_a_program_that_the_formats_leave_as_it_is(random_bert: Bundle, tmp_path: Path) -> None:
    program, facts = any_size(random_bert, False)
    before = _content(program)
    shutil.copytree(random_bert.path, tmp_path / "copy")
    copy = Bundle.open(tmp_path / "copy")
    first = any_length(copy, False)[0]
    for use in ("to_onnx", "to_tfjs"):
        assert _made(use, {}, copy, tmp_path / use).card.facts["passes"] == facts
    assert any_size(random_bert, False)[0] is program
    assert _content(program) == before
    assert _content(any_length(copy, False)[0]) == _content(first)


def test_what_a_caller_does_to_the_facts_is_its_own(random_bert: Bundle) -> None:
    facts = any_size(random_bert, False)[1]
    kept = dict(facts)
    facts.clear()
    assert any_size(random_bert, False)[1] == kept


@pytest.mark.slow
def test_probabilities_are_another_program(random_bert: Bundle) -> None:
    ends = [_softmaxes(any_size(random_bert, probabilities)[0]) for probabilities in (False, True)]
    assert ends[1] == ends[0] + 1


def _softmaxes(program: ExportedProgram) -> int:
    return sum(node.target is torch.ops.aten.softmax.int for node in program.graph.nodes)


def _content(program: ExportedProgram) -> list[str]:
    weights = {**program.state_dict, **program.constants}
    return [str(program.graph), *(f"{name} {tensor.double().sum()}" for name, tensor in weights.items())]
