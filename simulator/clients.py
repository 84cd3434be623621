"""Clients: when a call is sent, what it waits for before that, its deadline and its end."""

from simulator.compiled import compiled
from simulator.replicas import cancel
from simulator.state import (
    AT_BALANCER,
    EACH_ANSWER,
    ENDED,
    FIRST_ANSWER,
    NONE,
    NOTHING,
    UNDER_WAY,
    WAITS_FOR_ANSWER,
    WAITS_FOR_STREAM,
    State,
)
from simulator.system import DEADLINE_EXCEEDED
from simulator.timeline import join_line, leave_line, push


@compiled
def plan_is_due(s: State, number: int) -> None:
    """The planned time of a call has come: it is sent, unless it must wait for another call's answer."""
    call, world = s.calls[number], s.world[0]
    world.open_calls += 1
    if world.waits != NOTHING:
        gate = s.gates[_gate_of(s, number)]
        if gate.closed:
            call.state = WAITS_FOR_ANSWER
            join_line(gate, s.calls, number)
            return
        if world.waits == EACH_ANSWER or not gate.opened:
            gate.closed = 1
    _send(s, number)


@compiled
def _gate_of(s: State, number: int) -> int:
    call = s.calls[number]
    return call.session if s.world[0].waits == FIRST_ANSWER else call.client


@compiled
def _send(s: State, number: int) -> None:
    """The client hands the call to gRPC: its deadline runs, also while it waits for a stream."""
    call, world = s.calls[number], s.world[0]
    call.sent_ns = world.now_ns
    call.carried = s.cookies[call.session]
    s.calls[world.sent].nth_sent = number
    world.sent += 1
    channel = s.channels[call.channel]
    if world.stream_limit > 0 and channel.open >= world.stream_limit:
        call.state = WAITS_FOR_STREAM
        join_line(channel, s.calls, number)
    else:
        _open_stream(s, number)


@compiled
def _open_stream(s: State, number: int) -> None:
    call, world = s.calls[number], s.world[0]
    call.state = UNDER_WAY
    s.channels[call.channel].open += 1
    push(s, world.to_balancer_ns, AT_BALANCER, number)


@compiled
def deadline_passes(s: State, number: int) -> None:
    """The deadline of a call has come. Client, proxy and replica know it, and all give the call up."""
    call = s.calls[number]
    if call.state == ENDED:
        return
    end_attempts(s, number, DEADLINE_EXCEEDED)
    call.code = DEADLINE_EXCEEDED
    call.replica = NONE
    end_call(s, number)


@compiled
def end_attempts(s: State, number: int, code: int) -> None:
    """Give up all attempts of a call that are under way. code: for the ledgers of their replicas."""
    attempt = s.calls[number].attempt
    while attempt != NONE:
        if s.attempts[attempt].counted:
            leave_replica(s, attempt)
            cancel(s, attempt, code)
        attempt = s.attempts[attempt].before


@compiled
def leave_replica(s: State, number: int) -> None:
    """An attempt is no longer under way, as far as its balancer knows."""
    attempt = s.attempts[number]
    if attempt.counted:
        attempt.counted = 0
        channel = s.channels[s.calls[attempt.call].channel]
        s.active[channel.picker, attempt.replica] -= 1
        s.nodes[channel.node].active -= 1


@compiled
def end_call(s: State, number: int) -> None:
    """The call has ended, with its code and replica set: let go what waits for it."""
    call, world = s.calls[number], s.world[0]
    had_stream = call.state == UNDER_WAY
    call.state = ENDED
    call.answered_ns = world.now_ns
    world.open_calls -= 1
    if had_stream:
        _pass_stream_on(s, call.channel)
    if world.waits != NOTHING:
        _open_gate(s, number)


@compiled
def _pass_stream_on(s: State, channel_number: int) -> None:
    channel = s.channels[channel_number]
    channel.open -= 1
    while channel.first != NONE and channel.open < s.world[0].stream_limit:
        following = leave_line(channel, s.calls)
        if s.calls[following].state == WAITS_FOR_STREAM:  # its deadline may have passed in line
            _open_stream(s, following)


@compiled
def _open_gate(s: State, number: int) -> None:
    """Send the calls that waited for this one's end: one of them, or all."""
    world = s.world[0]
    gate = s.gates[_gate_of(s, number)]
    if world.waits == FIRST_ANSWER and gate.opened:
        return
    gate.closed = 0
    gate.opened = 1
    while gate.first != NONE and not gate.closed:
        following = leave_line(gate, s.calls)
        if world.waits == EACH_ANSWER:
            if world.measuring and world.now_ns > world.start_ns + world.give_up_ns:
                s.calls[following].state = ENDED  # never sent
                world.open_calls -= 1
                continue
            gate.closed = 1
        _send(s, following)
