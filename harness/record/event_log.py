"""events.jsonl of a cell: the events, their effects, and the states of the replicas in Envoy."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pydantic import Field, JsonValue

from harness.errors import UserError
from harness.record.record_file import SCHEMA, Record, parse_json, parse_record, there_is, without_schema

EVENTS = "events.jsonl"


class Line(Record):
    """One line. `EventLog` fills in `t_ns`, ns from the cell's start."""

    t_ns: int = Field(default=0, description="when, from the cell's start")


class CellStarted(Line):
    """The first line of the file, which has the schema number, too."""

    event: Literal["cell_started"] = "cell_started"


class PartsReady(Line):
    """Replicas and proxy are ready."""

    event: Literal["parts_ready"] = "parts_ready"
    pids: dict[str, int] = Field(description="name -> process id")


class Confirmed(Line):
    """The live parts are what was planned."""

    event: Literal["confirmed"] = "confirmed"


class LoadStarted(Line):
    """The load process was started."""

    event: Literal["load_started"] = "load_started"


class Asked(Line):
    """A change was asked for."""

    event: Literal["asked"] = "asked"
    number: int = Field(description="number of the event, from 1 in the order of time")
    do: str = Field(description="what is to happen, as in the experiment")
    targets: list[str] = Field(description="names of the replicas, or of the proxy's nodes, it happens to")
    planned_ns: int = Field(description="when it was due")
    undoes: int | None = Field(description="number of the event whose `for_s` this one ends, or null")
    notification: str = Field(description="how clients and proxy learn of it")
    details: dict[str, JsonValue] = Field(description="the event's own parameters, as in the experiment")


class TookEffect(Line):
    """An event was seen to have taken effect on one target. The last such line says when all of it had."""

    event: Literal["took_effect"] = "took_effect"
    number: int = Field(description="number of the event")
    target: str = Field(description="where it was seen")
    seen: str = Field(description="`process ended`, `settings in force`, `Envoy: unhealthy`, ...")


class StepTaken(Line):
    """A part of a longer event began."""

    event: Literal["step"] = "step"
    number: int = Field(description="number of the event")
    do: str = Field(description="`drain`, `stop` or `start`")
    target: str = Field(description="whom it happens to")


class EndpointChange(Line):
    """What Envoy makes of a replica from then on.

    Written for each replica when measuring begins, then for every change, looked at some 20 times a second;
    only behind Envoy, only where there are events.
    """

    event: Literal["endpoint"] = "endpoint"
    replica: str = Field(description="name of the replica")
    state: str = Field(description="`healthy`, `unhealthy`, `ejected`, `draining` or `absent`")


class LoadEnded(Line):
    """The load process has ended."""

    event: Literal["load_ended"] = "load_ended"
    exit_status: int = Field(description="of the load process")


class Collected(Line):
    """The ledgers are on disk."""

    event: Literal["collected"] = "collected"


LINES: dict[str, type[Line]] = {model.model_fields["event"].default: model for model in Line.__subclasses__()}


class AskedEvent(Asked):
    """One change of a cell with all that the log says of it. effects, steps: by time; there may be none."""

    effects: list[TookEffect]
    steps: list[StepTaken]


class EventLog:
    """Appends lines to one cell's events.jsonl. `epoch_ns`: the cell's start on the monotonic clock."""

    def __init__(self, folder: Path, epoch_ns: int) -> None:
        self._path = folder / EVENTS
        self._epoch_ns = epoch_ns
        self.write(CellStarted())

    def write(self, line: Line) -> None:
        """Append a line, with the time that it is now."""
        line.t_ns = time.monotonic_ns() - self._epoch_ns
        with self._path.open("a") as file:
            file.write(line_text(line))


def line_text(line: Line) -> str:
    """Return the line as it stands in the file. The first one has the schema number, too."""
    head = {"schema": SCHEMA} if isinstance(line, CellStarted) else {}
    return json.dumps({**head, **line.model_dump(mode="json")}) + "\n"


def read_events(path: Path) -> list[AskedEvent]:
    """Return the events of a cell in the order in which they were asked for; none where there is no file.

    Raises UserError naming the line that cannot be read. A last line that a kill has cut off is dropped.
    """
    lines = sorted(_lines(path), key=_time)
    return [
        AskedEvent(
            **dict(asked),
            effects=[line for line in lines if isinstance(line, TookEffect) and line.number == asked.number],
            steps=[line for line in lines if isinstance(line, StepTaken) and line.number == asked.number],
        )
        for asked in sorted(
            (line for line in lines if isinstance(line, Asked)), key=lambda asked: (asked.t_ns, asked.number)
        )
    ]


def read_endpoint_changes(path: Path) -> list[EndpointChange]:
    """Return each replica's first state in Envoy, then every change, by time. Raises UserError as above."""
    return sorted((line for line in _lines(path) if isinstance(line, EndpointChange)), key=_time)


def _time(line: Line) -> int:
    return line.t_ns


def _lines(path: Path) -> Iterator[Line]:
    """Yield every whole line."""
    if not there_is(path):
        return
    whole = path.read_bytes().rpartition(b"\n")[0]
    for place, text in enumerate(whole.splitlines(), start=1):
        where = f"{path}: line {place}"
        try:
            content = parse_json(text)
        except ValueError:
            content = None
        if place == 1:
            content = without_schema(where, content)
        model = LINES.get(str(content.get("event"))) if isinstance(content, dict) else None
        if not isinstance(content, dict) or model is None:
            raise UserError(f"{where}: expected a JSON object with event, one of {', '.join(LINES)}")
        yield parse_record(where, content, model)
