"""Draws placements of sessions, to check the figures of `random_placement`, which are of a model."""

import math
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from tests.recount import arithmetic as a
from tests.recount.run_files import CellFiles

THEIR_DRAWS = 2000
OWN_DRAWS = 1000
STANDARD_ERRORS = 5.0


@dataclass(frozen=True)
class Placements:
    """Own draws of max/mean. The lab's draws are others, so its figures agree within chance alone."""

    draws: Sequence[float]

    def agrees(self, name: str, told: float | None) -> bool:
        """Return whether `random_placement.<name>` may come from the same distribution as the own draws."""
        if told is None or not self.draws:
            return told is None and not self.draws
        size = 1 / THEIR_DRAWS + 1 / len(self.draws)
        if name == "max_over_mean":
            average = math.fsum(self.draws) / len(self.draws)
            spread = math.sqrt(math.fsum((draw - average) ** 2 for draw in self.draws) / len(self.draws))
            return abs(told - average) <= STANDARD_ERRORS * spread * math.sqrt(size) + 1e-6 * average
        part = {"max_over_mean_p5": 0.05, "max_over_mean_p95": 0.95}[name]
        below = sum(draw < told - 1e-9 for draw in self.draws) / len(self.draws)
        up_to = sum(draw <= told + 1e-9 for draw in self.draws) / len(self.draws)
        allowed = STANDARD_ERRORS * math.sqrt(part * (1 - part) * size)
        return below - allowed <= part <= up_to + allowed


def draw_placements(cell: CellFiles) -> Placements:
    """Put each session, with its answered requests, on a replica drawn at random, many times."""
    names = list(cell.record["replicas"])
    sessions = Counter((row["client"], row["session"]) for row in cell.measured.to_dicts() if row["replica"])
    sizes, source = list(sessions.values()), random.Random(8)
    draws = []
    for _ in range(OWN_DRAWS if sizes else 0):
        loads = [0] * len(names)
        for size, place in zip(sizes, source.choices(range(len(names)), k=len(sizes)), strict=True):
            loads[place] += size
        draws.append(a.max_over_mean(loads) or 0.0)
    return Placements(draws)
