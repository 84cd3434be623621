"""The sessions and streams of one cell: which stayed, how long each waited, and which ones an event moved."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import polars as pl

from harness.analysis.statistics import reported_percentiles
from harness.events.kind import EventKind
from harness.events.registry import kind_of
from harness.metrics.facts import Placement, SessionMigration, Sessions, Streams
from harness.record.event_log import AskedEvent

_SESSION = ("client", "session")


def sessions_of(
    counts: pl.DataFrame, answered: pl.DataFrame, replicas: Sequence[str], groups: Mapping[str, str]
) -> Sessions:
    """Return the counts of a cell's sessions.

    counts: client, session, replica (index in `replicas`), requests; one or more rows for each such triple.
    answered: one row per request: client, session, request_id, replica. groups: replica -> target group.
    """
    each = counts.group_by(_SESSION).agg(pl.col("requests").sum())
    return Sessions(
        count=each.height,
        requests=int(each["requests"].sum()),
        top_requests=_on_most_used(counts, "replica"),
        group_requests=_on_most_used(_with_group(counts, replicas, groups), "group") if groups else None,
        breaks=_breaks(answered),
        random_placement=random_placement(each["requests"].cast(pl.Int64).to_numpy(), len(replicas)),
    )


def _on_most_used(counts: pl.DataFrame, column: str) -> int:
    """Return each session's requests on its most used value of `column`, summed over the sessions."""
    by_value = counts.group_by(*_SESSION, column).agg(pl.col("requests").sum())
    return int(by_value.group_by(_SESSION).agg(pl.col("requests").max())["requests"].sum())


def _with_group(counts: pl.DataFrame, replicas: Sequence[str], groups: Mapping[str, str]) -> pl.DataFrame:
    known = [groups.get(name, "") for name in replicas]
    group = pl.col("replica").replace_strict(list(range(len(known))), known, return_dtype=pl.String)
    return counts.with_columns(group.alias("group"))


def _breaks(answered: pl.DataFrame) -> int:
    """Return how often a session's next request, by request_id, went to another replica."""
    # A sort by request_id alone is several times faster than one by client, session and request_id.
    ordered = _by_request(answered, *_SESSION, "replica")
    moved = (pl.col("replica") != pl.col("replica").shift()).over(_SESSION)
    return int(ordered.select(moved.sum()).collect().item())


def _by_request(rows: pl.DataFrame, *columns: pl.Expr | str) -> pl.LazyFrame:
    """Return the columns in the order of request_id. A sort copies them; a large cell is in order already."""
    if rows["request_id"].is_sorted():
        return rows.lazy().select(*columns)
    return rows.lazy().sort("request_id").select(*columns)


# Largest number of random placements of single sessions. A cell of a few hundred sessions gets _MAX_DRAWS
# draws of all its sessions. With very many sessions the busiest replica differs little between draws, and
# fewer draws are enough.
_MAX_PLACEMENTS = 4_000_000
_MAX_DRAWS, _MIN_DRAWS = 2_000, 20


def random_placement(session_requests: npt.NDArray[np.int64], replicas: int) -> Placement | None:
    """Return the busiest replica / fair share when every session goes to a random replica.

    session_requests: (sessions,), requests of each session. A session stays on the replica that was drawn for
    it. All draws are independent, and each replica is equally likely: balls of unequal weight into bins. The
    result is of up to 2,000 draws with a fixed seed. The standard error of the mean is well below 1 % of it;
    between the two percentiles are nine of ten placements, give or take one in a hundred. None without
    requests.
    """
    total = int(session_requests.sum())
    if not total:
        return None
    # Sorted, so that the order of the sessions does not change the result.
    sizes = np.sort(session_requests)
    generator = np.random.default_rng(0)
    sessions = len(session_requests)
    draws = min(_MAX_DRAWS, max(_MIN_DRAWS, _MAX_PLACEMENTS // sessions))
    at_once = max(1, 1_000_000 // sessions)  # keeps the tables small
    busiest = np.empty(draws)
    for first in range(0, draws, at_once):
        rows = min(at_once, draws - first)
        bins = generator.integers(replicas, size=(rows, sessions)) + replicas * np.arange(rows)[:, None]
        weights = np.broadcast_to(sizes, bins.shape)
        loads = np.bincount(bins.ravel(), weights.ravel(), minlength=rows * replicas)
        busiest[first : first + rows] = loads.reshape(rows, replicas).max(axis=1)
    busiest *= replicas / total
    low, high = np.quantile(busiest, (0.05, 0.95), method="inverted_cdf")
    return Placement(float(busiest.mean()), float(low), float(high))


def session_outages(rows: pl.DataFrame, window_ns: int) -> pl.DataFrame:
    """Return the outage of each request: how long its session waited for a good answer.

    Columns of the result: at_ns (planned send), outage_ns. The outage begins at the request's planned send.
    It ends with the first answer with OK that the session got to this or a later request. Without such an
    answer it ends with the window. If a session goes on trying during an outage, its longest outage is that
    of the first request that failed.

    rows: client, session, request_id, at_ns, latency_ns, ok. A client's later request has the larger id.
    window_ns: end of the window, on the scale of at_ns.
    """
    answered_ns = pl.when("ok").then(pl.col("at_ns") + pl.col("latency_ns")).alias("answered_ns")
    # cum_min leaves a null where the row itself has none.
    earliest = pl.col("answered_ns").cum_min(reverse=True).backward_fill().over(_SESSION)
    return (
        _by_request(rows, *_SESSION, "at_ns", answered_ns)
        .select("at_ns", (earliest.fill_null(window_ns) - pl.col("at_ns")).alias("outage_ns"))
        .collect()
    )


def longest_outage_ns(outages: pl.DataFrame) -> float | None:
    """Return the longest outage (column outage_ns); None without a row."""
    return float(outages["outage_ns"].to_numpy().max()) if outages.height else None


def streams_of(
    messages: pl.LazyFrame | None, measured: pl.DataFrame, messages_per_stream: int | None
) -> Streams:
    """Return the counts of the streams among the `measured` requests (request_id, streamed).

    messages: lb.rows.MESSAGE_COLUMNS, or None without any. messages_per_stream: that each was to have;
    None: nobody planned that.
    """
    planned = None if messages_per_stream is None else int(measured["streamed"].sum()) * messages_per_stream
    if messages is None:
        return Streams(missing=planned)
    rows = (
        messages.join(measured.lazy().select("request_id"), on="request_id", how="semi")
        .select("request_id", "replica", (pl.col("received_ns") - pl.col("planned_ns")).alias("latency_ns"))
        .collect(engine="streaming")
    )
    one_replica = (pl.col("replica") == pl.col("replica").first()).all()
    streams = rows.group_by("request_id").agg(one_replica.alias("pure"))
    return Streams(
        streams.height,
        int(streams["pure"].sum()),
        reported_percentiles(rows["latency_ns"]),
        missing=None if planned is None else planned - rows.height,
    )


_MIN_ANSWERS = 2

MIN_OF_FAIR = 0.8
_MIN_ANSWERS_PER_REPLICA = 2  # on average, in a time window: fewer answers show no share


def settled_sessions(answered: pl.DataFrame, since_ns: int, until_ns: int) -> pl.DataFrame:
    """Return the sessions with two answers or more to requests planned from `since_ns` to `until_ns`.

    Columns of the result: client, session, replica. replica is null where the answers came from several
    replicas.
    answered: client, session, request_id, replica (index), at_ns.
    """
    before = answered.filter(pl.col("at_ns").is_between(since_ns, until_ns, closed="left"))
    each = before.group_by(_SESSION).agg(
        pl.len().alias("answers"),
        pl.col("replica").min(),
        pl.col("replica").max().alias("other"),
    )
    one = pl.when(pl.col("replica") == pl.col("other")).then("replica").alias("replica")
    return each.filter(pl.col("answers") >= _MIN_ANSWERS).select(*_SESSION, one)


def last_answers(answered: pl.DataFrame) -> pl.DataFrame:
    """Return client, session, last: the replica that gave each session's last answer in `answered`."""
    latest = pl.col("replica").get(pl.col("request_id").arg_max()).alias("last")
    return answered.group_by(_SESSION).agg(latest)


def count_migration(
    kind: EventKind,
    targets: Collection[int],
    settled: pl.DataFrame,
    removed: pl.DataFrame,
    last: pl.DataFrame,
) -> SessionMigration:
    """Return the session migration of an event of that kind on `targets` (indexes of replicas).

    settled: see settled_sessions, before the event. removed: the sessions that were pinned to a target before
    it was removed, if this event returns it. last: see last_answers, in the event's interval.
    """
    sessions = settled.drop_nulls("replica").join(last, on=_SESSION, how="left")
    on_target = pl.col("replica").is_in(targets)
    moved = pl.col("last") != pl.col("replica")
    needed = pl.lit(value=False)
    if kind.removes:
        needed = on_target
    elif kind.returns:
        needed = moved & pl.col("last").is_in(targets)
    counts = sessions.select(
        pl.len().alias("pinned"), moved.sum().alias("moved"), needed.sum().alias("needed")
    )
    answered = removed.join(last, on=_SESSION, how="inner")
    back = answered.select((pl.col("last") == pl.col("replica")).mean()).item() if answered.height else None
    return SessionMigration(seen=settled.height, **counts.row(0, named=True), returned_share=back)


def present_after(initial: Sequence[str], events: Sequence[AskedEvent]) -> set[str]:
    """Return the replicas that take part after these events. initial: the replicas at the start."""
    present = set(initial)
    for event in events:
        membership = kind_of(event.do).membership
        if membership == "returns":
            present |= set(event.targets)
        elif membership == "removes":
            present -= set(event.targets)
    return present


def fair_share_after(
    answered: pl.DataFrame, from_ns: int, to_ns: int, width_ns: int, targets: Sequence[int], present: int
) -> float:
    """Return the time (ns) until each target has MIN_OF_FAIR of its fair share, for one time window.

    The time from `from_ns` to `to_ns` is cut into windows of `width_ns`. The fair share is 1 / `present` of a
    window's answered requests, whatever the replicas' sizes and weights. The result is the time from
    `from_ns` to the end of the first window in which each target has enough; `to_ns - from_ns` if there is
    none. Windows with less than _MIN_ANSWERS_PER_REPLICA answers per replica do not count.
    answered: at_ns, replica (index).
    """
    windows = (to_ns - from_ns) // width_ns
    within = answered.filter(pl.col("at_ns").is_between(from_ns, from_ns + windows * width_ns, closed="left"))
    window = (within["at_ns"].to_numpy() - from_ns) // width_ns
    replica = within["replica"].to_numpy()
    counts = [np.bincount(window[replica == target], minlength=windows) for target in targets]
    total = np.bincount(window, minlength=windows)
    if not windows or not counts or not present:
        return float(to_ns - from_ns)
    enough = np.min(counts, axis=0) >= MIN_OF_FAIR * total / present
    found = np.flatnonzero(enough & (total >= _MIN_ANSWERS_PER_REPLICA * present))
    return float((found[0] + 1) * width_ns) if len(found) else float(to_ns - from_ns)
