"""Changes while the load goes on: replicas crash, stop, freeze, turn slow or fail; endpoints come and go."""

from simulator.compiled import compiled
from simulator.health import refresh
from simulator.randomness import draw
from simulator.replicas import CANCELLED_LATE, arrive, cancel, finish
from simulator.state import (
    BACK_AT_BALANCER,
    BEHAVE,
    CHECK,
    CLIENT,
    DONE,
    DOWN,
    DRAIN,
    END,
    GONE,
    JOIN,
    KILL,
    NO_CHECKS,
    NONE,
    NOT_SERVING,
    PAUSE,
    PAUSED,
    REMOVE,
    RESUME,
    SERVING,
    START,
    STOP,
    STOPPING,
    UP,
    State,
)
from simulator.system import DEADLINE_EXCEEDED, UNAVAILABLE
from simulator.timeline import push


@compiled
def change(s: State, place: int) -> None:
    """Carry out one change of s.changes."""
    one = s.changes[place]
    number = one.replica
    replica = s.replicas[number]
    if one.kind == BEHAVE:
        _behave(s, place)
    elif one.kind == KILL:
        _kill(s, number)
    elif one.kind == END:
        if replica.state == STOPPING:  # and has not been started again
            _kill(s, number)
    elif one.kind == STOP:
        replica.state = STOPPING
    elif one.kind == START:
        replica.state, replica.serving = UP, 1
    elif one.kind == PAUSE:
        replica.state = PAUSED
    elif one.kind == RESUME:
        _resume(s, number)
    elif one.kind == NOT_SERVING:
        replica.serving = 0
    elif one.kind == SERVING:
        replica.serving = 1
    else:
        _change_endpoint(s, number, one.kind)


@compiled
def _behave(s: State, place: int) -> None:
    one = s.changes[place]
    replica = s.replicas[one.replica]
    replica.slow_factor, replica.slow_share = one.slow_factor, one.slow_share
    replica.fail_share, replica.fail_code = one.fail_share, one.fail_code
    replica.fail_after_work, replica.fail_after_headers = one.fail_after_work, one.fail_after_headers


@compiled
def _change_endpoint(s: State, number: int, kind: int) -> None:
    world, replica = s.world[0], s.replicas[number]
    if kind == DRAIN:
        replica.draining = 1
    elif kind == REMOVE:
        replica.listed = 0
    elif kind == JOIN:
        was_listed = replica.listed
        replica.listed, replica.draining = 1, 0
        if not was_listed:
            # A new endpoint is healthy with the first check that it passes, and is checked at once.
            for node in range(len(s.nodes)):
                endpoint = s.endpoints[node, number]
                endpoint.healthy = world.checks == NO_CHECKS
                endpoint.passes, endpoint.fails = world.healthy_after - 1, 0
                if world.checks != NO_CHECKS and endpoint.known:
                    push(s, 0, CHECK, node * len(s.replicas) + number)
    if world.balancer == CLIENT:
        # With each list of endpoints gRPC begins its turns anew, at a replica drawn at random.
        for channel in range(len(s.channels)):
            s.channels[channel].turn = draw(world)
    refresh(s)


@compiled
def _kill(s: State, number: int) -> None:
    """The process ends. Its connections break, and the balancer knows at once. No ledger has these calls."""
    world, replica = s.world[0], s.replicas[number]
    replica.state = DOWN
    if world.has_cache:
        s.used[number, :] = 0  # a new process knows nobody
    replica.held, replica.in_flight = 0, 0
    replica.first, replica.last = NONE, NONE
    for place in range(world.attempts):
        attempt = s.attempts[place]
        if attempt.replica == number and attempt.state not in (DONE, GONE):
            attempt.state, attempt.code, attempt.reset = GONE, UNAVAILABLE, 1
            attempt.arrived_ns = NONE
            push(s, world.back_ns, BACK_AT_BALANCER, place)


@compiled
def _resume(s: State, number: int) -> None:
    """The process goes on: with what came meanwhile, and with work whose time is over."""
    s.replicas[number].state = UP
    for place in range(s.world[0].attempts):
        attempt = s.attempts[place]
        if attempt.replica == number:
            late, attempt.late = attempt.late, 0
            if late == CANCELLED_LATE:
                cancel(s, place, DEADLINE_EXCEEDED)
            elif late:
                finish(s, place)
            if attempt.held:
                attempt.held = 0
                arrive(s, place)
