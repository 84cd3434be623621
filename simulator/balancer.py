"""The balancer: which replica a request gets, and what becomes of the answer."""

from simulator.clients import end_call, leave_replica
from simulator.compiled import compiled
from simulator.picking import pick
from simulator.state import (
    ANSWERED,
    AT_REPLICA,
    CONNECTION,
    ENDED,
    NONE,
    TO_REPLICA,
    UNDER_WAY,
    State,
)
from simulator.system import UNAVAILABLE
from simulator.timeline import push


@compiled
def connect(s: State, channel: int) -> None:
    """A connection is made: a balancer of connections picks its replica; a client's turns begin anywhere."""
    world = s.world[0]
    if world.balancer == CONNECTION:
        s.channels[channel].replica = pick(s, channel, s.channels[channel].key)


@compiled
def balance(s: State, number: int) -> None:
    """A call is at the balancer, which sends it to a replica."""
    call, world = s.calls[number], s.world[0]
    if call.state != UNDER_WAY:
        return
    replica = _replica_of(s, number)
    if replica == NONE:
        call.code = UNAVAILABLE
        push(s, world.to_client_ns, ANSWERED, number)
        return
    place = world.attempts
    world.attempts += 1
    attempt = s.attempts[place]
    attempt.call, attempt.replica, attempt.state, attempt.cache = number, replica, TO_REPLICA, NONE
    attempt.counted, attempt.arrived_ns = 1, NONE
    call.attempt = place
    s.replicas[replica].active += 1
    world.active += 1
    push(s, world.to_replica_ns, AT_REPLICA, place)


@compiled
def _replica_of(s: State, number: int) -> int:
    call, world = s.calls[number], s.world[0]
    if world.balancer == CONNECTION:
        return s.channels[call.channel].replica
    if world.sticky and call.carried != NONE:
        if s.replicas[call.carried].usable:
            return call.carried
        if world.strict:
            return NONE
    return pick(s, call.channel, call.key)


@compiled
def take_back(s: State, number: int) -> None:
    """A replica's answer is at the balancer."""
    attempt, world = s.attempts[number], s.world[0]
    leave_replica(s, number)
    call = s.calls[attempt.call]
    if call.state != UNDER_WAY or call.attempt != number:
        return
    call.code = attempt.code
    call.replica = attempt.replica
    push(s, world.to_client_ns, ANSWERED, attempt.call)


@compiled
def answer(s: State, number: int) -> None:
    """The answer is at the client, which keeps the cookie that came with it."""
    call = s.calls[number]
    if call.state == ENDED:
        return
    if s.world[0].sticky and call.replica != NONE and call.carried != call.replica:
        s.cookies[call.session] = call.replica
    end_call(s, number)
