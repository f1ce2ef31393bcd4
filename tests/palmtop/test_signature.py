"""signature.json: what files of one graph say stays byte for byte, several graphs go there and back, and an unknown one
is refused by name."""

import json
from pathlib import Path

import pytest

from palmtop.errors import UserError
from palmtop.eval.targets._host import HostRunner
from palmtop.signature import Graph, Signature, Tensor

RUN = Path(__file__).parents[1] / "data" / "run_before_the_move"
ENCODE = Graph(
    inputs=(Tensor(name="input_ids", dtype="int32", axes=("batch", 64)),),
    outputs=(Tensor(name="hidden", dtype="float32", axes=("batch", 64, 512)),),
)
STEP = Graph(
    inputs=(Tensor(name="token", dtype="int32", axes=(1, 1)), Tensor(name="cache", dtype="int8", axes=(1, "past", 64))),
    outputs=(Tensor(name="logits", dtype="float32", axes=(1, 30000)),),
)


@pytest.mark.parametrize("name", ["base", "teacher", "student", "student-tflite"])
def test_a_file_made_before_reads_as_one_graph_and_is_written_as_it_was(name: str, tmp_path: Path) -> None:
    found = Signature.read(RUN / name)
    found.write(tmp_path)
    assert (tmp_path / "signature.json").read_bytes() == (RUN / name / "signature.json").read_bytes()
    assert list(found.graphs) == ["main"]
    assert [(one.name, one.dtype, one.axes) for one in found.graph().inputs] == [
        (given, "int32", ("batch", "tokens")) for given in found.inputs
    ]
    assert [one.name for one in found.graph("main").outputs] == [found.output]


def test_thresholds_are_written_where_there_are_some(tmp_path: Path) -> None:
    made = Signature(inputs=("input_ids",), max_length=8, pad_id=0, thresholds=(0.5, 0.2))
    made.write(tmp_path)
    assert Signature.read(tmp_path) == made
    assert "other_graphs" not in (tmp_path / "signature.json").read_text()


def test_several_graphs_go_there_and_back(tmp_path: Path) -> None:
    made = Signature(inputs=("input_ids",), max_length=64, pad_id=0, other_graphs={"encode": ENCODE, "step": STEP})
    made.write(tmp_path)
    found = Signature.read(tmp_path)
    assert found == made and list(found.graphs) == ["main", "encode", "step"]
    assert found.graph("step").inputs[1].axes == (1, "past", 64)
    assert found.model_copy(update={"inputs": ("input_ids", "attention_mask")}).graph().inputs[1].name == (
        "attention_mask"
    )


def test_an_unknown_graph_is_refused_with_what_there_is() -> None:
    one = Signature(inputs=("input_ids",), max_length=64, pad_id=0)
    with pytest.raises(UserError, match=r"^the artefact has no graph 'step'; known: main$"):
        one.graph("step")
    several = one.model_copy(update={"other_graphs": {"encode": ENCODE, "step": STEP}})
    with pytest.raises(UserError, match=r"^the artefact has no graph 'encoder'; did you mean 'encode'\?$"):
        several.graph("encoder")


def test_a_file_without_a_graph_that_answers_whole_is_not_run_as_if_it_had_one(tmp_path: Path) -> None:
    parts = Signature(inputs=(), max_length=64, pad_id=0, other_graphs={"encode": ENCODE, "step": STEP})
    assert list(parts.graphs) == ["encode", "step"]
    (tmp_path / "tokenizer.json").write_bytes((RUN / "student" / "tokenizer.json").read_bytes())
    with pytest.raises(UserError, match=r"^the artefact has no graph 'main'; known: encode, step$"):
        HostRunner(tmp_path, parts, lambda batch: batch["input_ids"])


def test_what_is_said_plainly_is_not_said_twice(tmp_path: Path) -> None:
    said = json.loads((RUN / "student" / "signature.json").read_text())
    graph = {"main": ENCODE.model_dump(mode="json")}
    (tmp_path / "signature.json").write_text(json.dumps({**said, "other_graphs": graph}))
    told = r"isn't a signature: Value error, 'main' is among other_graphs; 'inputs' and 'output' say what it is; export"
    with pytest.raises(UserError, match=told):
        Signature.read(tmp_path)
