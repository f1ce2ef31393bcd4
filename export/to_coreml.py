"""Write an .mlpackage through coremltools, for one text of any length. It is converted and checked, not run."""

from typing import Any, ClassVar, Literal

from palmtop.bundle import Bundle, Format
from palmtop.effect import Effect
from palmtop.export import stored_once
from palmtop.stage import Outline, Stage, Work


class ToCoreml(Stage):
    """Convert for Core ML: converted, not run, for that takes a system of Apple's."""

    accepts: ClassVar[frozenset[Format]] = frozenset({"torch"})
    without_layers: ClassVar[bool] = True
    produces: ClassVar[Format] = "coreml"
    effect: ClassVar[Effect] = "none"
    usual_seconds: ClassVar[float] = 20
    packages: ClassVar[tuple[str, ...]] = ("torch", "transformers", "coremltools")
    extra: ClassVar[str] = "coreml"

    precision: Literal["float32", "float16"] = "float16"
    """Of weights and products; float16 is what Apple's neural engine computes in."""
    probabilities: bool = False
    """Put the softmax into the program; without it the program answers logits."""

    def outline(self, source: Outline | None) -> Outline:
        """A package with the source's labels."""
        from palmtop.export.graph.edge import outline_of_export

        return outline_of_export("to_coreml", source, self.produces, self.probabilities)

    def run(self, source: Bundle | None, work: Work) -> dict[str, Any]:
        """Convert, write, and look whether the package takes, gives and holds what it should."""
        from palmtop.export.coreml_package import features, operators, write
        from palmtop.export.graph.cleaned import any_length
        from palmtop.export.graph.edge import converting, copy_app_files, signature_of_export

        assert source is not None  # the driver checked `accepts`
        signature, outputs = signature_of_export(source, self.probabilities)
        with converting(work.out):
            program, passes = any_length(source, self.probabilities)
            write(program, work.out, outputs, self.precision == "float16")
        wanted = dict.fromkeys(signature.inputs, "int32"), dict.fromkeys(outputs, self.precision)
        if (found := features(work.out)) != wanted:
            raise RuntimeError(f"the package takes and gives {found}, where it should {wanted}")
        signature.write(work.out)
        copy_app_files(source, work.out)
        facts = stored_once.check("coreml", work.out)
        return {
            "precision": self.precision,
            "run": "converted, not run",
            "passes": passes,
            "operators": operators(work.out),
        } | facts
