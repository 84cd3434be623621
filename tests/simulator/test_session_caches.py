"""Session caches of simulated replicas: hits are those that a real replica's cache would have."""

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

import tests.simulator.kernels  # noqa: F401
from services.session_cache import SessionCache
from simulator.simulation import simulate
from simulator.system import DEADLINE_EXCEEDED, OK, Attempts, Cache, Calls, Change, Policy
from tests.simulator.loads import MS, TURNS, fleet, poisson
from tests.unit.thorough import examples

FIND, KEEP = 1, 0


def of_one_session(*planned_ms: float) -> Calls:
    """Return calls of one session at these times, 10 ms each."""
    nobody = np.zeros(len(planned_ms), np.int64)
    return poisson(
        len(planned_ms),
        1,
        1,
        clients=1,
        client=nobody,
        session=nobody,
        channel=nobody,
        planned_ns=np.array([round(ms * MS) for ms in planned_ms]),
        work_ns=nobody + 10 * MS,
    )


def of_real_caches(made: Attempts, sessions: Any, size: int) -> dict[int, int]:
    """Return attempt -> 1 for a hit, 0 for a miss, by services.session_cache at the same starts and ends.

    sessions: call -> its session.
    """
    caches: dict[int, SessionCache] = {}
    got_slot = np.flatnonzero(made.cache >= 0)
    events = [(int(made.started_ns[one]), FIND, int(one)) for one in got_slot]
    events += [(int(made.finished_ns[one]), KEEP, int(one)) for one in got_slot if made.code[one] == OK]
    found = {}
    for _, what, one in sorted(events):
        cache = caches.setdefault(int(made.replica[one]), SessionCache(size))
        session = str(sessions[made.call[one]])
        if what == FIND:
            found[one] = int(cache.find(session))
        else:
            cache.keep(session)
    return found


@settings(max_examples=examples(200), deadline=None)
@given(
    size=st.integers(1, 6),
    slots=st.integers(1, 3),
    sticky=st.booleans(),
    clients=st.integers(1, 12),
    deadline_ms=st.sampled_from([15, 60, 10_000]),
    seed=st.integers(0, 1000),
)
def test_hits_are_those_of_the_real_cache(
    size: int, slots: int, sticky: bool, clients: int, deadline_ms: int, seed: int
) -> None:
    policy = Policy("proxy", "round_robin", sticky=sticky)
    system = fleet(2, policy, slots, cache=Cache(size, 0.1), deadline_ns=deadline_ms * MS, seed=seed)
    calls = poisson(150, 300, mean_ms=20, clients=clients, seed=seed)
    made = simulate(system, calls).attempts
    expected = of_real_caches(made, calls.session, size)
    assert {one: int(made.cache[one]) for one in expected} == expected
    without_slot = made.cache == -1
    assert (made.service_ns[without_slot] == 0).all()
    assert (made.code[without_slot] == DEADLINE_EXCEEDED).all()


def test_calls_that_begin_before_the_first_one_has_ended_miss_too() -> None:
    found = simulate(fleet(1, TURNS, slots=2, cache=Cache(9, 0.1)), of_one_session(0, 5, 9, 12))
    assert list(found.cache) == [0, 0, 1, 1]


def test_a_call_that_is_given_up_leaves_nothing_in_the_cache() -> None:
    system = fleet(1, TURNS, cache=Cache(9, 0.1), deadline_ns=8 * MS)
    found = simulate(system, of_one_session(0, 20, 40))
    assert list(found.code) == [DEADLINE_EXCEEDED] * 3
    assert list(found.attempts.cache) == [0, 0, 0]


def test_a_replica_that_was_killed_starts_again_with_an_empty_cache() -> None:
    changes = (Change(40 * MS, "kill", 0), Change(50 * MS, "start", 0))
    found = simulate(fleet(1, TURNS, cache=Cache(9, 0.1), changes=changes), of_one_session(0, 20, 60, 80))
    assert list(found.cache) == [0, 1, 0, 1]
