"""`python -m bench.deciding RUN ... [--page FILE]`: how often an experiment comes to a verdict.

RUN is the folder of a recorded run. Runs of one experiment are read together, and their repeats are pooled.
From the pool, runs are drawn: repeats without replacement, as many as a real run would take (the least
number, then more while the judge says that they help). The judge's own code judges each drawn run. Drawn runs
share repeats, so their share is an estimate. The verdicts of the real runs stand beside it.
"""

from __future__ import annotations

import argparse
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from bench.capacity.page import filled
from harness.analysis.facts import collect_facts
from harness.analysis.judge import Verdict, judge
from harness.analysis.validity import CellResult, measure
from harness.errors import UserError
from harness.record.run_directory import Run, read_run
from harness.spec.experiment import WORDS, Experiment

DRAWN = 200  # runs drawn of each experiment
Repeat = Mapping[str, CellResult]  # arm -> its cell


@dataclass
class Pool:
    """The recorded repeats of one experiment, and the verdicts of the real runs."""

    experiment: Experiment
    repeats: list[Repeat] = field(default_factory=list)
    real: Counter[str] = field(default_factory=Counter)

    def add(self, run: Run) -> None:
        """Add the repeats of a run that have all arms. Raises ValueError if its experiment is another one.

        Other words about the same experiment do not count.
        """
        if _without_words(run.experiment) != _without_words(self.experiment):
            raise ValueError(f"{run.path}: its experiment is not that of the other runs of {run.name}")
        repeats: dict[int, dict[str, CellResult]] = {}
        for cell in run.cells:
            found = measure(collect_facts(cell, experiment=run.experiment))
            repeats.setdefault(found.repeat, {})[cell.record.arm] = found
        whole = [found for found in repeats.values() if found.keys() == self.experiment.variants.keys()]
        self.repeats += whole
        self.real[_judged(self.experiment, whole).verdict] += 1


def _without_words(experiment: Experiment) -> dict[str, Any]:
    return experiment.model_dump(exclude={"teaching", *WORDS})


def _judged(experiment: Experiment, repeats: Sequence[Repeat]) -> Verdict:
    results = {
        arm: [replace(cells[arm], repeat=number) for number, cells in enumerate(repeats, 1)]
        for arm in experiment.variants
    }
    return judge(experiment, results)


def drawn_verdict(pool: Pool, draws: random.Random) -> str:
    """Return the verdict of one drawn run. The pool has at least the experiment's most repeats."""
    least, most = pool.experiment.repeats.min, pool.experiment.repeats.max
    drawn = draws.sample(pool.repeats, most)
    for count in range(least, most + 1):
        verdict = _judged(pool.experiment, drawn[:count])
        if not verdict.more_repeats_help:
            break
    return verdict.verdict


def pools_of(paths: Sequence[Path]) -> dict[str, Pool]:
    """Return experiment -> its pool. Raises ValueError or UserError if runs cannot be pooled or read."""
    pools: dict[str, Pool] = {}
    for path in paths:
        run = read_run(path)
        pools.setdefault(run.name, Pool(run.experiment)).add(run)
    return pools


def row(name: str, pool: Pool) -> tuple[str, ...]:
    """Return the experiment's row of the table. With too few repeats for a whole run, nothing is drawn."""
    real = ", ".join(f"{count} {word}" for word, count in sorted(pool.real.items()))
    if len(pool.repeats) < pool.experiment.repeats.max:
        return f"`{name}`", real, f"{len(pool.repeats)}", "too few repeats"
    draws = random.Random(name)
    words = Counter(drawn_verdict(pool, draws) for _ in range(DRAWN))
    decided = 1 - words["inconclusive"] / DRAWN
    refuted = f", {words['refuted'] / DRAWN:.0%} refuted" if words["refuted"] else ""
    return f"`{name}`", real, f"{len(pool.repeats)}", f"{decided:.1%} decided{refuted}"


def main() -> None:
    """Read the runs; print the rows of the table, or write them into the page."""
    parser = argparse.ArgumentParser(prog="python -m bench.deciding", description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path, help="folders of recorded runs")
    parser.add_argument("--page", type=Path, help="the file with the table `deciding` to fill")
    options = parser.parse_args()
    try:
        rows = [row(name, pool) for name, pool in sorted(pools_of(options.runs).items())]
    except (UserError, ValueError) as error:
        parser.error(str(error))
    if options.page:
        options.page.write_text(filled(options.page.read_text(), "deciding", iter(rows)))
    for cells in rows:
        print(" | ".join(cells))


if __name__ == "__main__":
    main()
