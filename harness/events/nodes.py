"""Event kinds of the proxy's own processes: a node of it ends, is started, or is added."""

import time
from collections.abc import Sequence
from functools import partial

from harness.errors import LabError
from harness.events.context import EventContext, Steps
from harness.events.keys import PlannedEvent
from harness.events.kind import BY_CONNECTION, BY_GOAWAY, NOT_ENDED, EventKind

NODE_MEANING = "name of the node: envoy-0, envoy-1, ..., or envoy where the proxy has only one"
ONE_NODE_MEANING = "name of the node (default: all, one after another)"
BY_NODE_NAMES = "the name server, asked again when a connection ends"
CONFIRMED_WITHIN_S = 5.0


def _restart_proxy(context: EventContext, planned: PlannedEvent, nodes: Sequence[str]) -> Steps:
    for node in filter(context.fleet.proxy_running, nodes):  # another event may have killed one
        context.incomplete_ledgers.add(node)
        context.fleet.stop_proxy(node)
        yield from context.until(partial(_has_ended, context, node))
        context.seen(planned, node, "process ended")
        context.fleet.start_proxy(node)
        yield from context.until(partial(context.fleet.proxy_ready, node))
        context.seen(planned, node, "process ready")


def _has_ended(context: EventContext, node: str) -> bool:
    return not context.fleet.proxy_running(node)


def _kill_node(context: EventContext, planned: PlannedEvent, nodes: Sequence[str]) -> Steps:
    context.incomplete_ledgers |= set(nodes)
    for node in nodes:
        context.fleet.kill_proxy(node)
        yield from context.until(partial(_has_ended, context, node))
        context.seen(planned, node, "process ended")
        _name_nodes(context, planned, node, "not named")


def _start_node(context: EventContext, planned: PlannedEvent, nodes: Sequence[str]) -> Steps:
    for node in nodes:
        yield from context.until(partial(_has_ended, context, node))
        context.fleet.start_proxy(node)
        yield from _join_nodes(context, planned, [node])


def _join_nodes(context: EventContext, planned: PlannedEvent, nodes: Sequence[str]) -> Steps:
    """Name nodes that were started, each once it accepts connections and is as planned."""
    for node in nodes:
        yield from context.until(partial(_accepts_connections, context, node))
        context.seen(planned, node, "process ready")
        yield from _confirm(context, planned, node)
        _name_nodes(context, planned, node, "named")


def _confirm(context: EventContext, planned: PlannedEvent, node: str) -> Steps:
    """Wait until the node is as planned: its endpoints may change just now. Raises LabError if it is not."""
    end_s = time.monotonic() + CONFIRMED_WITHIN_S
    while node in context.proxies:  # another event may kill it
        try:
            context.confirm_node(node)
        except LabError:
            if time.monotonic() > end_s:
                raise
            yield
        else:
            context.seen(planned, node, "Envoy: as planned")
            return


def _accepts_connections(context: EventContext, node: str) -> bool:
    return context.fleet.proxy_ready(node) and context.proxies[node].live()


def _name_nodes(context: EventContext, planned: PlannedEvent, node: str, what: str) -> None:
    """Name the nodes that run. An ALB's name does so, too, once its own health checks have noticed."""
    if context.fleet.name_nodes(context.proxies):
        context.seen(planned, node, f"name server: {what}")


def _drain_proxy(context: EventContext, planned: PlannedEvent, nodes: Sequence[str]) -> Steps:
    for node in filter(context.fleet.proxy_running, nodes):
        context.proxies[node].post("/drain_listeners?graceful")
        context.step(planned, "drain", node)
        yield from context.wait(planned.event.delay_or_default_s)
        yield from _restart_proxy(context, planned, [node])


KINDS = (
    EventKind(
        name="proxy_restart",
        meaning="Envoy ends (SIGTERM) and starts again at its address: one `node`, or all of several one "
        "after another",
        example={},
        action=_restart_proxy,
        notification=f"{BY_GOAWAY}, {BY_CONNECTION}",
        keys={"node": ONE_NODE_MEANING},
        aim="proxy",
        before=NOT_ENDED,
        after="running",
        breaks_calls=True,
        temporary=True,
    ),
    EventKind(
        name="proxy_drain",
        meaning="Envoy drains its listener for `delay_s`, then restarts: one `node`, or all of several one "
        "after another",
        example={},
        action=_drain_proxy,
        notification=f"{BY_GOAWAY}, then {BY_CONNECTION}",
        keys={"delay_s": "seconds between draining and the restart (default 1)", "node": ONE_NODE_MEANING},
        aim="proxy",
        before=NOT_ENDED,
        after="running",
        delay_kept_by="proxy",
        breaks_calls=True,
        temporary=True,
    ),
    EventKind(
        name="proxy_kill",
        meaning="one `node` of the proxy ends at once (SIGKILL): calls in flight through it are lost, and "
        "the name server no longer names it",
        example={"node": "envoy-1"},
        action=_kill_node,
        notification=f"{BY_CONNECTION}, then {BY_NODE_NAMES}",
        keys={"node": NODE_MEANING},
        required=("node",),
        aim="proxy",
        opposite="proxy_start",
        before=NOT_ENDED,
        after="ended",
        breaks_calls=True,
    ),
    EventKind(
        name="proxy_start",
        meaning="a `node` of the proxy that was killed starts again at its address; once it accepts "
        "connections, the name server names it again",
        example={"node": "envoy-1"},
        action=_start_node,
        notification=f"its address accepts connections again, then {BY_NODE_NAMES}",
        keys={"node": NODE_MEANING},
        required=("node",),
        aim="proxy",
        before=("ended",),
        after="running",
    ),
    EventKind(
        name="proxy_add",
        meaning="`count` new nodes of the proxy start; once one accepts connections and is confirmed, the "
        "name server names it, too",
        example={},
        action=_join_nodes,
        notification=BY_NODE_NAMES,
        keys={"count": "number of new nodes (default 1)"},
        aim="proxy",
        new_nodes=True,
    ),
)
