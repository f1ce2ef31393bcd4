"""A bundle is sealed: nothing missing, nothing changed, or it says so."""

import json
from pathlib import Path

import pytest

from palmtop.bundle import Bundle, Origin, is_sealed, seal
from palmtop.errors import UserError
from palmtop.signature import Signature

ORIGIN = Origin(stage="copy", settings={"depth": 2}, inputs={"task": "abc"}, versions={"palmtop": "0"})


def sealed(folder: Path, source: Bundle | None = None, content: str = "weights") -> Bundle:
    folder.mkdir()
    (folder / "model.bin").write_text(content)
    (folder / "logs").mkdir()
    (folder / "logs" / "events").write_text("noise")
    (folder / "deep").mkdir()
    (folder / "deep" / "more.txt").write_text("more")
    seal(folder, "torch", ORIGIN, source, {"rows": 3})
    return Bundle.open(folder)


def told(path: Path) -> tuple[str, ...]:
    with pytest.raises(UserError) as caught:
        Bundle.open(path).verify()
    return tuple(fault.replace(f"{path}/", "") for fault in caught.value.faults)


def test_a_bundle_says_what_it_is(tmp_path: Path) -> None:
    teacher = sealed(tmp_path / "teacher")
    assert (teacher.name, teacher.format, teacher.card.facts) == ("teacher", "torch", {"rows": 3})
    assert teacher.card.origin == ORIGIN
    assert set(teacher.card.files) == {"model.bin", "deep/more.txt"}
    student = sealed(tmp_path / "student", teacher, "fewer")
    assert [step.digest for step in student.lineage] == [teacher.digest, student.digest]
    student.verify()


def test_the_digest_is_that_of_the_content(tmp_path: Path) -> None:
    assert (
        sealed(tmp_path / "a").digest == sealed(tmp_path / "b").digest != sealed(tmp_path / "c", content="other").digest
    )


def test_what_is_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"^there is no folder {tmp_path}/none$"):
        Bundle.open(tmp_path / "none")
    (tmp_path / "model.bin").write_text("weights")
    assert not is_sealed(tmp_path)
    assert told(tmp_path) == (
        f"{tmp_path} isn't a bundle (it has no palmtop.json): finish it by running its recipe again, or make one of a "
        "Hugging Face folder with 'palmtop adopt'",
    )


@pytest.mark.parametrize("card", ["", "{", '{"palmtop": 1}', "\udcff"])
def test_a_damaged_card(card: str, tmp_path: Path) -> None:
    path = sealed(tmp_path / "a").path
    (path / "palmtop.json").write_bytes(card.encode(errors="surrogateescape"))
    assert told(path) == ("palmtop.json is damaged: remove the folder and make the bundle again",)


def test_files_missing_truncated_and_changed(tmp_path: Path) -> None:
    path = sealed(tmp_path / "a").path
    (path / "model.bin").write_text("weighty")
    assert told(path) == (
        "model.bin was changed after it was sealed (sha256 differs): remove the folder and make the bundle again",
    )
    (path / "model.bin").write_text("wei")
    (path / "deep" / "more.txt").unlink()
    assert told(path) == (
        "deep/more.txt is missing: remove the folder and make the bundle again",
        "model.bin has 3 bytes, sealed with 7: remove the folder and make the bundle again",
    )


def test_logs_may_change(tmp_path: Path) -> None:
    bundle = sealed(tmp_path / "a")
    (bundle.path / "logs" / "events").write_text("more noise")
    Bundle.open(bundle.path).verify()


def test_an_old_card_says_no_effect_and_the_stage_does(tmp_path: Path) -> None:
    """Cards from before stages said it; of a stage that is no more nothing is known."""
    bundles = [sealed(tmp_path / "gone")]
    for number, stage in enumerate(("magnitude", "to_tflite")):
        (folder := tmp_path / stage).mkdir()
        (folder / "model.bin").write_text(stage)
        seal(folder, "torch", ORIGIN.model_copy(update={"stage": stage}), bundles[number], {})
        card = json.loads((folder / "palmtop.json").read_text())
        for said in (card, *card["lineage"]):
            said.pop("effect")
        (folder / "palmtop.json").write_text(json.dumps(card))
        bundles.append(Bundle.open(folder))
    bundles[-1].verify()
    assert [step.effect for step in bundles[-1].lineage] == [None, "zeros", "none"]


def test_what_it_holds_is_read_once(tmp_path: Path) -> None:
    bundle = sealed(tmp_path / "a")
    with pytest.raises(UserError, match=r"a has no signature.json, so it isn't a bundle that can be run"):
        _ = bundle.signature
    assert bundle.task is None
    Signature(inputs=("input_ids",), max_length=8, pad_id=0).write(bundle.path)
    read = bundle.signature
    (bundle.path / "signature.json").unlink()
    assert bundle.signature is read and read.max_length == 8
    assert bundle == Bundle.open(bundle.path)


def test_the_card_is_plain_json(tmp_path: Path) -> None:
    card = json.loads((sealed(tmp_path / "a").path / "palmtop.json").read_text())
    assert card["files"]["model.bin"]["size_bytes"] == len("weights")
