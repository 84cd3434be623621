"""EventKind: everything that the lab knows about one kind of event."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from harness.events.context import EventContext, Steps
from harness.events.keys import PlannedEvent
from harness.fields import PROXIED, PROXY

Action = Callable[[EventContext, PlannedEvent, Sequence[str]], Steps]

# What an event is about. "new replicas": without a target it starts `count` new ones.
Aim = Literal["replicas", "new replicas", "proxy"]

# What is known of a replica, or of a node of the proxy, from the timeline alone.
State = Literal["running", "paused", "partitioned", "ended"]
NOT_ENDED: tuple[State, ...] = ("running", "paused", "partitioned")
ANY_STATE: tuple[State, ...] = (*NOT_ENDED, "ended")

# What becomes of the targets for sessions. A replica that is slow or fails is still there: "unchanged".
# "replaces": it takes each target away and brings it back.
Membership = Literal["unchanged", "removes", "returns", "replaces"]

# What it changes in the list of endpoints that proxy and name server get.
EndpointChange = Literal["members", "weights"]

# How clients and proxy learn of an event.
BY_CONNECTION = "broken connections"
BY_GOAWAY = "GOAWAY"
BY_HEALTH_SERVICE = "health service"
BY_ANSWERS = "nobody is told: only its answers show it"


@dataclass(frozen=True)
class EventKind:
    """One kind of event."""

    # What people read.
    name: str  # the value of `do`; plots and tables write it with spaces
    meaning: str  # what happens to the real part, one line
    # Does the event to the running parts, and records when it has taken effect.
    action: Action
    # A minimal event, without its time.
    example: Mapping[str, Any] = field(default_factory=lambda: {"target": "replica-0"})
    # What the file may say.
    keys: Mapping[str, str] = field(default_factory=dict)  # the keys of its own -> what they mean
    required: tuple[str, ...] = ()  # those of them that must be given
    aim: Aim = "replicas"
    new_nodes: bool = False  # it starts nodes of the proxy that did not exist before
    opposite: str | None = None  # the kind that ends it, which `for_s` stands for
    before: tuple[State, ...] = ANY_STATE  # the states in which a target may be
    after: State | None = None  # the state in which a target is then; None: as before
    needs_containers: bool = False  # only an engine of containers can do it
    in_turns: bool = False  # it deals with its targets one after another
    # The part that keeps `delay_s` itself, and so must know it when it is started.
    delay_kept_by: Literal["replica", "proxy"] | None = None
    # How clients and proxy learn of it: in a few words, after what it changes in the list of endpoints.
    notification: str = ""
    endpoints: EndpointChange | None = None
    # What the figures make of it.
    breaks_calls: bool = False  # calls that are under way may fail because of it
    membership: Membership = "unchanged"
    # How plots draw it. One with an opposite lasts until that; all others are changes that stay.
    temporary: bool = False  # it is over once it has taken effect
    drawn_step: str | None = None  # the step of it that plots draw

    @property
    def removes(self) -> bool:
        """Whether it takes its targets away from sessions, at least for a time."""
        return self.membership in ("removes", "replaces")

    @property
    def returns(self) -> bool:
        """Whether it brings replicas to sessions."""
        return self.membership == "returns"

    @property
    def takes_node(self) -> bool:
        """Whether the event may name one node of the proxy, which it is about then."""
        return "node" in self.keys

    def label(self, targets: Sequence[str]) -> str:
        """The event in words, as "kill replica-1", "stop 3 replicas" or "proxy kill envoy-1"."""
        words = self.name.replace("_", " ")
        if not targets or list(targets) == [PROXY]:
            return words
        if len(targets) == 1:
            return f"{words} {targets[0]}"
        return f"{words} {len(targets)} {'nodes' if self.aim == 'proxy' else 'replicas'}"

    def step_label(self, step: str, target: str) -> str:
        """The drawn step in words: the target alone where the event's name says the rest."""
        return target if self.in_turns else f"{step} {target}"

    def notification_of(self, route: str, discovery: str) -> str:
        """How clients and proxy of an arm with that route and discovery learn of the event."""
        change = _notification_of_change(self.endpoints, route, discovery) if self.endpoints else ""
        return ", then ".join(filter(None, [change, self.notification]))


def _notification_of_change(change: EndpointChange, route: str, discovery: str) -> str:
    """Return how a change of the list of endpoints reaches those who use the list."""
    if route in PROXIED:
        return "proxy: EDS"
    if route == "xds":
        return "clients: the control plane (EDS)"
    if discovery != "dns":
        return "clients: nobody tells them, their list is fixed"
    if change == "weights":
        return "clients: nobody tells them, DNS names no weights"
    return "clients: the name server, asked again when a connection ends"
