"""One run for each event kind: its example on real parts, and the effects in the record."""

import json
from pathlib import Path
from typing import Any

import polars as pl
from lab_process import Lab, experiment_file

from harness.events.kind import EventKind
from harness.events.registry import EVENT_KINDS
from tests.unit.events.kind_experiments import example_timeline, nodes_for

AT_S = 1.6
SETTLES_NS = 500_000_000  # on a busy machine
# So fast that the effects of the example show while measuring.
QUICK = {"slow": {"factor": 1.2}, "roll": {"target": "replica-0"}}
CHECKS = {"interval_ms": 100, "timeout_ms": 300, "unhealthy_after": 2, "healthy_after": 2}
ARM = {"route": "envoy", "policy": "round_robin", "proxy_health_check": CHECKS}
# What the record says of a process -> its state.
SEEN_OF_PROCESSES = {
    "process ended": "ended",
    "process ready": "running",
    "process stopped (SIGSTOP)": "paused",
    "process goes on (SIGCONT)": "running",
    "off the network": "partitioned",
    "on the network": "running",
}


def kind_file(folder: Path, kind: EventKind) -> Path:
    """Return an experiment whose last event is of that kind. Calls take 2 s, so some are always in flight."""
    events = [{**event, **QUICK.get(event["do"], {})} for event in example_timeline(kind, AT_S)]
    events[-1] |= {"delay_s": 0.0} if "delay_s" in kind.keys else {}
    return experiment_file(
        folder,
        replicas={"slots": 32, "service_time_ms": {"distribution": "constant", "mean": 2000}},
        workload={"clients": 4, "rate_per_s": 20, "duration_s": 5.0, "deadline_ms": 4000},
        arms={"arm": ARM | ({"proxy_use": "spread", **nodes} if (nodes := nodes_for(events)) else {})},
        events=events,
    )


def confirm_kind(kind: EventKind, lab: Lab) -> None:
    """Assert that the real parts did what the kind's entry says."""
    cell = lab.cell("arm")
    lines = [json.loads(line) for line in (cell / "events.jsonl").read_text().splitlines()]
    asked = [line for line in lines if line["event"] == "asked"][-1]
    effects = [line for line in lines if line["event"] == "took_effect" and line["number"] == asked["number"]]
    assert asked["do"] == kind.name
    assert asked["notification"] == kind.notification_of("envoy", "addresses")
    assert {effect["target"] for effect in effects} == set(asked["targets"])
    rows = lab.rows("arm")
    _confirm_calls_under_way(kind, rows, asked["t_ns"])
    if kind.aim != "proxy":
        _confirm_targets(kind, rows, effects, lines, asked)


def _confirm_calls_under_way(kind: EventKind, rows: pl.DataFrame, asked_ns: int) -> None:
    """Check the calls that break at the event, without those that an earlier event has broken."""
    under_way = rows.filter(pl.col("sent_ns") < asked_ns - 50_000_000, pl.col("done_ns") > asked_ns)
    assert under_way.height > 5
    broken = [code for code in under_way["code"] if code != "OK"]
    assert bool(broken) == kind.breaks_calls, broken


def _confirm_targets(
    kind: EventKind,
    rows: pl.DataFrame,
    effects: list[dict[str, Any]],
    lines: list[dict[str, Any]],
    asked: dict[str, Any],
) -> None:
    targets = set(asked["targets"])
    settled_ns = max(effect["t_ns"] for effect in effects) + SETTLES_NS
    late = set(rows.filter(pl.col("planned_ns") > settled_ns, pl.col("code") == "OK")["replica"])
    failing = set(rows.filter(pl.col("planned_ns") > settled_ns)["replica"])
    assert (targets <= late | failing) == (kind.membership != "removes"), late
    if kind.membership == "removes":
        assert not targets & late
    processes = [SEEN_OF_PROCESSES[one["seen"]] for one in effects if one["seen"] in SEEN_OF_PROCESSES]
    if kind.aim == "replicas":
        assert (processes[-1] if processes else None) == kind.after
    states = [line["state"] for line in lines if line["event"] == "endpoint" and line["replica"] in targets]
    changed = bool({"draining", "absent"} & set(states))
    assert changed == (kind.endpoints == "members")


def kinds(*, containers: bool) -> list[EventKind]:
    """Return the kinds that need containers, or the others."""
    return [kind for kind in EVENT_KINDS.values() if kind.needs_containers == containers]
