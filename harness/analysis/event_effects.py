"""The effects of each event of a cell. The events cut the measured window into intervals.

Interval 0 comes before the first event. Interval k begins when event k was asked for, and ends with the next
event or the window. A request belongs to the interval in which it was planned.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import polars.selectors as cs

from harness.analysis.latency import latency_of
from harness.analysis.ledgers import attempts_by_interval
from harness.analysis.sessions import (
    count_migration,
    fair_share_after,
    last_answers,
    present_after,
    settled_sessions,
)
from harness.analysis.statistics import percentiles
from harness.analysis.zones import nodes_told
from harness.errors import UserError
from harness.events.kind import EventKind
from harness.events.registry import kind_of
from harness.metrics.facts import EventEffects, SessionMigration
from harness.metrics.metric import window_width_s
from harness.record.event_log import AskedEvent
from harness.record.run_directory import Cell

DELAYED_TIMES = 2  # times the 99th percentile latency before the first event

_COLUMNS = ("client", "session", "request_id", "replica", "code", "ok", "at_ns", "latency_ns")


def event_effects_of(
    cell: Cell, rows: pl.DataFrame, names: Sequence[str], outages: pl.DataFrame, lost: pl.DataFrame
) -> list[EventEffects]:
    """Return the effects of every event of a cell, by time.

    rows: the requests of the measured window: client, session, request_id, replica (index in `names`, or
    null), code, ok, at_ns (planned, from the start of measuring), latency_ns; node (index in `nodes_told`, or
    null) where the proxy has several.
    outages: see harness.analysis.sessions.session_outages. lost: request_id of the requests whose answer was
    lost. Raises UserError for an event of a kind that this version does not know.
    """
    events = cell.events()
    if not events:
        return []
    window = _Window.of(cell, events, rows, names, outages, lost)
    return [_effects(window, index) for index in range(len(events))]


@dataclass(frozen=True)
class _Window:
    """The measured window of a cell, cut into intervals.

    edges_ns: start of each interval, and last the window's end; from the start of measuring.
    rows: the requests with their interval. failed: the failed requests, with the interval of the event that
    the
    failure is attributed to. outages_ns (the longest), attempts, lost: interval -> value.
    answered: requests that name a replica, with `changed`: whether the session's answer before came from
    another replica. usual_ns: 99th percentile latency of interval 0.
    """

    cell: Cell
    events: Sequence[AskedEvent]
    names: Sequence[str]
    edges_ns: Sequence[int]
    rows: pl.DataFrame
    failed: pl.DataFrame
    outages_ns: Mapping[int, float]
    answered: pl.DataFrame
    attempts: Mapping[int, int]
    lost: Mapping[int, int]
    usual_ns: float | None

    @classmethod
    def of(
        cls,
        cell: Cell,
        events: Sequence[AskedEvent],
        rows: pl.DataFrame,
        names: Sequence[str],
        outages: pl.DataFrame,
        lost: pl.DataFrame,
    ) -> _Window:
        start_ns, length_ns = cell.record.measure_start_ns, max(0, cell.record.window_ns)
        asked_ns = [min(max(0, event.t_ns - start_ns), length_ns) for event in events]
        cut = _with_interval(rows.select(*_COLUMNS, cs.by_name("node", require_all=False)), asked_ns)
        before = cut.filter("ok", pl.col("interval") == 0)
        failed = attribute_failures(cut, _kinds(cell, events), asked_ns)
        longest = _with_interval(outages, asked_ns).group_by("interval").agg(pl.max("outage_ns"))
        return cls(
            cell,
            events,
            names,
            [0, *asked_ns, length_ns],
            cut,
            failed,
            dict(longest.iter_rows()),
            _answered(cut),
            attempts_by_interval(cell, cut.select("request_id", "interval")),
            Counter(failed.join(lost, on="request_id", how="semi")["interval"].to_list()),
            percentiles(before["latency_ns"]).get("p99"),
        )

    def interval_ns(self, index: int) -> tuple[int, int]:
        """Return start and end of the interval of the event with that index in `events`."""
        return self.edges_ns[index + 1], self.edges_ns[index + 2]

    def replica_indexes(self, names: Sequence[str]) -> list[int]:
        """Return the indexes of replicas in `names`, without those that never joined or answered."""
        return [self.names.index(name) for name in names if name in self.names]

    def present_after(self, index: int) -> int:
        """Return how many replicas take part after that event."""
        return len(present_after(self.cell.record.initial_replicas, self.events[: index + 1]))

    def settled_ns(self, index: int) -> int:
        """Return when the previous event had taken effect.

        If it took effect only after that event was asked for, return when the previous event was asked for.
        """
        if index == 0:
            return 0
        asked_ns = self.edges_ns[index]
        seen_ns = [effect.t_ns for effect in self.events[index - 1].effects]
        settled_ns = max(seen_ns, default=0) - self.cell.record.measure_start_ns
        return settled_ns if asked_ns <= settled_ns < self.edges_ns[index + 1] else asked_ns

    def settled_before(self, index: int) -> pl.DataFrame:
        """Return the sessions that had settled when that event was asked for, see `settled_sessions`."""
        return settled_sessions(self.answered, self.settled_ns(index), self.edges_ns[index + 1])


def _kinds(cell: Cell, events: Sequence[AskedEvent]) -> list[EventKind]:
    """Return the kind of each event. Raises UserError that names the file if this version lacks the kind."""
    try:
        return [kind_of(event.do) for event in events]
    except UserError as error:
        raise UserError(f"{cell.folder / 'events.jsonl'}: {error}") from None


def _answered(rows: pl.DataFrame) -> pl.DataFrame:
    columns = ("client", "session", "request_id", "replica", "at_ns", "interval")
    node = cs.by_name("node", require_all=False)
    ordered = rows.filter(pl.col("replica").is_not_null()).select(*columns, node).sort("request_id")
    changed = (pl.col("replica") != pl.col("replica").shift()).over("client", "session")
    return ordered.with_columns(changed.fill_null(value=False).alias("changed"))


def _with_interval(rows: pl.DataFrame, asked_ns: Sequence[int]) -> pl.DataFrame:
    """Return `rows` (at_ns) with the column `interval`: how many events were asked for by then."""
    interval = np.searchsorted(np.asarray(asked_ns), rows["at_ns"].to_numpy(), side="right")
    return rows.with_columns(pl.Series("interval", interval, dtype=pl.Int64))


def attribute_failures(
    rows: pl.DataFrame, kinds: Sequence[EventKind], asked_ns: Sequence[int]
) -> pl.DataFrame:
    """Return the failed requests; their `interval` is that of the event that caused the failure.

    An event of a kind that breaks calls causes the failure of requests that are under way when it is asked
    for: a kill fails such calls. The last such event counts. Otherwise the request keeps the interval in
    which it was planned.
    rows: interval, ok, at_ns, latency_ns. kinds, asked_ns: of the events by time; asked_ns is on the scale of
    at_ns.
    """
    failed = rows.filter(~pl.col("ok"))
    ended = pl.col("at_ns") + pl.col("latency_ns")
    interval = pl.col("interval")
    for index, (kind, at_ns) in enumerate(zip(kinds, asked_ns, strict=True)):
        if kind.breaks_calls:
            under_way = (pl.col("at_ns") < at_ns) & (ended >= at_ns)
            interval = pl.when(under_way).then(pl.lit(index + 1, pl.Int64)).otherwise(interval)
    return failed.with_columns(interval.alias("interval"))


def _effects(window: _Window, index: int) -> EventEffects:
    event, interval = window.events[index], index + 1
    from_ns, to_ns = window.interval_ns(index)
    in_interval = pl.col("interval") == interval
    rows, answered = window.rows.filter(in_interval), window.answered.filter(in_interval)
    failed = window.failed.filter(in_interval)
    targets = window.replica_indexes(event.targets)
    ended_ns = (failed["at_ns"] + failed["latency_ns"]).to_list()
    start_ns = window.cell.record.measure_start_ns
    return EventEffects(
        number=event.number,
        do=event.do,
        targets=tuple(event.targets),
        undoes=event.undoes,
        notification=event.notification,
        at_s=(event.t_ns - start_ns) / 1e9,
        length_s=(to_ns - from_ns) / 1e9,
        requests=rows.height,
        ok=int(rows["ok"].sum()),
        good_answers=answered_between(window.rows, from_ns, to_ns),
        errors=dict(sorted(failed["code"].value_counts().iter_rows())),
        failed_sessions=failed.select("client", "session").n_unique() if failed.height else 0,
        last_failure_ns=float(max(ended_ns) - from_ns) if ended_ns else 0.0,
        delayed=_delayed(rows, window.usual_ns),
        longest_outage_ns=window.outages_ns.get(interval),
        migration=_migration(window, index, targets, answered),
        breaks=int(answered["changed"].sum()),
        first_answer_ns=_first_answer_ns(kind_of(event.do), rows, targets, from_ns),
        fair_share_after_ns=_fair_share_after_ns(window, index, targets),
        present=window.present_after(index),
        answered=answered.height,
        on_targets=_on_targets(window, event, answered),
        attempts=window.attempts.get(interval, 0),
        lost_answers=window.lost.get(interval, 0),
        latency=latency_of(rows, "latency_ns"),
        took_effect_ns=max((float(effect.t_ns - event.t_ns) for effect in event.effects), default=None),
        effects=tuple(((one.t_ns - start_ns) / 1e9, one.target, one.seen) for one in event.effects),
        steps=tuple(((one.t_ns - start_ns) / 1e9, one.do, one.target) for one in event.steps),
        details=event.details,
    )


def answered_between(rows: pl.DataFrame, from_ns: int, to_ns: int) -> int:
    """Return how many requests ended with OK from `from_ns` until before `to_ns`.

    rows: ok, at_ns (planned), latency_ns. Instants are on the scale of at_ns.
    """
    ended = pl.col("at_ns") + pl.col("latency_ns")
    # A filter would copy all columns of a large cell.
    in_time = pl.col("ok") & ended.is_between(from_ns, to_ns, closed="left")
    return int(rows.select(in_time.sum()).item())


def _on_targets(window: _Window, event: AskedEvent, answered: pl.DataFrame) -> int | None:
    """Return how many requests the event's targets answered, or had as nodes of the proxy; None: unknown."""
    if kind_of(event.do).aim == "proxy":
        nodes = nodes_told(window.cell.record)
        part, targets = "node", [nodes.index(name) for name in event.targets if name in nodes]
    else:
        part, targets = "replica", window.replica_indexes(event.targets)
    return int(answered[part].is_in(targets).sum()) if targets else None


def _delayed(rows: pl.DataFrame, usual_ns: float | None) -> int | None:
    if usual_ns is None:
        return None
    return rows.filter("ok", pl.col("latency_ns") > DELAYED_TIMES * usual_ns).height


def _first_answer_ns(
    kind: EventKind, rows: pl.DataFrame, targets: Sequence[int], from_ns: int
) -> float | None:
    if not kind.returns:
        return None
    ended = pl.col("at_ns") + pl.col("latency_ns")
    ended_ns = rows.filter(pl.col("replica").is_in(targets)).select(ended.min()).item()
    return None if ended_ns is None else float(ended_ns - from_ns)


def _migration(
    window: _Window, index: int, targets: Sequence[int], answered: pl.DataFrame
) -> SessionMigration:
    settled = window.settled_before(index)
    removed = [_pinned_before_removal(window, index, name) for name in window.events[index].targets]
    return count_migration(
        kind_of(window.events[index].do),
        targets,
        settled,
        pl.concat([settled.clear(), *(sessions for sessions in removed if sessions is not None)]),
        last_answers(answered),
    )


def _pinned_before_removal(window: _Window, index: int, name: str) -> pl.DataFrame | None:
    """Return the sessions that were pinned to a replica before an earlier event last removed it.

    None if this event does not return the replica, or no earlier event removed it.
    """
    if not kind_of(window.events[index].do).returns:
        return None
    for earlier in range(index - 1, -1, -1):
        event = window.events[earlier]
        if kind_of(event.do).removes and name in event.targets:
            settled = window.settled_before(earlier)
            return settled.filter(pl.col("replica").is_in(window.replica_indexes([name])))
    return None


def _fair_share_after_ns(window: _Window, index: int, targets: Sequence[int]) -> float | None:
    event = window.events[index]
    if not kind_of(event.do).returns:
        return None
    from_ns, to_ns = window.interval_ns(index)
    if not window.edges_ns[-1]:
        return None  # the run was killed before the window of this cell was recorded
    width_ns = round(window_width_s(window.edges_ns[-1] / 1e9) * 1e9)
    if len(targets) < len(event.targets):
        return float(to_ns - from_ns)  # one of them never joined
    return fair_share_after(window.answered, from_ns, to_ns, width_ns, targets, window.present_after(index))
