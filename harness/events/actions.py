"""DOINGS: what each kind of event does to the running parts, and when it has taken effect."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from harness.events.context import ABSENT, HEALTHY, Stage, Steps
from harness.events.event import Doing
from harness.events.schedule import PlannedEvent
from harness.proxy.endpoints import Endpoint
from harness.testbed.base import ContainerFleet
from services import video_service_pb2 as pb

OUT = ("unhealthy", "ejected")
DELAY_S = 1.0  # of a drain that names none

Names = Sequence[str]
Do = Callable[[Stage, PlannedEvent, Names], Steps]


def _kill(stage: Stage, planned: PlannedEvent, targets: Names) -> Steps:
    stage.killed |= set(targets)
    for name in targets:
        stage.fleet.kill(name)
    yield from _ended(stage, planned, targets)
    yield from stage.until_proxy_sees(planned, targets, *OUT)


def _stop(stage: Stage, planned: PlannedEvent, targets: Names) -> Steps:
    for name in targets:
        stage.fleet.stop(name)
    yield from _ended(stage, planned, targets)
    yield from stage.until_proxy_sees(planned, targets, *OUT)


def _ended(stage: Stage, planned: PlannedEvent, targets: Names) -> Steps:
    yield from stage.until_each(planned, targets, lambda name: not stage.fleet.running(name), "process ended")


def _pause(stage: Stage, planned: PlannedEvent, targets: Names) -> Steps:
    for name in targets:
        stage.fleet.pause(name)
        stage.seen(planned, name, "process stopped (SIGSTOP)")
    yield from stage.until_proxy_sees(planned, targets, *OUT)


def _resume(stage: Stage, planned: PlannedEvent, targets: Names) -> Steps:
    for name in targets:
        stage.fleet.resume(name)
        stage.seen(planned, name, "process goes on (SIGCONT)")
    yield from stage.until_proxy_sees(planned, targets, HEALTHY)


def _start(stage: Stage, planned: PlannedEvent, targets: Names) -> Steps:
    # One that is told to end may still be at it.
    yield from stage.until(lambda: not any(stage.fleet.running(name) for name in targets))
    for name in targets:
        stage.fleet.start(name)
    yield from _join(stage, planned, targets)


def _join(stage: Stage, planned: PlannedEvent, targets: Names) -> Steps:
    """Wait for processes that were started, and let everybody know of those that did not end before."""
    fleet = stage.fleet
    starting, there = list(targets), []
    while starting := [name for name in starting if fleet.running(name)]:
        for name in [name for name in starting if fleet.ready(name)]:
            stage.seen(planned, name, "process ready")
            starting.remove(name)
            there.append(name)
        if not starting:
            break
        yield
    _publish_as_new(stage, there)
    yield from stage.until_proxy_sees(planned, there, HEALTHY)


def _publish_as_new(stage: Stage, targets: Names) -> None:
    for name in targets:
        before = stage.endpoints.get(name)
        weight = before.weight if before else None
        stage.endpoints[name] = Endpoint(stage.live.replicas[name], weight=weight)
    stage.publish()


def _slow(stage: Stage, planned: PlannedEvent, targets: Names) -> Steps:
    behaviour = pb.Behaviour(slow_factor=planned.event.factor, slow_share=1.0)
    yield from _behave(stage, planned, dict.fromkeys(targets, behaviour))


def _fail(stage: Stage, planned: PlannedEvent, targets: Names) -> Steps:
    event = planned.event
    behaviour = pb.Behaviour(
        fail_share=1.0 if event.share is None else event.share,
        fail_code=event.code or "UNAVAILABLE",
        fail_after_headers=event.after_headers,
        fail_after_work=event.after_work,
    )
    yield from _behave(stage, planned, dict.fromkeys(targets, behaviour))


def _heal(stage: Stage, planned: PlannedEvent, targets: Names) -> Steps:
    behaviours = {}
    for name in targets:
        start = stage.behaviour_at_start(name)
        kept = {key: start[key] for key in ("slow_factor", "slow_share", "fail_share", "fail_code")}
        behaviours[name] = pb.Behaviour(**kept, fail_after_headers=False, fail_after_work=False)
    yield from _behave(stage, planned, behaviours)


def _behave(stage: Stage, planned: PlannedEvent, behaviours: dict[str, pb.Behaviour]) -> Steps:
    yield from _known(stage, behaviours)
    futures = {name: stage.controls.behave(name, behaviour) for name, behaviour in behaviours.items()}
    yield from stage.answered(planned, futures, "settings in force")


def _not_serving(stage: Stage, planned: PlannedEvent, targets: Names) -> Steps:
    yield from _serve(stage, planned, targets, serving=False)
    yield from stage.until_proxy_sees(planned, targets, *OUT)


def _serving(stage: Stage, planned: PlannedEvent, targets: Names) -> Steps:
    yield from _serve(stage, planned, targets, serving=True)
    yield from stage.until_proxy_sees(planned, targets, HEALTHY)


def _serve(stage: Stage, planned: PlannedEvent, targets: Names, *, serving: bool) -> Steps:
    yield from _known(stage, targets)
    futures = {name: stage.controls.serve(name, serving) for name in targets}
    word = "SERVING" if serving else "NOT_SERVING"
    yield from stage.answered(planned, futures, f"health service says {word}")


def _known(stage: Stage, targets: Iterable[str]) -> Steps:
    """Wait for replicas that have been added and are not ready yet."""
    yield from stage.until(lambda: all(name in stage.live.controls for name in targets))


def _drain(stage: Stage, planned: PlannedEvent, targets: Names) -> Steps:
    for name in targets:
        if name in stage.endpoints:
            stage.endpoints[name] = replace(stage.endpoints[name], draining=True)
        stage.step(planned, "drain", name)
    stage.publish()
    yield from stage.until_proxy_sees(planned, targets, "draining")
    yield from stage.pause(DELAY_S if planned.event.delay_s is None else planned.event.delay_s)
    for name in targets:
        stage.endpoints.pop(name, None)
    stage.publish()
    yield from stage.until_proxy_sees(planned, targets, ABSENT)
    for name in targets:
        stage.step(planned, "stop", name)
        stage.fleet.stop(name)
    yield from _ended(stage, planned, targets)


def _roll(stage: Stage, planned: PlannedEvent, targets: Names) -> Steps:
    for name in targets:
        yield from _drain(stage, planned, [name])
        stage.step(planned, "start", name)
        yield from _start(stage, planned, [name])


def _remove(stage: Stage, planned: PlannedEvent, targets: Names) -> Steps:
    for name in targets:
        stage.endpoints.pop(name, None)
    stage.publish()
    yield from stage.until_proxy_sees(planned, targets, ABSENT)


def _add(stage: Stage, planned: PlannedEvent, targets: Names) -> Steps:
    if planned.event.target is None:
        yield from _join(stage, planned, targets)
        return
    _publish_as_new(stage, targets)
    yield from stage.until_proxy_sees(planned, targets, HEALTHY)


def _weight(stage: Stage, planned: PlannedEvent, targets: Names) -> Steps:
    for name in targets:
        stage.endpoints[name] = replace(stage.endpoints[name], weight=planned.event.weight)
    stage.publish()
    envoy = stage.live.envoy
    if envoy is None:
        return

    def in_force(name: str) -> bool:
        address = stage.endpoints[name].address
        return any(
            weights.get(address) == planned.event.weight for weights in envoy.endpoint_weights().values()
        )

    yield from stage.until_each(planned, targets, in_force, "Envoy: weight in force")


def _proxy_restart(stage: Stage, planned: PlannedEvent, targets: Names) -> Steps:  # noqa: ARG001
    stage.proxy_restarted = True
    stage.fleet.stop_proxy()
    yield from stage.until(lambda: not stage.fleet.proxy_running())
    stage.seen(planned, "envoy", "process ended")
    stage.fleet.start_proxy()
    yield from stage.until(stage.fleet.proxy_ready)
    stage.seen(planned, "envoy", "process ready")


def _proxy_drain(stage: Stage, planned: PlannedEvent, targets: Names) -> Steps:
    assert stage.live.envoy is not None
    stage.live.envoy.post("/drain_listeners?graceful")
    stage.step(planned, "drain", "envoy")
    yield from stage.pause(DELAY_S if planned.event.delay_s is None else planned.event.delay_s)
    yield from _proxy_restart(stage, planned, targets)


def _partition(stage: Stage, planned: PlannedEvent, targets: Names) -> Steps:
    for name in targets:
        _containers(stage).partition(name)
        stage.seen(planned, name, "off the network")
    yield from stage.until_proxy_sees(planned, targets, *OUT)


def _rejoin(stage: Stage, planned: PlannedEvent, targets: Names) -> Steps:
    for name in targets:
        _containers(stage).rejoin(name)
        stage.seen(planned, name, "on the network")
    yield from stage.until_proxy_sees(planned, targets, HEALTHY)


def _limit_cpu(stage: Stage, planned: PlannedEvent, targets: Names) -> Steps:
    """To so many cores; unlimit_cpu names none, which is no limit."""
    for name in targets:
        _containers(stage).limit_cpu(name, planned.event.cores)
        stage.seen(planned, name, "CPU limit in force")
    yield from ()


def _containers(stage: Stage) -> ContainerFleet:
    assert isinstance(stage.fleet, ContainerFleet)  # harness.testbed.compatibility has refused others
    return stage.fleet


DOINGS: dict[Doing, Do] = {
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
