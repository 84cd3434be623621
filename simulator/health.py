"""Which replicas the proxy uses: active health checks, ejections, panic, and what follows for the tables.

Sources: Envoy 1.40, health_checker_base_impl.cc, outlier_detection_impl.cc, load_balancer_impl.cc (panic).
"""

from typing import Any

import numpy as np

from simulator.compiled import compiled
from simulator.hashing import fill_maglev
from simulator.state import (
    ABSENT,
    ASKS_HEALTH,
    ASKS_PORT,
    CHECK,
    CHECK_TIMES_OUT,
    DRAINING,
    EJECTED,
    HEALTHY,
    LOOK_AT_EJECTIONS,
    MAGLEV,
    NONE,
    PAUSED,
    RING_HASH,
    UNHEALTHY,
    UP,
    State,
)
from simulator.timeline import push

_MAX_EJECTION_NS = 300_000_000_000  # or the first ejection's time, if that is longer
_OVERPROVISIONING_PERCENT = 140  # Envoy's default


@compiled
def check(s: State, number: int) -> None:
    """A node checks a replica now; the next check comes one interval after this one has ended.

    number: node x replicas + replica.
    """
    world, replica = s.world[0], s.replicas[number % len(s.replicas)]
    if not replica.listed:
        return
    frozen = replica.state == PAUSED
    if frozen and world.checks != ASKS_PORT:
        push(s, world.check_timeout_ns, CHECK_TIMES_OUT, number)
        return
    if replica.state != UP and not frozen:
        _check_failed(s, number, 1)
    elif world.checks == ASKS_HEALTH and not replica.serving:
        _check_failed(s, number, world.unhealthy_after)  # this answer needs no second one
    else:
        _check_passed(s, number)
    push(s, world.check_ns, CHECK, number)


@compiled
def check_times_out(s: State, number: int) -> None:
    """A check had no answer in time."""
    if s.replicas[number % len(s.replicas)].listed:
        _check_failed(s, number, 1)
        push(s, s.world[0].check_ns, CHECK, number)


@compiled
def _endpoint(s: State, number: int) -> Any:
    return s.endpoints[number // len(s.replicas), number % len(s.replicas)]


@compiled
def _check_failed(s: State, number: int, counts: int) -> None:
    endpoint = _endpoint(s, number)
    endpoint.passes = 0
    endpoint.fails += counts
    if endpoint.healthy and endpoint.fails >= s.world[0].unhealthy_after:
        endpoint.healthy = 0
        refresh(s)


@compiled
def _check_passed(s: State, number: int) -> None:
    endpoint = _endpoint(s, number)
    endpoint.fails = 0
    endpoint.passes += 1
    if not endpoint.healthy and endpoint.passes >= s.world[0].healthy_after:
        endpoint.healthy = 1
        refresh(s)


@compiled
def note_answer(s: State, node: int, number: int, failed: bool) -> None:
    """Outlier detection: eject a replica after so many errors in succession, unless too many are ejected."""
    world, endpoint = s.world[0], s.endpoints[node, number]
    if world.eject_after == 0:
        return
    if not failed:
        endpoint.errors = 0
        return
    endpoint.errors += 1
    if endpoint.errors < world.eject_after or endpoint.ejected:
        return
    endpoint.errors = 0
    listed, ejected = 0, 0
    for other in range(len(s.replicas)):
        listed += s.replicas[other].listed and s.endpoints[node, other].known
        ejected += s.endpoints[node, other].ejected
    if 100.0 * (ejected + 1) / listed <= world.max_ejected_percent:
        endpoint.ejected = 1
        endpoint.ejections += 1
        endpoint.ejected_ns = world.now_ns
        refresh(s)


@compiled
def look_at_ejections(s: State) -> None:
    """Let ejected replicas return whose time is over: the first time, times the ejections so far."""
    world = s.world[0]
    longest_ns = max(_MAX_EJECTION_NS, world.ejection_ns)
    for number in range(len(s.nodes) * len(s.replicas)):
        endpoint = _endpoint(s, number)
        if endpoint.ejected:
            lasts_ns = min(world.ejection_ns * endpoint.ejections, longest_ns)
            if world.now_ns >= endpoint.ejected_ns + lasts_ns:
                endpoint.ejected = 0
                refresh(s)
        elif endpoint.ejections > 0:
            endpoint.ejections -= 1
    push(s, world.eject_look_ns, LOOK_AT_EJECTIONS, 0)


@compiled
def refresh(s: State) -> None:
    """Work out anew which replicas may be picked, and record what became of each endpoint."""
    world = s.world[0]
    for node in range(len(s.nodes)):
        _refresh_node(s, node)
    for number in range(len(s.replicas)):
        _show(s, number)
    if s.nodes[0].count > 0 and world.changing:
        if world.rule == RING_HASH:
            _build_ring(s)
        elif world.rule == MAGLEV:
            _fill_table(s)


@compiled
def _refresh_node(s: State, node: int) -> None:
    """Work out which replicas a node may pick, and how much the spare ones get.

    As Envoy's priority levels: a level with h of n healthy can carry 1.4 h / n of all requests. Where that is
    not enough in all, a level with too few healthy ones panics, and its requests go to all of its replicas.
    """
    world, own = s.world[0], s.nodes[node]
    listed, good = _counts(s, node, 0)
    spare_listed, spare_good = _counts(s, node, 1)
    carries = min(100, _OVERPROVISIONING_PERCENT * good // max(1, listed))
    spare_carries = min(100, _OVERPROVISIONING_PERCENT * spare_good // max(1, spare_listed))
    total = min(100, carries + spare_carries)
    panics = total < 100 and 100.0 * good < world.panic_percent * max(1, listed)
    spare_panics = total < 100 and 100.0 * spare_good < world.panic_percent * max(1, spare_listed)
    if panics and spare_panics:
        own.first_percent = 100 - 100 * spare_listed // max(1, listed + spare_listed)
    elif total == 0:
        own.first_percent = 100
    else:
        rest = 100 - 100 * carries // total
        own.first_percent = 0 if carries == 0 else 100 - min(rest, 100 * spare_carries // total)
    own.count = _list(s, node, 0, panics)
    own.spare = _list(s, node, 1, spare_panics)


@compiled
def _counts(s: State, node: int, spare: int) -> tuple[int, int]:
    """Return how many replicas a node knows, and how many of them are in good health."""
    listed, good = 0, 0
    for number in range(len(s.replicas)):
        replica, endpoint = s.replicas[number], s.endpoints[node, number]
        if replica.listed and endpoint.known and endpoint.spare == spare:
            listed += 1
            good += endpoint.healthy and not endpoint.ejected and not replica.draining
    return listed, good


@compiled
def _list(s: State, node: int, spare: int, panics: bool) -> int:
    """List the replicas that a node may pick, and return how many there are."""
    usable, count = s.usable[node + spare * len(s.nodes)], 0
    for number in range(len(s.replicas)):
        replica, endpoint = s.replicas[number], s.endpoints[node, number]
        if replica.listed and endpoint.known and endpoint.spare == spare:
            in_health = endpoint.healthy and not endpoint.ejected
            endpoint.usable = in_health and (s.world[0].keep_draining or not replica.draining)
            if panics or (in_health and not replica.draining):
                usable[count] = number
                count += 1
        elif endpoint.spare == spare:
            endpoint.usable = 0
    return count


@compiled
def _show(s: State, number: int) -> None:
    """Record the state of an endpoint if it is another one than before, and all nodes have it so."""
    world, replica = s.world[0], s.replicas[number]
    shown = NONE
    for node in range(len(s.nodes)):
        if s.endpoints[node, number].known:
            state = _state(s, node, number)
            if shown not in (NONE, state):
                return
            shown = state
    if shown != replica.shown and world.seen < len(s.seen):
        replica.shown = shown
        entry = s.seen[world.seen]
        entry.at_ns, entry.replica, entry.state = world.now_ns, number, shown
        world.seen += 1


@compiled
def _state(s: State, node: int, number: int) -> int:
    replica, endpoint = s.replicas[number], s.endpoints[node, number]
    if not replica.listed:
        return ABSENT
    if replica.draining:
        return DRAINING
    if not endpoint.healthy:
        return UNHEALTHY
    return EJECTED if endpoint.ejected else HEALTHY


@compiled
def _build_ring(s: State) -> None:
    """Put the points of the usable replicas on the ring: see hashing.points_per_host."""
    world = s.world[0]
    weight = 1.0 / s.nodes[0].count
    scale = min(np.ceil(weight * world.min_ring) / weight, float(world.max_ring))
    made, wanted = 0, 0.0
    for place in range(s.nodes[0].count):
        number, own = s.usable[0, place], 0
        wanted += scale * weight
        while made < wanted:
            s.ring_points[made], s.ring_hosts[made] = s.points[number, own], number
            made += 1
            own += 1
    order = np.argsort(s.ring_points[:made], kind="mergesort")
    points, hosts = s.ring_points[:made][order], s.ring_hosts[:made][order]
    s.ring_points[:made] = points
    s.ring_hosts[:made] = hosts
    world.ring_size = made


@compiled
def _fill_table(s: State) -> None:
    chosen = np.zeros(len(s.replicas), np.bool_)
    for place in range(s.nodes[0].count):
        chosen[s.usable[0, place]] = True
    count = len(s.replicas)
    order = np.empty(count, np.int32)
    offsets, steps = np.empty(count, np.uint64), np.empty(count, np.uint64)
    for number in range(count):
        replica = s.replicas[number]
        order[replica.maglev_place] = number
        offsets[number], steps[number] = replica.maglev_first, replica.maglev_step
    taking_part = np.array([number for number in order if chosen[number]], np.int32)
    s.table[:] = fill_maglev(taking_part, offsets, steps, len(s.table))
