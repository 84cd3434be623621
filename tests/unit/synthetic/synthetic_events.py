"""Events of a synthetic cell: when each replica was away, and the lines of events.jsonl."""

from collections.abc import Sequence

from harness.events.keys import PlannedEvent
from harness.events.registry import EVENT_KINDS
from harness.events.schedule import chosen_targets, planned_events, starts_new
from harness.record.event_log import Asked, EndpointChange, Line, StepTaken, TookEffect
from harness.spec.experiment import Event

MS = 1_000_000
NOTICED_NS = 100 * MS  # after this time sessions leave a broken replica
ROLL_NS = 150 * MS  # a replica's turn


class InventedEvents:
    """The states of the replicas `names` over time; `end_ns` and all instants as in the cell."""

    def __init__(self, events: Sequence[Event], names: Sequence[str], start_ns: int, end_ns: int) -> None:
        self.start_ns, self.end_ns = start_ns, end_ns
        self.first = list(names)
        self.names = list(names)
        self.killed: set[str] = set()
        self.away: list[tuple[str, int, int, bool]] = []  # replica, from, to, whether callers see it break
        self.joined: dict[str, int] = {}
        self.lines: list[Line] = [
            EndpointChange(t_ns=start_ns, replica=name, state="healthy") for name in names
        ]
        targets: dict[int, list[str]] = {}
        for planned in planned_events(events):
            targets[planned.number] = self._targets(planned, targets)
            self._play(planned, targets[planned.number])

    def broken(self, name: str, at_ns: int) -> bool:
        """Whether calls to it fail because nobody has noticed yet."""
        return any(n == name and breaks and a <= at_ns < a + NOTICED_NS for n, a, _, breaks in self.away)

    def there(self, name: str, at_ns: int) -> bool:
        """Whether the balancer can pick it."""
        if self.broken(name, at_ns):
            return True
        gone = any(n == name and a <= at_ns < b for n, a, b, _ in self.away)
        return not gone and self.joined.get(name, 0) <= at_ns

    def _targets(self, planned: PlannedEvent, earlier: dict[int, list[str]]) -> list[str]:
        event = planned.event
        if planned.undoes is not None:
            return earlier[planned.undoes]
        if EVENT_KINDS[event.do].aim == "proxy":
            return [event.node or ("envoy-2" if EVENT_KINDS[event.do].new_nodes else "envoy")]
        if count := starts_new(event):
            new = [f"replica-{len(self.names) + number}" for number in range(count)]
            self.names += new
            return new
        if event.target in ("any", "most_loaded"):
            return self.first[:1]
        return chosen_targets(event.target, self.first, None)  # type: ignore[arg-type]

    def _play(self, planned: PlannedEvent, targets: list[str]) -> None:
        at_ns = self.start_ns + round(planned.at_s * 1e9)
        event = planned.event
        self.lines.append(
            Asked(
                t_ns=at_ns + MS,
                number=planned.number,
                do=event.do,
                targets=targets,
                planned_ns=at_ns,
                undoes=planned.undoes,
                notification="broken connections",
                details=event.model_dump(
                    mode="json", exclude={"at_s", "do", "target"}, exclude_defaults=True
                ),
            )
        )
        last_ns = at_ns + MS
        for place, name in enumerate(targets):
            last_ns = max(last_ns, self._become(planned, name, at_ns + MS + place * ROLL_NS))
        self.lines.append(
            TookEffect(t_ns=last_ns, number=planned.number, target=targets[-1], seen="process ended")
        )

    def _become(self, planned: PlannedEvent, name: str, at_ns: int) -> int:
        """Change one replica's state; return when the change took effect."""
        kind = EVENT_KINDS[planned.event.do]
        if kind.membership == "removes":
            breaks = kind.breaks_calls and not kind.endpoints
            self.killed |= {name} if breaks else set()
            self.away.append((name, at_ns, self.end_ns, breaks))
            self._state(at_ns + NOTICED_NS * breaks, name, "unhealthy" if breaks else "absent")
            return at_ns + NOTICED_NS * breaks
        if kind.returns:
            self.joined.setdefault(name, 0 if name in self.first else at_ns + NOTICED_NS)
            self.away = [(n, a, at_ns if n == name else b, breaks) for n, a, b, breaks in self.away]
            self._state(at_ns + NOTICED_NS, name, "healthy")
            return at_ns + NOTICED_NS
        if kind.membership == "replaces":
            for part, (step, state) in enumerate(
                (("drain", "draining"), ("stop", "absent"), ("start", "healthy"))
            ):
                step_ns = at_ns + part * ROLL_NS // 3
                self.lines.append(StepTaken(t_ns=step_ns, number=planned.number, do=step, target=name))
                self._state(step_ns, name, state)
            self.away.append((name, at_ns, at_ns + ROLL_NS, False))
            return at_ns + ROLL_NS
        return at_ns

    def _state(self, at_ns: int, name: str, state: str) -> None:
        self.lines.append(EndpointChange(t_ns=at_ns, replica=name, state=state))

    def log(self) -> list[Line]:
        """The lines in the order of time."""
        return sorted(self.lines, key=lambda line: line.t_ns)
