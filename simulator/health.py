"""Which replicas the proxy uses: active health checks, ejections, panic, and what follows for the tables.

Sources: Envoy 1.40, health_checker_base_impl.cc, outlier_detection_impl.cc, load_balancer_impl.cc (panic).
"""

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
    PAUSED,
    RING_HASH,
    UNHEALTHY,
    UP,
    State,
)
from simulator.timeline import push

_MAX_EJECTION_NS = 300_000_000_000  # or the first ejection's time, if that is longer


@compiled
def check(s: State, number: int) -> None:
    """Check a replica now; the next check comes one interval after this one has ended."""
    world, replica = s.world[0], s.replicas[number]
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
    if s.replicas[number].listed:
        _check_failed(s, number, 1)
        push(s, s.world[0].check_ns, CHECK, number)


@compiled
def _check_failed(s: State, number: int, counts: int) -> None:
    replica = s.replicas[number]
    replica.passes = 0
    replica.fails += counts
    if replica.healthy and replica.fails >= s.world[0].unhealthy_after:
        replica.healthy = 0
        refresh(s)


@compiled
def _check_passed(s: State, number: int) -> None:
    replica = s.replicas[number]
    replica.fails = 0
    replica.passes += 1
    if not replica.healthy and replica.passes >= s.world[0].healthy_after:
        replica.healthy = 1
        refresh(s)


@compiled
def note_answer(s: State, number: int, failed: bool) -> None:
    """Outlier detection: eject a replica after so many errors in succession, unless too many are ejected."""
    world, replica = s.world[0], s.replicas[number]
    if world.eject_after == 0:
        return
    if not failed:
        replica.errors = 0
        return
    replica.errors += 1
    if replica.errors < world.eject_after or replica.ejected:
        return
    replica.errors = 0
    listed, ejected = 0, 0
    for other in range(len(s.replicas)):
        listed += s.replicas[other].listed
        ejected += s.replicas[other].ejected
    if 100.0 * (ejected + 1) / listed <= world.max_ejected_percent:
        replica.ejected = 1
        replica.ejections += 1
        replica.ejected_ns = world.now_ns
        refresh(s)


@compiled
def look_at_ejections(s: State) -> None:
    """Let ejected replicas return whose time is over: the first time, times the ejections so far."""
    world = s.world[0]
    longest_ns = max(_MAX_EJECTION_NS, world.ejection_ns)
    for number in range(len(s.replicas)):
        replica = s.replicas[number]
        if replica.ejected:
            lasts_ns = min(world.ejection_ns * replica.ejections, longest_ns)
            if world.now_ns >= replica.ejected_ns + lasts_ns:
                replica.ejected = 0
                refresh(s)
        elif replica.ejections > 0:
            replica.ejections -= 1
    push(s, world.eject_look_ns, LOOK_AT_EJECTIONS, 0)


@compiled
def refresh(s: State) -> None:
    """Work out anew which replicas may be picked, and record what became of each endpoint."""
    world = s.world[0]
    listed, good = 0, 0
    for number in range(len(s.replicas)):
        replica = s.replicas[number]
        in_health = replica.listed and replica.healthy and not replica.ejected
        replica.usable = in_health and (world.keep_draining or not replica.draining)
        listed += replica.listed
        good += in_health and not replica.draining
        _show(s, number)
    panics = listed > 0 and 100.0 * good / listed < world.panic_percent
    world.usable = 0
    s.counts[:] = 0
    for number in range(len(s.replicas)):
        replica = s.replicas[number]
        in_health = replica.healthy and not replica.ejected and not replica.draining
        if replica.listed and (panics or in_health):
            zone = s.of_zone[number]
            s.usable[zone, s.counts[zone]] = number
            s.counts[zone] += 1
            world.usable += 1
    if world.usable > 0 and world.changing:
        if world.rule == RING_HASH:
            _build_ring(s)
        elif world.rule == MAGLEV:
            _fill_table(s)


@compiled
def _show(s: State, number: int) -> None:
    """Record the state of an endpoint if it is another one than before."""
    world, replica = s.world[0], s.replicas[number]
    if not replica.listed:
        shown = ABSENT
    elif replica.draining:
        shown = DRAINING
    elif not replica.healthy:
        shown = UNHEALTHY
    else:
        shown = EJECTED if replica.ejected else HEALTHY
    if shown != replica.shown and world.seen < len(s.seen):
        replica.shown = shown
        entry = s.seen[world.seen]
        entry.at_ns, entry.replica, entry.state = world.now_ns, number, shown
        world.seen += 1


@compiled
def _build_ring(s: State) -> None:
    """Put the points of the usable replicas on the ring: see hashing.points_per_host."""
    world = s.world[0]
    weight = 1.0 / world.usable
    scale = min(np.ceil(weight * world.min_ring) / weight, float(world.max_ring))
    made, wanted = 0, 0.0
    for place in range(world.usable):
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
    for place in range(s.world[0].usable):
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
