"""Clients that probe: what replicas answer, and how each client keeps and uses the answers.

The rules are those of lb.probing and services.latency_estimate, after B. Wydrowski et al., "Load is not what
you should balance: Introducing Prequal", NSDI 2024. A test holds them against these modules.
"""

from typing import Any

import numpy as np

from simulator.compiled import compiled, whole
from simulator.randomness import below, deal, draw, unit
from simulator.state import NONE, PROBE, RECENT_ATTEMPTS, UP, State
from simulator.timeline import push

LEAST_PROBES = 2  # with fewer kept, the replica is drawn at random
_NEAREST = 8  # answered requests that met about as many others: their median latency is what is expected


@compiled
def learn(s: State, number: int) -> None:
    """A replica learns from an attempt that it has answered with OK."""
    attempt = s.attempts[number]
    replica = s.replicas[attempt.replica]
    place = replica.learnt % RECENT_ATTEMPTS
    replica.learnt_in_flight[place] = attempt.in_flight
    replica.learnt_ns[place] = attempt.finished_ns - attempt.arrived_ns
    replica.learnt += 1


@compiled
def expected_latency_ns(s: State, number: int, in_flight: int) -> int:
    """Return what a request takes that comes to a replica as one of `in_flight`; 0: unknown."""
    replica = s.replicas[number]
    distances, latencies_ns = np.empty(_NEAREST, np.int64), np.empty(_NEAREST, np.int64)
    found = 0
    for age in range(1, min(replica.learnt, RECENT_ATTEMPTS) + 1):  # of equally near ones the newest counts
        one = (replica.learnt - age) % RECENT_ATTEMPTS
        distance, place = abs(replica.learnt_in_flight[one] - in_flight), min(found, _NEAREST - 1)
        if found == _NEAREST and distance >= distances[place]:
            continue
        found = min(found + 1, _NEAREST)
        while place > 0 and distances[place - 1] > distance:
            distances[place], latencies_ns[place] = distances[place - 1], latencies_ns[place - 1]
            place -= 1
        distances[place], latencies_ns[place] = distance, replica.learnt_ns[one]
    return 0 if found == 0 else _ranked(latencies_ns, found, (found - 1) // 2)


@compiled
def _ranked(values: Any, count: int, rank: int) -> int:
    """Return the one of the first `count` values that has `rank` others before it in order."""
    low, high = values[:count].min(), values[:count].max()
    while low < high:
        middle, within = (low + high) // 2, 0
        for place in range(count):
            within += values[place] <= middle
        if within > rank:
            high = middle
        else:
            low = middle + 1
    return low


@compiled
def probe(s: State, number: int) -> None:
    """A client has the answer to a probe. number: client x replicas + replica."""
    client, asked = number // len(s.replicas), number % len(s.replicas)
    replica = s.replicas[asked]
    if replica.state == UP:  # others do not answer in time
        in_flight = replica.in_flight
        keep(s, client, asked, in_flight, expected_latency_ns(s, asked, in_flight + 1))


@compiled
def keep(s: State, client: int, asked: int, in_flight: int, latency_ns: int) -> None:
    """Keep an answer instead of an older one of the same replica; if all places are taken, of the oldest."""
    world, pool, kept, heard = s.world[0], s.channels[client], s.kept[client], s.heard[client]
    heard[pool.heard % len(heard)] = in_flight
    pool.heard += 1
    replaced = 0 if pool.kept == len(kept) else NONE
    for place in range(pool.kept):
        if kept[place].replica == asked:
            replaced = place
    if replaced != NONE:
        _forget(s, client, replaced)
    one = kept[pool.kept]
    pool.kept += 1
    one.replica, one.in_flight, one.latency_ns, one.at_ns = asked, in_flight, latency_ns, world.now_ns
    one.left = whole(world.probe_uses + unit(draw(world)))


@compiled
def _forget(s: State, client: int, place: int) -> None:
    pool, kept = s.channels[client], s.kept[client]
    pool.kept -= 1
    for behind in range(place, pool.kept):
        one, following = kept[behind], kept[behind + 1]
        one.replica, one.in_flight, one.left = following.replica, following.in_flight, following.left
        one.latency_ns, one.at_ns = following.latency_ns, following.at_ns


@compiled
def pick_by_probes(s: State, client: int, usable: Any, count: int) -> int:
    """Return the best replica that the client knows of, or one at random; send probes for later requests."""
    world, pool = s.world[0], s.channels[client]
    chosen = take(s, client)
    pool.removals_due += world.removed_per_request
    while pool.removals_due >= 1:
        pool.removals_due -= 1
        remove_one(s, client)
    pool.probes_due += world.probes_per_request
    probes = whole(pool.probes_due)
    pool.probes_due -= probes
    for place in range(min(probes, count)):
        push(s, world.probe_ns, PROBE, client * len(s.replicas) + deal(world, usable, count, place))
    return usable[below(draw(world), count)] if chosen == NONE else chosen


@compiled
def take(s: State, client: int) -> int:
    """Return the best replica by the hot-cold rule, and use its answer once; NONE: too few answers."""
    world, pool, kept = s.world[0], s.channels[client], s.kept[client]
    while pool.kept > 0 and world.now_ns - kept[0].at_ns > world.probe_age_ns:
        _forget(s, client, 0)
    if pool.kept < min(LEAST_PROBES, len(kept)):
        return NONE
    place = _first(s, client, 1)
    best = kept[place]
    chosen = best.replica
    best.in_flight += 1
    best.left -= 1
    if best.left <= 0:
        _forget(s, client, place)
    return chosen


@compiled
def remove_one(s: State, client: int) -> None:
    """Remove the oldest answer, or the worst, in turn."""
    pool = s.channels[client]
    if pool.kept > 0:
        pool.removes_oldest = 1 - pool.removes_oldest
        _forget(s, client, 0 if pool.removes_oldest else _first(s, client, -1))


@compiled
def _first(s: State, client: int, sign: int) -> int:
    """Return the place of the best answer, or, with sign -1, of the worst. Cold replicas are before hot ones.

    A replica is hot if it has more in flight than the quantile of recent answers. Of cold ones that with the
    lowest latency is the best, of hot ones that with the fewest in flight.
    """
    pool, kept, heard = s.channels[client], s.kept[client], s.heard[client]
    count = min(pool.heard, len(heard))
    limit = _ranked(heard, count, min(count - 1, whole(s.world[0].hot_quantile * count)))
    chosen = 0
    for place in range(1, pool.kept):
        one, other = kept[place], kept[chosen]
        hot, other_hot = one.in_flight > limit, other.in_flight > limit
        if hot != other_hot:
            before = -1 if other_hot else 1
        elif hot:
            before = one.in_flight - other.in_flight
        else:
            before = one.latency_ns - other.latency_ns
        if sign * before < 0:
            chosen = place
    return chosen
