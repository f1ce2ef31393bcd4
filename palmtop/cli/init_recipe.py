"""The recipe that 'palmtop init' writes, and what of it depends on the rows, the model and the kind of task."""

import json
from pathlib import Path

from palmtop import task_kinds

TEMPLATE = """\
# {title}
# Check it with 'palmtop run {file} --check', run it with 'palmtop run {file}'. A step that is made already is kept.

task:                          # what is learnt and measured
  name: {name}
  kind: {kind}
  text: {text}
  label: {label}
{splits}
  # train_rows: 10000          # train on a fixed sample
  # empty_text: drop           # what becomes of rows without a text: refuse (default), keep, drop

seed: 0
{minutes:<31}# what a run may take on the machine it runs on: epochs are cut until it fits

steps:                         # each starts from the step before it, or from the one named with 'from'
  - name: pretrained
    use: adopt
    settings:
      model: {model}
  - name: teacher              # the model the small ones are compared with
    use: finetune
    settings:
      epochs: auto             # until the validation rows get no better; a number fixes it, as here and below
      learning_rate: auto      # the best of three in short trials on the validation rows
  - name: student              # half of the teacher's layers, taught by the teacher
    use: distill
    settings:
      epochs: auto
      learning_rate: auto
      temperature: 2
  - name: teacher-tflite       # the baseline: the teacher itself, exported
    use: to_tflite
    from: teacher
    settings: {{lengths: {lengths}}}   # {why_lengths}
  - name: student-tflite
    use: to_tflite
    from: student
    settings: {{lengths: {lengths}}}
  - name: student-tflite-int8
    use: quantize
{formats}
measure:                       # leave out a target that this machine lacks ('palmtop setup' installs the browser)
  on: [{targets}]{why_targets}
  baseline: teacher-tflite
  teacher: teacher
  # length: 32                 # tokens at which latencies are compared; else what 95 % of the texts don't exceed
  threads: 1
"""


TARGETS = ("host_torch", "host_litert", "host_onnx", "host_linear", "browser")
"""In the order of a recipe."""
FORMATS = {
    "to_tfjs": ("browser", "  - name: student-tfjs         # for web pages\n    use: to_tfjs\n    from: student\n"),
    "to_onnx": ("host_onnx", "  - name: student-onnx\n    use: to_onnx\n    from: student\n"),
}
"""The formats beside .tflite that a recipe has where the kind of task allows: the target each runs on, and its step."""


def lengths(model: str | None) -> dict[str, str]:
    """Any length, but where a model folder's config.json says that its family can't; of a hub id the family isn't known
    here."""
    from palmtop.models.family import KNOWN  # reads a file for each family, which the list of commands does without

    family = KNOWN.get(_family(Path(model))) if model else None
    if family is None or family.any_length:
        return {"lengths": "any", "why_lengths": "each text at its own length; DeBERTa's are fixed: auto"}
    return {
        "lengths": "auto",
        "why_lengths": f"one length for all texts: a model of the family {family.model_type} can't have any",
    }


def formats_and_targets(kind: str) -> dict[str, str]:
    """The kind of the task, the steps that export it beyond .tflite, and the targets; the floor, where the kind has
    one, runs on one of its own."""
    of_kind = task_kinds.find(kind)
    possible = {stage: parts for stage, parts in FORMATS.items() if of_kind.works(stage)}
    targets = {target for target, _ in possible.values()} | {"host_torch", "host_litert"}
    targets |= {"host_linear"} if of_kind.has_floor else set()
    return {
        "kind": kind,
        "formats": "".join(step for _, step in possible.values()),
        "targets": ", ".join(target for target in TARGETS if target in targets),
        "why_targets": "   # host_linear: the floor, TF-IDF on the same data" if of_kind.has_floor else "",
    }


def _family(folder: Path) -> str:
    """The word for its family in a model folder's config.json; nothing where that can't be read."""
    try:
        config = json.loads((folder.expanduser() / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ""
    return str(config.get("model_type")) if isinstance(config, dict) else ""
