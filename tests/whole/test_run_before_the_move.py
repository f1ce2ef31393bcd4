"""A run made before the files were moved into rooms: it opens, its stages and settings are those of today, its table is
drawn again."""

import shutil
from pathlib import Path

import pytest

from palmtop import stage
from palmtop.bundle import Bundle
from palmtop.eval.compare import compare
from palmtop.eval.reports.draw_table import render
from palmtop.making import origin_of
from palmtop.signature import Signature
from palmtop.stage import outline_of
from palmtop.task import Task

RUN = Path(__file__).parents[1] / "data" / "run_before_the_move"
WAY = ("base", "teacher", "student", "student-tflite")


@pytest.mark.parametrize("name", WAY)
def test_its_bundles_are_whole_and_their_origin_would_be_the_same_today(name: str) -> None:
    bundle = Bundle.open(RUN / name)
    bundle.verify()
    origin = bundle.card.origin
    kind = stage.find(origin.stage)
    given = {
        key: value for key, value in origin.settings.items() if value != kind.model_fields[key].default
    }  # as a user gives them
    made = kind.model_validate(given)
    assert made.model_dump(mode="json") == origin.settings
    if origin.stage != "adopt":  # the model's own folder isn't kept
        source = Bundle.open(RUN / WAY[WAY.index(name) - 1])
        assert origin_of(origin.stage, made, source).inputs == origin.inputs
    assert Signature.read(bundle.path).max_length > 0
    assert (Task.of(bundle.path) is None) == (name == "base")
    assert outline_of(bundle).labels == (None if name == "base" else Task.find("clinc150").label_names)


def test_the_tflite_still_answers_as_the_student_it_was_made_of() -> None:
    from palmtop import parity

    assert parity.check(("torch", RUN / "student"), ("tflite", RUN / "student-tflite"), 1e-3).agreement == 1


def test_its_table_is_drawn_of_the_same_numbers(tmp_path: Path) -> None:
    run = shutil.copytree(RUN, tmp_path / "run")
    table = render(compare([run]), "markdown")
    for cell in (
        "0.007 [0.005, 0.010]",
        "student-tflite",
        "clinc150 v1 4f2d00034e4dc2f4",
        "1801 of 4500 texts are longer",
    ):
        assert cell in table
