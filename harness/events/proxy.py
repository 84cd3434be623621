"""Event kinds of the list of endpoints that proxy and name server use, and of the proxy's own process."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from harness.events.context import ABSENT, DRAINING, HEALTHY, EventContext, Steps
from harness.events.keys import PlannedEvent
from harness.events.kind import BY_CONNECTION, BY_GOAWAY, BY_HEALTH_SERVICE, NOT_ENDED, EventKind
from harness.events.processes import join, start

NODE_MEANING = "name of the node: envoy-0, envoy-1, ..., or envoy where the proxy has only one"
BY_NODE_NAMES = "the name server, asked again when a connection ends"
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
        yield from context.until(partial(_accepts_connections, context, node))
        context.seen(planned, node, "process ready")
        _name_nodes(context, planned, node, "named")


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
    EventKind(
        name="proxy_restart",
        meaning="Envoy ends (SIGTERM) and starts again at its address; of several nodes, one after another",
        example={},
        action=_restart_proxy,
        notification=f"{BY_GOAWAY}, {BY_CONNECTION}",
        aim="proxy",
        breaks_calls=True,
        temporary=True,
    ),
    EventKind(
        name="proxy_drain",
        meaning="Envoy drains its listener for `delay_s`, then restarts; of several nodes, one after another",
        example={},
        action=_drain_proxy,
        notification=f"{BY_GOAWAY}, then {BY_CONNECTION}",
        keys={"delay_s": "seconds between draining and the restart (default 1)"},
        aim="proxy",
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
)
