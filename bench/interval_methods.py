"""`python -m bench.interval_methods`: how often other methods of making an interval would be wrong.

Each row is one scenario of false_verdicts, each column one method. A cell has the shares of intervals that
lie above and below the true median. The judge's own method is measured by bench.false_verdicts.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from bench.false_verdicts import SCENARIOS
from harness.analysis.statistics import TAIL, t_quantile

Floats = NDArray[np.float64]
Ends = tuple[Floats, Floats]
Method = Callable[[Floats], Ends]

REPEATS = (3, 5, 9)
RESAMPLES = 400


def student(logs: Floats) -> Ends:
    """Return Student's t interval of the logarithms."""
    count = logs.shape[1]
    half = t_quantile(1 - TAIL, count - 1) * logs.std(axis=1, ddof=1) / np.sqrt(count)
    return logs.mean(axis=1) - half, logs.mean(axis=1) + half


def student_of_values(logs: Floats) -> Ends:
    """Return Student's t interval of the values themselves, as logarithms."""
    low, high = student(np.exp(logs))
    return np.log(np.maximum(low, 1e-9)), np.log(high)


def medians_bootstrapped(logs: Floats) -> Ends:
    """Return the percentile bootstrap of the median (B. Efron, Annals of Statistics 7, 1979)."""
    medians = np.median(_resampled(logs), axis=2)
    low, high = np.quantile(medians, [TAIL, 1 - TAIL], axis=1)
    return low, high


def bootstrap_t(logs: Floats) -> Ends:
    """Return the bootstrap-t interval of the mean (B. Efron, The Jackknife, the Bootstrap, 1982)."""
    drawn, count = _resampled(logs), logs.shape[1]
    error = logs.std(axis=1, ddof=1) / np.sqrt(count)
    spread = drawn.std(axis=2, ddof=1) / np.sqrt(count)
    with np.errstate(divide="ignore", invalid="ignore"):
        t = (drawn.mean(axis=2) - logs.mean(axis=1)[:, None]) / spread
    t = np.where(np.isnan(t), 0.0, t)  # every draw is the same value, so the resample has no spread
    low, high = np.quantile(t, [TAIL, 1 - TAIL], axis=1, method="inverted_cdf")
    return logs.mean(axis=1) - high * error, logs.mean(axis=1) - low * error


def signed_ranks(logs: Floats) -> Ends:
    """Return Hodges and Lehmann's interval between ordered Walsh averages (Wilcoxon's signed ranks).

    Fewer than six repeats cannot give 95 %. Then the interval goes from the least average to the largest.
    """
    count = logs.shape[1]
    rows, columns = np.triu_indices(count)
    averages = np.sort((logs[:, rows] + logs[:, columns]) / 2, axis=1)
    left_out = 0
    while sum(_rank_sums(count)[: left_out + 1]) / 2**count <= TAIL:
        left_out += 1
    place = max(left_out - 1, 0)
    return averages[:, place], averages[:, -1 - place]


METHODS: dict[str, Method] = {
    "t of logarithms": student,
    "t of values": student_of_values,
    "bootstrap of medians": medians_bootstrapped,
    "bootstrap-t": bootstrap_t,
    "signed ranks": signed_ranks,
}


def _resampled(logs: Floats) -> Floats:
    picks = np.random.default_rng(2).integers(logs.shape[1], size=(RESAMPLES, logs.shape[1]))
    return logs[:, picks]


def _rank_sums(count: int) -> list[int]:
    """Return for each sum 0, 1, 2, ... of positive ranks how many of the 2^count choices of signs give it."""
    ways = [1]
    for rank in range(1, count + 1):
        longer = [0] * (len(ways) + rank)
        for total, number in enumerate(ways):
            longer[total] += number
            longer[total + rank] += number
        ways = longer
    return ways


def rows(judgements: int, seed: int) -> Iterator[str]:
    """Yield the table's rows."""
    for scenario in SCENARIOS:
        if scenario.draw is None or scenario.is_limit:
            continue
        for count in REPEATS:
            logs = scenario.draw(np.random.default_rng(seed), (judgements, count))
            ends = [method(logs) for method in METHODS.values()]
            wrong = (f"{(low > 0).mean():.1%} / {(high < 0).mean():.1%}" for low, high in ends)
            yield f"| {scenario.name} | {count} | {' | '.join(wrong)} |"


def main(argv: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.interval_methods", description=__doc__)
    parser.add_argument("--judgements", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(argv)
    print(f"| repeats vary | repeats | {' | '.join(METHODS)} |")
    print("|---" * (2 + len(METHODS)) + "|")
    for row in rows(options.judgements, options.seed):
        print(row, flush=True)


if __name__ == "__main__":
    main()
