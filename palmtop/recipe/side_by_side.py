"""Running a recipe's steps side by side: each as soon as what it is made of is there, on whoever of a crew is free.

What comes of it is what `palmtop.recipe.attempt` makes one after the other. A step that takes times is made here, while
nothing else is; and the run is measured when all of this is over, so no time is ever taken beside other work.
"""

from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, wait
from dataclasses import dataclass, field
from functools import partial
from graphlib import TopologicalSorter
from pathlib import Path

from palmtop import making
from palmtop.bundle import Bundle
from palmtop.making import Say
from palmtop.recipe.attempt import Attempt, Attempting, Failed, attempt, make_step, needed, tried
from palmtop.recipe.crew import Crew, Made
from palmtop.recipe.step_bundles import with_bundles
from palmtop.recipe.steps import Step
from palmtop.recipe.worker import Order, opened


def attempting(crew: Crew | None) -> Attempting:
    """How steps are made: by a crew; one after the other where there is none."""
    return attempt if crew is None else partial(attempt_with, crew)


def attempt_with(crew: Crew, steps: Sequence[Step], out: Path, say: Say, before: Attempt | None = None) -> Attempt:
    """Make what is missing below the folder `out`, whatever fails on the way; a step that fails stops only what follows
    from it.

    Args:
        say: is called by the workers too, in their processes.
        before: what became of the first of the steps, which are not tried again.
    """
    drive = _Drive(crew, out, say, before or Attempt())
    known = {*drive.made.bundles, *drive.made.missing}
    drive.all_of([step for step in steps if step.name not in known])
    return _in_order(drive.made, steps)


@dataclass
class _Drive:
    """Steps on their way through a crew."""

    crew: Crew
    out: Path
    say: Say
    made: Attempt
    ready: list[Step] = field(default_factory=list)
    """All that they are made of is there."""
    under_way: dict[Made, Step] = field(default_factory=dict)

    def all_of(self, steps: Sequence[Step]) -> None:
        """Make them."""
        named = {step.name: step for step in steps}
        order = TopologicalSorter({step.name: named.keys() & set(needed(step)) for step in steps})
        order.prepare()
        while order.is_active():
            fresh = sorted(order.get_ready(), key=list(named).index)
            ended = [step for step in map(named.__getitem__, fresh) if self._is_settled(step)]
            self.ready += [named[name] for name in fresh if named[name] not in ended]
            ended += self._next() if not ended else []
            order.done(*(step.name for step in ended))

    def _is_settled(self, step: Step) -> bool:
        """Whether a step needs no worker: it is left out, or there already."""
        if self.made.leaves_out(step):
            self.say(f"{step.name}: {self.made.missing[step.name]}")
            return True
        there = tried(step.name, partial(self._there, step), self.say)
        if there is None:
            return False
        if isinstance(there, Failed):
            self.made.note(step, there)
        else:
            self._make_here(step)  # which keeps it, and says so
        return True

    def _there(self, step: Step) -> Bundle | None:
        source = self.made.bundles[step.source] if step.source else None
        return making.made(step.use, with_bundles(step.stage, step.bundles, self.out), source, self.out / step.name)

    def _next(self) -> list[Step]:
        """Begin what there is room for; returns the steps that have ended, of which there is one at least."""
        for step in [step for step in self.ready if not step.stage.takes_times()]:
            needs = step.stage.needs(self.made.bundles[step.source] if step.source else None)
            if self.crew.has_room(needs):
                self.ready.remove(step)
                self.under_way[self.crew.send(Order.of(step, self.made.bundles, self.out, self.say), needs)] = step
        if self.under_way:
            return [step for made in wait(self.under_way, return_when=FIRST_COMPLETED).done for step in self._end(made)]
        alone = self.ready.pop(0)  # nothing else is made now
        self._make_here(alone)
        return [alone]

    def _end(self, ended: Made) -> list[Step]:
        """The step, unless it has to be begun anew."""
        step, outcome = self.under_way.pop(ended), self.crew.outcome(ended)
        if outcome is None:
            self.ready.insert(0, step)
            return []
        if isinstance(outcome, str):
            self.made.note(step, tried(step.name, partial(opened, self.out / step.name, outcome), self.say))
        else:
            self.made.note(step, outcome)
        return [step]

    def _make_here(self, step: Step) -> None:
        make = partial(make_step, step, self.made.bundles, self.out, self.say)
        self.made.note(step, tried(step.name, make, self.say))


def _in_order(made: Attempt, steps: Sequence[Step]) -> Attempt:
    """The same, in the order of the recipe, which tables follow."""
    names = [*made.bundles, *made.missing]
    names.sort(key={step.name: place for place, step in enumerate(steps)}.__getitem__)
    return Attempt(
        {name: made.bundles[name] for name in names if name in made.bundles},
        {name: made.failed[name] for name in names if name in made.failed},
        {name: made.left_out[name] for name in names if name in made.left_out},
    )
