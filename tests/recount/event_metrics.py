"""Recounts the metrics of each event of a cell from its files."""

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import polars as pl

from tests.recount import arithmetic as a
from tests.recount.metrics import MS, at_least, longest_gap_ms, with_failures_last
from tests.recount.moments import replica_rows
from tests.recount.run_files import CellFiles, Row

# Kinds of events, as docs/events.md has them under "How the figures count it".
OF_PROXY = {"proxy_restart", "proxy_drain", "proxy_kill", "proxy_start", "proxy_add"}
BREAKS_CALLS = {"kill", "stop", "pause", "drain", "roll", "partition", *OF_PROXY} - {
    "proxy_start",
    "proxy_add",
}
REMOVES = {"kill", "stop", "pause", "not_serving", "drain", "remove", "partition"}
RETURNS = {"resume", "start", "serving", "add", "rejoin"}

Session = tuple[int, int]


def _node(row: Row) -> str:
    """The node of a proxy that has several: its number stands before that of the client's connection."""
    return f"envoy-{row['connection'].partition('/')[0]}"


class EventRecount:
    """The events of one cell with the requests of each; instants in nanoseconds as in the files."""

    def __init__(self, cell: CellFiles) -> None:
        self.cell = cell
        self.asked = [line for line in cell.events if line["event"] == "asked"]
        self.asked.sort(key=lambda line: int(line["number"]))
        self.rows = cell.measured.sort("planned_ns").to_dicts()
        self.answered = [row for row in self.rows if row["replica"]]
        later = [line["t_ns"] for line in self.asked[1:]]
        self.ends = [*later, cell.end_ns][: len(self.asked)]
        self.effects = [
            [
                line
                for line in cell.events
                if line["event"] == "took_effect" and line["number"] == asked["number"]
            ]
            for asked in self.asked
        ]
        self.ledger = replica_rows(cell)

    def all(self) -> list[dict[str, Any]]:
        return [self._event(place) for place in range(len(self.asked))]

    def _within(self, place: int, rows: Sequence[Row]) -> list[Row]:
        begin, end = self.asked[place]["t_ns"], self.ends[place]
        return [row for row in rows if begin <= row["planned_ns"] < end]

    def _event(self, place: int) -> dict[str, Any]:
        asked, begin, end = self.asked[place], self.asked[place]["t_ns"], self.ends[place]
        rows, answered = self._within(place, self.rows), self._within(place, self.answered)
        failed = self._failed(place)
        errors = Counter(row["code"] for row in failed)
        seconds = (end - begin) / 1e9
        good = sum(row["code"] == "OK" and begin <= row["done_ns"] < end for row in self.rows)
        lasts = [line["t_ns"] for line in self.effects[place]]
        of_proxy = asked["do"] in OF_PROXY
        parts = [_node(row) if of_proxy else row["replica"] for row in answered]
        known = not of_proxy or ("proxies" in self.cell.record and self.cell.record["route"] == "envoy")
        on_targets = sum(part in asked["targets"] for part in parts)
        figures = {
            **{
                name: asked[name] for name in ("number", "do", "targets", "details", "undoes", "notification")
            },
            "at_s": (begin - self.cell.start_ns) / 1e9,
            "length_s": seconds,
            "effects": [
                {
                    "at_s": (line["t_ns"] - self.cell.start_ns) / 1e9,
                    "target": line["target"],
                    "seen": line["seen"],
                }
                for line in self.effects[place]
            ],
            "errors": dict(errors),
            "requests": len(rows),
            "failed_requests": len(failed),
            "error_share": sum(row["code"] != "OK" for row in rows) / len(rows) if rows else None,
            "failed_sessions": len({(row["client"], row["session"]) for row in failed}),
            "last_failure_ms": max((row["done_ns"] - begin for row in failed), default=0) / MS,
            "delayed_requests": self._delayed(rows),
            "longest_gap_ms": longest_gap_ms(rows, self.rows, self.cell.end_ns),
            **self._moves(place),
            "breaks": self._breaks(place),
            **self._returns(place),
            "target_share": on_targets / len(answered) if answered and known else None,
            **self._attempts(rows, failed),
            "goodput_per_s": good / seconds if seconds else None,
            "took_effect_ms": (max(lasts) - begin) / MS if lasts else None,
        }
        return figures | self._latencies(rows)

    def _failed(self, place: int) -> list[Row]:
        """The failed requests that belong to the event.

        To the event after which they were planned, or else to a later one that breaks calls and was asked for
        before they ended.
        """
        mine = []
        for row in self.rows:
            if row["code"] == "OK":
                continue
            owner = None
            for other, asked in enumerate(self.asked):
                before = asked["t_ns"] <= row["planned_ns"]
                breaks = asked["do"] in BREAKS_CALLS and asked["t_ns"] <= row["done_ns"]
                if before or breaks:
                    owner = other
            if owner == place:
                mine.append(row)
        return mine

    def _delayed(self, rows: Sequence[Row]) -> int | None:
        first = self.asked[0]["t_ns"]
        calm = [
            row["done_ns"] - row["planned_ns"]
            for row in self.rows
            if row["planned_ns"] < first and row["code"] == "OK"
        ]
        if not calm:
            return None
        usual = a.nearest_rank(calm, 990)
        return sum(row["code"] == "OK" and row["done_ns"] - row["planned_ns"] > 2 * usual for row in rows)

    def _latencies(self, rows: Sequence[Row]) -> dict[str, Any]:
        good = [value for value in with_failures_last(rows) if not math.isinf(value)]
        figures: dict[str, Any] = {"at_least": {}}
        for p in (500, 990):
            name = f"latency_{a.NAMES[p]}_ms"
            figures[name] = a.percentile(with_failures_last(rows), p)
            figures[f"ok_{name}"] = a.percentile(good, p)
            bound = at_least(rows, p)
            if bound is not None:
                figures["at_least"][name] = bound
        return figures

    def _attempts(self, rows: Sequence[Row], failed: Sequence[Row]) -> dict[str, Any]:
        if self.ledger is None:
            return {"attempts_per_request": None, "lost_answers": None}
        mine = self.ledger.filter(pl.col("request_id").is_in([row["request_id"] for row in rows])).height
        finished = set(self.ledger.filter(pl.col("code") == "OK")["request_id"].to_list())
        return {
            "attempts_per_request": mine / len(rows) if rows else None,
            "lost_answers": sum(row["request_id"] in finished for row in failed),
        }

    def _sessions(self, rows: Sequence[Row]) -> dict[Session, list[Row]]:
        sessions: dict[Session, list[Row]] = defaultdict(list)
        for row in rows:
            sessions[row["client"], row["session"]].append(row)
        return sessions

    def _before(self, place: int) -> dict[Session, list[Row]]:
        """The answers before the event, since the event before had taken effect."""
        since = self.cell.start_ns
        if place:
            since = max(
                (line["t_ns"] for line in self.effects[place - 1]), default=self.asked[place - 1]["t_ns"]
            )
            if since >= self.asked[place]["t_ns"]:
                since = self.asked[place - 1]["t_ns"]
        begin = self.asked[place]["t_ns"]
        return self._sessions([row for row in self.answered if since <= row["planned_ns"] < begin])

    def _moves(self, place: int) -> dict[str, Any]:
        do, targets = self.asked[place]["do"], set(self.asked[place]["targets"])
        served = {session: rows for session, rows in self._before(place).items() if len(rows) > 1}
        pinned = {
            session: rows[-1]["replica"]
            for session, rows in served.items()
            if len({row["replica"] for row in rows}) == 1
        }
        last = {
            session: rows[-1]["replica"]
            for session, rows in self._sessions(self._within(place, self.answered)).items()
        }
        moved = sum(last.get(session, replica) != replica for session, replica in pinned.items())
        needed = 0
        if do in REMOVES or do == "roll":
            needed += sum(replica in targets for replica in pinned.values())
        elif do in RETURNS:
            needed += sum(
                last.get(session) in targets and replica not in targets for session, replica in pinned.items()
            )
        enough = bool(pinned) and 2 * len(pinned) >= len(served)
        return {
            "pinned_sessions": len(pinned),
            "moved_sessions": moved,
            "needed_moves": needed,
            "moved_over_needed": moved / max(needed, 1) if enough else None,
        }

    def _breaks(self, place: int) -> int:
        breaks = 0
        begin, end = self.asked[place]["t_ns"], self.ends[place]
        for rows in self._sessions(self.answered).values():
            for one, other in pairwise(rows):
                breaks += one["replica"] != other["replica"] and begin <= other["planned_ns"] < end
        return breaks

    def _returns(self, place: int) -> dict[str, Any]:
        asked = self.asked[place]
        nothing = {"returned_share": None, "first_answer_ms": None, "fair_share_after_ms": None}
        if asked["do"] not in RETURNS:
            return nothing
        return nothing | {
            "returned_share": self._returned_share(place),
            "first_answer_ms": self._first_answer_ms(place),
            "fair_share_after_ms": self._fair_share_after_ms(place),
        }

    def _returned_share(self, place: int) -> float | None:
        targets = set(self.asked[place]["targets"])
        removed = [
            other
            for other in range(place + 1)
            if (self.asked[other]["do"] in REMOVES or self.asked[other]["do"] == "roll")
            and targets & set(self.asked[other]["targets"])
        ]
        if not removed:
            return None
        pinned = {
            session: rows[-1]["replica"]
            for session, rows in self._before(removed[-1]).items()
            if len(rows) > 1 and len({row["replica"] for row in rows}) == 1 and rows[-1]["replica"] in targets
        }
        last = {
            session: rows[-1]["replica"]
            for session, rows in self._sessions(self._within(place, self.answered)).items()
            if session in pinned
        }
        return (
            sum(pinned[session] == replica for session, replica in last.items()) / len(last) if last else None
        )

    def _first_answer_ms(self, place: int) -> float | None:
        targets, begin = set(self.asked[place]["targets"]), self.asked[place]["t_ns"]
        answers = self._within(place, self.answered)
        done = [row["done_ns"] - begin for row in answers if row["replica"] in targets]
        return min(done) / MS if done else None

    def _fair_share_after_ms(self, place: int) -> float:
        """Look for the first time window in which each target has 80 % of its fair share."""
        begin, end, targets = self.asked[place]["t_ns"], self.ends[place], self.asked[place]["targets"]
        present = set(self.cell.record["initial_replicas"])
        for asked in self.asked[: place + 1]:
            if asked["do"] in RETURNS:
                present |= set(asked["targets"])
            elif asked["do"] in REMOVES:
                present -= set(asked["targets"])
        width = round(window_width_s(self.cell.seconds) * 1e9)
        for number in range((end - begin) // width):
            since = begin + number * width
            window = Counter(
                row["replica"] for row in self.answered if since <= row["planned_ns"] < since + width
            )
            total = sum(window.values())
            fair = total / len(present)
            if total >= 2 * len(present) and all(window[name] >= 0.8 * fair for name in targets):
                return (number + 1) * width / MS
        return (end - begin) / MS


def window_width_s(duration_s: float) -> float:
    """Return the smallest of ..., 0.1, 0.2, 0.5, 1, 2, 5, ... for 30 windows or less."""
    widths = (step * 10.0**power for power in range(-6, 6) for step in (1, 2, 5))
    return next(width for width in widths if width >= duration_s / 30 * (1 - 1e-9))
