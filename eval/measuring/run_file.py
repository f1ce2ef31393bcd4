"""measure.json beside measurements.jsonl: which bundles, baseline and teacher a run's table is about."""

from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, ValidationError

from palmtop.durably import write_durably
from palmtop.errors import UserError

FILE = "measure.json"


class Standing(BaseModel):
    """What the table of one task is about."""

    model_config = ConfigDict(extra="forbid")

    metric: str | None = None
    """The metric that decides."""
    bundles: dict[str, str] = {}
    """Digests by name, in the order of the table's rows."""
    baseline: str | None = None
    """Name of the bundle that the others are compared with."""
    teacher: str | None = None
    """Name of the bundle whose answers the others are compared with."""
    missing: dict[str, str] = {}
    """Bundles that the last call should have had and that couldn't be made: why, by name."""
    task_at: str | None = None
    """The task as a stage was given it: a shipped name, or a YAML file."""


class RunFile(BaseModel):
    """The choices of a run's calls, by task."""

    model_config = ConfigDict(extra="forbid")

    tasks: dict[str, Standing] = {}

    @classmethod
    def read(cls, run: Path) -> Self:
        """The run's file, or an empty one where there is none.

        Raises:
            UserError: it is damaged.
        """
        try:
            return cls.model_validate_json((run / FILE).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return cls()
        except (ValidationError, UnicodeDecodeError):
            raise UserError(
                f"{run / FILE} is damaged: remove it and measure again (what was measured is kept)"
            ) from None

    def write(self, run: Path) -> None:
        """Write it durably."""
        write_durably(run / FILE, self.model_dump_json(indent=1) + "\n")

    def note(self, task: str, newer: Standing) -> None:
        """Take in one call's choices; bundles of earlier calls stay, under their names, but for those that are missing
        now: they were made otherwise."""
        older = self.tasks.get(task, Standing())
        taken = newer.bundles.keys() | newer.missing.keys()
        kept = {name: digest for name, digest in older.bundles.items() if name not in taken}
        self.tasks[task] = Standing(
            metric=newer.metric,
            bundles=newer.bundles | kept,
            baseline=newer.baseline or older.baseline,
            teacher=newer.teacher or older.teacher,
            missing=newer.missing,
            task_at=newer.task_at or older.task_at,
        )
