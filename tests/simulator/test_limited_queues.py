"""Load shedding of simulated replicas, against the theory of queues with limited room."""

import math

import numpy as np
import pytest
from loads import MS, TURNS, fleet, poisson

from simulator.simulation import simulate
from simulator.system import DEADLINE_EXCEEDED, OK, RESOURCE_EXHAUSTED

CALLS = 40_000


def refused_share_in_theory(offered: float, slots: int, room: int) -> float:
    """Return the probability that all slots and places are taken: M/M/c/K; without places Erlang's B."""
    weights = [
        offered**number / (math.factorial(min(number, slots)) * slots ** max(0, number - slots))
        for number in range(slots + room + 1)
    ]
    return float(weights[-1] / sum(weights))


@pytest.mark.parametrize(("slots", "room"), [(2, 0), (2, 3), (5, 1)])
def test_a_bounded_queue_refuses_as_many_as_theory_says(slots: int, room: int) -> None:
    offered = 1.2 * slots
    calls = poisson(CALLS, 1000 * offered / 10, 10)
    found = simulate(fleet(1, TURNS, slots, max_queue=room), calls)
    assert set(found.code) == {OK, RESOURCE_EXHAUSTED}
    share = (found.code == RESOURCE_EXHAUSTED).mean()
    # The states of successive calls are correlated: thrice the error of independent ones, five sigma.
    expected = refused_share_in_theory(offered, slots, room)
    assert abs(share - expected) < 5 * 3 * math.sqrt(expected * (1 - expected) / CALLS)


def test_a_deadline_aware_replica_answers_in_time_what_it_takes_and_is_never_idle() -> None:
    constant = np.full(4000, 10 * MS)
    calls = poisson(4000, 600, 10, work_ns=constant)  # of 400 a second that 4 slots serve
    aware = simulate(fleet(2, TURNS, 2, deadline_aware=True, deadline_ns=80 * MS), calls)
    assert set(aware.code) == {OK, RESOURCE_EXHAUSTED}
    busy = (aware.code == OK).sum() * 10 * MS / (4 * (aware.answered_ns.max() - aware.sent_ns.min()))
    assert busy > 0.97
    # Without it replicas work on what nobody waits for any longer.
    queue = simulate(fleet(2, TURNS, 2, deadline_ns=80 * MS), calls)
    assert set(queue.code) == {OK, DEADLINE_EXCEEDED}
    assert (queue.code == OK).sum() < 0.5 * (aware.code == OK).sum()
