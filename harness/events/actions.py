"""ACTIONS: what each kind of event does to the running parts, and when it has taken effect."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from harness.events.context import ABSENT, HEALTHY, EventContext, Steps
from harness.events.event import EventName
from harness.events.schedule import PlannedEvent
from harness.proxy.endpoints import Endpoint
from harness.testbed.base import ContainerFleet
from services import video_service_pb2 as pb

OUT = ("unhealthy", "ejected")
DELAY_S = 1.0  # of a drain that names none

Names = Sequence[str]
Do = Callable[[EventContext, PlannedEvent, Names], Steps]


def _kill(context: EventContext, planned: PlannedEvent, targets: Names) -> Steps:
    context.killed |= set(targets)
    for name in targets:
        context.fleet.kill(name)
    yield from _ended(context, planned, targets)
    yield from context.until_proxy_sees(planned, targets, *OUT)


def _stop(context: EventContext, planned: PlannedEvent, targets: Names) -> Steps:
    for name in targets:
        context.fleet.stop(name)
    yield from _ended(context, planned, targets)
    yield from context.until_proxy_sees(planned, targets, *OUT)


def _ended(context: EventContext, planned: PlannedEvent, targets: Names) -> Steps:
    yield from context.until_each(
        planned, targets, lambda name: not context.fleet.running(name), "process ended"
    )


def _pause(context: EventContext, planned: PlannedEvent, targets: Names) -> Steps:
    for name in targets:
        context.fleet.pause(name)
        context.seen(planned, name, "process stopped (SIGSTOP)")
    yield from context.until_proxy_sees(planned, targets, *OUT)


def _resume(context: EventContext, planned: PlannedEvent, targets: Names) -> Steps:
    for name in targets:
        context.fleet.resume(name)
        context.seen(planned, name, "process goes on (SIGCONT)")
    yield from context.until_proxy_sees(planned, targets, HEALTHY)


def _start(context: EventContext, planned: PlannedEvent, targets: Names) -> Steps:
    # One that is told to end may still be at it.
    yield from context.until(lambda: not any(context.fleet.running(name) for name in targets))
    for name in targets:
        context.fleet.start(name)
    yield from _join(context, planned, targets)


def _join(context: EventContext, planned: PlannedEvent, targets: Names) -> Steps:
    """Wait for processes that were started, and let everybody know of those that did not end before."""
    fleet = context.fleet
    starting, there = list(targets), []
    while starting := [name for name in starting if fleet.running(name)]:
        for name in [name for name in starting if fleet.ready(name)]:
            context.seen(planned, name, "process ready")
            starting.remove(name)
            there.append(name)
        if not starting:
            break
        yield
    _publish_as_new(context, there)
    yield from context.until_proxy_sees(planned, there, HEALTHY)


def _publish_as_new(context: EventContext, targets: Names) -> None:
    for name in targets:
        before = context.endpoints.get(name)
        weight = before.weight if before else None
        context.endpoints[name] = Endpoint(context.live.replicas[name], weight=weight)
    context.publish()


def _slow(context: EventContext, planned: PlannedEvent, targets: Names) -> Steps:
    behaviour = pb.Behaviour(slow_factor=planned.event.factor, slow_share=1.0)
    yield from _behave(context, planned, dict.fromkeys(targets, behaviour))


def _fail(context: EventContext, planned: PlannedEvent, targets: Names) -> Steps:
    event = planned.event
    behaviour = pb.Behaviour(
        fail_share=1.0 if event.share is None else event.share,
        fail_code=event.code or "UNAVAILABLE",
        fail_after_headers=event.after_headers,
        fail_after_work=event.after_work,
    )
    yield from _behave(context, planned, dict.fromkeys(targets, behaviour))


def _heal(context: EventContext, planned: PlannedEvent, targets: Names) -> Steps:
    behaviours = {}
    for name in targets:
        start = context.behaviour_at_start(name)
        kept = {key: start[key] for key in ("slow_factor", "slow_share", "fail_share", "fail_code")}
        behaviours[name] = pb.Behaviour(**kept, fail_after_headers=False, fail_after_work=False)
    yield from _behave(context, planned, behaviours)


def _behave(context: EventContext, planned: PlannedEvent, behaviours: dict[str, pb.Behaviour]) -> Steps:
    yield from _known(context, behaviours)
    futures = {name: context.controls.behave(name, behaviour) for name, behaviour in behaviours.items()}
    yield from context.answered(planned, futures, "settings in force")


def _not_serving(context: EventContext, planned: PlannedEvent, targets: Names) -> Steps:
    yield from _serve(context, planned, targets, serving=False)
    yield from context.until_proxy_sees(planned, targets, *OUT)


def _serving(context: EventContext, planned: PlannedEvent, targets: Names) -> Steps:
    yield from _serve(context, planned, targets, serving=True)
    yield from context.until_proxy_sees(planned, targets, HEALTHY)


def _serve(context: EventContext, planned: PlannedEvent, targets: Names, *, serving: bool) -> Steps:
    yield from _known(context, targets)
    futures = {name: context.controls.serve(name, serving) for name in targets}
    word = "SERVING" if serving else "NOT_SERVING"
    yield from context.answered(planned, futures, f"health service says {word}")


def _known(context: EventContext, targets: Iterable[str]) -> Steps:
    """Wait for replicas that have been added and are not ready yet."""
    yield from context.until(lambda: all(name in context.live.controls for name in targets))


def _drain(context: EventContext, planned: PlannedEvent, targets: Names) -> Steps:
    for name in targets:
        if name in context.endpoints:
            context.endpoints[name] = replace(context.endpoints[name], draining=True)
        context.step(planned, "drain", name)
    context.publish()
    yield from context.until_proxy_sees(planned, targets, "draining")
    yield from context.pause(DELAY_S if planned.event.delay_s is None else planned.event.delay_s)
    for name in targets:
        context.endpoints.pop(name, None)
    context.publish()
    yield from context.until_proxy_sees(planned, targets, ABSENT)
    for name in targets:
        context.step(planned, "stop", name)
        context.fleet.stop(name)
    yield from _ended(context, planned, targets)


def _roll(context: EventContext, planned: PlannedEvent, targets: Names) -> Steps:
    for name in targets:
        yield from _drain(context, planned, [name])
        context.step(planned, "start", name)
        yield from _start(context, planned, [name])


def _remove(context: EventContext, planned: PlannedEvent, targets: Names) -> Steps:
    for name in targets:
        context.endpoints.pop(name, None)
    context.publish()
    yield from context.until_proxy_sees(planned, targets, ABSENT)


def _add(context: EventContext, planned: PlannedEvent, targets: Names) -> Steps:
    if planned.event.target is None:
        yield from _join(context, planned, targets)
        return
    _publish_as_new(context, targets)
    yield from context.until_proxy_sees(planned, targets, HEALTHY)


def _weight(context: EventContext, planned: PlannedEvent, targets: Names) -> Steps:
    for name in targets:
        context.endpoints[name] = replace(context.endpoints[name], weight=planned.event.weight)
    context.publish()
    envoy = context.live.envoy
    if envoy is None:
        return

    def in_force(name: str) -> bool:
        address = context.endpoints[name].address
        return any(
            weights.get(address) == planned.event.weight for weights in envoy.endpoint_weights().values()
        )

    yield from context.until_each(planned, targets, in_force, "Envoy: weight in force")


def _proxy_restart(context: EventContext, planned: PlannedEvent, targets: Names) -> Steps:  # noqa: ARG001
    context.proxy_restarted = True
    context.fleet.stop_proxy()
    yield from context.until(lambda: not context.fleet.proxy_running())
    context.seen(planned, "envoy", "process ended")
    context.fleet.start_proxy()
    yield from context.until(context.fleet.proxy_ready)
    context.seen(planned, "envoy", "process ready")


def _proxy_drain(context: EventContext, planned: PlannedEvent, targets: Names) -> Steps:
    assert context.live.envoy is not None
    context.live.envoy.post("/drain_listeners?graceful")
    context.step(planned, "drain", "envoy")
    yield from context.pause(DELAY_S if planned.event.delay_s is None else planned.event.delay_s)
    yield from _proxy_restart(context, planned, targets)


def _partition(context: EventContext, planned: PlannedEvent, targets: Names) -> Steps:
    for name in targets:
        _containers(context).partition(name)
        context.seen(planned, name, "off the network")
    yield from context.until_proxy_sees(planned, targets, *OUT)


def _rejoin(context: EventContext, planned: PlannedEvent, targets: Names) -> Steps:
    for name in targets:
        _containers(context).rejoin(name)
        context.seen(planned, name, "on the network")
    yield from context.until_proxy_sees(planned, targets, HEALTHY)


def _limit_cpu(context: EventContext, planned: PlannedEvent, targets: Names) -> Steps:
    """To so many cores; unlimit_cpu names none, which is no limit."""
    for name in targets:
        _containers(context).limit_cpu(name, planned.event.cores)
        context.seen(planned, name, "CPU limit in force")
    yield from ()


def _containers(context: EventContext) -> ContainerFleet:
    assert isinstance(context.fleet, ContainerFleet)  # harness.testbed.compatibility has refused others
    return context.fleet


ACTIONS: dict[EventName, Do] = {
    "kill": _kill,
    "stop": _stop,
    "pause": _pause,
    "resume": _resume,
    "start": _start,
    "slow": _slow,
    "fail": _fail,
    "heal": _heal,
    "not_serving": _not_serving,
    "serving": _serving,
    "drain": _drain,
    "remove": _remove,
    "add": _add,
    "weight": _weight,
    "roll": _roll,
    "proxy_restart": _proxy_restart,
    "proxy_drain": _proxy_drain,
    "partition": _partition,
    "rejoin": _rejoin,
    "limit_cpu": _limit_cpu,
    "unlimit_cpu": _limit_cpu,
}
