"""The rules by which Envoy and gRPC pick a replica, each as the real part does it.

Sources: Envoy 1.40, load_balancer_impl.cc (round robin, least request, random), thread_aware_lb_impl.cc (hash
policies), edf_scheduler.h (weighted turns); gRPC C-core 1.85, round_robin.cc, pick_first.cc, ring_hash.cc.
lb/picking.py has those of this lab's own clients.
"""

from typing import Any

import numpy as np

from simulator.compiled import compiled, whole
from simulator.hashing import overflow_order
from simulator.probing import pick_by_probes
from simulator.randomness import below, deal, draw
from simulator.state import (
    CLIENT,
    FULL_SCAN,
    LEAST_REQUEST,
    MAGLEV,
    NONE,
    PICK_FIRST,
    PROBING,
    RANDOM,
    RING_HASH,
    ROUND_ROBIN,
    WEIGHTED,
    State,
)


@compiled
def pick(s: State, channel: int, key: Any, again: int) -> int:
    """Return the replica that the rule picks, or NONE if there is none to pick.

    channel: the connection of the request; its worker, or its client, takes turns. key: its hash. again: how
    often something else was picked for the same attempt and refused; hash rules then pick another one.
    """
    world, node, picker = s.world[0], s.channels[channel].node, s.channels[channel].picker
    own = s.nodes[node]
    spare = own.first_percent < 100 and below(draw(world), 100) >= own.first_percent
    count, rule = own.spare if spare else own.count, world.rule
    usable = s.usable[node + spare * len(s.nodes)]
    if count == 0:
        return NONE
    if rule == ROUND_ROBIN:
        return usable[_turn(s, channel, spare, count)]
    if rule == RANDOM:
        return usable[below(draw(world), count)]
    if rule == LEAST_REQUEST:
        return _least_of_some(s, picker, usable, count)
    if rule == FULL_SCAN:
        return _least_of_all(s, picker, usable, count)
    if rule == WEIGHTED:
        return _earliest_deadline(s, count)
    if rule == PICK_FIRST:
        return usable[whole(s.channels[channel].turn % np.uint64(count))]
    if rule == PROBING:
        return pick_by_probes(s, picker, usable, count)
    return _by_hash(s, picker, count, key, again)


@compiled
def _turn(s: State, channel: int, spare: bool, count: int) -> int:
    """Each worker of a proxy has turns of its own, others among spare replicas; so has a client's channel."""
    if s.world[0].balancer == CLIENT:
        turn = s.channels[channel].turn
        s.channels[channel].turn = turn + np.uint64(1)
    else:
        worker = s.channels[channel].worker + spare * len(s.turns) // 2
        turn = s.turns[worker]
        s.turns[worker] = turn + np.uint64(1)
    return whole(turn % np.uint64(count))


@compiled
def _least_of_some(s: State, picker: int, usable: Any, count: int) -> int:
    """Draw some replicas: Envoy with replacement, a client without. Of equally busy ones the first counts."""
    world = s.world[0]
    active, without = s.active[picker], world.balancer == CLIENT
    chosen = deal(world, usable, count, 0) if without else usable[below(draw(world), count)]
    for place in range(1, min(world.choices, count) if without else world.choices):
        other = deal(world, usable, count, place) if without else usable[below(draw(world), count)]
        if active[other] < active[chosen]:
            chosen = other
    return chosen


@compiled
def _least_of_all(s: State, picker: int, usable: Any, count: int) -> int:
    """Look at all replicas. One of those that are equally idle is drawn."""
    active = s.active[picker]
    chosen, tied = usable[0], 1
    for place in range(1, count):
        other = usable[place]
        if active[other] < active[chosen]:
            chosen, tied = other, 1
        elif active[other] == active[chosen]:
            tied += 1
            if below(draw(s.world[0]), tied) == 0:
                chosen = other
    return chosen


@compiled
def _earliest_deadline(s: State, count: int) -> int:
    """Weighted turns: each replica is due every 1 / weight; of those due together the first one in order."""
    world = s.world[0]
    chosen = s.usable[0, 0]
    for place in range(1, count):
        other = s.usable[0, place]
        if s.replicas[other].deadline < s.replicas[chosen].deadline:
            chosen = other
    world.virtual_time = s.replicas[chosen].deadline
    s.replicas[chosen].deadline = world.virtual_time + 1.0 / s.replicas[chosen].weight
    return chosen


@compiled
def _by_hash(s: State, picker: int, count: int, key: Any, again: int) -> int:
    world = s.world[0]
    if world.rule == RING_HASH:
        place = np.searchsorted(s.ring_points[: world.ring_size], key)
        own = s.ring_hosts[(place + again) % world.ring_size if place < world.ring_size else again]
    else:
        assert world.rule == MAGLEV
        if again > 0:
            key ^= ~np.uint64(0) - np.uint64(again) + np.uint64(1)
        own = s.table[whole(key % np.uint64(len(s.table)))]
    if world.bounded_percent == 0:
        return own
    return _with_bounded_load(s, picker, count, own, key)


@compiled
def _with_bounded_load(s: State, picker: int, count: int, own: int, key: Any) -> int:
    """Return `own` unless it is above its bound; then the first of a shuffle that is not."""
    world, active = s.world[0], s.active[picker]
    total = ((active.sum() + 1) * world.bounded_percent + 99) // 100
    bound = max(1, whole(np.ceil(total * (1.0 / count))))
    if active[own] <= bound:
        return own
    least = own
    for place in overflow_order(key, count):
        other = s.usable[0, place]
        if other == own:
            continue
        if active[other] <= bound:
            return other
        if active[other] < active[least]:
            least = other
    return least
