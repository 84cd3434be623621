"""Percentiles of latency over requests of which some failed.

A request that failed has no latency, since no good answer came. All that is known is that an answer would
have taken at least as long as the failure did: the value is right-censored. Taken for a latency it would make
percentiles look better, because a deadline cuts off the slowest requests.
docs/decisions/0009-a-failure-has-no-latency.md has the reasons and the alternatives.
"""

from __future__ import annotations

import math

import polars as pl

from harness.analysis.statistics import percentiles
from harness.metrics.facts import Latency


def latency_of(rows: pl.DataFrame, column: str) -> Latency:
    """Return the percentiles of the latency in `column` (ns), see Latency.

    rows: one row per request: `column`, from send to end, and ok (whether the request ended with OK).
    """
    at_least = percentiles(rows[column])
    if rows["ok"].all():
        return Latency(at_least, at_least, at_least)
    counted = pl.when("ok").then(pl.col(column).cast(pl.Float64)).otherwise(math.inf)
    return Latency(
        percentiles(rows.select(counted.alias(column))[column]),
        at_least,
        percentiles(rows.filter("ok")[column]),
    )
