"""Event kinds of the list of endpoints that proxy, control plane and name server use."""

from collections.abc import Sequence
from dataclasses import replace

from harness.events.context import ABSENT, DRAINING, HEALTHY, EventContext, Steps
from harness.events.keys import PlannedEvent
from harness.events.kind import BY_GOAWAY, BY_HEALTH_SERVICE, NOT_ENDED, EventKind
from harness.events.processes import join, start

DELAY_MEANING = "seconds between draining and the end (deregistration delay, default 1)"


def _drain(context: EventContext, planned: PlannedEvent, targets: Sequence[str]) -> Steps:
    for name in targets:
        if name in context.endpoints:
            context.endpoints[name] = replace(context.endpoints[name], draining=True)
        context.step(planned, "drain", name)
    context.publish()
    yield from context.until_listed(planned, targets, DRAINING)
    yield from context.wait(planned.event.delay_or_default_s)
    yield from _remove(context, planned, targets)
    for name in targets:
        context.step(planned, "stop", name)
        context.fleet.stop(name)
    yield from context.until_ended(planned, targets)


def _roll(context: EventContext, planned: PlannedEvent, targets: Sequence[str]) -> Steps:
    for name in targets:
        if context.fleet.running(name):
            yield from _drain(context, planned, [name])
        context.step(planned, "start", name)
        yield from start(context, planned, [name])


def _remove(context: EventContext, planned: PlannedEvent, targets: Sequence[str]) -> Steps:
    context.withdraw(targets)
    yield from context.until_listed(planned, targets, ABSENT)


def _add(context: EventContext, planned: PlannedEvent, targets: Sequence[str]) -> Steps:
    if planned.event.target is None:
        yield from join(context, planned, targets)
        return
    context.publish_as_new(targets)
    yield from context.until_listed(planned, targets, HEALTHY)


def _weight(context: EventContext, planned: PlannedEvent, targets: Sequence[str]) -> Steps:
    weight = planned.event.weight
    targets = [name for name in targets if name in context.endpoints]
    for name in targets:
        context.endpoints[name] = replace(context.endpoints[name], weight=weight)
    context.publish()
    if not context.proxies:
        yield from context.until_listed(planned, targets, HEALTHY)
        return

    def in_force(name: str) -> bool:
        address = context.endpoints[name].address
        # A node has the replicas of its own zone only, unless it sends to all.
        found = {
            weights[address]
            for node in context.proxies.values()
            for weights in node.endpoint_weights().values()
            if address in weights
        }
        return found == {weight}

    yield from context.until_each(planned, targets, in_force, "Envoy: weight in force")


KINDS = (
    EventKind(
        name="drain",
        meaning="the endpoint becomes DRAINING (proxy, control plane), and the name server no longer names "
        "it; after `delay_s` the endpoint is removed and the process is stopped",
        action=_drain,
        notification=f"{BY_HEALTH_SERVICE}, {BY_GOAWAY}",
        keys={"delay_s": DELAY_MEANING},
        opposite="start",
        before=NOT_ENDED,
        after="ended",
        endpoints="members",
        breaks_calls=True,
        membership="removes",
        drawn_step="stop",
    ),
    EventKind(
        name="remove",
        meaning="the endpoint is removed at once; the process keeps running",
        action=_remove,
        opposite="add",
        endpoints="members",
        membership="removes",
    ),
    EventKind(
        name="add",
        meaning="without `target`: `count` new replicas start, and join when they are ready; with `target`: "
        "a "
        "replica that was removed joins again",
        example={},
        action=_add,
        keys={"count": "number of new replicas (default 1)"},
        aim="new replicas",
        endpoints="members",
        membership="returns",
    ),
    EventKind(
        name="weight",
        meaning="the endpoint gets another `weight`",
        example={"target": "replica-0", "weight": 4},
        action=_weight,
        keys={"weight": "new weight of the endpoint"},
        required=("weight",),
        endpoints="weights",
    ),
    EventKind(
        name="roll",
        meaning="one target after another is drained, stopped and started; the next follows when it is "
        "healthy",
        example={"target": "all"},
        action=_roll,
        notification=f"{BY_HEALTH_SERVICE}, {BY_GOAWAY}",
        keys={"delay_s": DELAY_MEANING},
        after="running",
        in_turns=True,
        endpoints="members",
        breaks_calls=True,
        membership="replaces",
        temporary=True,
        drawn_step="drain",
    ),
)
