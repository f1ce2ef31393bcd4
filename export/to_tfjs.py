"""Write a TensorFlow.js graph model straight from torch's graph, for any batch and length."""

from typing import Any, ClassVar, Literal

from pydantic import Field

from palmtop import target
from palmtop.bundle import Bundle, Format
from palmtop.effect import Effect
from palmtop.errors import UserError
from palmtop.export import check_export
from palmtop.stage import Outline, Stage, Work

TOLERANCE = {"float32": 1e-3, "float16": 5e-2}


class ToTfjs(Stage):
    """Convert for TensorFlow.js: model.json and its shards, checked in a real browser."""

    accepts: ClassVar[frozenset[Format]] = frozenset({"torch"})
    without_layers: ClassVar[bool] = True
    produces: ClassVar[Format] = "tfjs"
    effect: ClassVar[Effect] = "none"
    usual_seconds: ClassVar[float] = 40
    packages: ClassVar[tuple[str, ...]] = ("torch", "transformers", "playwright")
    extra: ClassVar[str] = "web"

    precision: Literal["float32", "float16"] = "float32"
    """Of the weights as downloaded; the page widens float16 when it loads them, so that is a smaller file, not a faster
    model."""
    probabilities: bool = False
    """Put the softmax into the graph; without it the graph answers logits."""
    tolerance: float | None = Field(default=None, gt=0)
    """Largest difference from torch that is let through, as a share of the outputs' spread; by default 0.001, or 0.05
    in float16."""

    def outline(self, source: Outline | None) -> Outline:
        """A graph with the source's labels; refused where no browser could check it."""
        from palmtop.export.graph.edge import outline_of_export

        if lack := target.for_format("tfjs").missing():
            raise UserError(f"to_tfjs checks what it writes in a browser, but {lack}")
        return outline_of_export("to_tfjs", source, self.produces, self.probabilities)

    def run(self, source: Bundle | None, work: Work) -> dict[str, Any]:
        """Convert, write, and compare with torch in Chromium."""
        from palmtop.export.graph.cleaned import any_size
        from palmtop.export.graph.edge import converting, copy_app_files, signature_of_export
        from palmtop.export.tfjs_model.graph_model import write_graph_model

        assert source is not None  # the driver checked `accepts`
        signature, outputs = signature_of_export(source, self.probabilities)
        with converting(work.out):
            program, passes = any_size(source, self.probabilities)
            facts = write_graph_model(program, signature.inputs, outputs, work.out, self.precision)
        signature.write(work.out)
        copy_app_files(source, work.out)
        found = check_export.check(
            ("torch", source.path), ("tfjs", work.out), self.tolerance or TOLERANCE[self.precision], self.learns
        )
        return {"precision": self.precision, "passes": passes} | facts | found
