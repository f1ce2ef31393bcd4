"""What is measured when a recipe's steps are done, as its YAML says."""

from pydantic import Field

from palmtop import format as file_format
from palmtop.settings import Settings


class ChartText(Settings):
    """A chart of what was measured: the deciding metric against the share that the bundles keep, a line for each
    method."""

    lines: dict[str, str] = Field(min_length=1)
    """The steps on each line, as a pattern: {magnitude: "magnitude-*"}."""
    levels: tuple[str, ...] = ()
    """Steps drawn as level lines: a teacher, a floor."""
    x: str = "kept"
    """The fact in a bundle's card that says which share it keeps, over 0 to 1."""
    setting: str = "keep"
    """Steps of a line with equal values of this setting (and other seeds) make one point, at their mean."""


class MeasureText(Settings):
    """What is measured when the steps are done."""

    on: tuple[str, ...] = file_format.own_targets(sorted(file_format.names()))
    """Targets; each bundle is measured on those that run its format. By default each format's own."""
    baseline: str | None = None
    """The step whose bundle the others are compared with; by default the first .tflite."""
    teacher: str | None = None
    """The step whose answers the others are compared with; by default the first finetune."""
    control: str | None = None
    """The step with several seeds (each: {seed: [...]}) whose mean the means of the others with several seeds are
    compared with; where it has other values besides (each: {keep: [...], seed: [...]}), those of the same values are
    compared."""
    bundles: tuple[str, ...] | None = None
    """The steps that are measured; by default every one whose bundle can answer the task."""
    length: int | None = Field(default=None, ge=2, le=4096)
    """Tokens at which latencies are compared; by default what 95 % of the training texts don't exceed, rounded up to a
    multiple of 8: one length for all."""
    threads: int = Field(default=1, ge=1)
    runs: int = Field(default=60, ge=50)
    """Timed answers behind each latency."""
    chart: ChartText | None = None
    """A chart to draw, as chart.png and chart.svg, with its numbers in chart.md."""
