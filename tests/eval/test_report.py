"""The report of a run: what each part says of a run made by hand, what isn't kept, and that users' words stay words."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from made_runs import numbers_of, one, write_run
from reported_runs import NASTY, TEXTS, bundle_in, task_in, whole_run

from palmtop.bundle import LOGS
from palmtop.cli.main import main
from palmtop.errors import UserError
from palmtop.eval.compare import compare
from palmtop.eval.report import report, write_report
from palmtop.eval.report_page.calibration import Bin, bins, expected_calibration_error
from palmtop.eval.report_page.curves import epochs, read_losses
from palmtop.eval.report_page.flips import against_teacher, by_length
from palmtop.eval.report_page.markup import element, table
from palmtop.eval.report_page.svg import Scale, ticks
from palmtop.eval.reports.found import Found, kept_bundles
from palmtop.eval.reports.ways import steps
from palmtop.signature import Signature
from palmtop.task_kinds import find


def _found(run: Path) -> Found:
    (section,) = compare([run]).sections
    return Found(run, section, kept_bundles(run)[0])


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return whole_run(tmp_path_factory.mktemp("report") / "run")


@pytest.fixture(scope="module")
def page(run: Path) -> str:
    return report(run)


class _Page(HTMLParser):
    """What a browser would see: elements with their attributes, and all words."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.said = ""
        self._skip = 0
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._skip += tag == "style"

    def handle_endtag(self, tag: str) -> None:
        self._skip -= tag == "style"

    def handle_data(self, data: str) -> None:
        self.said += "" if self._skip else data


def test_users_words_stay_words(page: str) -> None:
    seen = _Page(page)
    assert not {tag for tag, _ in seen.elements} & {"img", "script", "iframe", "object", "link", "form"}
    assert not [name for _, given in seen.elements for name in given if name.startswith("on")]
    assert NASTY in seen.said and TEXTS[1] in seen.said
    assert "turned \\x1b[31m" in seen.said and "\x1b" not in page  # control characters are written out


def test_nothing_is_fetched(page: str) -> None:
    seen = _Page(page)
    (policy,) = [given["content"] for tag, given in seen.elements if "http-equiv" in given]
    assert policy is not None and "default-src 'none'" in policy and "script-src" not in policy
    addresses = [given[name] for _, given in seen.elements for name in ("src", "href", "xlink:href") if name in given]
    assert all(address and address.startswith("#") for address in addresses)
    assert not re.search(r"url\((?!#|&quot;#)", page) and "@import" not in page


def test_every_drawing_has_a_title_and_words_for_who_does_not_see_it(page: str) -> None:
    drawings = re.findall(r"<svg[^>]*role=[\"']img[\"'][^>]*>\s*<title>([^<]+)</title><desc>([^<]+)</desc>", page)
    assert len(drawings) == len(re.findall(r"<svg[^>]*role=[\"']img[\"']", page)) >= 5


def test_the_sentence_and_the_table_stand_first(page: str, run: Path) -> None:
    said = _Page(page).said
    advice = compare([run]).sections[0].advice
    assert advice
    assert said.index(advice[1:]) < said.index("accuracy [95 %]") < said.index("What each step cost")


def test_the_waterfall_goes_from_the_teacher_to_the_browser(run: Path) -> None:
    found = _found(run)
    (browser,) = [row for row in found.rows if row.target == "browser"]
    way = steps(found, browser)
    assert [(step.says, step.value) for step in way] == [
        ("made-teacher", 100),
        ("made-student: trim_vocabulary (1,200 tokens) + distill (3 layers)", 50),
        ("made-int8 on host_onnx: quantize (dynamic_int8), run on host_onnx", 50),
        ("made-int8 on browser: the same file, run on browser", 25),
    ]
    costs = [step.cost.value if step.cost else None for step in way]
    assert costs == [None, -50, 0, -25]
    paired = way[1].cost
    assert paired is not None and paired.low is not None and paired.high is not None
    assert paired.low < -50 < paired.high
    assert way[3].cost is not None and way[3].cost.low is None  # its answers weren't kept: nothing to pair


def test_flips_are_counted_by_label_and_by_what_became_of_them(run: Path) -> None:
    (flips,) = against_teacher(_found(run))
    assert [row.name for row in flips.rows] == ["made-student", "made-int8"]
    assert flips.changed.tolist() == [False, True, True, False]
    assert flips.counts() == (2, 0, 0)
    assert flips.moved[1] > flips.moved[2] > 0 == flips.moved[0]


def test_several_labels_a_text_flip_each_by_itself(tmp_path: Path) -> None:
    run = whole_run(tmp_path / "run", kind="multi_label")
    (flips,) = against_teacher(_found(run))
    assert flips.changed.tolist() == [False, True, True, False]
    assert flips.truth is not None and flips.truth.tolist() == [[True, False], [False, True]] * 2
    said = _Page(report(run)).said
    assert "micro f1 [95 %]" in said and "ECE" in said and NASTY in said


def test_a_kind_without_labels_says_so(tmp_path: Path) -> None:
    said = _Page(report(whole_run(tmp_path / "run", kind="regression"))).said
    assert "the answers of regression are no labels of texts, so none of them flips" in said
    assert "regression answers with no probabilities of labels" in said
    assert "made-student: trim_vocabulary (1,200 tokens) + distill (3 layers)" in said


def test_what_was_emulated_is_called_so(run: Path) -> None:
    found = _found(run)
    row = found.rows[0]
    emulated = replace(row, cells=row.cells | {"metric": replace(row.cells["metric"], kind="emulated")})
    assert (found.shown(row), found.shown(emulated)) == ("made-teacher", "made-teacher (emulated)")


def test_the_worst_flip_stands_first(page: str) -> None:
    said = _Page(page).said
    worst = said.index("whose probabilities moved most")
    assert said.index(TEXTS[1], worst) < said.index("turned \\x1b[31m", worst)


def test_lengths_are_cut_into_parts_of_about_as_many_texts() -> None:
    changed = np.array([True, False, False, True, True, False, False, True])
    assert by_length(np.array([1, 1, 2, 3, 5, 5, 8, 9]), changed) == [
        (1, 1, 2, 1),
        (2, 3, 2, 1),
        (5, 5, 2, 1),
        (8, 9, 2, 1),
    ]
    assert by_length(np.array([4, 4, 4]), np.array([True, False, False])) == [(4, 4, 3, 1)]


def test_the_calibration_error_is_that_of_the_paper() -> None:
    """By hand, two bins: (0, 1/2] has .3 wrong and .5 right, (1/2, 1] has .6 right, .9 wrong and 1 right: 2/5 * |.5 -
    .4| + 3/5 * |2/3 - 2.5/3|."""
    sure, right = np.array([0.3, 0.6, 0.9, 0.5, 1.0]), np.array([False, True, False, True, True])
    found = bins(sure, right, 2)
    assert [(each.n, each.right) for each in found] == [(2, 0.5), (3, pytest.approx(2 / 3))]
    assert expected_calibration_error(found) == pytest.approx(0.4 * 0.1 + 0.6 * 0.5 / 3)
    assert bins(np.array([0.0]), np.array([True])) == [Bin(0, 1 / 15, 1, 0, 1)]


def test_a_kind_says_what_its_kept_answers_claim() -> None:
    signature = Signature(inputs=("input_ids",), max_length=8, pad_id=0)
    single = find("classification")
    logits = np.log(np.array([[0.8, 0.2], [0.3, 0.7]], np.float32))
    for output, answers in (("logits", logits), ("probabilities", np.exp(logits))):
        shares = single.likelihoods(answers, signature.model_copy(update={"output": output}))
        assert shares == pytest.approx(np.exp(logits), abs=1e-6)
    assert single.given(logits).tolist() == [[True, False], [False, True]]
    sure, right = single.claims(np.exp(logits), np.array([0, 0]))
    assert sure == pytest.approx([0.8, 0.7]) and right.tolist() == [True, False]
    many = find("multi_label")
    thresholds = signature.model_copy(update={"thresholds": (0.5, 0.2)})
    margins = np.array([[0.1, -0.1]], np.float32)
    assert many.likelihoods(margins, thresholds) == pytest.approx(np.array([[0.6, 0.1]]))
    assert many.given(margins).tolist() == [[True, False]]
    sure, right = many.claims(np.array([[0.6, 0.1]]), np.array([[1.0, 0.0]]))
    assert sure.tolist() == [0.6, 0.1] and right.tolist() == [True, False]


def test_what_is_not_kept_is_said_and_nothing_is_drawn_empty(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", *numbers_of("teacher", 0.95, 20), *numbers_of("base", 0.94, 10))
    said = _Page(report(run)).said
    for missing in (
        "two measured bundles of which one was made from the other",
        "each single time",
        "the folder of teacher",
        "the bundles, which say what the task is",
        "the metric by epoch, and training logs",
    ):
        assert f"not kept in this run: {missing}" in said
    assert "base" in said


def test_texts_that_changed_since_are_not_shown(tmp_path: Path) -> None:
    run = whole_run(tmp_path / "run")
    (run / "made.jsonl").write_text('{"text": "another", "label": "plain"}\n', encoding="utf-8")
    said = _Page(report(run)).said
    assert "they have changed since they were measured" in said and "another" not in said.replace("another label", "")
    (run / "made.jsonl").unlink()
    assert "not kept in this run: the evaluation texts" in _Page(report(run)).said


def test_a_damaged_bundle_is_named(tmp_path: Path) -> None:
    run = whole_run(tmp_path / "run")
    (run / "made-student" / "labels.txt").write_text("x", encoding="utf-8")
    assert "made-student/labels.txt has 1 bytes, sealed with" in _Page(report(run)).said


def test_answers_to_other_texts_or_damaged_ones_are_not_taken(tmp_path: Path) -> None:
    run = whole_run(tmp_path / "run")
    damaged = next((run / "predictions").glob("*host_onnx.npy"))
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"\x01")
    found = _found(run)
    assert [row.name for row in found.answered()] == ["made-teacher", "made-student"]


def test_each_task_of_a_run_has_its_part(run: Path, tmp_path: Path) -> None:
    both = whole_run(whole_run(tmp_path / "run"), "other")
    seen = _Page(report(both))
    headings = [given["id"] for tag, given in seen.elements if tag == "h2"]
    assert headings == ["task-1", "task-2"]
    assert [given["href"] for tag, given in seen.elements if tag == "a"][1:] == ["#task-1", "#task-2"]
    assert "other-int8" in seen.said and "made-int8" in seen.said


def test_trainings_have_a_curve_by_epoch_for_each_phase(tmp_path: Path) -> None:
    task = task_in(tmp_path)
    phases = {"first": {"by_epoch": [0.25, None, 0.5], "best_epoch": 3}, "second": {"by_epoch": [0.75]}}
    whole = bundle_in(tmp_path / "whole", task, "distill", by_epoch=[0.5, 1.0], chosen_on="accuracy of 9 texts")
    assert list(epochs(whole)) == [""]
    assert list(epochs(bundle_in(tmp_path / "phases", task, "distill", **phases))) == ["first", "second"]
    assert read_losses(whole) == "the training log"


def _log(folder: Path, losses: dict[str, list[float]]) -> None:
    """A training log as the trainer writes it."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    writer = EventFileWriter(str(folder))
    for tag, values in losses.items():
        for step, value in enumerate(values, 1):
            said = Summary(value=[Summary.Value(tag=tag, simple_value=value)])
            writer.add_event(Event(wall_time=step, step=10 * step, summary=said))
    writer.close()


def test_losses_are_read_from_the_trainers_logs(tmp_path: Path) -> None:
    single = bundle_in(tmp_path / "single", task_in(tmp_path), "distill")
    _log(single.path / LOGS, {"train/loss": [2, 1], "train/loss_soft": [1.5, 0.5], "train/grad_norm": [9, 9]})
    assert read_losses(single) == {"loss": [(10, 2), (20, 1)], "soft": [(10, 1.5), (20, 0.5)]}
    phases = bundle_in(tmp_path / "phases", task_in(tmp_path), "distill")
    _log(phases.path / LOGS / "first", {"train/loss": [2, 1]})
    _log(phases.path / LOGS / "second", {"train/loss": [4, 3]})
    assert read_losses(phases) == {"first: loss": [(10, 2), (20, 1)], "second: loss": [(10, 4), (20, 3)]}
    short = bundle_in(tmp_path / "short", task_in(tmp_path), "distill")
    _log(short.path / LOGS, {"train/learning_rate": [1, 1], "train/loss": [2]})
    assert read_losses(short) == "losses in the training log"


def test_what_cannot_be_drawn_is_said(tmp_path: Path) -> None:
    said = _Page(report(write_run(tmp_path / "run", one("base", "accuracy", 0.5)))).said
    assert "not drawn: there is nothing to draw" in said
    assert "not kept in this run: a latency" in said


def test_the_curve_says_which_epoch_was_kept(page: str) -> None:
    assert "0.500, 0.750, 1.000. Epoch 3 was kept." in _Page(page).said


def test_the_command_writes_it(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words, path in (([], run / "report.html"), (["--out", str(tmp_path / "mine.html")], tmp_path / "mine.html")):
        with pytest.raises(SystemExit) as ended:
            main(["report", str(run), *words])
        assert not ended.value.code
        assert f"wrote {path}" in capsys.readouterr().out
        assert path.read_text(encoding="utf-8").startswith("<!doctype html>")
    with pytest.raises(UserError, match=r"has no measurements\.jsonl"):
        write_report(tmp_path)


def test_what_is_no_markup_is_escaped() -> None:
    assert element("p", 'a < b & "c"', title="'\x07'") == (
        '<p title="&#x27;\\x07&#x27;">a &lt; b &amp; &quot;c&quot;</p>'
    )
    assert element("p", element("b", "<")) == "<p><b>&lt;</b></p>"
    assert "&lt;td&gt;" in table("t", ["<td>"], [["<td>"]])


def test_axes_have_a_few_round_numbers() -> None:
    assert ticks(93.2, 95.1) == [93.5, 94, 94.5, 95]
    assert ticks(1.2, 40, logarithmic=True) == [3, 10, 30]
    assert ticks(2, 2) == [2]
    assert Scale(1, 100, 0, 10, logarithmic=True)(10) == 5
