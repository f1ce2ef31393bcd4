"""The files that are measured side by side: ours, and what each rival's own documentation makes of the untouched
model."""

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import torch

from palmtop import stage
from palmtop.bundle import CARD, Bundle, is_sealed, seal
from palmtop.export.graph.edge import edge_classifier, example
from palmtop.export.graph.passes import clean_at
from palmtop.making import make
from palmtop.models.opening import open_classifier
from palmtop.signature import Signature

LENGTHS = (16, 32, 64, 128)


@dataclass(frozen=True)
class File:
    """What answers at one length."""

    path: Path
    signature: str | None = None
    """Of a .tflite with several; of a .pte the integers it takes, where that is not int64."""


@dataclass(frozen=True)
class Artefact:
    """One line of the table."""

    name: str
    kind: str
    """The worker's: litert, ort, executorch, web-tfjs, web-ort, web-litert."""
    files: dict[int, File]
    """By length; the same file at each where it takes any length."""

    @property
    def size_bytes(self) -> int:
        """Of one file: where there is one for each length, of that for the shortest."""
        path = self.files[LENGTHS[0]].path
        return sum(
            part.stat().st_size
            for part in ([path] if path.is_file() else path.iterdir())
            if part.suffix not in (".js", ".txt")
        )


class Untouched(torch.nn.Module):
    """The model with transformers' own attention and masks; of its outputs the logits."""

    def __init__(self, bundle: Path, inputs: tuple[str, ...]) -> None:
        super().__init__()
        self.model, self._inputs = open_classifier(bundle, attention="sdpa"), inputs

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, token_type_ids: torch.Tensor | None = None
    ) -> torch.Tensor:
        """[batch, tokens] int64 -> [batch, outputs]."""
        given = {"input_ids": input_ids, "attention_mask": attention_mask, "token_type_ids": token_type_ids}
        return self.model(**{name: given[name] for name in self._inputs}).logits  # type: ignore[no-any-return]  # transformers is untyped


def everything(bundle: Bundle, out: Path) -> list[Artefact]:
    """Make what is not there yet; the order is the table's."""
    bundle = _long(bundle, out / "long")
    made = [*_ours(bundle, out), *_litert_default(bundle, out), *_onnx_default(bundle, out), *_executorch(bundle, out)]
    by_name = {artefact.name: artefact for artefact in made}
    ours, onnx = by_name["ours, .tflite float32"], by_name["torch.onnx default, float32"]
    return [
        *made,
        Artefact("ours in LiteRT.js, float32", "web-litert", ours.files),
        Artefact("ours in LiteRT.js, dynamic_int8", "web-litert", by_name["ours, .tflite dynamic_int8"].files),
        Artefact("ours in onnxruntime-web, float32", "web-ort", by_name["ours, ONNX float32"].files),
        Artefact("ours in onnxruntime-web, dynamic_int8", "web-ort", by_name["ours, ONNX dynamic_int8"].files),
        Artefact("torch.onnx default in onnxruntime-web, float32", "web-ort", onnx.files),
        Artefact(
            "torch.onnx default in onnxruntime-web, int8", "web-ort", by_name["onnxruntime's quantize_dynamic"].files
        ),
    ]


def _long(bundle: Bundle, folder: Path) -> Bundle:
    """The same model let loose to the longest length, whatever it was trained with: for its time, and its short texts'
    answers."""
    if not is_sealed(folder):
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(bundle.path, folder, ignore=shutil.ignore_patterns(CARD))
        Signature.read(folder).model_copy(update={"max_length": LENGTHS[-1]}).write(folder)
        seal(folder, "torch", bundle.card.origin, bundle, {})
    return Bundle.open(folder)


def _ours(bundle: Bundle, out: Path) -> list[Artefact]:
    alone = {
        length: _stage("to_tflite", {"lengths": [length]}, bundle, out / f"ours-tflite-{length}") for length in LENGTHS
    }
    small = {length: _stage("quantize", {}, made, out / f"ours-tflite-{length}-int8") for length, made in alone.items()}
    several = _stage("to_tflite", {"lengths": list(LENGTHS)}, bundle, out / "ours-tflite")
    several_int8 = _stage("quantize", {}, several, out / "ours-tflite-int8")
    onnx = _stage("to_onnx", {}, bundle, out / "ours-onnx")
    onnx_int8 = _stage("quantize", {}, onnx, out / "ours-onnx-int8")
    tfjs = _stage("to_tfjs", {}, bundle, out / "ours-tfjs")
    return [
        Artefact(
            "ours, .tflite float32",
            "litert",
            {length: File(made.path / "model.tflite") for length, made in alone.items()},
        ),
        Artefact(
            "ours, .tflite dynamic_int8",
            "litert",
            {length: File(made.path / "model.tflite") for length, made in small.items()},
        ),
        *(
            Artefact(
                f"ours, four lengths in one .tflite, {name}",
                "litert",
                {length: File(made.path / "model.tflite", f"length_{length}") for length in LENGTHS},
            )
            for name, made in (("float32", several), ("dynamic_int8", several_int8))
        ),
        *(
            Artefact(f"ours, ONNX {name}", "ort", dict.fromkeys(LENGTHS, File(made.path / "model.onnx")))
            for name, made in (("float32", onnx), ("dynamic_int8", onnx_int8))
        ),
        Artefact("ours in TensorFlow.js, float32", "web-tfjs", dict.fromkeys(LENGTHS, File(tfjs.path))),
    ]


def _litert_default(bundle: Bundle, out: Path) -> list[Artefact]:
    import litert_torch
    from ai_edge_quantizer import quantizer, recipe

    inputs = Signature.read(bundle.path).inputs
    plain, small = {}, {}
    for length in LENGTHS:
        path = out / f"litert-torch-{length}.tflite"
        if not path.exists():
            whole = {name: tensor.long() for name, tensor in example(inputs, 1, length).items()}
            litert_torch.convert(Untouched(bundle.path, inputs).eval(), sample_kwargs=whole).export(str(path))
        int8 = path.with_suffix(".int8.tflite")
        if not int8.exists():
            quantizer.Quantizer(str(path), recipe.dynamic_wi8_afp32()).quantize().export_model(
                str(int8), overwrite=True
            )
        plain[length], small[length] = File(path), File(int8)
    return [
        Artefact("litert-torch default, float32", "litert", plain),
        Artefact("litert-torch + ai-edge-quantizer, dynamic int8", "litert", small),
    ]


def _onnx_default(bundle: Bundle, out: Path) -> list[Artefact]:
    import onnx
    from onnxruntime.quantization import quantize_dynamic

    inputs = Signature.read(bundle.path).inputs
    path = out / "torch-onnx.onnx"
    if not path.exists():
        batch, tokens = torch.export.Dim("batch", max=64), torch.export.Dim("tokens", max=128)
        arguments = tuple(tensor.long() for tensor in example(inputs, 2, 16).values())
        torch.onnx.export(
            Untouched(bundle.path, inputs).eval(),
            arguments,
            path,
            input_names=list(inputs),
            dynamo=True,
            dynamic_shapes=[{0: batch, 1: tokens} for _ in inputs],
            external_data=False,
            verbose=False,
        )
        bare = onnx.load(path)
        del bare.graph.value_info[:]  # as the exporter writes them, quantize_dynamic stops at a shape conflict
        quantize_dynamic(bare, path.with_suffix(".int8.onnx"))
    return [
        Artefact("torch.onnx default, float32", "ort", dict.fromkeys(LENGTHS, File(path))),
        Artefact("onnxruntime's quantize_dynamic", "ort", dict.fromkeys(LENGTHS, File(path.with_suffix(".int8.onnx")))),
    ]


def _executorch(bundle: Bundle, out: Path) -> list[Artefact]:
    paths = {length: out / f"executorch-{length}.pte" for length in LENGTHS}
    small = {length: out / f"executorch-{length}.int8.pte" for length in LENGTHS}
    for length in LENGTHS:
        if not paths[length].exists():
            _lower(bundle, length, paths[length], quantized=False)
        if not small[length].exists():
            _lower(bundle, length, small[length], quantized=True)
    return [
        Artefact("ExecuTorch XNNPACK, float32", "executorch", {length: File(path) for length, path in paths.items()}),
        Artefact(
            "ExecuTorch XNNPACK on our graph, dynamic int8",
            "executorch",
            {length: File(path, "int32") for length, path in small.items()},
        ),
    ]


def _lower(bundle: Bundle, length: int, path: Path, quantized: bool) -> None:
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import (
        XnnpackDynamicallyQuantizedPartitioner,
        XnnpackPartitioner,
    )
    from executorch.exir import to_edge_transform_and_lower

    inputs = Signature.read(bundle.path).inputs
    named = example(inputs, 1, length)
    arguments = tuple(tensor.long() for tensor in named.values())
    if quantized:  # its quantizer stops at the integer indices in transformers' masks; our forward for exports has none
        module, _ = clean_at(edge_classifier(bundle, False), inputs, length)
        arguments = tuple(named.values())
        program = torch.export.export(_dynamic_int8(module, arguments), arguments)
    else:
        program = torch.export.export(Untouched(bundle.path, inputs).eval(), arguments)
    partitioners = (
        [XnnpackDynamicallyQuantizedPartitioner(), XnnpackPartitioner()] if quantized else [XnnpackPartitioner()]
    )
    path.write_bytes(to_edge_transform_and_lower(program, partitioner=partitioners).to_executorch().buffer)


def _dynamic_int8(module: torch.nn.Module, arguments: tuple[torch.Tensor, ...]) -> torch.nn.Module:
    from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (
        XNNPACKQuantizer,
        get_symmetric_quantization_config,
    )
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

    chosen = XNNPACKQuantizer().set_module_type(
        torch.nn.Linear, get_symmetric_quantization_config(is_per_channel=True, is_dynamic=True)
    )
    prepared = prepare_pt2e(module, chosen)
    prepared(*arguments)
    converted: torch.nn.Module = convert_pt2e(prepared)
    return converted


def _stage(use: str, settings: dict[str, object], source: Bundle, out: Path) -> Bundle:
    return make(use, stage.find(use)(**settings), source, out, lambda said: print(said, file=sys.stderr))


def npm(out: Path) -> Path:
    """The browser runtimes, installed beside the results."""
    import subprocess

    folder = out / "web"
    if not (folder / "node_modules").is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(Path(__file__).parent / "package.json", folder)
        subprocess.run(
            ["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund"],
            cwd=folder,
            check=True,
            stdout=subprocess.DEVNULL,
        )
    return folder / "node_modules"
