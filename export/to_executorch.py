"""Write a .pte through ExecuTorch's XNNPACK backend, for one text of any length."""

from typing import Any, ClassVar

from pydantic import Field

from palmtop.bundle import Bundle, Format
from palmtop.effect import Effect
from palmtop.export import check_export
from palmtop.stage import Outline, Stage, Work


class ToExecutorch(Stage):
    """Convert for ExecuTorch with XNNPACK: one text at a time, of any length."""

    accepts: ClassVar[frozenset[Format]] = frozenset({"torch"})
    without_layers: ClassVar[bool] = True
    produces: ClassVar[Format] = "executorch"
    effect: ClassVar[Effect] = "none"
    usual_seconds: ClassVar[float] = 40
    packages: ClassVar[tuple[str, ...]] = ("torch", "transformers", "executorch")
    extra: ClassVar[str] = "executorch"

    probabilities: bool = False
    """Put the softmax into the file; without it the file answers logits."""
    tolerance: float = Field(default=1e-3, gt=0)
    """Largest difference from torch that is let through, as a share of the outputs' spread."""

    def outline(self, source: Outline | None) -> Outline:
        """A file with the source's labels."""
        from palmtop.export.graph.edge import outline_of_export

        return outline_of_export("to_executorch", source, self.produces, self.probabilities)

    def run(self, source: Bundle | None, work: Work) -> dict[str, Any]:
        """Lower, write, and compare with torch in ExecuTorch's own runtime."""
        import torch

        from palmtop.export.executorch_file import FILE, PROGRAM, write
        from palmtop.export.graph.cleaned import any_length
        from palmtop.export.graph.edge import converting, copy_app_files, signature_of_export

        assert source is not None  # the driver checked `accepts`
        signature, _ = signature_of_export(source, self.probabilities)
        with converting(work.out):
            program, passes = any_length(source, self.probabilities)
            torch.export.save(program, work.out / PROGRAM)
            facts = write(program, work.out / FILE)
        signature.write(work.out)
        copy_app_files(source, work.out)
        found = check_export.check(("torch", source.path), ("executorch", work.out), self.tolerance, self.learns)
        return {"precision": "float32", "passes": passes} | facts | found
