"""Rules about exported graphs: what a GPU or NPU delegate refuses, what a quantizer or an old runtime gets wrong; each
with its bug."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from palmtop.anatomy import Anatomy, Operator
from palmtop.eval.explaining.graph_flow import MATRIX, PRODUCTS, SOFTMAXES, SUMS, Flow
from palmtop.signature import Signature

LARGEST_RANK = 4
LARGE_MASK = 1e4
"""From this on a mask's constant leaves nothing of an int8 range for the scores."""
WORTH_TELLING = 16_384
"""Bytes from which a repeated or a float weight is told."""
MOST_SHARDS = 6
POSITIONS = 8192
"""A longer table is a vocabulary."""
SMALL = ("int8", "uint8", "int4", "int2")
GRAPHS = frozenset({"tflite", "onnx", "tfjs"})
TFLITE = frozenset({"tflite"})


@dataclass(frozen=True)
class Case:
    """A model to be judged."""

    anatomy: Anatomy
    flow: Flow
    kinds: dict[str, str]
    signature: Signature | None


Find = Callable[[Case], Iterator[str]]


@dataclass(frozen=True)
class Rule:
    """Something that goes wrong. `find` names every place of a model where it would."""

    id: str
    where: str
    """Who refuses it, or gets it wrong."""
    says: str
    bugs: tuple[str, ...]
    """Public reports; none: measured here."""
    formats: frozenset[str]
    find: Find

    @property
    def source(self) -> str:
        """Where it is known from."""
        return ", ".join(self.bugs) or "measured here"


def rank_over_4(case: Case) -> Iterator[str]:
    """Tensors that are made by an operator and have more than four axes."""
    made = (name for operator in case.anatomy.operators for name in operator.outputs)
    return (case.anatomy.shown(name) for name in made if len(case.anatomy.tensors[name].shape or ()) > LARGEST_RANK)


def mask_constant(case: Case) -> Iterator[str]:
    """Float constants of at least LARGE_MASK that come into a softmax before any product."""
    for operator in case.anatomy.operators:
        large = [
            name
            for name in case.flow.fixed_inputs(operator)
            if any((case.anatomy.stored[key].peak or 0) >= LARGE_MASK for key in case.flow.fixed[name])
        ]
        if large and not case.flow.role(operator) and _reaches_softmax(case.flow, operator):
            yield from (f"{case.anatomy.shown(name)} (up to {_peak(case, name):.3g})" for name in large)


def dynamic_shape(case: Case) -> Iterator[str]:
    """Tensors with a size that is known only when the model runs: inputs, or if all of them are fixed, others."""
    read = {name for operator in case.anatomy.operators for name in operator.inputs}
    made = {name for operator in case.anatomy.operators for name in operator.outputs}
    open_sizes = [name for name in read | made if None in (case.anatomy.tensors[name].shape or ())]
    return (
        case.anatomy.shown(name)
        for name in sorted(name for name in open_sizes if name not in made) or sorted(open_sizes)
    )


def named(*names: str) -> Find:
    """Every use of operators."""
    return lambda case: (_operator(case, operator) for operator in case.anatomy.operators if operator.name in names)


def custom_operator(case: Case) -> Iterator[str]:
    """Operators that the runtime doesn't bring, Select TF's ('Flex...') among them."""
    return (
        _operator(case, operator)
        for operator in case.anatomy.operators
        if operator.custom or operator.name.startswith("Flex")
    )


def no_kernel(case: Case) -> Iterator[str]:
    """StableHLO operators that were left over."""
    return (_operator(case, operator) for operator in case.anatomy.operators if operator.name.startswith("STABLEHLO_"))


def rank_3_attention(case: Case) -> Iterator[str]:
    """Scores of three axes that something computed, a mask, is added to on their way to a softmax."""
    for operator in case.anatomy.operators:
        computed = case.flow.computed_inputs(operator)
        low = [name for name in computed if len(case.anatomy.tensors[name].shape or ()) == LARGEST_RANK - 1]
        if (
            operator.name in SUMS
            and low
            and len(computed) > 1
            and _reaches_softmax(case.flow, operator)
            and any(
                case.flow.role(above) == "attend"
                for above in case.flow.reached(operator, case.flow.above, ("linear", "attend"))
            )
        ):
            yield _operator(case, operator)


def gpu_type(case: Case) -> Iterator[str]:
    """Computed tensors of 64-bit integers or truth values."""
    made = (name for operator in case.anatomy.operators for name in (*operator.inputs, *operator.outputs))
    return (
        case.anatomy.shown(name)
        for name in dict.fromkeys(made)
        if case.anatomy.tensors[name].dtype in ("int64", "bool", "uint64") and name not in case.flow.fixed
    )


def hybrid_product(case: Case) -> Iterator[str]:
    """Products of float activations with integer weights."""
    return (_operator(case, operator) for operator, _ in _hybrid(case))


def channelwise_product(case: Case) -> Iterator[str]:
    """The same with a scale for each output channel."""
    return (_operator(case, operator) for operator, weight in _hybrid(case) if case.anatomy.tensors[weight].scales > 1)


def float_lookup(case: Case) -> Iterator[str]:
    """Tables of floats read by GATHER, but for those of positions that the file counts: they are small, and better left
    as they are."""
    for operator in case.anatomy.operators:
        if operator.name == "GATHER" and not any(
            above.name == "CUMSUM" for above in case.flow.reached(operator, case.flow.above, ())
        ):
            yield from (
                case.anatomy.shown(name)
                for name in case.flow.fixed_inputs(operator)
                if case.anatomy.tensors[name].dtype == "float32"
                and len(case.anatomy.tensors[name].shape or ()) >= MATRIX
                and _bytes(case, name) >= WORTH_TELLING
            )


def stored_twice(case: Case) -> Iterator[str]:
    """Stretches of equal bytes, after the first."""
    first: dict[str, str] = {}
    for key, tensor in case.anatomy.users():
        held = case.anatomy.stored[tensor.stored or ""]
        if held.size_bytes >= WORTH_TELLING and first.setdefault(held.digest, key) != key:
            twin = case.anatomy.shown(first[held.digest])
            yield f"{case.anatomy.shown(key)} is {twin} again ({held.size_bytes:,} bytes)"


def long_positions(case: Case) -> Iterator[str]:
    """Tables of positions with more rows than the longest text has tokens."""
    if case.signature is None:
        return
    tables = {
        key: tensor
        for key, tensor in case.anatomy.users()
        if case.kinds.get(tensor.stored or "") == "embeddings" and len(tensor.shape or ()) >= MATRIX
    }
    needed = case.signature.max_length + 2  # RoBERTa counts from the padding's id on
    largest = max((tensor.numbers for tensor in tables.values()), default=0)
    for key, tensor in tables.items():
        rows = (tensor.shape or (0, 0))[-2] or 0
        if needed < rows <= POSITIONS and tensor.numbers < largest:
            yield f"{case.anatomy.shown(key)} for texts of {case.signature.max_length} tokens"


def outside_buffers(case: Case) -> Iterator[str]:
    """Weights that lie behind the flatbuffer."""
    outside = [held.size_bytes for held in case.anatomy.stored.values() if held.outside]
    if outside:
        yield f"{len(outside)} buffers, {sum(outside):,} bytes"


def many_shards(case: Case) -> Iterator[str]:
    """More shards than a browser opens at once over HTTP/1.1."""
    if case.anatomy.notes["shards"] > MOST_SHARDS:
        yield f"{case.anatomy.notes['shards']} shards"


def per_tensor_uint8(case: Case) -> Iterator[str]:
    """Weights with one scale for a whole tensor."""
    yield from case.anatomy.notes["per_tensor_uint8"]


RULES = (
    Rule(
        "masked-attention-rank-3",
        "GPU",
        "scores of rank 3 with a mask added are silently wrong: make them rank 4 before the mask",
        ("google-ai-edge/LiteRT#8593", "google-ai-edge/LiteRT#8619", "google-ai-edge/LiteRT#8975"),
        TFLITE,
        rank_3_attention,
    ),
    Rule(
        "rank-over-4",
        "GPU, NPU",
        "delegates take tensors of at most 4 axes",
        ("google-ai-edge/LiteRT#2540", "tensorflow/tensorflow#60793", "tensorflow/tensorflow#47546"),
        TFLITE,
        rank_over_4,
    ),
    Rule(
        "broadcast-to",
        "GPU",
        "one BROADCAST_TO (torch's expand) takes the whole graph off the GPU: let operators broadcast",
        ("google-ai-edge/LiteRT#9191",),
        TFLITE,
        named("BROADCAST_TO"),
    ),
    Rule(
        "gather-nd",
        "GPU, old runtimes",
        "GATHER_ND has no GPU kernel, and its version 5 is refused by older runtimes",
        ("google-ai-edge/LiteRT#5197",),
        TFLITE,
        named("GATHER_ND"),
    ),
    Rule(
        "gather",
        "GPU",
        "GATHER has had no GPU kernel: write lookups as EMBEDDING_LOOKUP, and rows as slices",
        ("tensorflow/tensorflow#57610", "tensorflow/tensorflow#58295"),
        TFLITE,
        named("GATHER"),
    ),
    Rule(
        "custom-operator",
        "all",
        "an operator outside the built-in ones (Flex: Select TF) makes the app link and load another runtime",
        ("keras-team/keras-hub#2608",),
        GRAPHS,
        custom_operator,
    ),
    Rule("no-kernel", "all", "the interpreter has no kernel for this StableHLO operator", (), TFLITE, no_kernel),
    Rule(
        "dynamic-shape",
        "GPU, NPU",
        "delegates take fixed sizes only, the processor takes any: export fixed lengths for them",
        ("tensorflow/tensorflow#38036",),
        TFLITE,
        dynamic_shape,
    ),
    Rule(
        "dynamic-shape-onnx",
        "NNAPI, QNN",
        "these providers of onnxruntime take fixed sizes only; the CPU's takes any",
        ("microsoft/onnxruntime#11073", "microsoft/onnxruntime#22439"),
        frozenset({"onnx"}),
        dynamic_shape,
    ),
    Rule(
        "type",
        "GPU",
        "64-bit integers and truth values have no place on the GPU: keep ids int32 and masks float",
        ("tensorflow/tensorflow#59232", "tensorflow/tensorflow#62314"),
        TFLITE,
        gpu_type,
    ),
    Rule(
        "int8-on-gpu",
        "GPU",
        "the GPU widens int8 weights to float, or refuses them unless told to: smaller there, not faster",
        ("tensorflow/tensorflow#49835", "tensorflow/tensorflow#51586", "tensorflow/tensorflow#42098"),
        TFLITE,
        hybrid_product,
    ),
    Rule(
        "channelwise-int8",
        "old runtimes",
        "loads in tflite-support 0.4.4 and answers wrongly: use weight-only int8 or float16 there",
        (),
        TFLITE,
        channelwise_product,
    ),
    Rule(
        "int8-on-old-x86",
        "x86 without VNNI",
        "8-bit products overflow there and the answers are wrong in silence: set the session's option "
        "session.x64quantprecision to 1",
        (),
        frozenset({"onnx"}),
        named("MatMulInteger", "DynamicQuantizeMatMul", "MatMulIntegerToFloat", "QLinearMatMul", "QuantizeLinear"),
    ),
    Rule(
        "mask-constant",
        "static int8",
        "a mask of -1e4 or beyond leaves no int8 range for the scores: use a small one, such as -50",
        (),
        GRAPHS,
        mask_constant,
    ),
    Rule(
        "float-gather",
        "quantizer",
        "GATHER's table stays float32 when the file is quantized: make it EMBEDDING_LOOKUP",
        (),
        TFLITE,
        float_lookup,
    ),
    Rule(
        "stored-twice",
        "download",
        "equal weights are stored more than once",
        ("huggingface/transformers#8869",),
        GRAPHS,
        stored_twice,
    ),
    Rule(
        "long-positions",
        "download",
        "the table of positions has more rows than the longest text needs: cut it",
        (),
        GRAPHS,
        long_positions,
    ),
    Rule(
        "outside-buffers",
        "metadata writers",
        "weights behind the flatbuffer are dropped in silence: bring them inside first",
        (),
        TFLITE,
        outside_buffers,
    ),
    Rule(
        "many-shards",
        "browser",
        f"the loader waits for all headers first: over HTTP/1.1 more than {MOST_SHARDS} shards hang for ever",
        (),
        frozenset({"tfjs"}),
        many_shards,
    ),
    Rule(
        "per-tensor-uint8",
        "accuracy",
        "one scale for a whole tensor changed 6 % of the answers: use a scale for each row",
        (),
        frozenset({"tfjs"}),
        per_tensor_uint8,
    ),
)


def _reaches_softmax(flow: Flow, operator: Operator) -> bool:
    return any(below.name in SOFTMAXES for below in flow.reached(operator, flow.below, ("linear", "attend", "norm")))


def _hybrid(case: Case) -> Iterator[tuple[Operator, str]]:
    for operator in case.anatomy.operators:
        types = [case.anatomy.tensors[name].dtype for name in case.flow.computed_inputs(operator)]
        weight = next(
            (name for name in case.flow.fixed_inputs(operator) if case.anatomy.tensors[name].dtype in SMALL), None
        )
        if operator.name in PRODUCTS and weight is not None and "float32" in types:
            yield operator, weight


def _operator(case: Case, operator: Operator) -> str:
    return f"{operator.name} -> {case.anatomy.shown(operator.outputs[0])}"


def _peak(case: Case, name: str) -> float:
    return max(case.anatomy.stored[key].peak or 0 for key in case.flow.fixed[name])


def _bytes(case: Case, name: str) -> int:
    return sum(case.anatomy.stored[key].size_bytes for key in case.flow.fixed[name])
