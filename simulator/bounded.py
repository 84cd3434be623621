"""`serve_bounded`: consistent hashing with bounded load for very many requests, without a queue of events.

As in fast.py, requests are served in the order in which they arrive. One heap has the ends of all requests
under way. It says how many the fleet has, and how many each replica has.

Sources: V. Mirrokni, M. Thorup, M. Zadimoghaddam, "Consistent Hashing with Bounded Loads", SODA 2018; Envoy
1.40, thread_aware_lb_impl.cc, whose bound this is (see picking.py).
"""

import math
from typing import Any

import numpy as np

from simulator.compiled import compiled, whole
from simulator.fast import take_slot
from simulator.histogram import count
from simulator.randomness import below, mixed, next_state

BYTES_PER_REQUEST = 12  # of the heap: an end and a replica for each request that may be under way


def serve_bounded(
    at_s: Any, own: Any, key: Any, service_s: Any, percent: int, free_s: Any, requests: Any, latencies: Any
) -> None:
    """Let requests arrive, in order of time, and count what becomes of them.

    at_s, service_s: (requests,) seconds. own: (requests,) the replica that the request's key names; key: its
    hash. percent: bound of a replica's requests in flight, in percent of the mean, 100 or more. free_s:
    (replicas, slots) when each slot is free, zeros at first. requests: (replicas,) and latencies: a
    histogram; both are added to.
    """
    heap = (np.empty(len(at_s)), np.empty(len(at_s), np.int32))
    _serve_bounded(at_s, own, key, service_s, percent, free_s, requests, latencies, *heap)


@compiled
def _serve_bounded(
    at_s: Any,
    own: Any,
    key: Any,
    service_s: Any,
    percent: int,
    free_s: Any,
    requests: Any,
    latencies: Any,
    ends_s: Any,
    replica_of: Any,
) -> None:
    active = np.zeros(len(requests), np.int64)
    size = 0
    for number in range(len(at_s)):
        now_s = at_s[number]
        while size > 0 and ends_s[0] <= now_s:
            active[replica_of[0]] -= 1
            size -= 1
            _replace_first(ends_s, replica_of, size, ends_s[size], replica_of[size])
        replica = _within_bound(active, own[number], key[number], size, percent)
        end_s = take_slot(free_s[replica], now_s, service_s[number])
        _push(ends_s, replica_of, size, end_s, replica)
        size += 1
        active[replica] += 1
        requests[replica] += 1
        count(latencies, end_s - now_s)


@compiled
def _within_bound(active: Any, own: int, key: Any, under_way: int, percent: int) -> int:
    """Return `own` unless it is above its bound; then one that is not, drawn with the key as seed.

    There is always one: the bound is no less than the mean. Envoy takes the first of a shuffle, which is as
    likely to be any of them.
    """
    replicas = len(active)
    total = ((under_way + 1) * percent + 99) // 100
    bound = max(1, whole(math.ceil(total * (1.0 / replicas))))
    other, state = own, key
    while active[other] > bound:
        state = next_state(state)
        other = below(mixed(state), replicas)
    return other


@compiled
def _push(ends_s: Any, replica_of: Any, size: int, end_s: float, replica: int) -> None:
    place = size
    while place > 0 and ends_s[(place - 1) // 2] > end_s:
        parent = (place - 1) // 2
        ends_s[place], replica_of[place] = ends_s[parent], replica_of[parent]
        place = parent
    ends_s[place], replica_of[place] = end_s, replica


@compiled
def _replace_first(ends_s: Any, replica_of: Any, size: int, end_s: float, replica: int) -> None:
    place = 0
    while True:
        child = 2 * place + 1
        if child >= size:
            break
        if child + 1 < size and ends_s[child + 1] < ends_s[child]:
            child += 1
        if end_s <= ends_s[child]:
            break
        ends_s[place], replica_of[place] = ends_s[child], replica_of[child]
        place = child
    ends_s[place], replica_of[place] = end_s, replica
