"""Event kinds that need a container engine: they change a replica's network or its CPU."""

from collections.abc import Sequence

from harness.events.context import HEALTHY, NO_LONGER_USED, ContainerFleet, EventContext, Steps
from harness.events.keys import PlannedEvent
from harness.events.kind import BY_ANSWERS, NOT_ENDED, EventKind


def _partition(context: EventContext, planned: PlannedEvent, targets: Sequence[str]) -> Steps:
    context.change(planned, targets, _containers(context).partition, "off the network")
    yield from context.until_proxy_sees(planned, targets, *NO_LONGER_USED)


def _rejoin(context: EventContext, planned: PlannedEvent, targets: Sequence[str]) -> Steps:
    context.change(planned, targets, _containers(context).rejoin, "on the network")
    yield from context.until_proxy_sees(planned, targets, HEALTHY)


def _limit_cpu(context: EventContext, planned: PlannedEvent, targets: Sequence[str]) -> Steps:
    yield from _limit(context, planned, targets, planned.event.cores)


def _unlimit_cpu(context: EventContext, planned: PlannedEvent, targets: Sequence[str]) -> Steps:
    yield from _limit(context, planned, targets, None)


def _limit(
    context: EventContext, planned: PlannedEvent, targets: Sequence[str], cores: float | None
) -> Steps:
    fleet = _containers(context)
    context.change(planned, targets, lambda name: fleet.limit_cpu(name, cores), "CPU limit in force")
    yield from ()


def _containers(context: EventContext) -> ContainerFleet:
    assert isinstance(context.fleet, ContainerFleet)  # harness.testbed.choice has refused others
    return context.fleet


KINDS = (
    EventKind(
        name="partition",
        meaning="the replica loses its network: packets to it get no answer, not even a reset, and its own "
        "packets are lost",
        action=_partition,
        notification="nobody is told: packets get no answer, not even a reset",
        opposite="rejoin",
        before=NOT_ENDED,
        after="partitioned",
        needs_containers=True,
        breaks_calls=True,
        membership="removes",
    ),
    EventKind(
        name="rejoin",
        meaning="the replica has its network again, at its address",
        action=_rejoin,
        notification="packets are answered again",
        before=("partitioned",),
        after="running",
        needs_containers=True,
        membership="returns",
    ),
    EventKind(
        name="limit_cpu",
        meaning="the replica gets at most `cores` CPU cores (0.05: 5 ms of each 100 ms)",
        example={"target": "replica-0", "cores": 0.05},
        action=_limit_cpu,
        notification=BY_ANSWERS,
        keys={"cores": "CPU cores that it may use"},
        required=("cores",),
        opposite="unlimit_cpu",
        needs_containers=True,
    ),
    EventKind(
        name="unlimit_cpu",
        meaning="the CPU limit of the replica is removed",
        action=_unlimit_cpu,
        notification=BY_ANSWERS,
        needs_containers=True,
    ),
)
