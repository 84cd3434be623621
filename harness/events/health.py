"""Events of what a replica's health service says. Calls are served all the same."""

from collections.abc import Sequence

from harness.events.context import HEALTHY, NO_LONGER_USED, EventContext, Steps
from harness.events.keys import PlannedEvent
from harness.events.kind import BY_HEALTH_SERVICE, EventKind


def _not_serving(context: EventContext, planned: PlannedEvent, targets: Sequence[str]) -> Steps:
    yield from _say(context, planned, targets, serving=False)
    yield from context.until_proxy_sees(planned, targets, *NO_LONGER_USED)


def _serving(context: EventContext, planned: PlannedEvent, targets: Sequence[str]) -> Steps:
    yield from _say(context, planned, targets, serving=True)
    yield from context.until_proxy_sees(planned, targets, HEALTHY)


def _say(context: EventContext, planned: PlannedEvent, targets: Sequence[str], *, serving: bool) -> Steps:
    yield from context.until_controllable(targets)
    answers = {name: context.serve(name, serving) for name in targets}
    word = "SERVING" if serving else "NOT_SERVING"
    yield from context.until_answered(planned, answers, f"health service says {word}")


KINDS = (
    EventKind(
        name="not_serving",
        meaning="the standard health service says NOT_SERVING; calls are served all the same",
        example={"target": "replica-0"},
        action=_not_serving,
        notification=BY_HEALTH_SERVICE,
        opposite="serving",
        membership="removes",
    ),
    EventKind(
        name="serving",
        meaning="the standard health service says SERVING",
        example={"target": "replica-0"},
        action=_serving,
        notification=BY_HEALTH_SERVICE,
        membership="returns",
    ),
)
