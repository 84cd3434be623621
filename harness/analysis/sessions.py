"""The sessions of one cell: did they stay where they were?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import polars as pl

from harness.metrics.facts import Sessions

_SESSION = ("client", "session")


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


# Placements of one session that are drawn in all. A cell of a few hundred sessions gets all the draws; with
# very many sessions the busiest replica differs little from draw to draw, and fewer will do.
_MAX_PLACEMENTS = 4_000_000
_MAX_DRAWS, _MIN_DRAWS = 2_000, 20


def random_max_over_mean(session_requests: npt.NDArray[np.int64], replicas: int) -> float | None:
    """Expectation of busiest replica / fair share when every session goes to a replica drawn at random.

    session_requests: requests of each session, (sessions,). Each session stays where it is placed, replicas
    are drawn independently and alike: balls of unequal weight into bins. Estimated from up to 2,000 draws
    with a fixed seed; their standard error is well below 1 % of the result. None without requests.
    """
    total = int(session_requests.sum())
    if not total:
        return None
    # Sorted, so that the same sessions in any order give the same figure.
    sizes = np.sort(session_requests)
    generator = np.random.default_rng(0)
    sessions = len(session_requests)
    draws = min(_MAX_DRAWS, max(_MIN_DRAWS, _MAX_PLACEMENTS // sessions))
    at_once = max(1, 1_000_000 // sessions)  # keeps the tables small
    busiest = 0.0
    for first in range(0, draws, at_once):
        rows = min(at_once, draws - first)
        places = generator.integers(replicas, size=(rows, sessions)) + replicas * np.arange(rows)[:, None]
        weights = np.broadcast_to(sizes, places.shape)
        loads = np.bincount(places.ravel(), weights.ravel(), minlength=rows * replicas)
        busiest += float(loads.reshape(rows, replicas).max(axis=1).sum())
    return busiest / draws * replicas / total
