"""Which candidates a search tries next: Optuna proposes, and remembers in its journal, so a search that was killed
goes on as if it hadn't been."""

import math
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from palmtop.durably import write_durably
from palmtop.errors import UserError
from palmtop.search.space import Space
from palmtop.search.tried import Tried

if TYPE_CHECKING:
    import optuna

FILE = "search.log"
TRIED = "tried"
STARTS = 10
"""Candidates that are drawn blindly, before what is known of them says where to look."""
AGAIN = 5
"""Proposals for each new candidate, at most: a sampler that has found its place repeats itself."""


@dataclass(frozen=True)
class Proposals:
    """A study of one space, in a run's folder."""

    space: Space
    study: "optuna.Study"

    @classmethod
    def open(cls, space: Space, run: Path, limits: str) -> "Proposals":
        """The study in the run's folder, or a new one.

        Raises:
            UserError: Optuna isn't installed, or the folder holds a search of another space or with other limits.
        """
        try:
            import optuna
            from optuna.storages import JournalStorage
            from optuna.storages.journal import JournalFileBackend
        except ImportError:
            raise UserError("a search needs Optuna: pip install 'palmtop[search]'") from None
        _cut_to_whole_lines(run / FILE)
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            study = optuna.create_study(
                storage=JournalStorage(JournalFileBackend(str(run / FILE))),
                study_name=space.base.name,
                direction="maximize",
                load_if_exists=True,
            )
        asked = f"{space.digest} {limits}"
        if study.user_attrs.get("asked", asked) != asked:
            raise UserError(
                f"{run} holds a search of another space, task, target or limits: choose another folder with --out, or "
                "remove that one"
            )
        study.set_user_attr("asked", asked)
        return cls(space, study)

    @property
    def known(self) -> list[Tried]:
        """What became of the candidates so far, in the order proposed."""
        done = [trial.user_attrs for trial in self._in_state("COMPLETE")]
        return [Tried.model_validate(said[TRIED]) for said in done if TRIED in said]

    def proposed(self, settle: Callable[[], None]) -> "Iterator[tuple[optuna.Trial, dict[str, str]]]":
        """New candidates, for as long as there are any and each is told; first those that were being tried when the
        search was killed.

        Args:
            settle: is called where the next proposal depends on what becomes of those before it, and tells of those
                that aren't told yet. So what is proposed is the same, however many are tried at once.
        """
        from optuna.trial import Trial

        if self.space.size <= self.space.search.trials:
            for chosen in self.space.candidates():
                self.study.enqueue_trial(chosen, skip_if_exists=True)
        for trial in self._in_state("RUNNING"):
            yield from self._new(Trial(self.study, trial._trial_id), settle)  # Optuna has no other way to go on
        while len(self.study.get_trials(deepcopy=False)) < AGAIN * self.space.search.trials or self._in_state(
            "WAITING"
        ):
            enough = min(self.space.search.trials, self.space.size)
            if len(self.known) + len(self._in_state("RUNNING")) >= enough:
                settle()
                if len(self.known) >= enough:
                    return
            if not self._is_blind():
                settle()
            yield from self._new(self.study.ask(), settle)

    def _is_blind(self) -> bool:
        """Whether the next candidate is what it is, whatever becomes of those before it."""
        listed = self.space.size <= self.space.search.trials
        return listed or len(self.study.get_trials(deepcopy=False)) < STARTS

    def tell(self, trial: "optuna.Trial", tried: Tried, value: float) -> None:
        """What became of a candidate.

        Args:
            value: how good it is, for the next proposals: the metric, or below 0 how far beyond the limits it is.
        """
        trial.set_user_attr(TRIED, tried.model_dump(mode="json"))
        self.study.tell(trial, value if math.isfinite(value) else -1.0)

    def _new(
        self, trial: "optuna.Trial", settle: Callable[[], None]
    ) -> "Iterator[tuple[optuna.Trial, dict[str, str]]]":
        """The candidate of a trial, unless it was tried before: then it is told the same again."""
        import optuna

        chosen: dict[str, str] = {}
        for place, (name, choices) in enumerate(self.space.places.items()):
            seed = hash((self.space.search.seed, trial.number, place)) % 2**32
            self.study.sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=STARTS)
            chosen[name] = trial.suggest_categorical(name, [choice.label for choice in choices])
        if any(other.params == chosen and other.number != trial.number for other in self._in_state("RUNNING")):
            settle()
        told = [other for other in self._in_state("COMPLETE") if TRIED in other.user_attrs and other.params == chosen]
        if told:
            self.study.tell(trial.number, told[0].value)
        else:
            yield trial, chosen

    def _in_state(self, state: str) -> "list[optuna.trial.FrozenTrial]":
        from optuna.trial import TrialState

        return self.study.get_trials(deepcopy=False, states=(TrialState[state],))


def _cut_to_whole_lines(journal: Path) -> None:
    """Take off what a killed process left of a line: Optuna would write its next one behind it, and read neither."""
    if not journal.is_file():
        return
    text = journal.read_text(encoding="utf-8", errors="replace")
    whole = text[: text.rfind("\n") + 1]
    if whole != text:
        write_durably(journal, whole)
