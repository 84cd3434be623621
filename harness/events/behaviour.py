"""Event kinds that change how a replica serves, or what its health service says."""

from collections.abc import Callable, Sequence

from harness.errors import LabError
from harness.events.context import HEALTHY, NO_LONGER_USED, Answer, EventContext, Steps
from harness.events.keys import PlannedEvent
from harness.events.kind import BY_ANSWERS, BY_HEALTH_SERVICE, EventKind

HEALED = ("slow_factor", "slow_share", "fail_share", "fail_code")
IN_FORCE = "settings in force"
Ask = Callable[[str], Answer]  # asks the replica of that name


def _slow(context: EventContext, planned: PlannedEvent, targets: Sequence[str]) -> Steps:
    settings = {"slow_factor": planned.event.factor, "slow_share": 1.0}
    yield from _ask(context, planned, targets, lambda name: context.behave(name, settings), IN_FORCE)


def _fail(context: EventContext, planned: PlannedEvent, targets: Sequence[str]) -> Steps:
    event = planned.event
    settings = {
        "fail_share": 1.0 if event.share is None else event.share,
        "fail_code": event.code or "UNAVAILABLE",
        "fail_after_headers": event.after_headers,
        "fail_after_work": event.after_work,
    }
    yield from _ask(context, planned, targets, lambda name: context.behave(name, settings), IN_FORCE)


def _heal(context: EventContext, planned: PlannedEvent, targets: Sequence[str]) -> Steps:
    def heal(name: str) -> Answer:
        at_start = context.settings_at_start(name)
        healed = {key: at_start[key] for key in HEALED}
        return context.behave(name, {**healed, "fail_after_headers": False, "fail_after_work": False})

    yield from _ask(context, planned, targets, heal, IN_FORCE)


def _not_serving(context: EventContext, planned: PlannedEvent, targets: Sequence[str]) -> Steps:
    said = "health service says NOT_SERVING"
    yield from _ask(context, planned, targets, lambda name: context.serve(name, serving=False), said)
    yield from context.until_proxy_sees(planned, targets, *NO_LONGER_USED)


def _serving(context: EventContext, planned: PlannedEvent, targets: Sequence[str]) -> Steps:
    said = "health service says SERVING"
    yield from _ask(context, planned, targets, lambda name: context.serve(name, serving=True), said)
    yield from context.until_proxy_sees(planned, targets, HEALTHY)


def _ask(context: EventContext, planned: PlannedEvent, targets: Sequence[str], ask: Ask, what: str) -> Steps:
    """Ask each target once all of them serve, and record its answer. Raises LabError when one refuses."""
    yield from context.until(lambda: all(map(context.controllable, targets)))
    answers = {name: ask(name) for name in targets}
    yield from context.until(lambda: all(answer.done() for answer in answers.values()))
    for name, answer in answers.items():
        if answer.code().name != "OK":
            which = f"event {planned.number} ({planned.event.do}) at {planned.at_s:g} s"
            raise LabError(f"{which}: {name} refused the change: {answer.code().name} {answer.details()}")
        context.seen(planned, name, what)


KINDS = (
    EventKind(
        name="slow",
        meaning="service times are multiplied by `factor`",
        example={"target": "replica-0", "factor": 10},
        action=_slow,
        notification=BY_ANSWERS,
        keys={"factor": "multiplies the service times; 1 changes nothing"},
        required=("factor",),
        opposite="heal",
    ),
    EventKind(
        name="fail",
        meaning="a `share` of the calls fails with `code`: at once, or later with `after_work` or "
        "`after_headers`",
        action=_fail,
        notification=BY_ANSWERS,
        keys={
            "share": "share of the calls (default 1: all)",
            "code": "gRPC status (default UNAVAILABLE)",
            "after_headers": "whether calls fail only after the response headers, so that neither retries "
            "nor ejection notice it (default false)",
            "after_work": "whether calls fail only after their service time; otherwise they fail at once "
            "(default false)",
        },
        opposite="heal",
    ),
    EventKind(
        name="heal",
        meaning="service times and failures become what they were at the start",
        action=_heal,
        notification=BY_ANSWERS,
    ),
    EventKind(
        name="not_serving",
        meaning="the standard health service says NOT_SERVING; the replica still serves calls",
        action=_not_serving,
        notification=BY_HEALTH_SERVICE,
        opposite="serving",
        membership="removes",
    ),
    EventKind(
        name="serving",
        meaning="the standard health service says SERVING",
        action=_serving,
        notification=BY_HEALTH_SERVICE,
        membership="returns",
    ),
)
