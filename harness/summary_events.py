"""The events of an arm, or of one of its repeats, in summary.json."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from harness.facts import CellFacts
from harness.incidents import EventFacts
from harness.judge import median
from harness.metrics_events import EVENT_METRICS


def events_of_arm(cells: Sequence[CellFacts]) -> list[dict[str, Any]]:
    """The events of these cells by number: counts are totals, metrics medians over the cells that had it."""
    numbers = sorted({event.number for cell in cells for event in cell.events})
    return [_event([event for cell in cells for event in cell.events if event.number == n]) for n in numbers]


def _event(repeats: Sequence[EventFacts]) -> dict[str, Any]:
    first = repeats[0]
    errors: Counter[str] = Counter()
    for event in repeats:
        errors.update(event.errors)
    metrics = {
        name: median([compute(event) for event in repeats]) for name, (_, _, compute) in EVENT_METRICS.items()
    }
    return {
        "number": first.number,
        "do": first.do,
        "targets": list(dict.fromkeys(target for event in repeats for target in event.targets)),
        "details": dict(first.details),
        "undoes": first.undoes,
        "told": first.told,
        "at_s": median([event.at_s for event in repeats]),
        "length_s": median([event.length_s for event in repeats]),
        **({"effects": _effects(first)} if len(repeats) == 1 else {}),
        "errors": dict(sorted(errors.items())),
        **metrics,
    }


def _effects(event: EventFacts) -> list[dict[str, Any]]:
    return [{"at_s": at_s, "target": target, "seen": seen} for at_s, target, seen in event.effects]
