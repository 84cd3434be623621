"""The kernel: goes from one thing that happens to the next until all calls have ended."""

from simulator.balancer import answer, attempt_times_out, balance, connect, hedge, take_back
from simulator.changes import change
from simulator.clients import deadline_passes, plan_is_due
from simulator.compiled import compiled, whole
from simulator.health import check, check_times_out, look_at_ejections, refresh
from simulator.probing import probe
from simulator.randomness import draw, unit
from simulator.replicas import arrive, finish
from simulator.state import (
    ANSWERED,
    AT_BALANCER,
    AT_REPLICA,
    ATTEMPT_TIMES_OUT,
    BACK_AT_BALANCER,
    CHANGE,
    CHECK,
    CHECK_TIMES_OUT,
    ENDED,
    FINISHED,
    HEDGE,
    LOOK_AT_EJECTIONS,
    NO_CHECKS,
    PROBE,
    RETRY,
    State,
)
from simulator.timeline import pop, push

_NEVER = whole(2**62)


@compiled
def run(s: State) -> None:
    """Carry out all calls of s.calls, which are in order of phase and planned time."""
    world, count = s.world[0], len(s.calls)
    _start(s)
    while world.planned < count or world.open_calls > 0:
        if world.open_calls == 0 and not world.measuring and s.calls[world.planned].measured:
            _start_measuring(s)
        planned_ns, deadline_ns = _next_planned_ns(s), _next_deadline_ns(s)
        happens_ns = s.heap[0].at_ns if world.pending > 0 else _NEVER
        if happens_ns <= min(planned_ns, deadline_ns):
            kind, record = pop(s)
            _happen(s, kind, record)
        elif planned_ns <= deadline_ns:
            world.now_ns = planned_ns
            world.planned += 1
            plan_is_due(s, world.planned - 1)
        else:
            world.now_ns = deadline_ns
            deadline_passes(s, s.calls[world.expired].nth_sent)


@compiled
def _start(s: State) -> None:
    """Let clients connect, and the proxy begin its checks: each node those of all replicas together."""
    world = s.world[0]
    refresh(s)
    for channel in range(len(s.channels)):
        connect(s, channel)
    if world.checks != NO_CHECKS:
        for node in range(len(s.nodes)):
            first_ns = whole(unit(draw(world)) * world.check_ns)
            for number in range(len(s.replicas)):
                if s.replicas[number].listed and s.endpoints[node, number].known:
                    push(s, first_ns, CHECK, node * len(s.replicas) + number)
    if world.eject_after > 0:
        push(s, world.eject_look_ns, LOOK_AT_EJECTIONS, 0)


@compiled
def _start_measuring(s: State) -> None:
    world = s.world[0]
    world.measuring = 1
    world.start_ns = max(world.now_ns, world.warm_up_ns)
    for place in range(len(s.changes)):
        push(s, world.start_ns - world.now_ns + s.changes[place].at_ns, CHANGE, place)


@compiled
def _next_planned_ns(s: State) -> int:
    """Return when the next planned call is due; never, while its phase has not begun."""
    world = s.world[0]
    if world.planned == len(s.calls):
        return _NEVER
    call = s.calls[world.planned]
    if call.measured and not world.measuring:
        return _NEVER
    return world.start_ns + call.planned_ns


@compiled
def _next_deadline_ns(s: State) -> int:
    """Return the next deadline. All calls have the same time, so deadlines come in the order of sending."""
    world = s.world[0]
    while world.expired < world.sent and s.calls[s.calls[world.expired].nth_sent].state == ENDED:
        world.expired += 1
    if world.expired == world.sent:
        return _NEVER
    return s.calls[s.calls[world.expired].nth_sent].sent_ns + world.deadline_ns


@compiled
def _happen(s: State, kind: int, record: int) -> None:
    if kind == AT_BALANCER:
        balance(s, record)
    elif kind == AT_REPLICA:
        arrive(s, record)
    elif kind == FINISHED:
        finish(s, record)
    elif kind == BACK_AT_BALANCER:
        take_back(s, record)
    elif kind == ANSWERED:
        answer(s, record)
    elif kind == RETRY:
        balance(s, record)
    elif kind == ATTEMPT_TIMES_OUT:
        attempt_times_out(s, record)
    elif kind == HEDGE:
        hedge(s, record)
    elif kind == PROBE:
        probe(s, record)
    elif kind == CHANGE:
        change(s, record)
    elif kind == CHECK:
        check(s, record)
    elif kind == CHECK_TIMES_OUT:
        check_times_out(s, record)
    else:
        assert kind == LOOK_AT_EJECTIONS
        look_at_ejections(s)
