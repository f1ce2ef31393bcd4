"""The search: candidates are priced first, those that fit are trained by successive halving, the winner with several
seeds."""

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from palmtop.bundle import Bundle
from palmtop.durably import write_durably
from palmtop.errors import UserError
from palmtop.recipe.recipe import Recipe
from palmtop.search import halving
from palmtop.search.price import MADE as UNTRAINED
from palmtop.search.proposals import Proposals
from palmtop.search.space import Chosen, fitting, shortened
from palmtop.search.tried import Limits, Outcome, Tried
from palmtop.search.verdict import judge
from palmtop.search.workshop import PRICES, Made, Workshop

if TYPE_CHECKING:
    import optuna

FILE = "search.json"
MISFIT = -1.0
"""What a candidate that can't be made, or is beyond a limit, is worth for the next proposals, or less."""


@dataclass(frozen=True)
class Found:
    """What a search ends with."""

    outcome: Outcome
    teacher: Bundle
    files: Mapping[str, Bundle]
    """The winner's, by seed; none where nothing is within the limits."""


@dataclass(frozen=True)
class Search:
    """One search, in the folder of its workshop."""

    shop: Workshop
    limits: Limits
    minutes: float | None = None
    """What all of it may take; None: as long as it takes."""

    def check(self) -> None:
        """Raises: UserError: the recipe has no task, or that no validation part to choose by."""
        _ = self.shop.validation

    def go(self) -> Found:
        """Search, or go on with a search that was killed; what was found lies in search.json.

        Raises:
            UserError: the task has no validation part, the teacher can't be made, or no candidate can.
        """
        shop, metric = self.shop, self.shop.task.main_metric
        texts, proposals = len(shop.validation), Proposals.open(shop.space, shop.run, str(self.limits))
        teacher, reference = shop.teacher()
        shop.say(f"the teacher: {metric} {reference:.4f} on {texts} texts of the validation part")
        tried = self._propose(proposals)
        fits = [one for one in tried if one.grades]
        scale = self._scale(proposals, fits)
        finalists = self._rounds(fits, scale)
        files, grades = self._with_seeds(halving.best(finalists), scale) if finalists else ({}, {})
        outcome = judge(shop, self.limits, tried, finalists, reference, grades)
        outcome = outcome.model_copy(update={"share": scale, "seconds": round(self._spent(tried), 1)})
        if outcome.chosen is None:
            files = {}
        else:
            best = max(files, key=lambda seed: grades[seed])
            outcome = outcome.model_copy(update={"app": str(shop.app(files[best]))})
        write_durably(shop.run / FILE, outcome.model_dump_json(indent=1) + "\n")
        shutil.rmtree(shop.run / PRICES / UNTRAINED, ignore_errors=True)
        return Found(outcome, teacher, files)

    def _propose(self, proposals: Proposals) -> list[Tried]:
        """All candidates: each is priced, and trained for the first round's share where it fits; as many of these side
        by side as no proposal depends on. Nothing is trained while one is priced."""
        begun: list[tuple[optuna.Trial, Tried]] = []

        def settle() -> None:
            self._train([tried for _, tried in begun], self.shop.space.search.shares[0])
            for trial, tried in begun:
                self._tell(proposals, trial, tried, MISFIT if tried.grade is None else tried.grade)
            begun.clear()

        if not self._enough(proposals.known):
            for trial, chosen in proposals.proposed(settle):
                tried, worth = self._priced(trial.number, chosen)
                if worth is None:
                    begun.append((trial, tried))
                else:
                    self._tell(proposals, trial, tried, worth)
                if len(begun) >= min(self.shop.at_once, self._wanted(proposals.known)):
                    settle()
                if self._enough(proposals.known):
                    break
            settle()
        known = proposals.known
        if all(one.fate == "doesn't fit" for one in known):
            raise UserError(["no candidate of the space can be made:", *dict.fromkeys(one.why for one in known)])
        return known

    def _tell(self, proposals: Proposals, trial: "optuna.Trial", tried: Tried, worth: float) -> None:
        proposals.tell(trial, tried, worth)
        told = tried.why or f"{self.shop.task.main_metric} {tried.grade or 0:.4f}"
        self.shop.say(f"candidate {tried.number} ({tried}): {tried.cost}: {told}")

    def _wanted(self, known: Sequence[Tried]) -> int:
        """How many more are to be trained."""
        return self.shop.space.search.trained - sum(bool(one.grades) for one in known)

    def _enough(self, known: Sequence[Tried]) -> bool:
        """Whether no more are asked for: as many fit as are to be trained, or there is no time for more."""
        fits = [one for one in known if one.grades]
        search = self.shop.space.search
        if self._wanted(known) <= 0:
            return True
        if self.minutes is None or not fits:
            return False
        usual = self._usual(fits)
        one_more = usual(search.shares[0]) + max(one.pricing_seconds for one in known)
        left = halving.seconds_left(len(fits) + 1, search.shares, len(search.seeds), usual)
        return self._spent(known) + one_more + left > 60 * self.minutes

    def _priced(self, number: int, chosen: Chosen) -> tuple[Tried, float | None]:
        """A candidate's fate so far, and what it is worth for the next proposals; None where it is to be trained."""
        tried = Tried(number=number, chosen=dict(chosen), fate="behind")
        recipe = fitting(self.shop.space, chosen)
        if isinstance(recipe, str):
            return tried.now("doesn't fit", recipe), MISFIT
        started = time.monotonic()
        price = self.shop.price(recipe)
        tried.pricing_seconds = round(time.monotonic() - started, 1)
        if isinstance(price, str):
            return tried.now("failed", price), MISFIT
        tried.mb, tried.ms, tried.about = price.costs.model_bytes / 1e6, price.costs.ms, bool(price.about)
        if why := self.limits.unknown(price.costs):
            return tried.now("failed", why), MISFIT
        if why := self.limits.said(tried.mb, tried.ms):
            return tried.now("over the limit", why), MISFIT - self.limits.beyond(tried.mb, tried.ms)
        return tried, None

    def _train(self, candidates: Sequence[Tried], share: float) -> None:
        """Write down what becomes of candidates in a training for a share of their epochs."""
        shop = self.shop
        recipes = [shortened(shop.space.recipe(one.chosen), shop.space, share, shop.rows) for one in candidates]
        for one, recipe, made in zip(candidates, recipes, shop.make(recipes), strict=True):
            self._note(one, share, recipe, made)

    def _note(self, tried: Tried, share: float, recipe: Recipe, made: Made | str) -> None:
        shop = self.shop
        if isinstance(made, str):
            tried.fate, tried.why = "failed", made
            return
        if not tried.grades:
            tried.training_seconds, tried.apart_seconds = made.training_seconds, made.apart_seconds
        tried.mb = made.model_bytes / 1e6
        if why := self.limits.said(tried.mb, None):
            tried.fate, tried.why = "over the limit", f"{why}, which only its training showed"
            return
        tried.grades[f"{share:g}"] = shop.graded(str(tried.number), recipe, made.file)
        tried.seconds = round(tried.seconds + made.training_seconds + made.apart_seconds, 1)

    def _rounds(self, fits: list[Tried], scale: float) -> list[Tried]:
        """The rounds after the first; returns who was in the last, and writes down why the others weren't."""
        shares = self.shop.space.search.shares
        for number, share in enumerate(shares[1:], 2):
            on = halving.through(fits, last=number == len(shares))
            for one in fits:
                if one not in on:
                    one.why = f"{one.grade or 0:.4f} after {one.share:g} of the epochs; {on[-1].grade or 0:.4f} came on"
            self.shop.say(f"round {number} of {len(shares)}: {len(on)} candidates, {scale * share:.2g} of their epochs")
            self._train(on, scale * share)
            fits = [one for one in on if one.fate == "behind"]
        return fits

    def _with_seeds(self, winner: Tried, scale: float) -> tuple[dict[str, Bundle], dict[str, float]]:
        """The winner's files and grades, by seed."""
        shop, files, grades = self.shop, dict[str, Bundle](), dict[str, float]()
        share, seeds = scale * shop.space.search.shares[-1], shop.space.search.seeds
        recipes = [shortened(shop.space.recipe(winner.chosen, seed), shop.space, share, shop.rows) for seed in seeds]
        for seed, recipe, made in zip(seeds, recipes, shop.make(recipes), strict=True):
            if isinstance(made, str):
                shop.say(f"the winner with seed {seed}: {made}")
                continue
            files[str(seed)] = made.file
            winner.seconds += made.training_seconds + made.apart_seconds if seed != shop.space.text.seed else 0
            grades[str(seed)] = shop.graded(f"seed-{seed}", recipe, made.file)
        return files, grades

    def _scale(self, proposals: Proposals, fits: Sequence[Tried]) -> float:
        """Of the later rounds' epochs, so that all fits into the minutes; the same after a kill."""
        if self.minutes is None or not fits:
            return 1.0
        if (known := proposals.study.user_attrs.get("scale")) is not None:
            return float(known)
        search, left = self.shop.space.search, 60 * self.minutes - self._spent(proposals.known)
        found = halving.scale_for(left, len(fits), search.shares, len(search.seeds), self._usual(fits))
        scale = float(f"{found:.2g}")
        if scale < 1:
            self.shop.say(f"to fit into {self.minutes:g} minutes the later rounds have {scale:.0%} of their epochs")
        proposals.study.set_user_attr("scale", scale)
        return scale

    def _usual(self, fits: Sequence[Tried]) -> Callable[[float], float]:
        """Seconds of a candidate trained for a share of its epochs, by the slowest of the first round."""
        first = self.shop.space.search.shares[0]
        return lambda share: max(one.apart_seconds + one.training_seconds * share / first for one in fits)

    def _spent(self, known: Sequence[Tried]) -> float:
        """Seconds of all that was priced and made, in this run or before a kill."""
        return self.shop.teacher_seconds + sum(one.pricing_seconds + one.seconds for one in known)


def folder_of(name: str) -> Path:
    """Where a search lies if nothing else is said."""
    return Path("palmtop-runs") / f"{name}-search"
