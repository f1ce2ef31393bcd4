"""The file that the Android app shares after a benchmark, as measurements: `palmtop compare RUN FILE.json`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from palmtop.errors import UserError
from palmtop.measurement import Measurement

TARGET = "android_demo"
"""What stands in the table's place for the target: these numbers were taken by the app, on a phone."""
TOO_HOT = ("severe", "critical", "emergency", "shutdown")
"""From such heat on a phone slows itself down (PowerManager.THERMAL_STATUS_SEVERE)."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Model(_Frozen):
    """What was measured."""

    name: str
    digest: str
    """Of the bundle that the app's folder was made of."""
    format: str
    precision: str
    task: str
    """Its name and version: the app knows no evaluation data."""
    bytes: int = Field(gt=0)


class Phone(_Frozen):
    """The machine."""

    model: str
    chip: str
    cores: int
    memory_gb: float
    system: str


class Heat(_Frozen):
    """What the phone said of its own heat; "unknown" before Android 10."""

    before: str
    after: str


class Times(_Frozen):
    """Of timed answers."""

    n: int = Field(gt=0)
    p50_ms: float
    p90_ms: float
    p99_ms: float


class LengthTimes(Times):
    """At one length."""

    tokens: int = Field(gt=0)


class PhoneFile(_Frozen):
    """One benchmark of one model; android_demo's BenchmarkReport.kt writes it."""

    palmtop_phone: Literal[1]
    model: Model
    phone: Phone
    litert: str
    threads: int
    warm_up: int
    heat: Heat
    session: str
    date: str
    lengths: tuple[LengthTimes, ...] = Field(min_length=1)
    tokenization: Times


def read(path: Path) -> list[Measurement]:
    """The measurements in a file: a row for each length, under the bundle's name.

    They are a phone's, by their machine, their target and their session, so that no number of another machine is ever
    set against them.

    Raises:
        UserError: it isn't such a file, or isn't whole.
    """
    try:
        found = PhoneFile.model_validate_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path} isn't there: give a run's folder, or a file that the Android app has shared") from None
    except (ValidationError, UnicodeDecodeError) as error:
        fault = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
        raise UserError(
            f"{path} isn't a file that the Android app shares ({fault}): share it again, all of it; of what 'palmtop "
            "measure' took give the folder"
        ) from None
    return [one for times in found.lengths for one in _row(found, times)]


def _row(found: PhoneFile, times: LengthTimes) -> list[Measurement]:
    timed: dict[str, object] = {
        "threads": found.threads,
        "length": times.tokens,
        "padded_to": times.tokens,
        "warm_up": found.warm_up,
    }
    timed |= {"heat_before": found.heat.before, "heat_after": found.heat.after}
    name = found.model.name if len(found.lengths) == 1 else f"{found.model.name} ({times.tokens} tokens)"
    taken: list[tuple[str, Times, dict[str, object]]] = [
        ("latency", times, timed),
        ("tokenize", found.tokenization, {"threads": found.threads}),
    ]
    return [
        _one(found, name, "model_bytes", found.model.bytes, "bytes", None, {"precision": found.model.precision}),
        *(
            _one(found, name, f"{what}_{end}", value, "ms", of.n, conditions)
            for what, of, conditions in taken
            for end, value in (("ms", of.p50_ms), ("p90_ms", of.p90_ms), ("p99_ms", of.p99_ms))
        ),
    ]


def _one(
    found: PhoneFile, name: str, metric: str, value: float, unit: str, n: int | None, conditions: Mapping[str, object]
) -> Measurement:
    hot = unit == "ms" and (found.heat.before in TOO_HOT or found.heat.after in TOO_HOT)
    return Measurement(
        bundle=found.model.digest,
        name=name,
        format=found.model.format,
        target=TARGET,
        metric=metric,
        value=None if hot else value,
        unit=unit,
        n=n,
        conditions=dict(conditions),
        machine=_machine(found),
        task=found.model.task,
        session=found.session,
        date=found.date,
        valid=not hot,
        why="the phone was hot and slowed itself down: let it cool, and measure again" if hot else None,
    )


def _machine(found: PhoneFile) -> dict[str, object]:
    phone = found.phone
    return {
        "processor": f"{phone.model} ({phone.chip}), a phone",
        "cores": phone.cores,
        "memory_gb": phone.memory_gb,
        "system": phone.system,
        "versions": {"litert": found.litert},
    }
