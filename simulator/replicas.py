"""Replicas: slots with a queue (first come, first served), service times, failures, session caches."""

import numpy as np

from simulator.compiled import compiled, whole
from simulator.probing import learn
from simulator.randomness import mixed, unit
from simulator.state import (
    BACK_AT_BALANCER,
    DONE,
    FINISHED,
    GONE,
    NONE,
    PAUSED,
    PROBING,
    QUEUED,
    RUNNING,
    TO_REPLICA,
    UP,
    State,
)
from simulator.system import OK, RESOURCE_EXHAUSTED, UNAVAILABLE
from simulator.timeline import join_line, leave_line, push

_FAILS, _IS_SLOW = 1, 2  # what is drawn for an attempt
CANCELLED_LATE = 2  # it was given up while its replica was frozen, and learns that later
_GAIN = 1 / 8  # weight of the latest service time: services/load_shedding.py


@compiled
def arrive(s: State, number: int) -> None:
    """An attempt reaches its replica: it fails at once, or takes a slot, or waits for one."""
    attempt, world = s.attempts[number], s.world[0]
    if attempt.state != TO_REPLICA:
        return
    replica = s.replicas[attempt.replica]
    if replica.state == PAUSED:  # the kernel has taken the request
        attempt.held = 1
        return
    if replica.state != UP:
        refuse(s, number)
        return
    replica.in_flight += 1
    attempt.arrived_ns = world.now_ns
    attempt.in_flight = replica.in_flight
    if replica.fail_share > 0 and _draw(s, number, _FAILS) < replica.fail_share:
        attempt.fails = replica.fail_code
        attempt.told = replica.fail_after_headers
        if not replica.fail_after_work:
            attempt.started_ns = world.now_ns
            _end(s, number, attempt.fails)
            return
    if _is_refused(s, number):
        attempt.started_ns = world.now_ns
        _end(s, number, RESOURCE_EXHAUSTED)
        return
    if replica.held < replica.slots:
        _start(s, number)
    else:
        attempt.state = QUEUED
        join_line(replica, s.attempts, number)


@compiled
def _is_refused(s: State, number: int) -> bool:
    """Return whether load shedding refuses an attempt that has just arrived: see services.load_shedding."""
    attempt, world = s.attempts[number], s.world[0]
    replica = s.replicas[attempt.replica]
    is_full = replica.held >= replica.slots
    waiting = replica.in_flight - 1 - replica.held
    if is_full and 0 <= world.max_queue <= waiting:
        return True
    if not world.deadline_aware or replica.mean_ns <= 0:
        return False
    turns = waiting + 1 if is_full else 0
    left_ns = s.calls[attempt.call].sent_ns + world.deadline_ns - world.now_ns
    needed_ns: float = replica.mean_ns * (turns / replica.slots + 1)
    return needed_ns > left_ns


@compiled
def refuse(s: State, number: int) -> None:
    """Nobody listens: the balancer learns that at once."""
    attempt = s.attempts[number]
    attempt.state, attempt.code, attempt.reset = GONE, UNAVAILABLE, 1
    push(s, s.world[0].back_ns, BACK_AT_BALANCER, number)


@compiled
def finish(s: State, number: int) -> None:
    """The service time of an attempt is over."""
    attempt = s.attempts[number]
    if attempt.state != RUNNING:
        return
    if s.replicas[attempt.replica].state == PAUSED:
        attempt.late = max(attempt.late, 1)
        return
    attempt.service_ns = s.world[0].now_ns - attempt.started_ns
    replica = s.replicas[attempt.replica]
    gain = _GAIN if replica.mean_ns > 0 else 1.0
    replica.mean_ns += gain * (attempt.service_ns - replica.mean_ns)
    if s.world[0].has_cache:
        _keep(s, attempt.replica, s.calls[attempt.call].session)
    _end(s, number, attempt.fails)  # OK, mostly
    _release(s, attempt.replica)


@compiled
def cancel(s: State, number: int, code: int) -> None:
    """The caller has given an attempt up: it leaves queue or slot. code: for the replica's ledger."""
    attempt, world = s.attempts[number], s.world[0]
    before = attempt.state
    if before in (DONE, GONE):
        return
    if before == RUNNING and s.replicas[attempt.replica].state == PAUSED:
        attempt.late = CANCELLED_LATE
        return
    attempt.state = GONE
    attempt.code = code
    if before == TO_REPLICA:
        return
    attempt.finished_ns = world.now_ns
    s.replicas[attempt.replica].in_flight -= 1
    if before == QUEUED:  # it stays in line, and is passed over
        attempt.started_ns = world.now_ns
        attempt.queue_ns = world.now_ns - attempt.arrived_ns
    else:
        attempt.service_ns = world.now_ns - attempt.started_ns
        _release(s, attempt.replica)


@compiled
def _start(s: State, number: int) -> None:
    attempt, world = s.attempts[number], s.world[0]
    replica = s.replicas[attempt.replica]
    replica.held += 1
    attempt.state = RUNNING
    attempt.started_ns = world.now_ns
    attempt.queue_ns = world.now_ns - attempt.arrived_ns
    if world.has_cache:
        attempt.cache = _find(s, attempt.replica, s.calls[attempt.call].session)
    push(s, _service_ns(s, number), FINISHED, number)


@compiled
def _release(s: State, replica_number: int) -> None:
    """Give a slot to the first attempt in line that was not given up."""
    replica = s.replicas[replica_number]
    replica.held -= 1
    while replica.held < replica.slots:
        following = leave_line(replica, s.attempts)
        if following == NONE:
            return
        if s.attempts[following].state == QUEUED:
            _start(s, following)


@compiled
def _end(s: State, number: int, code: int) -> None:
    """The replica answers."""
    attempt, world = s.attempts[number], s.world[0]
    attempt.state = DONE
    attempt.code = code
    attempt.finished_ns = world.now_ns
    s.replicas[attempt.replica].in_flight -= 1
    if code == OK and world.rule == PROBING:
        learn(s, number)
    push(s, world.back_ns, BACK_AT_BALANCER, number)


@compiled
def _service_ns(s: State, number: int) -> int:
    attempt = s.attempts[number]
    replica = s.replicas[attempt.replica]
    factor = 1.0
    if replica.slow_share >= 1 or _draw(s, number, _IS_SLOW) < replica.slow_share:
        factor = replica.slow_factor
    if attempt.cache == 1:
        factor *= s.world[0].hit_factor
    return whole(np.round(s.calls[attempt.call].work_ns * factor))


@compiled
def _draw(s: State, number: int, what: int) -> float:
    """Return a number in [0, 1) that belongs to the call, the replica and the number of the attempt."""
    attempt = s.attempts[number]
    bits = mixed(s.world[0].seed + np.uint64(what))
    bits = mixed(bits ^ np.uint64(attempt.call))
    bits = mixed(bits ^ np.uint64(attempt.replica))
    return unit(mixed(bits ^ np.uint64(number)))


@compiled
def _find(s: State, replica: int, session: int) -> int:
    """Return whether the session is in the replica's cache (1, else 0). Then it becomes the latest one."""
    if s.used[replica, session] == 0:
        return 0
    s.world[0].order += 1
    s.used[replica, session] = s.world[0].order
    return 1


@compiled
def _keep(s: State, replica: int, session: int) -> None:
    """Put the session into the replica's cache, as the latest one; a full cache loses its oldest one."""
    world, used = s.world[0], s.used[replica]
    is_new = used[session] == 0
    world.order += 1
    used[session] = world.order
    if not is_new:
        return
    kept, oldest = 0, session
    for other in range(s.used.shape[1]):
        if used[other] > 0:
            kept += 1
            if used[other] < used[oldest]:
                oldest = other
    if kept > world.cache_sessions:
        used[oldest] = 0
