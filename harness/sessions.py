"""The sessions of one cell: did they stay where they were?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from harness.placement import random_max_over_mean

_SESSION = ("client", "session")


@dataclass(frozen=True)
class Sessions:
    """Sessions with an answered request; `requests`: their answered requests.

    top_requests: sum over sessions of the requests on the session's most used replica; group_requests: the
    same for target groups, None where there are none.
    breaks: times that a session's next request, in the order in which the client made them, changed replica.
    random_max_over_mean: what placing these sessions at random predicts, see harness/placement.py.
    """

    count: int
    requests: int
    top_requests: int
    group_requests: int | None
    breaks: int
    random_max_over_mean: float | None


def sessions_of(
    counts: pl.DataFrame, answered: pl.DataFrame, replicas: Sequence[str], groups: Mapping[str, str]
) -> Sessions:
    """The sessions of a cell.

    counts: client, session, replica (number in `replicas`), requests; one row or more for each such triple.
    answered: one row per request, with client, session, request_id, replica. groups: replica -> group.
    """
    each = counts.group_by(_SESSION).agg(pl.col("requests").sum())
    return Sessions(
        count=each.height,
        requests=int(each["requests"].sum()),
        top_requests=_on_most_used(counts, "replica"),
        group_requests=_on_most_used(_with_group(counts, replicas, groups), "group") if groups else None,
        breaks=_breaks(answered),
        random_max_over_mean=random_max_over_mean(each["requests"].cast(pl.Int64).to_numpy(), len(replicas)),
    )


def _on_most_used(counts: pl.DataFrame, place: str) -> int:
    by_place = counts.group_by(*_SESSION, place).agg(pl.col("requests").sum())
    return int(by_place.group_by(_SESSION).agg(pl.col("requests").max())["requests"].sum())


def _with_group(counts: pl.DataFrame, replicas: Sequence[str], groups: Mapping[str, str]) -> pl.DataFrame:
    known = [groups.get(name, "") for name in replicas]
    group = pl.col("replica").replace_strict(list(range(len(known))), known, return_dtype=pl.String)
    return counts.with_columns(group.alias("group"))


def _breaks(answered: pl.DataFrame) -> int:
    """In order of request_id: sorting by that alone is several times faster than by client and session."""
    ordered = answered.lazy().select(*_SESSION, "request_id", "replica").sort("request_id")
    moved = (pl.col("replica") != pl.col("replica").shift()).over(_SESSION)
    return int(ordered.select(moved.sum()).collect().item())
