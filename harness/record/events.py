"""events.jsonl of a cell, read back: what was changed when, what came of it, how Envoy saw the replicas."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.errors import UserError

_OWN_FIELDS = ("t_ns", "event", "number", "do", "targets", "planned_ns", "undoes", "notification")


@dataclass(frozen=True)
class Effect:
    """Something that was seen to have happened because of an event: on which target, what, when."""

    at_ns: int
    target: str
    seen: str


@dataclass(frozen=True)
class Step:
    """A part of a longer event: `do` is drain, stop or start."""

    at_ns: int
    do: str
    target: str


@dataclass(frozen=True)
class AskedEvent:
    """One change of a cell, as it was asked for. Instants are ns from the cell's epoch.

    number: from 1 in the order of time. undoes: number of the event that this one ends, or None.
    notification: how clients and proxy learn of it. details: the event's own parameters (`factor`, ...).
    effects, steps: by time; there may be none.
    """

    number: int
    do: str
    targets: tuple[str, ...]
    asked_ns: int
    undoes: int | None = None
    notification: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)
    effects: tuple[Effect, ...] = ()
    steps: tuple[Step, ...] = ()


@dataclass(frozen=True)
class EndpointChange:
    """From `at_ns` on Envoy has `replica` as healthy, unhealthy, ejected, draining or absent."""

    at_ns: int
    replica: str
    state: str


def read_events(path: Path) -> list[AskedEvent]:
    """The events of a cell in the order in which they were asked for; none where there is no such file.

    Raises UserError naming the line that cannot be read. A last line that a kill has torn is dropped.
    """
    asked: list[AskedEvent] = []
    effects: dict[int, list[Effect]] = defaultdict(list)
    steps: dict[int, list[Step]] = defaultdict(list)
    for place, line in _lines(path):
        try:
            if line["event"] == "asked":
                asked.append(_asked(line))
            elif line["event"] == "took_effect":
                effects[line["number"]].append(Effect(line["t_ns"], str(line["target"]), line["seen"]))
            elif line["event"] == "step":
                steps[line["number"]].append(Step(line["t_ns"], line["do"], str(line["target"])))
        except (KeyError, TypeError) as error:
            raise UserError(f"{path}: line {place}: expected the fields of an event, found {line}") from error
    return [
        AskedEvent(
            **{
                **vars(event),
                "effects": tuple(sorted(effects[event.number], key=lambda effect: effect.at_ns)),
                "steps": tuple(sorted(steps[event.number], key=lambda step: step.at_ns)),
            }
        )
        for event in sorted(asked, key=lambda event: (event.asked_ns, event.number))
    ]


def read_endpoint_changes(path: Path) -> list[EndpointChange]:
    """Each replica's state in Envoy when measuring began, then every change, by time. Raises as above."""
    changes = []
    for place, line in _lines(path):
        if line["event"] == "endpoint":
            try:
                changes.append(EndpointChange(line["t_ns"], line["replica"], line["state"]))
            except KeyError as error:
                raise UserError(f"{path}: line {place}: expected {error} in it, found {line}") from error
    return sorted(changes, key=lambda change: change.at_ns)


def _asked(line: dict[str, Any]) -> AskedEvent:
    return AskedEvent(
        number=int(line["number"]),
        do=line["do"],
        targets=tuple(line["targets"]),
        asked_ns=int(line["t_ns"]),
        undoes=line.get("undoes"),
        notification=line.get("notification") or "",
        details={name: value for name, value in line.items() if name not in _OWN_FIELDS},
    )


def _lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Number and content of every whole line."""
    if not path.exists():
        return
    whole = path.read_bytes().rpartition(b"\n")[0]
    for place, text in enumerate(whole.splitlines(), start=1):
        try:
            line = json.loads(text)
            known = isinstance(line["event"], str) and isinstance(line["t_ns"], int)
        except (ValueError, KeyError, TypeError):
            known = False
        if not known:
            raise UserError(f"{path}: line {place}: expected a JSON object with t_ns and event")
        yield place, line
