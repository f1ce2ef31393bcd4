"""The model card of a bundle on the hub: what it is, how it was made, and what was measured of it; nothing else."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from palmtop import task_kinds
from palmtop.app_manifest import MANIFEST, NOT_STATED, Manifest
from palmtop.bundle import Bundle
from palmtop.measurement import Measurement, sound
from palmtop.paths import without_paths
from palmtop.task_kinds.kind import TaskKind

LIBRARIES: Final = {
    "transformers.js": "transformers.js",
    "sentence-transformers": "sentence-transformers",
    "model2vec": "model2vec",
}
"""The hub's word for what opens a folder, by to_app's layout."""
PIPELINES: Final = {"sentence-transformers": "sentence-similarity", "model2vec": "feature-extraction"}
COSTS: Final = {"model_bytes": "size", "text_latency_ms": "one text, median", "memory_mb": "memory"}
"""What is told besides the task's metrics."""
CALLED: Final = "Made with [palmtop](https://pypi.org/project/palmtop/), measured in its own runtime."
PLAIN = """\
## How to open it

`palmtop adopt` takes a torch bundle (`palmtop adopt --model {name} --out FOLDER`); any other is fetched with
`hf download {name} --local-dir FOLDER`. Then `palmtop verify FOLDER` checks every file, and
`palmtop predict FOLDER "a text"` asks it.
"""


def model_card(bundle: Bundle, name: str, licence: str | None, taken: Sequence[Measurement]) -> str:
    """README.md for the hub.

    Args:
        licence: the hub's word for it, such as apache-2.0.
        taken: what was measured, of this bundle and of others.
    """
    import yaml

    of, rows = measured(bundle, taken)
    front = yaml.safe_dump(_front(bundle, name, licence, rows), sort_keys=False, allow_unicode=True)
    about = _about(bundle)
    return "\n".join(
        [
            f"---\n{front}---",
            "",
            f"# {name.partition('/')[2]}",
            "",
            f"{about.said} Format: {bundle.model_format}. Licence: {licence or NOT_STATED}.",
            "",
            "## What was measured",
            "",
            *(_table(rows, of) if rows else ["Nothing was measured of it."]),
            "",
            PLAIN.format(name=name),
            "## How it was made",
            "",
            *_way(bundle),
            "",
            f"Bundle {bundle.digest}; sha256 of every file stands in palmtop.json.",
            "",
        ]
    )


@dataclass(frozen=True)
class _About:
    """What a model is for."""

    said: str
    task: str | None = None
    """Its name and version; None where there is no task."""
    kind: TaskKind | None = None


def _about(bundle: Bundle) -> _About:
    """By its task, or, of an app, by its manifest."""
    if (task := bundle.task) is not None:
        named = f"{task.name} v{task.version}"
        return _About(f"{named}: {task.of_kind.describe(task)}.", named, task.of_kind)
    if MANIFEST in bundle.card.files:
        manifest = Manifest.read(bundle.path)
        return _About(manifest.description, manifest.task, task_kinds.find(manifest.kind))
    return _About("A model that gives vectors, without a task's head.")


def measured(bundle: Bundle, taken: Sequence[Measurement]) -> tuple[str, list[Measurement]]:
    """What was measured of a bundle, newest first counted once; of an app's folder that of the file which it was made
    of, where nobody measured the folder itself. With words for which of the two it is."""
    file = [step.digest for step in reversed(bundle.card.lineage) if step.format == bundle.model_format][:1]
    known, _ = sound(taken)
    for digest, of in (
        (bundle.digest, "this bundle"),
        *((each, "the file in it, before it was packed") for each in file),
    ):
        rows = list({one.identity(): one for one in known if one.bundle == digest}.values())
        if rows:
            return of, _told(bundle, rows)
    return "", []


def _told(bundle: Bundle, rows: list[Measurement]) -> list[Measurement]:
    """Those that a card tells of: the task's metrics first, then what the model costs; only numbers that hold."""
    kind = _about(bundle).kind
    order = [*(kind.metrics if kind else ()), *COSTS]
    kept = [one for one in rows if one.metric in order and one.value is not None and one.valid]
    return sorted(kept, key=lambda one: order.index(one.metric))


def _front(bundle: Bundle, name: str, licence: str | None, rows: list[Measurement]) -> dict[str, Any]:
    layout, about = str(bundle.card.facts.get("layout", "")), _about(bundle)
    pipeline = PIPELINES.get(layout) or (about.kind.pipeline if about.kind else None)
    known: dict[str, Any] = {"tags": sorted({"palmtop", bundle.model_format})}
    if library := LIBRARIES.get(layout) or ("transformers" if bundle.format == "torch" else None):
        known = {"library_name": library} | known
    if licence:
        known["license"] = licence
    if pipeline:
        known["pipeline_tag"] = pipeline
    metrics = [
        {"type": one.metric, "name": f"{one.metric} ({one.target})", "value": one.value}
        for one in rows
        if about.kind and one.metric in about.kind.metrics and one.kind == "measured"
    ]
    if about.task and metrics and pipeline:
        dataset = {"name": about.task, "type": about.task.partition(" ")[0], "split": "evaluation"}
        found = {"task": {"type": pipeline}, "dataset": dataset, "metrics": metrics}
        known["model-index"] = [{"name": name.partition("/")[2], "results": [found]}]
    return known


def _table(rows: list[Measurement], of: str) -> list[str]:
    machine = rows[0].machine
    versions = ", ".join(f"{name} {version}" for name, version in machine.get("versions", {}).items())
    lines = ["| what | value | 95 % | n | where |", "| --- | ---: | ---: | ---: | --- |"]
    for one in rows:
        between = f"{one.low:.4g} to {one.high:.4g}" if one.low is not None and one.high is not None else ""
        where = one.target if one.kind == "measured" else f"{one.target}, {one.kind}"
        lines.append(f"| {COSTS.get(one.metric, one.metric)} | {_number(one)} | {between} | {one.n or ''} | {where} |")
    task = next((one.task for one in rows if one.task), None)
    return [
        *lines,
        "",
        f"Of {of}, on {machine.get('processor', 'a machine without a name')}, {rows[0].date[:10]}; {versions}."
        + (f" Task: {task}." if task else ""),
    ]


def _number(one: Measurement) -> str:
    assert one.value is not None  # only such are told
    if one.unit == "bytes":
        return f"{one.value / 1e6:.2f} MB"
    return f"{one.value:.4g}" + ("" if one.unit in ("share", "1") else f" {one.unit}")


def _way(bundle: Bundle) -> list[str]:
    lines = []
    for number, step in enumerate(bundle.lineage, 1):
        settings = without_paths({name: value for name, value in step.settings.items() if _is_short(value)})
        said = ", ".join(f"{name} {value}" for name, value in settings.items())
        lines.append(f"{number}. `{step.stage}` ({step.format})" + (f": {said}" if said else ""))
    return lines


def _is_short(value: Any) -> bool:
    """Whether a setting is a word or a number, and was given."""
    return isinstance(value, str | int | float) and value not in ("", NOT_STATED) and not isinstance(value, bool)
