"""palmtop predict: what is read, what is printed, and what is told."""

import gzip
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
from tiny import write_task
from tiny_bundles import Taught, torch_bundle

import palmtop
from palmtop.bundle import Bundle, Origin, seal
from palmtop.cli.main import main
from palmtop.cli.predict import CHUNK

NAMED = "(--text and --text2 name the columns)"


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A regression of pairs."""
    folder = tmp_path_factory.mktemp("pairs")
    return torch_bundle(folder / "pairs", write_task(folder / "data", "regression", pair=True))


def predicted(capsys: pytest.CaptureFixture[str], bundle: Bundle, *words: str, code: int = 0) -> tuple[str, str]:
    """What the command writes to stdout and to stderr."""
    with pytest.raises(SystemExit) as caught:
        main(["predict", str(bundle.path), *words])
    out, err = capsys.readouterr()
    assert (caught.value.code or 0) == code, err
    return out, err


def objects(out: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in out.splitlines()]


def typed(monkeypatch: pytest.MonkeyPatch, raw: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(raw)))


def test_a_table_for_a_person(capsys: pytest.CaptureFixture[str], teacher: Bundle) -> None:
    long = "play the song loud " * 20 + "\x1b[31m\n東京"
    out, err = predicted(capsys, teacher, "rain tomorrow", long)
    head, rule, first, second = out.splitlines()
    with palmtop.load(teacher) as model:
        expected = [answer.as_dict() for answer in model(["rain tomorrow", long])]
    assert head.split() == ["text", "label", "probability"]
    assert len(rule) == 100
    assert first.split() == ["rain", "tomorrow", "weather", f"{expected[0]['probability']:.4f}"]
    assert second.startswith("play the song loud play")
    assert second.split()[-3].endswith("…")
    assert "\x1b" not in out
    assert max(map(len, out.splitlines())) <= 100
    assert err == "1 of the texts were longer than the model reads, and were cut\n"


def test_the_best_labels(capsys: pytest.CaptureFixture[str], teacher: Bundle) -> None:
    out, _ = predicted(capsys, teacher, "rain tomorrow", "--top", "2")
    best, next_best = (line.split() for line in out.splitlines()[2:])
    assert best[:3] == ["rain", "tomorrow", "weather"]
    assert float(best[-1]) > float(next_best[-1])
    [row] = objects(predicted(capsys, teacher, "rain tomorrow", "--top", "2", "--json")[0])
    assert isinstance(row["probabilities"], dict)
    assert len(row["probabilities"]) == 2
    assert next(iter(row["probabilities"])) == row["label"] == "weather"


def test_json_has_the_answer_of_python_and_the_text_as_it_was(
    capsys: pytest.CaptureFixture[str], teacher: Bundle
) -> None:
    texts = ['rain "tomorrow"\n\t\\', "Ünï \u2028 東京 \U0001f44d", "-5 outside"]
    out, _ = predicted(capsys, teacher, "--json", "--", *texts)
    assert out.isascii()
    with palmtop.load(teacher) as model:
        assert objects(out) == [
            {"text": text} | answer.as_dict() for text, answer in zip(texts, model(texts), strict=True)
        ]


def test_a_question_and_its_context(capsys: pytest.CaptureFixture[str], reader_files: dict[int, Bundle]) -> None:
    context = "please the rain snow, you can"
    out, _ = predicted(capsys, reader_files[64], "what is it now", "--second", context)
    assert out.splitlines()[0].split() == ["text", "answer", "characters", "score"]
    assert out.splitlines()[2].split()[:-1] == ["what", "is", "it", "now", "rain", "snow", "11-20"]
    out, _ = predicted(capsys, reader_files[64], "what is it now", "how is it for me", "--second", context, "--json")
    rows = objects(out)
    assert [(row["text"], row["second"], row["answer"]) for row in rows] == [
        ("what is it now", context, "rain snow"),
        ("how is it for me", context, "rain snow"),
    ]


def test_every_kind_of_file(capsys: pytest.CaptureFixture[str], floor: Bundle, tmp_path: Path) -> None:
    files = {
        "a.csv": '\ufefftext,other\r\nrain,1\r\n"play, ""song""\nloud",2\r\n',
        "a.tsv": 'other\ttext\n1\train\n2\tplay, "song\n',
        "a.jsonl": '{"text": "rain"}\n\n{"text": "play, song", "other": 1}\n',
        "a.txt": "rain\nplay, song\n",
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content.encode())
        (tmp_path / f"{name}.gz").write_bytes(gzip.compress(content.encode()))
        for given in (name, f"{name}.gz"):
            rows = objects(predicted(capsys, floor, "--file", given, "--json")[0])
            assert [row["label"] for row in rows] == ["weather", "music"], given
    assert objects(predicted(capsys, floor, "--file", "a.csv", "--json")[0])[1]["text"] == 'play, "song"\nloud'


def test_columns_of_a_file(capsys: pytest.CaptureFixture[str], pairs: Bundle, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,second,third\nrain,play,pay\n")
    with palmtop.load(pairs) as model:
        expected = {second: model(("rain", second)).as_dict()["number"] for second in ("play", "pay", "cloud")}
    for words, second in (
        ((), "play"),
        (("--text2", "third"), "pay"),
        (("--text", "text", "--text2", "second"), "play"),
        (("--second", "cloud"), "cloud"),
    ):
        [row] = objects(predicted(capsys, pairs, "--file", "a.csv", "--json", *words)[0])
        assert (row["second"], row["number"]) == (second, expected[second])


@pytest.mark.parametrize("words", [(), ("-",)])
def test_lines_of_stdin(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str], floor: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    typed(monkeypatch, b"rain\r\n\nplay the song")
    rows = objects(predicted(capsys, floor, *words, "--json")[0])
    assert [row["text"] for row in rows] == ["rain", "", "play the song"]


def test_a_line_is_answered_before_the_next_one_comes(floor: Bundle) -> None:
    command = [sys.executable, "-m", "palmtop", "predict", str(floor.path), "--json"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdin is not None
        assert running.stdout is not None
        for text in ("rain", "play"):
            running.stdin.write(f"{text}\n")
            running.stdin.flush()
            assert json.loads(running.stdout.readline())["text"] == text
        running.stdin.close()
        assert running.wait(30) == 0


def test_who_reads_no_further_hears_nothing(floor: Bundle, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("rain\n" * 5000)
    command = [sys.executable, "-m", "palmtop", "predict", str(floor.path), "--file", "a.txt", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        running.stdout.readline()
        running.stdout.close()
        assert running.stderr.read() == ""
        assert running.wait(60) == 0


def test_a_large_file_is_answered_as_it_is_read(
    capsys: pytest.CaptureFixture[str], floor: Bundle, tmp_path: Path
) -> None:
    (tmp_path / "a.csv").write_text("text\n" + "rain\n" * (CHUNK + 3) + "play,song\n")
    out, err = predicted(capsys, floor, "--file", "a.csv", "--json", code=2)
    assert len(objects(out)) == CHUNK
    assert err == f"error: a.csv, line {CHUNK + 5} has 2 fields, the first line 1 (text): a stray separator or quote?\n"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"txt,label\nrain,1\n", f"a.csv has no column 'text'; did you mean 'txt'? {NAMED}"),
        ("a.csv", b"", "a.csv is empty: give a file with at least one text"),
        ("a.csv", b"text\n", "a.csv is empty: give a file with at least one text"),
        ("a.txt", b"", "a.txt is empty: give a file with at least one text"),
        ("a.csv", b'text\n"rain" now\n', "a.csv, line 2: ',' expected after '\"'"),
        ("a.txt", b"rain\n\xff\n", "a.txt, line 2 isn't UTF-8 (byte 0xff): convert it to UTF-8"),
        ("a.jsonl", b'{"text": "a"\n', "a.jsonl, line 1 isn't JSON: Expecting ',' delimiter"),
        ("a.jsonl", b"[1]\n", 'a.jsonl, line 1 isn\'t an object ({"text": ...})'),
        ("a.jsonl", b'{"text": null}\n', "a.jsonl, line 1: 'text' is None, no text"),
        ("a.jsonl", b'{"txt": "a"}\n', f"a.jsonl, line 1 has no column 'text'; did you mean 'txt'? {NAMED}"),
        ("a.txt.gz", b"rain", "a.txt.gz isn't a whole gzip file (Not a gzipped file (b'ra')): fetch it again"),
        ("a.parquet", b"", "'a.parquet' is none of .csv, .tsv, .jsonl, .txt (or .gz of one)"),
    ],
)
def test_faults_of_files(
    name: str, content: bytes, message: str, capsys: pytest.CaptureFixture[str], floor: Bundle, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    assert predicted(capsys, floor, "--file", name, code=2) == ("", f"error: {message}\n")


def test_faults_of_what_is_asked(
    capsys: pytest.CaptureFixture[str],
    floor: Bundle,
    pairs: Bundle,
    reader: Taught,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "a.csv").write_text("text,second\nrain,snow\n")
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "config.json").write_text("{}")
    seal(tmp_path / "none", "torch", Origin(stage="adopt", settings={}, inputs={}, versions={}), None, {})
    typed(monkeypatch, b"")
    for bundle, words, message in (
        (floor, (), "stdin is empty: give texts, one a line, or name them as arguments"),
        (floor, ("--file", "b.csv"), "there is no file b.csv"),
        (floor, ("rain", "--file", "a.csv"), "there are texts and a --file: give the one or the other"),
        (
            floor,
            ("rain", "--text", "text"),
            "--text and --text2 name columns of a .csv, .tsv or .jsonl: give one with --file",
        ),
        (floor, ("rain", "--second", "b"), "the model reads one text at a time: leave out --second and --text2"),
        (
            pairs,
            ("rain",),
            "the model reads two texts (text, second) at a time: give the second with --second, or a --file with "
            "columns of both",
        ),
        (
            pairs,
            ("--file", "a.csv", "--text2", "text", "--second", "b"),
            "--second and --text2 both name the second text: give the one or the other",
        ),
        (
            pairs,
            ("a", "--second", "b", "--top", "2"),
            "--top is for models that choose a label, and this one is for regression",
        ),
        (
            reader.teacher,
            ("what",),
            "the model reads two texts (question, context) at a time: give the second with --second, or a --file with "
            "columns of both",
        ),
        (
            Bundle.open(tmp_path / "none"),
            ("rain",),
            f"{tmp_path / 'none'} has no task, so it has no head that answers: train one with 'palmtop finetune', or "
            "name a bundle that was trained",
        ),
    ):
        assert predicted(capsys, bundle, *words, code=2) == ("", f"error: {message}\n")
