"""The formats: each is one file of data, whose every name leads somewhere, and an unknown one is refused by name."""

import json
import shutil
from pathlib import Path

import pytest

from palmtop import format as file_format
from palmtop import stage, target
from palmtop.bundle import Bundle
from palmtop.errors import UserError
from palmtop.export.quantization.quantizable import Quantizable
from palmtop.export.quantize import Scheme

RUN = Path(__file__).parents[1] / "data" / "run_before_the_move"


@pytest.mark.parametrize("name", sorted(file_format.names()))
def test_every_name_in_a_formats_file_leads_somewhere(name: str) -> None:
    made = file_format.find(name)
    assert made.name == name
    for dotted in filter(None, (made.reader, made.matrices)):
        assert callable(file_format.called(dotted))
    if made.target is not None:
        assert name in target.find(made.target).formats
    if made.quantizer is not None:
        kind = file_format.called(made.quantizer.name)
        assert isinstance(kind, type) and issubclass(kind, Quantizable)
        assert set(made.quantizer.schemes) <= set(Scheme.__args__)
    assert (made.target is None) == (made.not_run is not None or name == "app")


def test_what_stages_and_targets_name_are_formats() -> None:
    for known in stage.names():
        kind = stage.find(known)
        assert {*kind.accepts, kind.produces} - {"same"} <= file_format.names()
    for known in target.names():
        assert target.class_of(known).formats <= file_format.names()


def test_every_exported_format_is_written_by_a_stage_of_its_name() -> None:
    one_model = {name for name in file_format.names() if file_format.find(name).parts is None}
    assert {f"to_{name}" for name in one_model - {"torch", "linear"}} == {
        name for name in stage.names() if name.startswith("to_")
    }


def test_a_cascades_format_is_found_by_that_of_its_models() -> None:
    cascades = {name for name in file_format.names() if file_format.find(name).parts is not None}
    parts = stage.find("cascade").accepts
    assert {file_format.of_parts(part).name for part in parts} == cascades
    with pytest.raises(UserError, match="no cascade is made of torch bundles; it is of onnx, tflite"):
        file_format.of_parts("torch")


@pytest.mark.parametrize("refused", [file_format.find, target.for_format])
def test_an_unknown_format_is_refused_by_name(refused: object) -> None:
    assert callable(refused)
    with pytest.raises(UserError, match="no format 'onxx'; did you mean 'onnx'"):
        refused("onxx")


def test_an_app_runs_as_the_model_in_it_alone() -> None:
    with pytest.raises(UserError, match="no target runs app as such: what runs is the model in it"):
        target.for_format("app")


@pytest.mark.parametrize("where", ["the card", "its lineage"])
def test_a_card_of_a_format_that_is_not_known_names_it(where: str, tmp_path: Path) -> None:
    folder = shutil.copytree(RUN / "student", tmp_path / "student")
    card = json.loads((folder / "palmtop.json").read_text())
    (card if where == "the card" else card["lineage"][0])["format"] = "ggml"
    (folder / "palmtop.json").write_text(json.dumps(card))
    with pytest.raises(UserError, match=r"palmtop\.json: no format 'ggml'; .*: open it with the palmtop that made it"):
        Bundle.open(folder)
