"""Recounts an arm: totals of counts and medians of metrics over its repeats."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from tests.recount import arithmetic as a
from tests.recount.event_metrics import EventRecount
from tests.recount.ledgers import recount_ledgers
from tests.recount.metrics import recount_cell
from tests.recount.run_files import CellFiles

Figures = dict[str, Any]
TOTALS = ("requests", "errors", "replicas", "ledgers")
# Of an event these are the same in all repeats, or are not figures.
EVENT_WORDS = (
    "number",
    "do",
    "targets",
    "details",
    "undoes",
    "notification",
    "effects",
    "errors",
    "at_least",
)


def recount_repeat(cell: CellFiles) -> Figures:
    """Return the figures of one cell, with names joined by dots; `events` has one entry an event."""
    return recount_cell(cell) | {"ledgers": recount_ledgers(cell), "events": EventRecount(cell).all()}


def recount_arm(repeats: Sequence[Figures]) -> Figures:
    """Return the figures of the arm."""
    figures: Figures = {
        "requests": sum(repeat["requests"] for repeat in repeats),
        "errors": _sum(repeat["errors"] for repeat in repeats),
        "replicas": _sum(repeat["replicas"] for repeat in repeats),
        "ledgers": _ledgers([repeat["ledgers"] for repeat in repeats]),
        "share_by_rank": [
            a.median(shares) for shares in zip(*(r["share_by_rank"] for r in repeats), strict=False)
        ],
        "events": [_event(events) for events in zip(*(r["events"] for r in repeats), strict=False)],
    }
    names = [name for name in repeats[0] if name not in (*figures, "at_least")]
    return figures | _medians(repeats, names)


def _medians(repeats: Sequence[Mapping[str, Any]], names: Sequence[str]) -> Figures:
    """Return the median of each metric; in `at_least` what is known where the median falls on failures."""
    figures: Figures = {"at_least": {}}
    for name in names:
        values = [math.inf if name in r["at_least"] else r[name] for r in repeats]
        median = a.median([value for value in values if value is not None])
        figures[name] = None if median is not None and math.isinf(median) else median
        if median is not None and math.isinf(median):
            known = [r["at_least"].get(name, r[name]) for r in repeats]
            figures["at_least"][name] = a.median([value for value in known if value is not None])
    return figures


def _event(events: Sequence[Figures]) -> Figures:
    first = events[0]
    names = [name for name in first if name not in EVENT_WORDS]
    return {
        **{name: first[name] for name in ("number", "do", "undoes", "notification", "details")},
        "targets": sorted({target for event in events for target in event["targets"]}),
        "effects": first["effects"] if len(events) == 1 else [],
        "errors": _sum(event["errors"] for event in events),
        **_medians(events, names),
    }


def _sum(counts: Any) -> dict[str, int]:
    total: Counter[str] = Counter()
    for one in counts:
        total.update(one)
    return dict(total)


def _ledgers(cells: Sequence[Figures]) -> Figures:
    total: Figures = {}
    for name in cells[0]:
        values = [cell[name] for cell in cells]
        if name == "reconciled":
            total[name] = None if None in values else all(values)
        else:
            total[name] = None if None in values else sum(values)
    return total
