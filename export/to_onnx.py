"""Write ONNX through torch.onnx, for any batch and length."""

from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from palmtop.bundle import Bundle, Format
from palmtop.effect import Effect
from palmtop.export import check_export
from palmtop.families.family import Kind
from palmtop.stage import Outline, Stage, Work

FILE = "model.onnx"
PLACES = "pkg.torch.onnx.stack_trace"


class ToOnnx(Stage):
    """Convert for ONNX Runtime."""

    accepts: ClassVar[frozenset[Format]] = frozenset({"torch"})
    takes: ClassVar[frozenset[Kind]] = frozenset({"encoder", "decoder"})
    without_layers: ClassVar[bool] = True
    produces: ClassVar[Format] = "onnx"
    effect: ClassVar[Effect] = "none"
    usual_seconds: ClassVar[float] = 20
    packages: ClassVar[tuple[str, ...]] = ("torch", "transformers", "onnx", "onnxscript", "onnxruntime")
    extra: ClassVar[str] = "onnx"

    probabilities: bool = False
    """Put the softmax into the file; without it the file answers logits."""
    tolerance: float = Field(default=1e-3, gt=0)
    """Largest difference from torch that is let through, as a share of the outputs' spread."""

    def outline(self, source: Outline | None) -> Outline:
        """A file with the source's labels."""
        from palmtop.export.graph.edge import outline_of_export

        return outline_of_export("to_onnx", source, self.produces, self.probabilities)

    def run(self, source: Bundle | None, work: Work) -> dict[str, Any]:
        """Convert, write, and compare with torch in ONNX Runtime."""
        import torch

        from palmtop.export.graph.cleaned import any_size
        from palmtop.export.graph.edge import converting, copy_app_files, signature_of_export

        assert source is not None  # the driver checked `accepts`
        if source.signature.generation is not None:
            return self._of_steps(source, work.out)
        signature, outputs = signature_of_export(source, self.probabilities)
        with converting(work.out):
            program, passes = any_size(source, self.probabilities)
            torch.onnx.export(
                program,
                (),
                str(work.out / FILE),
                input_names=list(signature.inputs),
                output_names=list(outputs),
                external_data=False,
                verbose=False,
            )
        signature.write(work.out)
        copy_app_files(source, work.out)
        joined = _tidied(work.out / FILE)
        found = check_export.check(("torch", source.path), ("onnx", work.out), self.tolerance, self.learns)
        return {"precision": "float32", "passes": passes, "joined_tensors": joined} | found

    def _of_steps(self, source: Bundle, out: Path) -> dict[str, Any]:
        """Of a model that writes."""
        from palmtop.export import writing_onnx, writing_parity
        from palmtop.export.graph.edge import converting, copy_app_files

        with converting(out):
            signature = writing_onnx.write(source, out / FILE)
        signature.write(out)
        copy_app_files(source, out)
        joined = _tidied(out / FILE)
        found = check_export.check(("torch", source.path), ("onnx", out), self.tolerance, self.learns)
        written = writing_parity.check(source, ("onnx", out), self.tolerance) if self.learns else {}
        return {"precision": "float32", "joined_tensors": joined} | found | written


def _tidied(file: Path) -> int:
    """Write a file again with each tensor once, and without this machine's folders; returns how many tensors went."""
    import onnx

    from palmtop.export.quantization.onnx_once import join_equal

    model = onnx.load(str(file))
    for node in model.graph.node:
        _drop_places(node)
    joined = join_equal(model)
    onnx.save(model, str(file))
    return joined


def _drop_places(node: Any) -> None:
    """Torch notes in each node the lines of Python that it comes from, with their files' full names."""
    for place in reversed(range(len(node.metadata_props))):
        if node.metadata_props[place].key == PLACES:
            del node.metadata_props[place]
