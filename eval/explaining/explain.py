"""What a bundle is made of, and what will go wrong with it: bytes by kind and tensor, operators, findings, advice."""

from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

from palmtop import format as file_format
from palmtop import signature
from palmtop.anatomy import Anatomy
from palmtop.bundle import Bundle
from palmtop.errors import UserError
from palmtop.eval.explaining.delegate_rules import RULES, Case
from palmtop.eval.explaining.graph_flow import Flow
from palmtop.eval.explaining.weight_kinds import KINDS, bytes_by_kind, kinds
from palmtop.signature import Signature

MANY_EMBEDDINGS, MANY_FLOATS = 0.4, 0.5
"""Shares of the files from which advice is given."""


@dataclass(frozen=True)
class Weight:
    """Stored numbers."""

    name: str
    kind: str
    dtype: str
    shape: tuple[int | None, ...] | None
    size_bytes: int


@dataclass(frozen=True)
class Finding:
    """A rule that a model breaks, and where."""

    rule: str
    where: str
    says: str
    source: str
    """Public bugs, or 'measured here'."""
    places: tuple[str, ...]


@dataclass(frozen=True)
class Explanation:
    """A bundle explained."""

    name: str
    format: str
    size_bytes: int
    kinds: dict[str, int]
    """Bytes; they add up to `size_bytes`."""
    weights: tuple[Weight, ...]
    """Largest first."""
    operators: tuple[tuple[str, int | None, int], ...]
    """Name, version, how many; most frequent first."""
    findings: tuple[Finding, ...]
    advice: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def explain(bundle: Bundle) -> Explanation:
    """Take a bundle apart and judge it by every rule for its format.

    Raises:
        UserError: a format without tensors, or a file that can't be read.
    """
    made = file_format.find(bundle.model_format)
    if made.reader is None or not made.explained:
        read = [each.name for each in file_format.every() if each.reader and each.explained]
        raise UserError(f"{bundle.name} is {bundle.format}: explain reads {', '.join(read)} bundles, and apps of them")
    known = bundle.signature if (bundle.path / signature.FILE).is_file() else None
    return explained(file_format.called(made.reader)(bundle.path), bundle.name, known)


def explained(anatomy: Anatomy, name: str, known: Signature | None) -> Explanation:
    """A model that is taken apart already, judged."""
    flow = Flow(anatomy)
    found = kinds(anatomy, flow)
    sums = bytes_by_kind(anatomy, found)
    case = Case(anatomy, flow, found, known)
    weights = [
        Weight(
            anatomy.shown(key).split(" ")[0],
            found[tensor.stored or ""],
            tensor.dtype,
            tensor.shape,
            anatomy.stored[tensor.stored or ""].size_bytes,
        )
        for key, tensor in anatomy.users()
    ]
    counts = Counter((operator.name, operator.version) for operator in anatomy.operators)
    findings = [
        Finding(rule.id, rule.where, rule.says, rule.source, places)
        for rule in RULES
        if anatomy.format in rule.formats and (places := tuple(rule.find(case)))
    ]
    return Explanation(
        name,
        anatomy.format,
        anatomy.size_bytes,
        {kind: sums[kind] for kind in KINDS},
        tuple(sorted(weights, key=lambda weight: -weight.size_bytes)),
        tuple((*operator, count) for operator, count in counts.most_common()),
        tuple(findings),
        tuple(_advice(anatomy, sums, weights)),
    )


def _advice(anatomy: Anatomy, sums: dict[str, int], weights: list[Weight]) -> list[str]:
    """What the shares say, where they are large enough to say anything."""
    said = []
    embeddings = sums["embeddings"] / anatomy.size_bytes
    if embeddings >= MANY_EMBEDDINGS:
        layers = sums["attention"] > 0  # a static model has none, and is not factorized
        said.append(f"embeddings {embeddings:.0%}: trim the vocabulary" + (" or factorize" if layers else ""))
    floats = sum(weight.size_bytes for weight in weights if weight.dtype == "float32") / anatomy.size_bytes
    if floats >= MANY_FLOATS and anatomy.format != "torch":
        said.append(f"float32 weights {floats:.0%}: quantize; int8 weights take a quarter of that, float16 half")
    return said
