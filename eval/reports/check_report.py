"""What a check found, for people, for a pull request, and as JUnit XML for CI."""

from collections import Counter
from xml.etree import ElementTree

from palmtop.errors import printable
from palmtop.eval.check import Checked, Outcome, State
from palmtop.eval.reports.markdown import bullets, grid, on_one_line

ORDER: tuple[State, ...] = ("broken", "can't be told", "not comparable", "held", "not checked")


def sentence(checked: Checked) -> str:
    """Whether all limits held, and what broke."""
    beside = f" against {checked.old}" if checked.old else ""
    broken, held = checked.of("broken"), len(checked.of("held"))
    untold = len(checked.of("can't be told")), len(checked.of("not comparable"))
    rest = "".join(f"; {n} {word}" for n, word in zip(untold, ("can't be told", "not comparable"), strict=True) if n)
    every = f"{len(checked.outcomes)} check{'' if len(checked.outcomes) == 1 else 's'} of {checked.new}{beside}"
    if broken:
        return f"Broken: {len(broken)} of {every}; {held} held{rest}."
    if not held:
        return f"Nothing broken, and nothing known to hold: {every}{rest}."
    return f"Held: {held} of {every}, none broken{rest}."


def lines(checked: Checked) -> list[str]:
    """The sentence, and a row for each limit on each artefact, the broken ones first."""
    ordered = [outcome for state in ORDER for outcome in checked.of(state)]
    rows = [["model", "limit", "found", "state"], *([one.row, _limit(one), one.found, one.state] for one in ordered)]
    return [on_one_line(sentence(checked)), "", *(grid(rows, 4) if ordered else []), *_reasons(checked)]


def markdown(checked: Checked) -> str:
    """The same under a heading, to be posted to a pull request."""
    broken = len(checked.of("broken"))
    head = f"{broken} limit{'' if broken == 1 else 's'} broken" if broken else "nothing broken"
    return "\n".join([f"### palmtop check: {head}", "", *lines(checked), ""])


def junit(checked: Checked, strict: bool) -> str:
    """A test case for each limit on each artefact; what can't be told is skipped, or, where that is asked for,
    fails."""
    suites = ElementTree.Element("testsuites")
    suite = ElementTree.SubElement(suites, "testsuite", name=printable(f"palmtop check {checked.new}"))
    failed = skipped = 0
    for one in checked.outcomes:
        case = ElementTree.SubElement(
            suite, "testcase", classname=printable(f"{one.run}: {one.row}"), name=printable(_limit(one))
        )
        said = printable(": ".join(part for part in (one.state, one.found, one.why) if part))
        if one.state == "broken" or (strict and one.state in ("can't be told", "not comparable")):
            ElementTree.SubElement(case, "failure", message=said, type=one.option.removeprefix("--")).text = said
            failed += 1
        elif one.state != "held":
            ElementTree.SubElement(case, "skipped", message=said)
            skipped += 1
    for counted in (suites, suite):
        counted.attrib |= {
            "tests": str(len(checked.outcomes)),
            "failures": str(failed),
            "errors": "0",
            "skipped": str(skipped),
        }
    ElementTree.indent(suites)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(suites, encoding="unicode") + "\n"


def _limit(outcome: Outcome) -> str:
    return f"{outcome.option.removeprefix('--')} {outcome.limit}".strip()


def _reasons(checked: Checked) -> list[str]:
    """How things were compared, each way once with its rows."""
    found: dict[tuple[str, str], list[str]] = {}
    for one in checked.outcomes:
        if one.why:
            found.setdefault((one.option, one.why), []).append(one.row)
    every = Counter(one.option for one in checked.outcomes)
    said = [
        f"{option.removeprefix('--')}: {why}" + ("" if len(rows) == every[option] else f": {', '.join(rows)}")
        for (option, why), rows in found.items()
    ]
    return ["", *bullets(said)] if said else []
