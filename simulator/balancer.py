"""The balancer: which replica a request gets, what becomes of the answer, and retries."""

from simulator.clients import end_attempts, end_call, leave_replica
from simulator.compiled import compiled, whole
from simulator.health import note_answer
from simulator.picking import pick
from simulator.probing import probe
from simulator.randomness import draw, unit
from simulator.replicas import cancel
from simulator.state import (
    ANSWERED,
    AT_REPLICA,
    ATTEMPT_TIMES_OUT,
    CONNECTION,
    DONE,
    ENDED,
    GONE,
    HEDGE,
    NONE,
    PROBING,
    RETRY,
    TO_REPLICA,
    UNDER_WAY,
    State,
)
from simulator.system import (
    CANCELLED,
    DATA_LOSS,
    DEADLINE_EXCEEDED,
    INTERNAL,
    OK,
    UNAVAILABLE,
    UNIMPLEMENTED,
    UNKNOWN,
)
from simulator.timeline import push

_MAX_PICKS = 11  # of one retry, until one is a replica that has not failed the request
_MAX_BACKOFF_FACTOR = 10


@compiled
def connect(s: State, channel: int) -> None:
    """A connection is made: a balancer of connections picks its replica; a client that probes asks all."""
    world = s.world[0]
    if world.balancer == CONNECTION:
        s.channels[channel].replica = pick(s, channel, s.channels[channel].key, 0)
    if world.rule == PROBING:
        for replica in range(len(s.replicas)):
            probe(s, channel * len(s.replicas) + replica)


@compiled
def balance(s: State, number: int) -> None:
    """A call is at the balancer, which sends it to a replica."""
    call, world = s.calls[number], s.world[0]
    if call.state != UNDER_WAY:
        return
    # Envoy picks first and asks the circuit breaker then, so a refused call has taken its turn.
    replica = _replica_of(s, number)
    channel = s.channels[call.channel]
    full = 0 < world.max_active <= s.nodes[channel.node].active
    if replica == NONE or full:
        call.code, call.replica = UNAVAILABLE, NONE
        push(s, world.to_client_ns, ANSWERED, number)
        return
    place = world.attempts
    world.attempts += 1
    attempt = s.attempts[place]
    attempt.call, attempt.replica, attempt.state, attempt.cache = number, replica, TO_REPLICA, NONE
    attempt.counted, attempt.arrived_ns, attempt.before = 1, NONE, call.attempt
    call.attempt = place
    call.tries += 1
    s.active[channel.picker, replica] += 1
    s.nodes[channel.node].active += 1
    push(s, world.to_replica_ns, AT_REPLICA, place)
    if world.attempt_timeout_ns > 0:
        push(s, world.attempt_timeout_ns, ATTEMPT_TIMES_OUT, place)
    if call.tries < world.hedge_tries:
        push(s, world.hedge_ns, HEDGE, place)


@compiled
def _replica_of(s: State, number: int) -> int:
    call, world = s.calls[number], s.world[0]
    if world.balancer == CONNECTION:
        return s.channels[call.channel].replica
    if call.tries > 0:
        if world.hedge_tries > 0:  # turns go on within the call
            return (s.attempts[call.attempt].replica + 1) % len(s.replicas)
        return _another_replica(s, number)
    if world.sticky and call.carried != NONE:
        if s.endpoints[s.channels[call.channel].node, call.carried].usable:
            return call.carried
        if world.strict:
            return NONE
    return pick(s, call.channel, call.key, 0)


@compiled
def _another_replica(s: State, number: int) -> int:
    """Pick for a retry: again, while the replica is one that the request has had. A cookie plays no part."""
    call = s.calls[number]
    replica = NONE
    for again in range(_MAX_PICKS):
        replica = pick(s, call.channel, call.key, again)
        earlier = call.attempt
        while earlier != NONE and s.attempts[earlier].replica != replica:
            earlier = s.attempts[earlier].before
        if earlier == NONE:
            break
    return replica


@compiled
def attempt_times_out(s: State, number: int) -> None:
    """The balancer ends an attempt that has taken too long."""
    attempt = s.attempts[number]
    if attempt.state in (DONE, GONE) or s.calls[attempt.call].attempt != number:
        return
    cancel(s, number, CANCELLED)
    attempt.reset = 1
    _learn(s, number, UNAVAILABLE, NONE)


@compiled
def take_back(s: State, number: int) -> None:
    """A replica's answer is at the balancer, or the news that there will be none."""
    attempt = s.attempts[number]
    _learn(s, number, attempt.code, NONE if attempt.reset else attempt.replica)


@compiled
def _learn(s: State, number: int, code: int, replica: int) -> None:
    """The balancer learns how an attempt has ended: it retries, or passes the answer on."""
    attempt, world = s.attempts[number], s.world[0]
    leave_replica(s, number)
    call = s.calls[attempt.call]
    if world.hedge_tries > 0:
        _learn_hedged(s, number, code, replica)
        return
    if call.state != UNDER_WAY or call.attempt != number:
        return
    seen_as_error = not attempt.told and _is_server_error(code)
    note_answer(s, s.channels[call.channel].node, attempt.replica, seen_as_error)
    call.code, call.replica = code, replica
    retriable = not attempt.told and code != OK and (world.retry_codes >> code) & 1
    if retriable and call.tries < world.max_tries:
        longest = min(world.backoff_ns * 2 ** (call.tries - 1), world.backoff_ns * _MAX_BACKOFF_FACTOR)
        push(s, whole(unit(draw(world)) * longest), RETRY, attempt.call)
    else:
        push(s, world.to_client_ns, ANSWERED, attempt.call)


@compiled
def hedge(s: State, number: int) -> None:
    """An attempt has taken long: the next one goes out, unless it has already."""
    attempt = s.attempts[number]
    if attempt.counted and s.calls[attempt.call].attempt == number:
        balance(s, attempt.call)


@compiled
def _learn_hedged(s: State, number: int, code: int, replica: int) -> None:
    """A client learns how an attempt has ended: the first OK counts, an error brings the next attempt."""
    call_number = s.attempts[number].call
    call = s.calls[call_number]
    if call.state != UNDER_WAY or (call.code == OK and call.replica != NONE):  # or decided already
        return
    if code == OK:
        end_attempts(s, call_number, CANCELLED)
    elif call.tries < s.world[0].hedge_tries:
        balance(s, call_number)
        return
    elif _is_tried(s, call_number):
        return
    call.attempt, call.code, call.replica = number, code, replica
    push(s, s.world[0].to_client_ns, ANSWERED, call_number)


@compiled
def _is_tried(s: State, number: int) -> bool:
    """Return whether an attempt of the call is under way."""
    attempt = s.calls[number].attempt
    while attempt != NONE and not s.attempts[attempt].counted:
        attempt = s.attempts[attempt].before
    return bool(attempt != NONE)


@compiled
def _is_server_error(code: int) -> bool:
    """Whether the code stands for an HTTP status of 500 or more."""
    return code in (UNKNOWN, DEADLINE_EXCEEDED, UNIMPLEMENTED, INTERNAL, UNAVAILABLE, DATA_LOSS)


@compiled
def answer(s: State, number: int) -> None:
    """The answer is at the client, which keeps the cookie that came with it."""
    call = s.calls[number]
    if call.state == ENDED:
        return
    if s.world[0].sticky and call.attempt != NONE:
        picked = s.attempts[call.attempt].replica
        if call.carried != picked:
            s.cookies[call.session] = picked
    end_call(s, number)
