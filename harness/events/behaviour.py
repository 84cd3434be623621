"""Events of how a replica serves: it is slow, it fails calls, it is as at the start again."""

from collections.abc import Mapping, Sequence
from typing import Any

from harness.events.context import EventContext, Steps
from harness.events.keys import PlannedEvent
from harness.events.kind import BY_ANSWERS, EventKind

HEALED = ("slow_factor", "slow_share", "fail_share", "fail_code")


def _slow(context: EventContext, planned: PlannedEvent, targets: Sequence[str]) -> Steps:
    settings = {"slow_factor": planned.event.factor, "slow_share": 1.0}
    yield from _put_in_force(context, planned, dict.fromkeys(targets, settings))


def _fail(context: EventContext, planned: PlannedEvent, targets: Sequence[str]) -> Steps:
    event = planned.event
    settings = {
        "fail_share": 1.0 if event.share is None else event.share,
        "fail_code": event.code or "UNAVAILABLE",
        "fail_after_headers": event.after_headers,
        "fail_after_work": event.after_work,
    }
    yield from _put_in_force(context, planned, dict.fromkeys(targets, settings))


def _heal(context: EventContext, planned: PlannedEvent, targets: Sequence[str]) -> Steps:
    settings = {}
    for name in targets:
        at_start = context.settings_at_start(name)
        healed = {key: at_start[key] for key in HEALED}
        settings[name] = {**healed, "fail_after_headers": False, "fail_after_work": False}
    yield from _put_in_force(context, planned, settings)


def _put_in_force(
    context: EventContext, planned: PlannedEvent, settings: Mapping[str, Mapping[str, Any]]
) -> Steps:
    yield from context.until_controllable(settings)
    answers = {name: context.behave(name, own) for name, own in settings.items()}
    yield from context.until_answered(planned, answers, "settings in force")


KINDS = (
    EventKind(
        name="slow",
        meaning="service times are multiplied by `factor`",
        example={"target": "replica-0", "factor": 10},
        action=_slow,
        notification=BY_ANSWERS,
        keys={"factor": "multiplies the service times; 1 is as ever"},
        required=("factor",),
        opposite="heal",
    ),
    EventKind(
        name="fail",
        meaning="a `share` of the calls fails with `code`, at once unless `after_work` or `after_headers` "
        "says later",
        example={"target": "replica-0"},
        action=_fail,
        notification=BY_ANSWERS,
        keys={
            "share": "share of the calls (default 1: all)",
            "code": "gRPC status (default UNAVAILABLE)",
            "after_headers": "only after response headers, where no retry and no ejection see it",
            "after_work": "only after the service time, slowly; else at once",
        },
        opposite="heal",
    ),
    EventKind(
        name="heal",
        meaning="service times and failures are as at the start again",
        example={"target": "replica-0"},
        action=_heal,
        notification=BY_ANSWERS,
    ),
)
