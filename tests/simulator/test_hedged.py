"""Hedged calls in the simulator, against what follows from shares and times alone."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tests.simulator.kernels  # noqa: F401
from simulator.simulation import simulate
from simulator.system import (
    CANCELLED,
    DEADLINE_EXCEEDED,
    OK,
    UNAVAILABLE,
    Costs,
    Hedging,
    Outcome,
    Policy,
    System,
)
from tests.simulator.loads import MS, fleet, poisson
from tests.unit.thorough import examples

CALLS = 4_000
TURNS = Policy("client", "round_robin")
PAUSE = 0.08  # share of the attempts that take 25 times as long


def pausing(hedging: Hedging | None, **own: object) -> System:
    """Return four replicas with room for all, each of which pauses now and then."""
    system = fleet(4, TURNS, 50, hedging=hedging)
    replicas = tuple(replace(one, slow_factor=25.0, slow_share=PAUSE) for one in system.replicas)
    return replace(system, replicas=replicas, **own)


def latencies(found: Outcome) -> Counter[int]:
    return Counter(((found.answered_ns - found.sent_ns) // MS).tolist())


def near(count: int, share: float) -> bool:
    """Whether a count of CALLS is within four standard errors of a share."""
    return abs(count / CALLS - share) < 4 * np.sqrt(share * (1 - share) / CALLS)


@pytest.mark.parametrize("after_ms", [0, 100])
def test_a_call_is_slow_only_if_both_attempts_are(after_ms: int) -> None:
    calls = poisson(CALLS, 120, 0, work_ns=np.full(CALLS, 20 * MS))
    found = simulate(pausing(Hedging(2, after_ms * MS)), calls)
    took = latencies(found)
    assert set(took) == {20, after_ms + 20, 500}
    assert near(took[500], PAUSE**2)
    if after_ms:
        assert near(took[after_ms + 20], PAUSE * (1 - PAUSE))
        assert near(int((found.tries == 2).sum()), PAUSE)
        assert len(found.attempts.call) == found.tries.sum()
    else:
        assert (found.tries == 2).all()
    assert set(found.code) == {OK}


def test_the_loser_gives_its_slot_back_when_the_first_answer_comes() -> None:
    calls = poisson(CALLS, 120, 0, work_ns=np.full(CALLS, 20 * MS))
    found = simulate(pausing(Hedging(2, 100 * MS)), calls)
    made = found.attempts
    lost = made.code == CANCELLED
    assert near(int(lost.sum()), PAUSE)  # also where both are slow
    assert (made.finished_ns[lost] == found.answered_ns[made.call[lost]]).all()
    assert (made.replica[lost] != found.replica[made.call[lost]]).all()
    assert len(set(zip(made.call.tolist(), made.replica.tolist(), strict=True))) == len(made.call)


def test_turns_go_on_within_a_call_and_each_call_takes_one() -> None:
    calls = poisson(400, 50, 0, clients=1, work_ns=np.full(400, 1 * MS))
    found = simulate(fleet(4, TURNS, 50, hedging=Hedging(3, 0)), calls)
    first = found.attempts.replica[found.attempts.call == 0][0]
    for call in range(400):
        own = found.attempts.replica[found.attempts.call == call]
        assert own.tolist() == [(first + call + turn) % 4 for turn in range(3)]


def test_a_failed_attempt_is_followed_at_once_and_the_last_error_counts() -> None:
    system = fleet(4, TURNS, 50, hedging=Hedging(3, 5_000 * MS))
    bad = [replace(one, fail_share=1.0) for one in system.replicas]
    calls = poisson(400, 100, 0, work_ns=np.full(400, 10 * MS))
    found = simulate(replace(system, replicas=(*bad[:2], *system.replicas[2:])), calls)
    assert set(found.code) == {OK}
    assert set(found.replica) == {2, 3}
    assert set(latencies(found)) == {10}
    assert set(found.tries) == {1, 2, 3}
    nobody = simulate(replace(system, replicas=tuple(bad)), calls)
    assert set(nobody.code) == {UNAVAILABLE}
    assert (nobody.tries == 3).all()


def test_an_error_does_not_end_the_other_attempt() -> None:
    """The second attempt fails at once; the first one has its answer later."""
    system = fleet(2, TURNS, 50, hedging=Hedging(2, 10 * MS))
    replicas = (system.replicas[0], replace(system.replicas[1], fail_share=1.0))
    calls = poisson(200, 20, 0, clients=1, work_ns=np.full(200, 30 * MS))
    found = simulate(replace(system, replicas=replicas), calls)
    assert set(found.code) == {OK}
    assert set(latencies(found)) == {30}


@settings(max_examples=examples(150), deadline=None)
@given(
    attempts=st.integers(2, 4),
    after_ms=st.sampled_from([0, 5, 30]),
    rate=st.sampled_from([50, 400, 2000]),
    fails=st.sampled_from([0.0, 0.3]),
    deadline_ms=st.sampled_from([25, 1000]),
    costs=st.sampled_from([Costs(), Costs(to_replica_ns=MS, back_ns=MS, to_client_ns=MS)]),
)
def test_every_hedged_call_ends_once_and_slots_are_not_exceeded(
    attempts: int, after_ms: int, rate: float, fails: float, deadline_ms: int, costs: Costs
) -> None:
    system = fleet(4, TURNS, 2, hedging=Hedging(attempts, after_ms * MS), deadline_ns=deadline_ms * MS)
    replicas = tuple(replace(one, fail_share=fails) for one in system.replicas)
    found = simulate(replace(system, replicas=replicas, costs=costs), poisson(150, rate, 10, clients=8))
    assert set(found.code) <= {OK, UNAVAILABLE, DEADLINE_EXCEEDED}
    assert (found.answered_ns - found.sent_ns <= deadline_ms * MS).all()
    assert (found.tries <= attempts).all()
    made = found.attempts
    assert (made.finished_ns >= made.started_ns).all()
    assert (made.started_ns >= made.arrived_ns).all()
    for number in range(4):
        mine = (made.replica == number) & (made.service_ns > 0)
        started, finished = made.started_ns[mine], made.finished_ns[mine]
        assert all(((started <= now) & (finished > now)).sum() <= 2 for now in started)
