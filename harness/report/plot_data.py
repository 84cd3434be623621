"""What plots are drawn from: the experiment and the facts of its cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from harness.analysis.window_series import Floats
from harness.metrics.facts import CellFacts
from harness.metrics.registry import METRICS

if TYPE_CHECKING:
    from harness.spec.experiment import Experiment


@dataclass(frozen=True)
class PlotData:
    """An experiment and, for its arms as run, the facts of the recorded cells.

    facts: arm -> its cells by repeat. Arms and cells without an answered request are not there.
    """

    experiment: Experiment
    facts: Mapping[str, Sequence[CellFacts]]

    @classmethod
    def of(cls, experiment: Experiment, facts: Mapping[str, Sequence[CellFacts]]) -> PlotData:
        """What can be drawn of `facts`."""
        answered = {
            arm: [cell for cell in cells if any(cell.replica_requests.values())]
            for arm, cells in facts.items()
        }
        return cls(experiment, {arm: cells for arm, cells in answered.items() if cells})

    @property
    def arms(self) -> list[str]:
        """The arms that can be drawn, in the experiment's order."""
        return list(self.facts)

    def number(self, arm: str) -> int:
        """The arm's place in the experiment: what its colour goes by, whatever else is drawn."""
        return list(self.experiment.variants).index(arm)

    def first_cells(self) -> dict[str, CellFacts]:
        """Arm -> its first recorded repeat."""
        return {arm: cells[0] for arm, cells in self.facts.items()}

    def values(self, arm: str, metric: str) -> Floats:
        """The metric in each repeat of the arm where it is defined, (repeats,)."""
        found = [METRICS[metric].compute(cell) for cell in self.facts.get(arm, ())]
        return np.array([value for value in found if value is not None], dtype=np.float64)


def median_and_range(values: Floats) -> tuple[Floats, Floats]:
    """Median over the first axis, (...), and whiskers from it to the least and the most, (2, ...)."""
    middle = np.median(values, axis=0)
    return middle, np.array([middle - values.min(axis=0), values.max(axis=0) - middle])
