"""Events in a few words, and how long each lasted."""

from __future__ import annotations

from collections.abc import Sequence

from harness.incidents import EventFacts
from harness.moves import BRINGS

_LASTING = (
    "kill",
    "stop",
    "pause",
    "not_serving",
    "drain",
    "remove",
    "slow",
    "fail",
    "partition",
    "limit_cpu",
)
_ENDING = (*BRINGS, "heal", "unlimit_cpu")
_TRANSIENT = ("roll", "proxy_restart", "proxy_drain")


def event_label(do: str, targets: Sequence[str]) -> str:
    """As "kill replica-1", "stop 3 replicas" or "proxy restart"."""
    words = do.replace("_", " ")
    if do.startswith("proxy") or not targets:
        return words
    return f"{words} {targets[0] if len(targets) == 1 else f'{len(targets)} replicas'}"


def lasts_until_s(event: EventFacts, events: Sequence[EventFacts], window_s: float) -> float | None:
    """Seconds from the start of measuring at which the event was over; None for a change that stays.

    Over is when another event ended it on one of its targets; where none did, the window's end.
    """
    if event.do in _TRANSIENT:
        took_ns = event.took_effect_ns
        return window_s if took_ns is None else min(window_s, event.at_s + took_ns / 1e9)
    if event.do not in _LASTING:
        return None
    later = [other for other in events if other.at_s > event.at_s or other.undoes == event.number]
    for other in later:
        if other.undoes == event.number:
            return other.at_s
        if other.undoes is None and other.do in _ENDING and set(other.targets) & set(event.targets):
            return other.at_s
    return window_s
