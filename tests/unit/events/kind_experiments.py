"""Experiment files for single kinds of events, made from the registry's own examples."""

import json
from pathlib import Path
from typing import Any

from harness.events.kind import EventKind
from harness.events.registry import EVENT_KINDS
from harness.spec.experiment import Experiment, load_experiment

ROUTES: dict[str, dict[str, Any]] = {
    "envoy": {"route": "envoy", "policy": "round_robin"},
    "direct": {"route": "direct", "policy": "round_robin"},
    "xds": {"route": "xds", "policy": "round_robin"},
    "dns": {"route": "direct", "policy": "round_robin", "discovery": "dns"},
}
DURATION_S = 10.0


def event(kind: EventKind, at_s: float = 1.0, **keys: Any) -> dict[str, Any]:
    """The kind's example at that time; a key that is None is left out."""
    found = {"at_s": at_s, "do": kind.name, **kind.example, **keys}
    return {key: value for key, value in found.items() if value is not None}


def opener(kind: EventKind) -> EventKind | None:
    """The first kind that this one ends, after which it makes sense."""
    return next((other for other in EVENT_KINDS.values() if other.opposite == kind.name), None)


def example_timeline(kind: EventKind, at_s: float = 2.0) -> list[dict[str, Any]]:
    """A timeline in which the kind is the last event, at that time."""
    first = opener(kind)
    if first is None:
        return [event(kind, at_s)]
    opening = event(first, at_s / 2)
    target = {"target": opening["target"]} if kind.aim != "proxy" else {}
    return [opening, event(kind, at_s, **target)]


def nodes_for(events: list[dict[str, Any]]) -> dict[str, Any]:
    """The part of an arm with a proxy that has the nodes of which the events speak."""
    several = any("node" in one or EVENT_KINDS[one["do"]].new_nodes for one in events)
    return {"proxies": 2} if several else {}


def experiment(folder: Path, events: list[dict[str, Any]], route: str = "envoy", **of_arm: Any) -> Experiment:
    """One arm with these events, and these keys besides its route and policy."""
    tree = {
        "title": "t",
        "question": "q",
        "lesson": "l",
        "replicas": {"count": 3, "slots": 2, "service_time_ms": {"distribution": "constant", "mean": 5.0}},
        "workload": {"clients": 2, "rate_per_s": 100.0, "calls": {"AddVideo": 1.0}, "duration_s": DURATION_S},
        "arms": {"arm": ROUTES[route] | nodes_for(events) | of_arm},
        "events": events,
    }
    path = folder / "x.yaml"
    path.write_text(json.dumps(tree))  # JSON is YAML, and faster to write
    return load_experiment(str(path))
