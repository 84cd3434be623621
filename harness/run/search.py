"""Which cells of a search come next: one of each arm that has not found its capacity yet, until all have."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from harness.analysis.search import Searches, outcomes_of
from harness.metrics.registry import CAPACITY
from harness.plan.cells import CellPlan, searched_cell, shuffled_arms
from harness.plan.search import UNKNOWN_STEP, bracket_of, next_value
from harness.record.prediction import read_prediction
from harness.run.repeats import Claims, Rounds
from harness.spec.experiment import Experiment


class SearchRounds:
    """The cells of a run that searches, round by round. Each round has one cell of each arm that goes on.

    A repeat is a search of its own, with its own arrivals. It begins where the repeat before has ended. The
    first one begins where the simulator expects the capacity; without a prediction, at the workload's rate.
    """

    def __init__(self, experiment: Experiment, run: Path, claims: Claims) -> None:
        assert experiment.search is not None
        self._experiment, self._search = experiment, experiment.search
        self._run, self._claims = run, claims
        self._cells = 0
        self._predicted: dict[str, float] = {}

    def rounds(self, predicted: Callable[[], None]) -> Rounds:
        """Yield the cells. predicted: waits for the prediction."""
        predicted()
        self._predicted = _predicted(self._run)
        repeats = self._experiment.repeats
        for repeat, arms in enumerate(shuffled_arms(self._experiment), 1):
            if repeat > repeats.min and not self._claims.want_more_repeats():
                return
            while cells := self._next(repeat, arms):
                yield cells

    def _next(self, repeat: int, arms: list[str]) -> list[CellPlan]:
        """Return the next cell of each arm whose search goes on."""
        searches = self._claims.searches() if self._cells else {}
        cells = []
        for arm in arms:
            value = self._value(arm, repeat, searches)
            if value is not None:
                cells.append(searched_cell(self._experiment, arm, value, repeat, self._cells))
                self._cells += 1
        return cells

    def _value(self, arm: str, repeat: int, searches: Searches) -> float | None:
        own = searches.get(arm, {})
        outcomes = outcomes_of(own.get(repeat, ()))
        if len(outcomes) >= self._search.max_cells:
            return None
        guess, step = self._guess(arm, repeat, searches)
        return next_value(outcomes, guess, self._search.within_share, step)

    def _guess(self, arm: str, repeat: int, searches: Searches) -> tuple[float, float]:
        """Return where a repeat's search begins, and its first step."""
        within = self._search.within_share
        before = bracket_of(outcomes_of(searches.get(arm, {}).get(repeat - 1, ())))
        if before.is_closed:
            return before.middle, within
        if arm in self._predicted:
            return self._predicted[arm], within
        rate = self._experiment.workload.mean_rate_per_s
        assert rate is not None
        return rate, UNKNOWN_STEP


def _predicted(run: Path) -> dict[str, float]:
    """Return arm -> the capacity that was predicted of it."""
    prediction = read_prediction(run)
    if prediction is None:
        return {}
    bands = {arm: one.metrics.get(CAPACITY) for arm, one in prediction.arms.items()}
    return {arm: float(band.median) for arm, band in bands.items() if band is not None and band.median}
