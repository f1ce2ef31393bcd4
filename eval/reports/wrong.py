"""Verdicts that can't be passed over: a teacher too weak to be a measure, an artefact that learnt nothing, an invalid
metric, a training that ended too early."""

from collections.abc import Sequence

from palmtop.eval.reports.table import NOT_VALID, Row, Verdict, with_interval
from palmtop.measurement import LAST_EPOCH_GAINED, MOST_FREQUENT


def wrong(rows: Sequence[Row], metric: str) -> tuple[Verdict, ...]:
    """All there are about the rows of a table."""
    return (*weak_teacher(rows), *_invalid(rows, metric), *_constant(rows, metric), *_ended_early(rows))


def weak_teacher(rows: Sequence[Row]) -> list[Verdict]:
    """Whether the teacher is below the floor, and below its student: then no share of it means anything."""
    return [
        verdict
        for teacher in rows
        if "teacher" in teacher.roles
        for verdict in (*_below_the_floor(teacher, rows), *_below_its_student(teacher, rows))
    ]


def unfit(row: Row, metric: str) -> bool:
    """Whether a row is not to be shipped: its metric is not valid, or the most frequent label alone would do."""
    return row.cells["metric"].word == NOT_VALID or _is_constant(row, metric)


def _below_the_floor(teacher: Row, rows: Sequence[Row]) -> list[Verdict]:
    floor = _best_above(teacher, [row for row in rows if "floor" in row.roles])
    if floor is None:
        return []
    says = (
        f"{teacher}, the teacher, is worse than a linear model, beyond the interval: {with_interval(teacher)}, "
        f"{floor.name} {with_interval(floor)}"
    )
    do = "mend the teacher first: raise its epochs or its learning rate, and look at its training data"
    return [Verdict(says, do, "wrong")]


def _below_its_student(teacher: Row, rows: Sequence[Row]) -> list[Verdict]:
    student = _best_above(teacher, [row for row in rows if _was_taught_by(row, teacher)])
    if student is None:
        return []
    share = (student.cells["metric"].value or 0) / (teacher.cells["metric"].value or 1)
    much = f"{100 * share:.0f} % of the teacher" if share > 1 else "better than the teacher"  # below 0 there is none
    says = (
        f"{student} has {much}, beyond the interval, which can't be: {with_interval(student)}, {teacher} "
        f"{with_interval(teacher)}; the teacher is under-trained"
    )
    return [Verdict(says, "raise its epochs or its learning rate, or name the better one with --teacher", "wrong")]


def _was_taught_by(row: Row, teacher: Row) -> bool:
    """Whether a row may descend from the teacher. One that was compared with another teacher, in another run, does
    not."""
    if {"teacher", "floor"} & {*row.roles}:
        return False
    compared = row.numbers.get("agreement_teacher")
    return compared is None or compared.conditions.get("with") in (None, teacher.digest)


def _best_above(teacher: Row, others: Sequence[Row]) -> Row | None:
    """The best of the rows that are better than the teacher beyond the interval."""
    return max(
        (row for row in others if _is_above(row, teacher)),
        key=lambda row: row.cells["metric"].value or 0,
        default=None,
    )


def _is_above(row: Row, other: Row) -> bool:
    """Whether it is better beyond the interval of the paired difference, where there is one; else beyond the other's
    own interval."""
    ours, theirs = row.cells["metric"], other.cells["metric"]
    if ours.value is None or theirs.value is None or ours.kind != theirs.kind:
        return False
    paired, against = row.numbers.get("difference_baseline"), other.numbers.get("difference_baseline")
    if paired is not None and paired.low is not None and paired.conditions.get("with") == other.digest:
        return paired.low > 0
    if against is not None and against.high is not None and against.conditions.get("with") == row.digest:
        return against.high < 0
    return theirs.high is not None and ours.value > theirs.high


def _invalid(rows: Sequence[Row], metric: str) -> list[Verdict]:
    return [
        Verdict(
            f"{row}: {metric} is not valid: {row.cells['metric'].why}",
            "don't ship it: train or export it anew, and measure again",
            "wrong",
            row.name,
        )
        for row in rows
        if row.cells["metric"].word == NOT_VALID
    ]


def _constant(rows: Sequence[Row], metric: str) -> list[Verdict]:
    """One for all rows: what is exported of a model that learnt nothing has learnt nothing either."""
    found = [row for row in rows if _is_constant(row, metric)]
    if not found:
        return []
    alone = found[0].numbers[MOST_FREQUENT].value or 0
    says = (
        f"no better than the most frequent label alone, which has {metric.replace('_', ' ')} {alone:.3f}: "
        f"{', '.join(f'{row} {with_interval(row)}' for row in found)}"
    )
    do = (
        "train longer or at another learning rate, or look at the balance of the labels; a file whose torch model does "
        "better was broken on its way: export or quantize it anew"
    )
    return [Verdict(says, do, "wrong")]


def _ended_early(rows: Sequence[Row]) -> list[Verdict]:
    """Trainings that were still getting better on the validation split when they ended."""
    found = []
    for row in rows:
        gained = row.numbers.get(LAST_EPOCH_GAINED)
        if gained is not None and gained.value is not None:
            epochs = gained.conditions["epochs"]
            says = (
                f"the training of {row.name} ended too early: the last of its {epochs} epochs still gained "
                f"{100 * gained.value:.1f} points on the validation split"
            )
            found.append(Verdict(says, f"train it longer (epochs: {2 * epochs})", "wrong", row.name))
    return found


def _is_constant(row: Row, metric: str) -> bool:
    alone, cell = row.numbers.get(MOST_FREQUENT), row.cells["metric"]
    if alone is None or alone.value is None or alone.conditions.get("metric") != metric or "floor" in row.roles:
        return False
    return cell.low is not None and cell.low <= alone.value
