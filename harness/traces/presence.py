"""When targets came and went: a log says it only by silence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

# A silence counts if the target was due this many of the requests that others got meanwhile. A balancer that
# picks each target independently leaves one out for so long with a probability of exp(-20). Counting
# requests, not seconds, keeps quiet nights from looking like absences.
MIN_MISSED = 20.0
MIN_SILENCE_S = 60.0  # one busy client of a sticky session may well pause for less


@dataclass(frozen=True)
class Presence:
    """When one target got requests, seconds after the trace's first request.

    first_s, last_s: its first and last request. silences: (from, to) between them. late: it was due requests
    before its first one, so it joined during the trace; left: likewise after its last one.
    """

    first_s: float = 0.0
    last_s: float = 0.0
    silences: tuple[tuple[float, float], ...] = ()
    late: bool = False
    left: bool = False

    @property
    def seconds(self) -> float:
        """Time from the first request to the last, without the silences."""
        return self.last_s - self.first_s - sum(end - start for start, end in self.silences)

    @property
    def intervals(self) -> list[tuple[float, float]]:
        """The times at which the target was there, (from, to)."""
        edges = [self.first_s, *(edge for silence in self.silences for edge in silence), self.last_s]
        return list(zip(edges[::2], edges[1::2], strict=True))


def presence_of(table: pl.DataFrame, start_ns: int, targets: int) -> list[Presence]:
    """Return the presence of each of the targets, by index. table: of a Trace, sorted by time."""
    rows = (
        table.lazy()
        .filter(pl.col("target").is_not_null())
        .select("target", (pl.col("time_unix_ns") - start_ns).alias("at_ns"))
        .with_row_index("place")
        .collect()
    )
    if not rows.height:
        return [Presence()] * targets
    total, end_ns = rows.height, int(rows["at_ns"][-1])
    ends = rows.group_by("target").agg(
        pl.len().alias("requests"),
        pl.col("place").cast(pl.Int64).min().alias("first"),
        pl.col("place").cast(pl.Int64).max().alias("last"),
        pl.col("at_ns").min().alias("first_ns"),
        pl.col("at_ns").max().alias("last_ns"),
    )
    rates = ends.select("target", pl.col("requests") / (pl.col("last") - pl.col("first") + 1))
    silences = _silences(rows, rates)
    found = [Presence()] * targets
    for row in ends.iter_rows(named=True):
        due = row["requests"] / (row["last"] - row["first"] + 1)
        found[row["target"]] = Presence(
            first_s=row["first_ns"] / 1e9,
            last_s=row["last_ns"] / 1e9,
            silences=tuple(silences.get(row["target"], ())),
            late=_counts(row["first"] * due, row["first_ns"]) and row["requests"] > 1,
            left=_counts((total - 1 - row["last"]) * due, end_ns - row["last_ns"]) and row["requests"] > 1,
        )
    return found


def _counts(missed: float, silence_ns: float) -> bool:
    return missed >= MIN_MISSED and silence_ns >= MIN_SILENCE_S * 1e9


def _silences(rows: pl.DataFrame, rates: pl.DataFrame) -> dict[int, list[tuple[float, float]]]:
    """Return target -> its silences. rates: target, share of the requests while it was there."""
    before = (
        rows.lazy()
        .with_columns(
            pl.col("place").cast(pl.Int64).diff().over("target").alias("passed"),
            pl.col("at_ns").diff().over("target").alias("silent_ns"),
        )
        .filter(pl.col("silent_ns") >= MIN_SILENCE_S * 1e9)
        .join(rates.lazy().rename({"requests": "due"}), on="target")
        .filter(pl.col("passed") * pl.col("due") >= MIN_MISSED)
        .sort("at_ns")
        .collect()
    )
    found: dict[int, list[tuple[float, float]]] = {}
    for row in before.iter_rows(named=True):
        end_s = row["at_ns"] / 1e9
        found.setdefault(row["target"], []).append((end_s - row["silent_ns"] / 1e9, end_s))
    return found


def present_in(
    presences: Sequence[Presence], windows: npt.NDArray[np.int64], width_s: float
) -> npt.NDArray[np.int64]:
    """Return how many targets were there in each of the windows (numbers, ascending), (windows,)."""
    present = np.zeros(len(windows) + 1, dtype=np.int64)
    for presence in presences:
        # A target that was there twice in one window counts once: its intervals are merged by window.
        spans: list[tuple[int, int]] = []
        for start, end in presence.intervals:
            first, last = int(start // width_s), int(end // width_s)
            if spans and first <= spans[-1][1]:
                spans[-1] = (spans[-1][0], last)
            else:
                spans.append((first, last))
        for first, last in spans:
            present[np.searchsorted(windows, first)] += 1
            present[np.searchsorted(windows, last, side="right")] -= 1
    return present.cumsum()[:-1]
