"""Event kinds of a replica's process: it ends, is frozen, or is started."""

from collections.abc import Sequence

from harness.events.context import HEALTHY, NO_LONGER_USED, EventContext, Steps
from harness.events.keys import PlannedEvent
from harness.events.kind import BY_CONNECTION, BY_GOAWAY, BY_HEALTH_SERVICE, NOT_ENDED, EventKind


def _kill(context: EventContext, planned: PlannedEvent, targets: Sequence[str]) -> Steps:
    context.incomplete_ledgers |= set(targets)
    for name in targets:
        context.fleet.kill(name)
    yield from context.until_ended(planned, targets)
    yield from context.until_proxy_sees(planned, targets, *NO_LONGER_USED)


def _stop(context: EventContext, planned: PlannedEvent, targets: Sequence[str]) -> Steps:
    for name in targets:
        context.fleet.stop(name)
    yield from context.until_ended(planned, targets)
    yield from context.until_proxy_sees(planned, targets, *NO_LONGER_USED)


def _pause(context: EventContext, planned: PlannedEvent, targets: Sequence[str]) -> Steps:
    context.change(planned, targets, context.fleet.pause, "process stopped (SIGSTOP)")
    yield from context.until_proxy_sees(planned, targets, *NO_LONGER_USED)


def _resume(context: EventContext, planned: PlannedEvent, targets: Sequence[str]) -> Steps:
    context.change(planned, targets, context.fleet.resume, "process goes on (SIGCONT)")
    yield from context.until_proxy_sees(planned, targets, HEALTHY)


def start(context: EventContext, planned: PlannedEvent, targets: Sequence[str]) -> Steps:
    """Start the targets' processes once the old ones have ended, and wait until they take part."""
    yield from context.until(lambda: not any(map(context.fleet.running, targets)))
    for name in targets:
        context.fleet.start(name)
    yield from join(context, planned, targets)


def join(context: EventContext, planned: PlannedEvent, targets: Sequence[str]) -> Steps:
    """Wait for processes that were started, and publish the endpoints of those that did not end before."""
    fleet = context.fleet
    ready = yield from context.until_each(planned, targets, fleet.ready, "process ready", fleet.running)
    context.publish_as_new(ready)
    yield from context.until_listed(planned, ready, HEALTHY)


KINDS = (
    EventKind(
        name="kill",
        meaning="the process ends at once (SIGKILL); calls in flight are lost",
        action=_kill,
        notification=BY_CONNECTION,
        opposite="start",
        before=NOT_ENDED,
        after="ended",
        breaks_calls=True,
        membership="removes",
    ),
    EventKind(
        name="stop",
        meaning="the process ends gracefully (SIGTERM): clients get GOAWAY, and calls in flight may finish",
        action=_stop,
        notification=f"{BY_HEALTH_SERVICE}, {BY_GOAWAY}",
        keys={"delay_s": "seconds that calls in flight may still take (default 1)"},
        opposite="start",
        before=NOT_ENDED,
        after="ended",
        delay_kept_by="replica",
        breaks_calls=True,
        membership="removes",
    ),
    EventKind(
        name="pause",
        meaning="the process is frozen (SIGSTOP): connections stay open and the kernel still accepts bytes, "
        "but "
        "no answer comes",
        action=_pause,
        notification="nobody is told: connections stay open, but no answer comes",
        opposite="resume",
        before=NOT_ENDED,
        after="paused",
        breaks_calls=True,
        membership="removes",
    ),
    EventKind(
        name="resume",
        meaning="the frozen process continues where it stopped (SIGCONT)",
        action=_resume,
        notification="answers come again",
        before=("paused",),
        after="running",
        membership="returns",
    ),
    EventKind(
        name="start",
        meaning="a new process starts at the address of the one that ended, and continues its ledger",
        action=start,
        notification="its address accepts connections again",
        before=("ended",),
        after="running",
        membership="returns",
    ),
)
