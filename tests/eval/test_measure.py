"""Measuring: what is written, what is kept, what is taken again, and what is refused before work."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_runs import ON, by_metric, measure_into
from tiny import write_task
from tiny_bundles import copy_beside, linear_bundle, onnx_bundle, sealed, torch_bundle

import palmtop
from palmtop import measurement
from palmtop.bundle import Bundle
from palmtop.errors import UserError
from palmtop.eval.measure import MeasureOptions
from palmtop.eval.measuring.answers import answers
from palmtop.eval.measuring.latency import TURN, side_by_side
from palmtop.eval.measuring.ledger import Ledger
from palmtop.eval.measuring.plan import Subject, plans
from palmtop.eval.measuring.quality import Quality
from palmtop.eval.measuring.run_file import RunFile
from palmtop.eval.measuring.size import download_bytes, model_bytes
from palmtop.measure_settings import MeasureText
from palmtop.measurement import Measurement
from palmtop.metrics import proportion
from palmtop.target import find
from palmtop.task import Task

"""Without torch as a target, whose import makes each cost of loading seconds long; torch still answers as teacher."""
LATENCIES = {f"{kind}_{end}" for kind in ("latency", "text_latency", "tokenize") for end in ("ms", "p90_ms", "p99_ms")}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("measure")


@pytest.fixture(scope="module")
def bundles(folder: Path, task: dict[str, Any], random_bert: Bundle, floor: Bundle) -> dict[str, Bundle]:
    student = torch_bundle(folder / "student", task, seed=1, stage="distill", source=random_bert)
    return {"teacher": random_bert, "student": student, "onnx": onnx_bundle(folder / "onnx", student), "floor": floor}


@pytest.fixture(scope="module")
def run(folder: Path, bundles: dict[str, Bundle]) -> tuple[Path, list[str], list[Measurement]]:
    """A first call: its folder, what it said, what it wrote."""
    return measure_into(bundles, folder / "run")


def test_every_number_is_taken_once(run: tuple[Path, list[str], list[Measurement]]) -> None:
    _, said, taken = run
    common = {
        "accuracy",
        "macro_f1",
        "matthews",
        "truncated_texts",
        "most_frequent_label",
        "agreement_teacher",
        "agreement_torch",
        "model_bytes",
        "download_bytes",
        "gzip_bytes",
        "nonzeros",
        "load_ms",
        "memory_mb",
        *LATENCIES,
    }
    assert set(by_metric(taken, "onnx")) == common
    assert set(by_metric(taken, "floor")) == common | {"difference_baseline", "mcnemar_p"}
    assert len({(one.name, one.metric) for one in taken}) == len(taken)
    assert "teacher: not measured, none of host_onnx, host_linear runs torch" in said


def test_metrics_come_from_the_saved_answers(
    run: tuple[Path, list[str], list[Measurement]], bundles: dict[str, Bundle], task: dict[str, Any]
) -> None:
    out, _, taken = run
    digests = {name: bundle.digest[:16] for name, bundle in bundles.items()}
    saved = {
        name: np.load(out / "predictions" / f"{digests[name]}-{on}.npy")
        for name, on in (("onnx", "host_onnx"), ("student", "host_torch"), ("teacher", "host_torch"))
    }
    labels = Task.find(task).load("evaluation").labels
    assert saved["onnx"].dtype == np.float32 and saved["onnx"].shape == (36, 3)
    found = by_metric(taken, "onnx")
    expected = proportion(int((saved["onnx"].argmax(axis=1) == labels).sum()), 36)
    assert (found["accuracy"].value, found["accuracy"].low, found["accuracy"].high) == (
        expected.value,
        expected.low,
        expected.high,
    )
    for metric, other in (("agreement_teacher", "teacher"), ("agreement_torch", "student")):
        assert found[metric].value == (saved["onnx"].argmax(axis=1) == saved[other].argmax(axis=1)).mean()
        assert found[metric].conditions == {"with": bundles[other].digest}
    assert found["agreement_torch"].value == 1


def test_what_is_not_there_is_none_with_its_reason(run: tuple[Path, list[str], list[Measurement]]) -> None:
    found = by_metric(run[2], "floor")
    assert (found["agreement_torch"].value, found["agreement_torch"].why) == (
        None,
        "the torch bundle that it was made from was not given",
    )
    assert found["tokenize_ms"].why == "the model has no tokenization apart from its answer"
    assert not found["tokenize_ms"].valid


def test_latencies_share_a_session_and_say_their_conditions(run: tuple[Path, list[str], list[Measurement]]) -> None:
    times = [one for one in run[2] if one.metric in LATENCIES]
    assert len({one.session for one in times}) == 1
    found = by_metric(run[2], "onnx")["latency_ms"]
    assert found.conditions == {"threads": 1, "length": 32, "padded_to": None, "runs": 60}
    assert (
        found.why
        == "32 tokens are more than the artefact accepts (24): choose a smaller length, or export it with one more"
    )
    assert by_metric(run[2], "onnx")["text_latency_ms"].n == 60
    assert by_metric(run[2], "floor")["latency_ms"].conditions["padded_to"] is None  # it pads nothing


def test_the_run_file_says_what_the_table_is_about(
    run: tuple[Path, list[str], list[Measurement]], bundles: dict[str, Bundle]
) -> None:
    ((task_id, standing),) = RunFile.read(run[0]).tasks.items()
    assert task_id == run[2][0].task
    assert standing.model_dump() == {
        "metric": "accuracy",
        "bundles": {name: bundles[name].digest for name in ("onnx", "floor")},
        "baseline": "onnx",
        "teacher": "teacher",
        "missing": {},
        "task_at": None,  # it was given by its words, not by a name or a file
    }


def test_a_second_call_writes_nothing(
    run: tuple[Path, list[str], list[Measurement]], bundles: dict[str, Bundle]
) -> None:
    before = (run[0] / measurement.FILE).read_bytes()
    _, said, _ = measure_into(bundles, run[0])
    assert (run[0] / measurement.FILE).read_bytes() == before
    assert "onnx on host_onnx, floor on host_linear: latencies measured before, kept" in said


def test_after_a_kill_only_what_is_missing_is_taken_again(
    run: tuple[Path, list[str], list[Measurement]], bundles: dict[str, Bundle], tmp_path: Path
) -> None:
    lines = (run[0] / measurement.FILE).read_text().splitlines(keepends=True)
    kept = [line for line in lines if json.loads(line)["name"] == "onnx"]
    (tmp_path / measurement.FILE).write_text("".join(kept) + lines[-1][:40])  # the writer died within its last line
    _, said, taken = measure_into(bundles, tmp_path)
    assert "onnx on host_onnx: answers measured before, kept" in said
    assert len(by_metric(taken, "floor")) == len(by_metric(run[2], "floor"))
    times = {one.name: one.session for one in taken if one.metric == "text_latency_ms"}
    assert times["onnx"] == times["floor"]  # one of the group was missing: both were timed again
    assert sum(one.metric == "accuracy" and one.name == "onnx" for one in taken) == 1


def test_other_conditions_are_other_measurements(
    run: tuple[Path, list[str], list[Measurement]], bundles: dict[str, Bundle], tmp_path: Path
) -> None:
    (tmp_path / measurement.FILE).write_bytes((run[0] / measurement.FILE).read_bytes())
    _, _, taken = measure_into({"floor": bundles["floor"], "onnx": bundles["onnx"]}, tmp_path, length=16)
    new = taken[len(run[2]) :]
    assert {one.metric for one in new} == LATENCIES | {
        "agreement_teacher",
        "agreement_torch",
    }  # teacher and student weren't given
    assert by_metric(new, "onnx")["latency_ms"].conditions["padded_to"] == 16
    assert by_metric(new, "onnx")["agreement_teacher"].why == "no fine-tuned torch bundle was given as the teacher"


def test_answers_are_computed_again_when_their_file_was_touched(
    bundles: dict[str, Bundle], task: dict[str, Any], tmp_path: Path
) -> None:
    linear = find("host_linear")
    subject, split = (
        Subject("floor", bundles["floor"], linear, linear.machine().as_dict()),
        Task.find(task).load("evaluation"),
    )
    kind = Task.find(task).of_kind
    first = answers(subject, split, kind, tmp_path, 1)
    path = next((tmp_path / "predictions").glob("*.npy"))
    good, note = path.read_bytes(), path.with_suffix(".json").stat().st_mtime_ns
    answers(subject, split, kind, tmp_path, 1)
    assert path.with_suffix(".json").stat().st_mtime_ns == note  # kept
    path.write_bytes(good[:-4] + b"\0\0\0\0")
    np.testing.assert_array_equal(answers(subject, split, kind, tmp_path, 1).outputs, first.outputs)
    assert path.read_bytes() == good


def test_texts_that_are_cut_are_scored_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tiny_bundles.MAX_LENGTH", 9)
    teacher = torch_bundle(tmp_path / "teacher", write_task(tmp_path / "data", evaluation=120))
    (plan,) = plans({"teacher": teacher}, MeasureText(on=("host_torch",), length=8), lambda _: None)
    ledger = Ledger(tmp_path / "run", plan.task_id, "now", lambda _: None)
    (tmp_path / "run").mkdir()
    for _ in range(2):  # what is known is not measured again
        Quality(plan, tmp_path / "run", 1, ledger, lambda _: None).take(plan.subjects[0])
    taken = measurement.read(tmp_path / "run" / measurement.FILE)
    found = by_metric(taken, "teacher")
    cut, others, whole = (found[name] for name in ("metric_of_cut_texts", "metric_of_whole_texts", "accuracy"))
    assert len(taken) == len(found)
    assert cut.conditions == {"longest": 9, "metric": "accuracy"} and cut.n == found["truncated_texts"].value
    assert cut.value is not None and others.value is not None and cut.n is not None and others.n is not None
    assert whole.value == pytest.approx((cut.value * cut.n + others.value * others.n) / 120)


@pytest.mark.slow
def test_regressions_and_pairs_have_their_own_metrics(tmp_path: Path) -> None:
    pair = write_task(tmp_path / "data", "regression", pair=True)
    teacher = torch_bundle(tmp_path / "teacher", pair)
    _, _, taken = measure_into(
        {"teacher": teacher, "onnx": onnx_bundle(tmp_path / "onnx", teacher)}, tmp_path / "run", on=("host_onnx",)
    )
    found = by_metric(taken, "onnx")
    assert {"pearson", "spearman"} < set(found) and "accuracy" not in found
    assert found["agreement_teacher"].value == pytest.approx(1) and found["agreement_teacher"].unit == "1"
    assert found["truncated_texts"].value is not None and found["truncated_texts"].value > 0


@pytest.mark.slow
def test_tasks_are_measured_one_by_one(
    run: tuple[Path, list[str], list[Measurement]], bundles: dict[str, Bundle], tmp_path: Path
) -> None:
    (tmp_path / measurement.FILE).write_bytes((run[0] / measurement.FILE).read_bytes())
    other = linear_bundle(tmp_path / "other", write_task(tmp_path / "data", evaluation=12) | {"name": "other"})
    out, _, taken = measure_into(
        {"floor": bundles["floor"], "other": other}, tmp_path, baseline=None, on=("host_linear",)
    )
    new = taken[len(run[2]) :]
    assert {(one.name, (one.task or "").split(" ")[0]) for one in new if one.metric == "accuracy"} == {
        ("other", "other")
    }
    assert len(RunFile.read(out).tasks) == 2
    told = r"the baseline 'other' is of other v1 \w+ and the teacher 'teacher' is of tiny v1 \w+: choose both"
    with pytest.raises(UserError, match=told):
        measure_into({**bundles, "other": other}, out, baseline="other", teacher="teacher")


def test_sizes_are_those_of_the_files(bundles: dict[str, Bundle]) -> None:
    sizes = {path.name: path.stat().st_size for path in bundles["onnx"].path.iterdir()}
    assert model_bytes(bundles["onnx"]) == sizes["model.onnx"]
    assert download_bytes(bundles["onnx"]) == sum(
        sizes[name] for name in ("model.onnx", "tokenizer.json", "labels.txt", "signature.json")
    )
    linear = {path.name: path.stat().st_size for path in bundles["floor"].path.iterdir()}
    assert model_bytes(bundles["floor"]) == linear["model.safetensors"] + linear["vocabulary.json"]


def test_all_artefacts_take_turns_and_run_as_often_as_asked(bundles: dict[str, Bundle], task: dict[str, Any]) -> None:
    texts = Task.find(task).load("evaluation").texts[:7]
    with find("host_onnx").open(bundles["onnx"].path) as onnx, find("host_linear").open(bundles["floor"].path) as floor:
        first, second = side_by_side([onnx, floor], texts, 16, runs := 2 * TURN + 3)
    assert [len(times) for times in (first.padded_ms, first.alone_ms, first.tokenize_ms, first.text_ms)] == [runs] * 4
    assert first.text_ms[5] == first.tokenize_ms[5] + first.alone_ms[5]
    assert (second.text_ms, second.tokenize_ms) == (second.alone_ms, [])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"baseline": "onyx"}, "measure: no bundle 'onyx'; did you mean 'onnx'?"),
        (
            {"teacher": "onnx"},
            "measure: the teacher 'onnx' has the format onnx; name the torch bundle that it was made from",
        ),
        ({"on": ("host_onx",)}, "measure: no target 'host_onx'; did you mean 'host_onnx'?"),
        (
            {"on": ("host_litert",)},
            "there is nothing to measure on host_litert: name bundles that were trained for a task, and a target "
            "that runs their format",
        ),
    ],
)
def test_what_cannot_be_measured_is_told_before_any_work(
    options: dict[str, Any], message: str, bundles: dict[str, Bundle], tmp_path: Path
) -> None:
    with pytest.raises(UserError) as raised:
        measure_into(bundles, tmp_path / "run", **options)
    assert message in raised.value.faults
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("fact", [{"teacher": "digest"}, {"signals": "cache"}])  # signals: on cards of before
def test_the_teacher_is_the_first_that_had_none(
    fact: dict[str, Any], bundles: dict[str, Bundle], tmp_path: Path
) -> None:
    shutil.copytree(bundles["student"].path, tmp_path / "taught", ignore=shutil.ignore_patterns("palmtop.json"))
    taught = sealed(tmp_path / "taught", "torch", "distill", bundles["teacher"], fact)
    options = MeasureOptions(on=("host_onnx",))
    (plan,) = plans({"taught": taught, "onnx": bundles["onnx"], "tuned": bundles["teacher"]}, options, print)
    assert plan.teacher == "tuned"
    (plan,) = plans({"taught": taught, "onnx": bundles["onnx"]}, options, print)
    assert plan.teacher is None


def test_a_bundle_without_a_task_is_named_and_left_out(bundles: dict[str, Bundle], tmp_path: Path) -> None:
    (tmp_path / "base").mkdir()
    copy_beside(bundles["teacher"], tmp_path / "base")
    (tmp_path / "base" / "task.json").unlink()
    said: list[str] = []
    base = sealed(tmp_path / "base", "onnx", "adopt")
    (plan,) = plans({"base": base, "floor": bundles["floor"]}, MeasureOptions(on=ON), said.append)
    assert said == ["base: not measured, it has no task (no task.json: it wasn't trained for one)"]
    assert [str(subject) for subject in plan.subjects] == ["floor on host_linear"]


def test_a_target_that_lacks_its_package_is_told(
    bundles: dict[str, Bundle], tmp_path: Path, without: Callable[[str], dict[str, str]]
) -> None:
    code = (
        "from pathlib import Path; from palmtop.bundle import Bundle; from palmtop.eval.measure import *; "
        f"measure({{'onnx': Bundle.open(Path({str(bundles['onnx'].path)!r}))}}, MeasureOptions(on=('host_onnx',)), "
        "Path('run'), print)"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(
        command, cwd=tmp_path, env=without("onnxruntime"), capture_output=True, text=True, check=False
    )
    assert (
        "measure: the target host_onnx needs onnxruntime: pip install 'palmtop[onnx]'; or leave 'host_onnx' out"
        in done.stderr
    )


@pytest.fixture
def without(tmp_path: Path) -> Callable[[str], dict[str, str]]:
    """An environment in which a package isn't installed."""

    def hidden(package: str) -> dict[str, str]:
        (tmp_path / "site").mkdir()
        (tmp_path / "site" / "sitecustomize.py").write_text(
            "import importlib.util as util\nfind = util.find_spec\n"
            f"util.find_spec = lambda name, package=None: None if name == {package!r} else find(name, package)\n"
        )
        return {**os.environ, "PYTHONPATH": str(tmp_path / "site")}

    return hidden


def test_python_files_beside_a_model_are_never_run(
    bundles: dict[str, Bundle], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not by a process that measuring starts either, which would look first in the folder it stands in."""
    here, ran = shutil.copytree(bundles["floor"].path, tmp_path / "floor"), tmp_path / "ran"
    for name in ("argparse", "json", "numpy", "palmtop", "sklearn", "safetensors"):
        (here / f"{name}.py").write_text(
            f"open({str(ran)!r}, 'a').write('{name} ')\nraise SystemExit('not the real one')\n"
        )
    monkeypatch.chdir(here)
    monkeypatch.setenv("PYTHONPATH", str(Path(palmtop.__file__).parents[1]))
    _, _, taken = measure_into({"floor": Bundle.open(here)}, tmp_path / "run", baseline=None, on=("host_linear",))
    assert by_metric(taken, "floor")["load_ms"].value
    assert not ran.exists()


def test_a_damaged_run_file_is_told(bundles: dict[str, Bundle], tmp_path: Path) -> None:
    (tmp_path / "measure.json").write_text("{")
    with pytest.raises(
        UserError, match=r"measure\.json is damaged: remove it and measure again \(what was measured is kept\)"
    ):
        measure_into({"floor": bundles["floor"]}, tmp_path, baseline=None)


def test_an_export_is_compared_with_the_torch_bundle_it_was_made_from_and_no_earlier_one(
    bundles: dict[str, Bundle],
) -> None:
    options = MeasureOptions(on=("host_torch", "host_onnx"))
    (plan,) = plans({"teacher": bundles["teacher"], "onnx": bundles["onnx"]}, options, print)
    assert plan.torch_ancestor(bundles["onnx"]) is None  # it was made from the student, who was made from the teacher
    (plan,) = plans(bundles, options, print)
    assert (plan.torch_ancestor(bundles["onnx"]), plan.torch_ancestor(bundles["student"])) == ("student", "student")
    assert plan.torch_ancestor(bundles["floor"]) is None


def test_tasks_that_differ_in_what_is_learnt_from_share_a_table(
    bundles: dict[str, Bundle], task: dict[str, Any], tmp_path: Path
) -> None:
    fewer = torch_bundle(tmp_path / "fewer", task | {"name": "fewer", "train_rows": 20}, seed=2, stage="recover")
    newer = torch_bundle(tmp_path / "newer", task | {"version": 2}, seed=3, stage="recover")
    one, other = plans(
        {"teacher": bundles["teacher"], "fewer": fewer, "newer": newer}, MeasureOptions(on=("host_torch",)), print
    )
    assert [subject.name for subject in one.subjects] == ["teacher", "fewer"] and one.task_id.startswith(task["name"])
    assert [subject.name for subject in other.subjects] == ["newer"]
