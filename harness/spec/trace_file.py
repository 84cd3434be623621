"""The recorded arrivals of a workload that plays a trace: which client sends when.

A trace is a Parquet file as `observe --save-trace` writes it. Two of its columns are read, time_unix_ns and
client, and target_time_ns where a workload asks for recorded service times.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import UserError
from lb.plan import NOT_RECORDED

if TYPE_CHECKING:
    # Functions import polars when they use it: only an experiment with a trace needs it.
    import numpy as np
    import numpy.typing as npt
    import polars as pl

TRACE_FILE = "trace.parquet"  # beside experiment.yaml in a run directory
MAX_CLIENTS, MAX_REQUESTS = 10_000, 1_000_000
NS_PER_S = 1_000_000_000
MAX_TRACE_S = 1e9  # that a trace may last
MAX_WORK_NS = 60 * NS_PER_S  # longer times are cut: replicas take none (services.call)
_COLUMNS = ("time_unix_ns", "client")
_WORK = "target_time_ns"


@dataclass(frozen=True)
class Recorded:
    """The arrivals of one cell. Clients are numbered from the busiest; equals by their first arrival.

    warm_up, measure: for each client its arrivals, nanoseconds from the start of that phase, ascending.
    warm_up_work, measure_work: likewise the service time of each, ns, or NOT_RECORDED; None if not asked for.
    """

    warm_up: Sequence[Sequence[int]]
    measure: Sequence[Sequence[int]]
    warm_up_work: Sequence[Sequence[int]] | None = None
    measure_work: Sequence[Sequence[int]] | None = None

    @property
    def clients(self) -> int:
        """Number of clients."""
        return len(self.measure)

    @property
    def requests(self) -> int:
        """Requests of the measured phase."""
        return sum(map(len, self.measure))

    @property
    def mean_work_ms(self) -> float:
        """Mean recorded service time of both phases, milliseconds. There must be one."""
        phases = (self.warm_up_work, self.measure_work)
        times = [one for phase in phases for client in phase or () for one in client if one != NOT_RECORDED]
        return sum(times) / len(times) / 1e6


def file_digest(path: Path) -> str:
    """Return the SHA-256 hash of a trace, in hexadecimal. Raises UserError if it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"{path}: the trace cannot be read ({error.strerror})") from None


@lru_cache(maxsize=4)
def recorded_arrivals(
    path: Path, window: tuple[float, float], speed: float, warm_up_s: float, with_work: bool = False
) -> Recorded:
    """Return the arrivals in the window of a trace, played at `speed` (2: twice as fast).

    window: seconds after the trace's first request. The warm-up plays what comes before the window.
    with_work: with the recorded service times, which `speed` leaves as they are.
    Raises UserError for a file that is no trace, or a window that cannot be played.
    """
    import polars as pl

    start_s, end_s = window
    before_s = warm_up_s * speed
    if before_s > start_s:
        raise UserError(
            f"the window begins at {start_s:g} s, and the warm-up plays the {before_s:g} s before it; "
            f"expected a window from {before_s:g} s on, or warm_up_s: 0"
        )
    rows = _window_rows(path, start_s - before_s, end_s, with_work=with_work)
    since = ((pl.col("at_ns") - round(start_s * NS_PER_S)) / speed).round().cast(pl.Int64)
    played = (
        rows.with_columns(since.alias("at_ns"))
        # Rounding must not move an arrival into another phase.
        .filter(pl.col("at_ns") < round((end_s - start_s) / speed * NS_PER_S))
        .sort("at_ns", maintain_order=True)
        .group_by("client", maintain_order=True)
        .agg(pl.col("at_ns", "work_ns"))
        .with_columns(
            pl.col("at_ns").list.len().alias("requests"), pl.col("at_ns").list.first().alias("first")
        )
        .sort("requests", "first", "client", descending=[True, False, False], nulls_last=True)
    )
    arrivals, work = played["at_ns"].to_list(), played["work_ns"].to_list()
    total = sum(map(len, arrivals))
    if not any(times[-1] >= 0 for times in arrivals):
        raise UserError(f"{path}: no request from {start_s:g} s to {end_s:g} s after the first one")
    for count, most, what in ((len(arrivals), MAX_CLIENTS, "clients"), (total, MAX_REQUESTS, "requests")):
        if count > most:
            raise UserError(f"{path}: {count:,} {what} in the window; expected at most {most:,}: shorten it")
    offset = round(warm_up_s * NS_PER_S)
    before = [sum(at < 0 for at in times) for times in arrivals]
    found = Recorded(
        warm_up=[[at + offset for at in times[:n]] for times, n in zip(arrivals, before, strict=True)],
        measure=[times[n:] for times, n in zip(arrivals, before, strict=True)],
    )
    if not with_work:
        return found
    if not any(one != NOT_RECORDED for client in work for one in client):
        raise UserError(f"{path}: no request in the window has a time of its target; leave service_times out")
    return replace(
        found,
        warm_up_work=[times[:n] for times, n in zip(work, before, strict=True)],
        measure_work=[times[n:] for times, n in zip(work, before, strict=True)],
    )


def requests_of_trace(
    path: Path, window: tuple[float, float] | None
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.uint64]]:
    """Return when each request came, seconds, and its client's hash: (requests,) each, by time.

    window: seconds after the trace's first request; None: all. Raises UserError for a file that is no trace.
    """
    rows = _window_rows(path, *(window or (0.0, MAX_TRACE_S)), with_work=False).sort("at_ns")
    # Requests without a client are those of one.
    return rows["at_ns"].to_numpy() / NS_PER_S, rows["client"].fill_null(0).to_numpy()


def write_window(
    path: Path, window: tuple[float, float], before_s: float, copy: Path, *, with_work: bool = False
) -> None:
    """Write the part of a trace that a run plays, so that the run's folder needs no other file.

    The first request stays, because times count from it. before_s: seconds of the trace before the window.
    with_work: with the recorded service times.
    """
    import polars as pl

    first_ns, frame = _frame(path, with_work=with_work)
    times = pl.col("time_unix_ns") - first_ns
    start, end = (round(edge * NS_PER_S) for edge in (window[0] - before_s, window[1]))
    columns = (*_COLUMNS, *([_WORK] if with_work else []))
    frame.filter(times.is_between(start, end) | (times == 0)).select(*columns).collect().write_parquet(copy)


def _window_rows(path: Path, start_s: float, end_s: float, *, with_work: bool) -> pl.DataFrame:
    """Return the requests from start_s to end_s: client, at_ns (from the trace's first request), work_ns."""
    import polars as pl

    first_ns, frame = _frame(path, with_work=with_work)
    start, end = round(start_s * NS_PER_S), round(end_s * NS_PER_S)
    recorded = pl.col(_WORK).clip(0, MAX_WORK_NS).fill_null(NOT_RECORDED)
    work = recorded if with_work else pl.lit(NOT_RECORDED, pl.Int64)
    rows = frame.select("client", (pl.col("time_unix_ns") - first_ns).alias("at_ns"), work.alias("work_ns"))
    return rows.filter(pl.col("at_ns").is_between(start, end, closed="left")).collect()


def _frame(path: Path, *, with_work: bool = False) -> tuple[int, pl.LazyFrame]:
    """Return the time of the first request, and the trace. Raises UserError if it is none."""
    import polars as pl

    try:
        frame = pl.scan_parquet(path, glob=False)
        kinds = frame.collect_schema()
        if kinds.get("time_unix_ns") != pl.Int64 or "client" not in kinds:
            raise UserError(
                f"{path}: expected the columns {', '.join(_COLUMNS)}, found {', '.join(kinds)[:200]}"
            )
        if with_work and kinds.get(_WORK) != pl.Int64:
            raise UserError(f"{path}: has no times of targets ({_WORK}); leave service_times out")
        first_ns = frame.select(pl.col("time_unix_ns").min()).collect().item()
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"{path}: expected a trace, as `observe --save-trace` writes it, but it cannot be read "
            f"({reason[:200]})"
        ) from None
    if first_ns is None:
        raise UserError(f"{path}: the trace has no request")
    return first_ns, frame.filter(pl.col("time_unix_ns").is_not_null())
