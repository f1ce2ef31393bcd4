"""Where everything comes from: bundles and their way, versions, machines, data, dates."""

from collections.abc import Mapping
from typing import Any

from palmtop.bundle import Bundle
from palmtop.eval.report_page.markup import Markup, element, folded, items, joined, paragraph, part, table
from palmtop.eval.reports.found import Found
from palmtop.eval.reports.table import Row

TITLE = "Where it comes from"


def provenance(found: Found) -> Markup:
    """A line for each bundle, and under them what they were made and measured with."""
    return part(
        TITLE,
        paragraph(_task(found)),
        table(
            "Bundles",
            ["model", "made by", "way", "made", "measured", "sha256 of the bundle"],
            [_row(found, row) for row in found.rows],
            words=6,
        ),
        folded("Machines", items(_machine(number, each) for number, each in enumerate(found.section.machines, 1))),
        folded("Measured with", table("Versions by target", ["target", "versions"], _measured_with(found), words=2)),
        folded("Made with", *map(_made_with, _bundles(found))),
    )


def _task(found: Found) -> str:
    name, *version, digest = found.section.task.split(" ") if " " in found.section.task else (found.section.task, "")
    data = found.data
    if data is None:
        return f"Task {name} {' '.join(version)}; evaluation data {digest}. Not kept in this run: {found.no_data}."
    said = [
        f"Task {name} {' '.join(version)}, {data.task.kind}, {len(data.task.label_names)} outputs",
        f"{len(data.split):,} evaluation texts, sha256 {data.split.digest}",
        f"licence: {data.task.licence}" if data.task.licence else "",
        f"by {data.task.attribution}" if data.task.attribution else "",
    ]
    return "; ".join(filter(None, said)) + "."


def _row(found: Found, row: Row) -> list[str]:
    bundle = found.bundles.get(row.digest)
    dates = sorted(number.date for number in row.numbers.values())
    measured = f"{dates[0][:10]}" if dates[0][:10] == dates[-1][:10] else f"{dates[0][:10]} to {dates[-1][:10]}"
    digest = element("code", row.digest)
    if bundle is None:
        return [found.shown(row), "not kept in this run", "", "", measured, digest]
    way = " → ".join(step.stage for step in bundle.lineage)
    return [found.shown(row), bundle.card.origin.stage, way, bundle.card.created[:10], measured, digest]


def _bundles(found: Found) -> list[Bundle]:
    digests = dict.fromkeys(row.digest for row in found.rows)
    return [found.bundles[digest] for digest in digests if digest in found.bundles]


def _made_with(bundle: Bundle) -> Markup:
    origin = bundle.card.origin
    rows = [["versions", _listed(origin.versions)]]
    rows += [[f"sha256 of {name}", element("code", digest)] for name, digest in origin.inputs.items()]
    before = (element("code", f"{step.stage} {step.digest[:16]}") for step in bundle.card.lineage)
    rows += [["made of", joined(before)]] if bundle.card.lineage else []
    return table(bundle.name, ["what", "which"], rows, words=2)


def _measured_with(found: Found) -> list[list[str]]:
    taken = [(row.target, number.machine.get("versions", {})) for row in found.rows for number in row.numbers.values()]
    return [list(each) for each in sorted({(target, _listed(versions)) for target, versions in taken})]


def _machine(number: int, machine: Mapping[str, Any]) -> str:
    return f"{number}: {_listed(machine)}"


def _listed(what: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in what.items())
