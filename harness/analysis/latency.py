"""Percentiles of latency over requests of which some failed.

A request that failed has no latency, since no good answer came. All that is known is that an answer would
have taken at least as long as the failure did: the value is right-censored. Taken for a latency it would make
percentiles look better, because a deadline cuts off the slowest requests.
docs/decisions/0010-a-failure-has-no-latency.md has the reasons and the alternatives.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import polars as pl

from harness.analysis.statistics import percentiles, reported_percentiles
from harness.metrics.facts import Latency
from harness.metrics.metric import reported


def latency_of(rows: pl.DataFrame, column: str) -> Latency:
    """Return the percentiles of the latency in `column` (ns) that are reported, see Latency.

    rows: one row per request: `column`, from send to end, and ok (whether the request ended with OK).
    """
    durations = percentiles(rows[column])
    if rows["ok"].all():
        whole = reported(durations, rows.height)
        return Latency(whole, whole, whole)
    counted = pl.when("ok").then(pl.col(column).cast(pl.Float64)).otherwise(math.inf)
    of_all = percentiles(rows.select(counted.alias(column))[column])
    return Latency(
        reported(of_all, rows.height),
        reported(_at_least(of_all, durations), rows.height),
        reported_percentiles(rows.filter("ok")[column]),
    )


def _at_least(of_all: Mapping[str, float], durations: Mapping[str, float]) -> dict[str, float]:
    """Return what each percentile of all requests is at least.

    Where it is known, it is that. Otherwise it is no less than the percentile of the time until the end, and
    no less than a lower percentile.
    """
    highest = max((value for value in of_all.values() if value < math.inf), default=0.0)
    return {
        name: max(durations[name], highest) if value == math.inf else value for name, value in of_all.items()
    }
