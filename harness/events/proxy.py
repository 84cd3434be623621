"""Events of the proxy itself."""

from collections.abc import Sequence

from harness.events.context import EventContext, Steps
from harness.events.fleet import PROXY
from harness.events.keys import PlannedEvent
from harness.events.kind import BY_CONNECTION, BY_GOAWAY, EventKind


def _restart(context: EventContext, planned: PlannedEvent, _targets: Sequence[str]) -> Steps:
    context.incomplete_ledgers.add(PROXY)
    context.fleet.stop_proxy()
    yield from context.until(lambda: not context.fleet.proxy_running())
    context.seen(planned, PROXY, "process ended")
    context.fleet.start_proxy()
    yield from context.until(context.fleet.proxy_ready)
    context.seen(planned, PROXY, "process ready")


def _drain(context: EventContext, planned: PlannedEvent, targets: Sequence[str]) -> Steps:
    assert context.proxy is not None  # the checks have refused a route without one
    context.proxy.post("/drain_listeners?graceful")
    context.step(planned, "drain", PROXY)
    yield from context.wait(planned.event.delay_or_default_s)
    yield from _restart(context, planned, targets)


KINDS = (
    EventKind(
        name="proxy_restart",
        meaning="Envoy ends (SIGTERM) and starts again at its address",
        example={},
        action=_restart,
        notification=f"{BY_GOAWAY}, {BY_CONNECTION}",
        aim="proxy",
        breaks_calls=True,
        temporary=True,
    ),
    EventKind(
        name="proxy_drain",
        meaning="Envoy drains its listener for `delay_s`, then restarts",
        example={},
        action=_drain,
        notification=f"{BY_GOAWAY}, then {BY_CONNECTION}",
        keys={"delay_s": "seconds between draining and the restart (default 1)"},
        aim="proxy",
        delay_kept_by="proxy",
        breaks_calls=True,
        temporary=True,
    ),
)
