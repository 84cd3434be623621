"""What each event of a cell did: the measured window cut at the events, each part counted for itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from harness.analysis.lost import attempts_by_part
from harness.analysis.percentiles import percentiles
from harness.analysis.session_migration import (
    count_moves,
    fair_share_after,
    last_answers,
    present_after,
    settled_sessions,
)
from harness.analysis.window_series import window_width_s
from harness.errors import UserError
from harness.events.kind import EventKind
from harness.events.registry import kind_of
from harness.metrics.event_facts import EventEffects, SessionMigration
from harness.record.event_log import AskedEvent
from harness.record.reader import Cell

DELAYED_TIMES = 2  # the p99 latency before the first event

_COLUMNS = ("client", "session", "request_id", "replica", "code", "ok", "at_ns", "latency_ns")


def event_effects_of(
    cell: Cell, rows: pl.DataFrame, names: Sequence[str], gaps: pl.DataFrame, lost: pl.DataFrame
) -> list[EventEffects]:
    """The facts of every event of a cell, by time.

    rows: the measured window, one row per request: client, session, request_id, replica (place in `names`,
    or null), code, ok, at_ns (planned, from the start of measuring), latency_ns.
    gaps: see session_outages_of. lost: request_id of the requests whose answer was lost.
    """
    events = cell.events()
    if not events:
        return []
    window = _Window.of(cell, events, rows, names, gaps, lost)
    return [_facts(window, place) for place in range(len(events))]


@dataclass(frozen=True)
class _Window:
    """The measured window of a cell, cut at its events. Part 0 is what comes before the first of them.

    edges_ns: where each part begins, and the window's end, from the start of measuring. rows: with
    their part; failed: those that failed, with the part to blame (harness.analysis.event_effects).
    gaps_ns (the longest), attempts, lost: of each part.
    answered: the rows that name a replica, with `changed`: whether it is another one than that of the
    session's answer before. usual_ns: 99th percentile latency of part 0.
    """

    cell: Cell
    events: Sequence[AskedEvent]
    names: Sequence[str]
    edges_ns: Sequence[int]
    rows: pl.DataFrame
    failed: pl.DataFrame
    gaps_ns: Mapping[int, float]
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
        gaps: pl.DataFrame,
        lost: pl.DataFrame,
    ) -> _Window:
        start_ns, length_ns = cell.record.measure_start_ns, max(0, cell.record.window_ns)
        asked_ns = [min(max(0, event.t_ns - start_ns), length_ns) for event in events]
        cut = _cut(rows.select(_COLUMNS), asked_ns)
        before = cut.filter("ok", pl.col("part") == 0)
        failed = failures(cut, _kinds(cell, events), asked_ns)
        return cls(
            cell,
            events,
            names,
            [0, *asked_ns, length_ns],
            cut,
            failed,
            dict(_cut(gaps, asked_ns).group_by("part").agg(pl.max("gap_ns")).iter_rows()),
            _answered(cut),
            attempts_by_part(cell, cut.select("request_id", "part")),
            Counter(failed.join(lost, on="request_id", how="semi")["part"].to_list()),
            percentiles(before["latency_ns"]).get("p99"),
        )

    def number_of(self, names: Sequence[str]) -> list[int]:
        """Places of replicas; those that answered nothing and never joined have none."""
        return [self.names.index(name) for name in names if name in self.names]

    def present_after(self, place: int) -> int:
        """How many replicas take part once that event is over."""
        return len(present_after(self.cell.record.initial_replicas, self.events[: place + 1]))

    def settled_ns(self, place: int) -> int:
        """When the event before that one had taken effect, or was asked for where that came too late."""
        if place == 0:
            return 0
        since_ns = self.edges_ns[place]
        seen_ns = [effect.t_ns for effect in self.events[place - 1].effects]
        settled_ns = max(seen_ns, default=0) - self.cell.record.measure_start_ns
        return settled_ns if since_ns <= settled_ns < self.edges_ns[place + 1] else since_ns


def _kinds(cell: Cell, events: Sequence[AskedEvent]) -> list[EventKind]:
    """The kind of each event. Raises UserError naming the file for one of another version of the lab."""
    try:
        return [kind_of(event.do) for event in events]
    except UserError as error:
        raise UserError(f"{cell.folder / 'events.jsonl'}: {error}") from None


def _answered(rows: pl.DataFrame) -> pl.DataFrame:
    columns = ("client", "session", "request_id", "replica", "at_ns", "part")
    ordered = rows.filter(pl.col("replica").is_not_null()).select(columns).sort("request_id")
    changed = (pl.col("replica") != pl.col("replica").shift()).over("client", "session")
    return ordered.with_columns(changed.fill_null(value=False).alias("changed"))


def _cut(rows: pl.DataFrame, asked_ns: Sequence[int]) -> pl.DataFrame:
    """`rows` (at_ns) with `part`: the how-manieth event they come after."""
    part = np.searchsorted(np.asarray(asked_ns), rows["at_ns"].to_numpy(), side="right")
    return rows.with_columns(pl.Series("part", part, dtype=pl.Int64))


def _facts(window: _Window, place: int) -> EventEffects:
    event = window.events[place]
    from_ns, to_ns = window.edges_ns[place + 1], window.edges_ns[place + 2]
    rows = window.rows.filter(pl.col("part") == place + 1)
    answered = window.answered.filter(pl.col("part") == place + 1)
    failed = window.failed.filter(pl.col("part") == place + 1)
    targets = window.number_of(event.targets)
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
        errors=dict(sorted(failed["code"].value_counts().iter_rows())),
        failed_sessions=failed.select("client", "session").n_unique() if failed.height else 0,
        last_failure_ns=float(max(ended_ns) - from_ns) if ended_ns else 0.0,
        delayed=_delayed(rows, window.usual_ns),
        longest_gap_ns=window.gaps_ns.get(place + 1),
        moves=_moves(window, place, targets, answered),
        breaks=int(answered["changed"].sum()),
        first_answer_ns=_first_answer(kind_of(event.do), rows, targets, from_ns),
        fair_share_after_ns=_fair_share_after(window, place, targets),
        present=window.present_after(place),
        answered=answered.height,
        on_targets=int(answered["replica"].is_in(targets).sum()) if targets else None,
        attempts=window.attempts.get(place + 1, 0),
        lost_answers=window.lost.get(place + 1, 0),
        latency_ns=percentiles(rows["latency_ns"]),
        took_effect_ns=max((float(effect.t_ns - event.t_ns) for effect in event.effects), default=None),
        effects=tuple(((one.t_ns - start_ns) / 1e9, one.target, one.seen) for one in event.effects),
        steps=tuple(((one.t_ns - start_ns) / 1e9, one.do, one.target) for one in event.steps),
        details=event.details,
    )


def _delayed(rows: pl.DataFrame, usual_ns: float | None) -> int | None:
    if usual_ns is None:
        return None
    return rows.filter("ok", pl.col("latency_ns") > DELAYED_TIMES * usual_ns).height


def _first_answer(kind: EventKind, rows: pl.DataFrame, targets: Sequence[int], from_ns: int) -> float | None:
    if not kind.returns:
        return None
    ended = pl.col("at_ns") + pl.col("latency_ns")
    ended_ns = rows.filter(pl.col("replica").is_in(targets)).select(ended.min()).item()
    return None if ended_ns is None else float(ended_ns - from_ns)


def _moves(window: _Window, place: int, targets: Sequence[int], answered: pl.DataFrame) -> SessionMigration:
    settled = settled_sessions(window.answered, window.settled_ns(place), window.edges_ns[place + 1])
    lost = [_pinned_before_loss(window, place, name) for name in window.events[place].targets]
    return count_moves(
        kind_of(window.events[place].do),
        targets,
        settled,
        pl.concat([settled.clear(), *(sessions for sessions in lost if sessions is not None)]),
        last_answers(answered),
    )


def _pinned_before_loss(window: _Window, place: int, name: str) -> pl.DataFrame | None:
    """The sessions that were pinned to a replica before it was last taken away, if this event brings it."""
    if not kind_of(window.events[place].do).returns:
        return None
    for earlier in range(place - 1, -1, -1):
        event = window.events[earlier]
        if kind_of(event.do).removes and name in event.targets:
            pinned = settled_sessions(
                window.answered, window.settled_ns(earlier), window.edges_ns[earlier + 1]
            )
            return pinned.filter(pl.col("replica").is_in(window.number_of([name])))
    return None


def _fair_share_after(window: _Window, place: int, targets: Sequence[int]) -> float | None:
    event = window.events[place]
    if not kind_of(event.do).returns:
        return None
    from_ns, to_ns = window.edges_ns[place + 1], window.edges_ns[place + 2]
    width_ns = round(window_width_s(window.edges_ns[-1] / 1e9) * 1e9)
    if len(targets) < len(event.targets):
        return float(to_ns - from_ns)  # one of them never joined
    return fair_share_after(window.answered, from_ns, to_ns, width_ns, targets, window.present_after(place))


def failures(rows: pl.DataFrame, kinds: Sequence[EventKind], asked_ns: Sequence[int]) -> pl.DataFrame:
    """The failed ones of `rows` (part, ok, at_ns, latency_ns), `part` being that of the event to blame.

    That is the event after which the request was planned (its part already), or a later one of a kind that
    breaks calls and was asked for before the request ended: a kill fails the calls that are under way.
    kinds, asked_ns: of the events, by time, in nanoseconds as at_ns.
    """
    failed = rows.filter(~pl.col("ok"))
    ended = pl.col("at_ns") + pl.col("latency_ns")
    part = pl.col("part")
    for place, (kind, at_ns) in enumerate(zip(kinds, asked_ns, strict=True)):
        if kind.breaks_calls:
            under_way = (pl.col("at_ns") < at_ns) & (ended >= at_ns)
            part = pl.when(under_way).then(pl.lit(place + 1, pl.Int64)).otherwise(part)
    return failed.with_columns(part.alias("part"))
