"""Trainings one after the other on one model; a finished one is kept in scratch, so that a killed run goes on with the
next."""

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from palmtop.bundle import LOGS
from palmtop.compress.learning.special import Fitted
from palmtop.durably import replacing, write_durably
from palmtop.processes import rank
from palmtop.stage import Work

if TYPE_CHECKING:
    from torch.nn import Module

FINISHED = "finished.json"
"""Written when the weights after a phase are whole on the disk; it holds what the phase was."""
WEIGHTS = "weights.safetensors"


@dataclass(frozen=True)
class Phase:
    """One training among several."""

    name: str
    """Also its folder's in scratch, and its logs'."""
    fit: Callable[[Path], Fitted]
    """Trains the model in place, with the folder it is given as its scratch. What only this phase needs is made in here
    and taken off the model again before it returns; a phase that was finished before isn't called."""


def run(model: "Module", phases: Sequence[Phase], scratch: Path) -> dict[str, dict[str, Any]]:
    """Train `model` in place through all phases and return each one's facts, by name.

    Where `scratch` holds finished phases of an equal run that was killed, the model gets their weights and the next
    phase follows. In a distributed run every process calls this with the same arguments; the first one writes.
    """
    facts: dict[str, dict[str, Any]] = {}
    for phase in phases:
        folder = scratch / phase.name
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / FINISHED).is_file():
            _load(model, folder)
            facts[phase.name] = json.loads((folder / FINISHED).read_text(encoding="utf-8"))
            continue
        facts[phase.name] = phase.fit(folder).facts()
        if rank() == 0:
            _keep(model, folder, facts[phase.name])
    return facts


def keep_logs(phases: Sequence[Phase], work: Work) -> None:
    """Move each phase's TensorBoard logs into the bundle, under its name; only the first process of a distributed run
    does."""
    for phase in phases:
        logs = work.scratch / phase.name / LOGS
        if rank() == 0 and logs.is_dir():
            (work.out / LOGS).mkdir(exist_ok=True)
            shutil.move(logs, work.out / LOGS / phase.name)


def _keep(model: "Module", folder: Path, facts: dict[str, Any]) -> None:
    """The weights, durably, then the mark; the checkpoints on the way there are of no more use."""
    from safetensors.torch import save_model  # knows of weights that are stored once and used twice

    with replacing(folder / WEIGHTS) as beside:
        save_model(model, str(beside))
    write_durably(folder / FINISHED, json.dumps(facts))
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)


def _load(model: "Module", folder: Path) -> None:
    from safetensors.torch import load_model

    load_model(model, str(folder / WEIGHTS))
