"""palmtop label: the nearest description by cosine, its softmax as confidence; tables and places that won't do."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from palmtop.cli.main import main
from palmtop.errors import UserError
from palmtop.labelling import labelled, read_table

TABLE = {"up": ("north", "sky"), "right": ("east",)}
WHERE = {"north": (0, 1), "sky": (0.6, 0.8), "east": (1, 0), "hill": (0.1, 1), "road": (1, 0.2)}


def vectors(texts: Sequence[str]) -> Any:
    found = np.array([WHERE[text] for text in texts], float)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def test_the_nearest_label_and_its_share_of_the_softmax() -> None:
    hill, road = labelled(iter(["hill", "road"]), TABLE, vectors, temperature=0.5)
    assert (hill.label, road.label) == ("up", "right")
    up = np.array([0.3, 0.9]) / np.hypot(0.3, 0.9)
    cosines = vectors(["hill"])[0] @ np.array([up, [1, 0]]).T
    assert hill.confidence == pytest.approx(np.exp(cosines[0] / 0.5) / np.exp(cosines / 0.5).sum())
    (surer,) = labelled(["hill"], TABLE, vectors, temperature=0.05)
    assert surer.confidence > hill.confidence


def test_a_table_says_what_each_label_means(tmp_path: Path) -> None:
    path = tmp_path / "labels.yaml"
    path.write_text("labels:\n  no: a refusal\n  up: [north, sky]\n")
    assert read_table(path) == {"no": ("a refusal",), "up": ("north", "sky")}
    path.write_text("labels:\n  no:\n  up: []\n")
    with pytest.raises(UserError) as caught:
        read_table(path)
    assert caught.value.faults == tuple(
        f"{path}: the label '{label}' has no description: say what it means" for label in ("no", "up")
    )
    path.write_text("labels: {a: b}\n")
    with pytest.raises(UserError, match="write 'labels:' and below it at least 2 labels, each with what it means"):
        read_table(path)


def test_where_it_can_not_write_and_whom_it_can_not_ask(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], random_bert: Any
) -> None:
    (tmp_path / "texts.jsonl").write_text('{"text": "a"}\n')
    (tmp_path / "labels.yaml").write_text("labels: {a: b, c: d}\n")
    table = ["--table", str(tmp_path / "labels.yaml"), "--out"]
    for out, why in (("texts.jsonl", "is the file of the texts"), ("labels.yaml", "should end in .jsonl")):
        with pytest.raises(SystemExit):
            main(
                ["label", str(random_bert.path), str(tmp_path / "texts.jsonl"), *table, str(tmp_path / out), "--force"]
            )
        assert why in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["label", str(random_bert.path), str(tmp_path / "texts.jsonl"), *table, str(tmp_path / "out.jsonl")])
    assert "is a model for classification: labelling by descriptions wants one for" in capsys.readouterr().err
    assert not list(tmp_path.glob("*out.jsonl"))
