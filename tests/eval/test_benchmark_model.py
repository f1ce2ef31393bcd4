"""What benchmark_model's log says of a delegate. The logs are written here after those that people publish; none was
taken from a phone of ours."""

from pathlib import Path

import pytest

from palmtop.errors import UserError
from palmtop.eval.targets._benchmark_model import Delegated, command, find, read, tool
from palmtop.signature import Signature

TIMES = """INFO: Initialized session in 66.0ms.
INFO: Running benchmark for at least 1 iterations and at least 0.5 seconds but terminate if exceeding 150 seconds.
INFO: count=2 first=9800 curr=9900 min=9800 max=9900 avg=9850 std=50 p5=9800 median=9900 p95=9900

INFO: Running benchmark for at least 60 iterations and at least 1 seconds but terminate if exceeding 150 seconds.
INFO: count=60 first=4215 curr=4180 min=4100 max=5200 avg=4310.5 std=12 p5=4102 median=4250 p95=5100

INFO: Inference timings in us: Init: 66002, First inference: 9800, Warmup (avg): 9850, Inference (avg): 4310.5
"""
REPLACED = "VERBOSE: Replacing {} node(s) with delegate ({}) node, yielding {} partitions for subgraph 0.\n"
WHOLE = (
    "INFO: Created TensorFlow Lite delegate for GPU.\n"
    + REPLACED.format("49 out of 49", "TfLiteGpuDelegateV2", 1)
    + "INFO: Explicitly applied GPU delegate, and the model graph will be completely executed by the delegate.\n"
)
PARTLY = (
    "INFO: Created TensorFlow Lite delegate for GPU.\n"
    + REPLACED.format("54 out of 559", "TfLiteGpuDelegateV2", 3)
    + "INFO: Explicitly applied GPU delegate, and the model graph will be partially executed by the delegate w/ 1 "
    "delegate kernels.\nINFO: Created TensorFlow Lite XNNPACK delegate for CPU.\n"
    + REPLACED.format("500 out of 506", "TfLiteXNNPackDelegate", 4)
)
NONE = (
    "INFO: Created TensorFlow Lite delegate for GPU.\nINFO: GPU delegate created.\n"
    "INFO: Though GPU delegate is explicitly applied, the model graph will not be executed by the delegate.\n"
    + REPLACED.format("49 out of 49", "TfLiteXNNPackDelegate", 1)
)
REPLACED_AND_FAILED = (
    "INFO: NNAPI accelerators available: [google-edgetpu,nnapi-reference]\n"
    + REPLACED.format("31 out of 31", "TfLiteNnapiDelegate", 1)
    + "INFO: Though NNAPI delegate is explicitly applied, the model graph will not be executed by the delegate.\n"
)
REFERENCE = (
    "INFO: NNAPI accelerators available: [nnapi-reference]\n"
    + REPLACED.format("31 out of 31", "TfLiteNnapiDelegate", 1)
    + "INFO: Explicitly applied NNAPI delegate, and the model graph will be completely executed by the delegate.\n"
)
NO_DELEGATE = REPLACED.format("49 out of 49", "TfLiteXNNPackDelegate", 1)
SILENT = "What was timed is the processor, so no time is told"


@pytest.mark.parametrize(
    ("log", "found", "told"),
    [
        (WHOLE, Delegated("GPU", 49, 49, 1, 4.25, 60), "49 of 49 nodes delegated to GPU; 4.25 ms an answer, 60 runs"),
        (
            PARTLY,
            Delegated("GPU", 54, 559, 3, 4.25, 60),
            "54 of 559 nodes delegated to GPU in 3 part(s), the rest on the processor; 4.25 ms an answer, 60 runs",
        ),
    ],
)
def test_what_a_delegate_took_is_told(log: str, found: Delegated, told: str) -> None:
    assert read(log + TIMES, find("gpu")) == found
    assert str(found) == told


@pytest.mark.parametrize(
    ("delegate", "log", "why"),
    [
        ("gpu", NONE, "it took none of the nodes"),
        ("nnapi", REPLACED_AND_FAILED, "it took none of the nodes"),
        ("nnapi", REFERENCE, "the phone offers no accelerator to it but its reference on the processor"),
        ("gpu", NO_DELEGATE, "the log doesn't say that it runs anything"),
        ("gpu", "ERROR: Failed to apply GPU delegate.\n" + WHOLE, "the log doesn't say that it runs anything"),
    ],
)
def test_a_silent_fall_back_is_no_number_of_the_delegates(delegate: str, log: str, why: str) -> None:
    with pytest.raises(UserError) as raised:
        read(log + TIMES, find(delegate))
    called = find(delegate).called
    assert str(raised.value) == f"{called} doesn't run this file on this phone: {why}. {SILENT}"


def test_a_log_that_says_nothing_of_nodes_or_times_is_refused() -> None:
    with pytest.raises(UserError, match="benchmark_model's log can't be understood: "):
        read(WHOLE, find("gpu"))


def test_older_logs_have_an_average_alone() -> None:
    old = "INFO: count=50 first=307215 curr=309783 min=305938 max=333030 avg=309350 std=4411\n"
    assert read(WHOLE + old, find("gpu")).median_ms == pytest.approx(309.35)


def test_the_tool_is_the_users_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("PALMTOP_BENCHMARK_MODEL", raising=False)
    with pytest.raises(
        UserError, match="name the file of android_aarch64_benchmark_model with PALMTOP_BENCHMARK_MODEL"
    ):
        tool()
    monkeypatch.setenv("PALMTOP_BENCHMARK_MODEL", str(tmp_path))
    with pytest.raises(UserError, match="doesn't come with palmtop"):
        tool()


def test_the_line_asks_for_one_length_and_one_delegate() -> None:
    two = Signature(inputs=("input_ids",), lengths=(16, 32), max_length=32, pad_id=0)
    assert command("/t/tool", "/t/m.tflite", find("gpu"), two, 20, 2) == (
        "/t/tool --graph=/t/m.tflite --num_threads=2 --num_runs=60 --use_gpu=true --signature_to_run_for=length_32 2>&1"
    )
    with pytest.raises(UserError, match="delegates take no file whose sizes are open"):
        command("/t/tool", "/t/m.tflite", find("gpu"), two.model_copy(update={"lengths": None}), 20, 2)
    with pytest.raises(UserError, match=r"no delegate 'gup'; did you mean 'gpu'\?"):
        find("gup")
