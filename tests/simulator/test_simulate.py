"""What holds for every simulation, and small ones whose outcome is worked out by hand."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tests.simulator.kernels  # noqa: F401
from simulator.simulation import RULES, simulate
from simulator.system import (
    DEADLINE_EXCEEDED,
    OK,
    UNAVAILABLE,
    Balancer,
    Cache,
    Calls,
    Costs,
    Policy,
    Probes,
    Replica,
    System,
)
from tests.simulator.loads import MS, fleet, poisson
from tests.unit.thorough import examples

COSTS = Costs(to_balancer_ns=300_000, to_replica_ns=200_000, back_ns=100_000, to_client_ns=400_000)


@st.composite
def simulations(draw: Any) -> tuple[System, Calls]:
    balancer: Balancer = draw(st.sampled_from(["proxy", "client", "connection"]))
    rules = {"proxy": sorted(set(RULES) - {"probing"}), "client": ["round_robin", "least_request", "probing"]}
    rule = draw(st.sampled_from(rules.get(balancer, ["round_robin"])))
    policy = Policy(
        balancer,
        rule,
        sticky=draw(st.booleans()) and balancer == "proxy",
        bounded_load_percent=draw(st.sampled_from([None, 100, 125])),
        table_size=251,
        probes=Probes(2, 0.3, 3, 100 * MS, 0.84, 1.5) if rule == "probing" else None,
    )
    slots = draw(st.lists(st.integers(1, 3), min_size=1, max_size=5))
    replicas = tuple(
        Replica(f"10.0.0.{number}:80", count, slow_factor=draw(st.sampled_from([1.0, 4.0])), fail_share=share)
        for number, count in enumerate(slots)
        if (share := draw(st.sampled_from([0.0, 0.0, 0.3]))) is not None
    )
    system = System(
        replicas,
        policy,
        costs=draw(st.sampled_from([Costs(), COSTS])),
        cache=draw(st.sampled_from([None, Cache(3, 0.1)])),
        workers=draw(st.integers(1, 3)),
        stream_limit=draw(st.sampled_from([0, 1, 4])),
        deadline_ns=draw(st.sampled_from([20, 10_000])) * MS,
        seed=draw(st.integers(0, 1000)),
    )
    calls = poisson(
        draw(st.integers(1, 120)),
        draw(st.sampled_from([50, 300, 2000])),
        mean_ms=10,
        clients=draw(st.integers(1, 12)),
        seed=draw(st.integers(0, 1000)),
        waits=draw(st.sampled_from(["none", "first", "each"])),
    )
    return system, calls


@settings(max_examples=examples(200), deadline=None)
@given(simulation=simulations())
def test_every_call_ends_once_and_its_moments_are_in_order(simulation: tuple[System, Calls]) -> None:
    system, calls = simulation
    found = simulate(system, calls)
    assert (found.sent_ns >= found.planned_ns).all()
    assert (found.answered_ns >= found.sent_ns).all()
    assert (found.answered_ns - found.sent_ns <= system.deadline_ns).all()
    ok = found.code == OK
    assert set(found.code[~ok]) <= {UNAVAILABLE, DEADLINE_EXCEEDED}
    made = found.attempts
    # One attempt for each call at most; the answered ones have exactly one, where the client says.
    assert len(set(made.call)) == len(made.call)
    answered = {int(call): int(replica) for call, replica in zip(made.call, made.replica, strict=True)}
    assert all(answered[call] == found.replica[call] for call in np.flatnonzero(ok))
    costs = system.costs
    assert (found.started_ns[ok] >= found.sent_ns[ok] + costs.to_balancer_ns + costs.to_replica_ns).all()
    assert (found.answered_ns[ok] - found.finished_ns[ok] == costs.back_ns + costs.to_client_ns).all()
    assert (made.started_ns - made.arrived_ns == made.queue_ns).all()
    assert (made.finished_ns - made.started_ns == made.service_ns).all()


@settings(max_examples=examples(200), deadline=None)
@given(simulation=simulations())
def test_replicas_serve_in_order_with_their_slots_and_never_idle(simulation: tuple[System, Calls]) -> None:
    system, calls = simulation
    made = simulate(system, calls).attempts
    for number, replica in enumerate(system.replicas):
        mine = made.replica == number
        worked = mine & ((made.code == OK) | (made.service_ns > 0))
        arrived, started, finished = (
            getattr(made, name)[worked] for name in ("arrived_ns", "started_ns", "finished_ns")
        )
        order = np.argsort(arrived, kind="stable")
        assert (np.diff(started[order]) >= 0).all()  # first come, first served
        for instant in started:
            held = int(((started <= instant) & (finished > instant)).sum())
            assert held <= replica.slots + int((finished == started).sum())
        # Whoever waits, waits for full slots.
        for begun, come in zip(started, arrived, strict=True):
            if begun > come:
                busy = (started < begun) & (finished >= begun)
                assert busy.sum() >= replica.slots


@settings(max_examples=examples(50), deadline=None)
@given(simulation=simulations())
def test_the_same_seed_gives_the_same_outcome(simulation: tuple[System, Calls]) -> None:
    first, second = (simulate(*simulation) for _ in range(2))
    for name in ("replica", "sent_ns", "answered_ns", "code"):
        assert (getattr(first, name) == getattr(second, name)).all()


def at(*planned_ms: float, client: list[int] | None = None, work_ms: float = 10, **own: Any) -> Calls:
    """Return calls at these times, all of one client unless `client` says otherwise."""
    who = np.array(client if client is not None else [0] * len(planned_ms))
    return Calls(
        client=who,
        session=who,
        channel=who,
        measured=np.ones(len(who), bool),
        planned_ns=np.array([round(ms * MS) for ms in planned_ms]),
        work_ns=np.full(len(who), round(work_ms * MS)),
        key=np.zeros(len(who), np.uint64),
        **own,
    )


def ms(values: Any) -> list[float]:
    return [float(value) / MS for value in values]


ROUND_ROBIN = Policy("proxy", "round_robin")


def test_calls_wait_in_line_for_the_only_slot() -> None:
    found = simulate(fleet(1, ROUND_ROBIN), at(0, 1, 2))
    assert ms(found.queue_ns) == [0, 9, 18]
    assert ms(found.answered_ns) == [10, 20, 30]
    assert list(found.in_flight) == [1, 2, 3]


@pytest.mark.parametrize("first", range(4))
def test_round_robin_takes_turns_from_its_start(first: int) -> None:
    found = simulate(fleet(4, ROUND_ROBIN, first_turn=first), at(*range(8)))
    assert list(found.replica) == [(first + number) % 4 for number in range(8)]


def test_a_worker_takes_turns_of_its_own() -> None:
    clients = list(range(12)) * 40
    system = fleet(4, ROUND_ROBIN, workers=3, seed=5)
    found = simulate(system, at(*(0.1 * n for n in range(480)), client=clients, work_ms=0))
    whole = np.array(found.replica)
    assert not all(len(set(whole[start : start + 4])) == 4 for start in range(476))
    counts = np.bincount(whole, minlength=4)
    assert counts.max() - counts.min() <= 3  # one for each worker


def test_a_session_stays_where_its_first_answer_came_from() -> None:
    policy = replace(ROUND_ROBIN, sticky=True)
    found = simulate(fleet(4, policy, first_turn=0), at(*range(12), client=[0, 1, 2] * 4, waits="first"))
    assert list(found.replica) == [0, 1, 2] * 4
    # Without waiting for the first answer, calls have no cookie until it comes.
    hasty = simulate(fleet(4, policy, first_turn=0), at(0, 1, 2, 20, 21))
    assert list(hasty.replica) == [0, 1, 2, 2, 2]


def test_calls_wait_for_the_first_answer_and_then_leave_together() -> None:
    found = simulate(fleet(1, ROUND_ROBIN, slots=9), at(0, 1, 2, 30, waits="first"))
    assert ms(found.sent_ns) == [0, 10, 10, 30]


def test_a_client_that_awaits_each_answer_falls_behind_and_gives_up() -> None:
    calls = at(0, 1, 2, 30, waits="each", give_up_ns=15 * MS)
    found = simulate(fleet(1, ROUND_ROBIN, slots=9), calls)
    assert ms(found.sent_ns)[:2] == [0, 10]
    assert found.sent_ns[2] == -1  # its turn would have come at 20
    assert found.sent_ns[3] == 30 * MS


def test_calls_beyond_the_stream_limit_wait_in_the_client() -> None:
    system = fleet(1, ROUND_ROBIN, slots=9, stream_limit=2)
    found = simulate(system, at(0, 0, 0, 0, 0))
    assert ms(found.sent_ns) == [0] * 5
    assert ms(found.answered_ns) == [10, 10, 20, 20, 30]
    assert max(found.in_flight) == 2


def test_a_deadline_frees_the_slot_and_the_place_in_line() -> None:
    system = fleet(1, ROUND_ROBIN, deadline_ns=25 * MS)
    found = simulate(system, at(0, 0, 0, 26, work_ms=20))
    assert list(found.code) == [OK, DEADLINE_EXCEEDED, DEADLINE_EXCEEDED, OK]
    assert ms(found.answered_ns) == [20, 25, 25, 46]
    assert ms(found.attempts.service_ns) == [20, 5, 0, 20]
    assert list(found.attempts.code) == [OK, DEADLINE_EXCEEDED, DEADLINE_EXCEEDED, OK]


def test_replicas_that_fail_or_are_slow_do_so_as_often_as_they_should() -> None:
    system = fleet(1, ROUND_ROBIN, slots=1000)
    own = replace(system.replicas[0], fail_share=0.25, slow_share=0.5, slow_factor=3.0)
    found = simulate(replace(system, replicas=(own,)), at(*(30.0 * n for n in range(2000))))
    failed = found.code == UNAVAILABLE
    assert 0.2 < failed.mean() < 0.3
    assert (found.service_ns[failed] == 0).all()
    slow = found.service_ns[~failed] == 30 * MS
    assert 0.45 < slow.mean() < 0.55
    assert (found.service_ns[~failed][~slow] == 10 * MS).all()


def test_the_cache_keeps_the_sessions_used_last() -> None:
    system = fleet(1, ROUND_ROBIN, cache=Cache(2, 0.1))
    found = simulate(system, at(*(20.0 * n for n in range(7)), client=[0, 1, 0, 2, 1, 2, 0]))
    assert list(found.cache) == [0, 0, 1, 0, 0, 1, 0]
    assert ms(found.service_ns) == [10, 10, 1, 10, 10, 1, 10]


def test_two_phases_measuring_starts_when_the_warm_up_is_done() -> None:
    calls = replace(at(0, 5, 0, 3), measured=np.array([False, False, True, True]), warm_up_ns=12 * MS)
    found = simulate(fleet(1, ROUND_ROBIN, slots=1), calls)
    assert found.measure_start_ns == 20 * MS
    assert ms(found.planned_ns) == [0, 5, 20, 23]


def test_weighted_turns_are_exact() -> None:
    system = fleet(3, Policy("proxy", "weighted"), slots=9)
    weights = (1, 2, 5)
    replicas = tuple(replace(one, weight=own) for one, own in zip(system.replicas, weights, strict=True))
    found = simulate(replace(system, replicas=replicas), at(*range(800), work_ms=0))
    assert np.abs(np.bincount(found.replica) - [100, 200, 500]).max() <= 1


def test_connections_keep_their_replica_and_clients_take_turns() -> None:
    times, clients = range(60), [0, 1, 2] * 20
    by_connection = simulate(fleet(3, Policy("connection", "round_robin")), at(*times, client=clients))
    assert all(len(set(by_connection.replica[client::3])) == 1 for client in range(3))
    assert len(set(by_connection.replica)) == 3
    in_client = simulate(fleet(3, Policy("client", "round_robin")), at(*times, client=clients))
    for client in range(3):
        assert (np.diff(in_client.replica[client::3]) % 3 == 1).all()
    first = simulate(fleet(3, Policy("client", "pick_first")), at(*times, client=clients))
    assert set(first.replica) == {0}
    shuffled = simulate(
        fleet(3, Policy("client", "pick_first", shuffle=True)), at(*times, client=list(range(60)))
    )
    assert set(shuffled.replica) == {0, 1, 2}
