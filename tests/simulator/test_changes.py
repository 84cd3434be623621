"""Replicas that crash, freeze, drain or fail, and what proxy and clients make of that."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tests.simulator.kernels  # noqa: F401
from simulator.hashing import build_maglev, build_ring, ring_hosts
from simulator.simulation import simulate
from simulator.system import (
    CANCELLED,
    DEADLINE_EXCEEDED,
    OK,
    UNAVAILABLE,
    Change,
    ChangeKind,
    Outcome,
    OutlierDetection,
    Policy,
    Retries,
    System,
)
from tests.simulator.loads import CHECKS, MS, TURNS, change, fleet, poisson
from tests.unit.thorough import examples

EVEN = 100  # calls a second to each of four replicas


def run(*changes: Change, policy: Policy = TURNS, seconds: float = 3, **settings: Any) -> Outcome:
    """Simulate 400 calls a second of 10 ms on four replicas with many slots."""
    system = fleet(4, policy, 50, changes=changes, **({"checks": CHECKS, "first_turn": 0} | settings))
    return simulate(system, poisson(round(4 * EVEN * seconds), 4 * EVEN, 10))


def share_of(found: Outcome, replica: int, from_ms: float, to_ms: float) -> float:
    window = (found.planned_ns >= from_ms * MS) & (found.planned_ns < to_ms * MS)
    return float((found.replica[window] == replica).mean())


def failed(found: Outcome) -> int:
    return int((found.code != OK).sum())


def states(found: Outcome, replica: int = 0) -> list[str]:
    return [state for _, number, state in found.endpoints if number == replica]


def test_a_crash_costs_what_comes_until_the_second_check_has_failed() -> None:
    found = run(change(1000, "kill"))
    assert states(found) == ["healthy", "unhealthy"]
    (gone_ns,) = [at_ns for at_ns, number, state in found.endpoints if (number, state) == (0, "unhealthy")]
    assert 1100 * MS <= gone_ns <= 1200 * MS
    # A quarter of the calls until then, and those in hand: one, on average.
    expected = EVEN * (gone_ns / 1e9 - 1)
    assert expected - 4 <= failed(found) <= expected + 8
    assert set(found.code) == {OK, UNAVAILABLE}
    assert share_of(found, 0, gone_ns / MS, 3000) == 0
    # Nothing that was in hand is in the replica's ledger.
    made = found.attempts
    assert made.finished_ns[made.replica == 0].max() <= 1000 * MS


def test_retries_on_another_replica_hide_the_crash() -> None:
    retries = Retries(2, (UNAVAILABLE,), 10 * MS)
    found = run(change(1000, "kill"), retries=retries)
    assert failed(found) == 0
    again = found.tries == 2
    assert 8 <= again.sum() <= 30
    assert set(found.replica[again]) == {1, 2, 3}


def test_a_replica_that_starts_again_is_used_after_its_checks() -> None:
    found = run(change(500, "kill"), change(1000, "start"))
    assert states(found) == ["healthy", "unhealthy", "healthy"]
    assert share_of(found, 0, 1250, 3000) == pytest.approx(0.25, abs=0.02)


def test_sticky_sessions_move_when_their_replica_has_gone_and_do_not_return() -> None:
    found = run(change(500, "kill"), change(1000, "start"), policy=replace(TURNS, sticky=True))
    before = found.planned_ns < 500 * MS
    after = found.planned_ns > 1300 * MS
    assert (found.replica[before] == 0).mean() > 0.1
    assert (found.replica[after] == 0).sum() == 0


def test_strict_sessions_fail_instead() -> None:
    found = run(change(500, "kill"), policy=replace(TURNS, sticky=True, strict=True))
    after = found.planned_ns > 800 * MS
    assert set(found.code[after]) == {OK, UNAVAILABLE}
    assert (found.replica[after & (found.code != OK)] == -1).all()


def test_not_serving_is_noticed_at_the_next_check_and_panic_sends_to_all() -> None:
    found = run(change(1000, "not_serving"))
    assert failed(found) == 0
    assert share_of(found, 0, 1101, 3000) == 0
    asked_otherwise = run(change(1000, "not_serving"), checks=replace(CHECKS, asks="server"))
    assert share_of(asked_otherwise, 0, 1101, 3000) == pytest.approx(0.25, abs=0.02)
    three = [change(1000, "not_serving", number) for number in range(3)]
    alone = run(*three, panic_percent=25)
    assert share_of(alone, 3, 1101, 3000) == 1
    panics = run(*three, panic_percent=50)
    assert share_of(panics, 3, 1101, 3000) == pytest.approx(0.25, abs=0.02)
    nobody = run(*three, change(1000, "not_serving", 3), panic_percent=0)
    assert set(nobody.code[nobody.planned_ns > 1101 * MS]) == {UNAVAILABLE}


def test_the_checks_of_all_replicas_begin_together() -> None:
    found = run(*(change(1000, "not_serving", number) for number in range(3)))
    noticed = {at_ns for at_ns, _, state in found.endpoints if state == "unhealthy"}
    assert len(noticed) == 1


def test_a_frozen_replica_answers_late_and_gives_nothing_up() -> None:
    found = run(change(1000, "pause"), change(1600, "resume"), checks=None)
    assert failed(found) == 0
    stuck = (found.replica == 0) & (found.planned_ns > 1000 * MS) & (found.planned_ns < 1600 * MS)
    assert (found.answered_ns[stuck] >= 1600 * MS).all()
    assert 50 <= stuck.sum() <= 70
    late = run(change(1000, "pause"), change(1600, "resume"), checks=None, deadline_ns=100 * MS)
    assert set(late.code) == {OK, DEADLINE_EXCEEDED}


def test_a_drained_replica_fails_nobody() -> None:
    found = run(change(1000, "drain"), change(1500, "remove"), change(1500, "stop"), change(2500, "end"))
    assert failed(found) == 0
    assert states(found) == ["healthy", "draining", "absent"]
    assert share_of(found, 0, 1001, 3000) == 0
    kept = run(change(1000, "drain"), policy=replace(TURNS, sticky=True), keep_draining=True)
    assert share_of(kept, 0, 1001, 3000) > 0.1
    moved = run(change(1000, "drain"), policy=replace(TURNS, sticky=True))
    assert share_of(moved, 0, 1001, 3000) == 0


def test_no_replica_inherits_all_sessions_where_clients_pick() -> None:
    # With each list of endpoints gRPC begins its turns anew, at random. Here no client has two calls at once.
    policy, calls = Policy("client", "round_robin", sticky=True), poisson(400, 50, 1)
    changes = (change(3000, "join", 4), change(4000, "drain"))
    found = simulate(fleet(5, policy, 50, changes=changes, joining=1), calls)
    moved = set()
    for session in np.unique(calls.session):
        own = calls.session == session
        old = set(found.replica[own & (calls.planned_ns < 3950 * MS)])
        new = set(found.replica[own & (calls.planned_ns > 4050 * MS)])
        moved |= new if old == {0} else set()
        assert not old or (new <= old if 0 not in old else 0 not in new)
    assert len(moved) > 1


def test_a_new_replica_gets_its_share_and_no_old_session() -> None:
    turns = run(change(1000, "join", 3), joining=1)
    assert states(turns, 3) == ["absent", "unhealthy", "healthy"]
    assert share_of(turns, 3, 0, 1000) == 0
    assert share_of(turns, 3, 1010, 3000) == pytest.approx(0.25, abs=0.02)
    sticky = run(change(1000, "join", 3), joining=1, policy=replace(TURNS, sticky=True))
    assert share_of(sticky, 3, 1010, 3000) == 0


@pytest.mark.parametrize("rule", ["maglev", "ring_hash"])
def test_the_hash_tables_follow_the_replicas(rule: Any) -> None:
    policy = Policy("proxy", rule)
    system = fleet(4, policy, 50, checks=CHECKS, joining=1)
    system = replace(system, changes=(change(1000, "drain", 1), change(2000, "join", 3)))
    calls = poisson(1200, 400, 10)
    found = simulate(system, calls)
    addresses = [replica.address for replica in system.replicas]
    for members, from_ms, to_ms in (((0, 1, 2), 0, 1000), ((0, 2), 1000, 2000), ((0, 2, 3), 2010, 3000)):
        own = [addresses[number] for number in members]
        if rule == "maglev":
            expected = np.array(members)[build_maglev(own, 65_537)[calls.key % np.uint64(65_537)]]
        else:
            expected = np.array(members)[ring_hosts(build_ring(own, *policy.ring_size), calls.key)]
        window = (found.planned_ns > from_ms * MS) & (found.planned_ns < to_ms * MS)
        assert window.sum() > 300
        assert (found.replica[window] == expected[window]).all()


FAILS = Policy("proxy", "full_scan")


def black_hole(**settings: Any) -> Outcome:
    start = fleet(4, FAILS, 50).replicas[0]
    return run(change(1000, "behave", behaviour=replace(start, fail_share=1.0)), policy=FAILS, **settings)


def test_a_replica_that_fails_at_once_draws_the_requests_until_it_is_ejected() -> None:
    assert (black_hole().code[400:] != OK).mean() > 0.5
    outliers = OutlierDetection(5, 100 * MS, 10_000 * MS, 100)
    ejected = black_hole(outliers=outliers)
    assert failed(ejected) == 5
    assert states(ejected) == ["healthy", "ejected"]
    # Of four replicas one is 25 %: above a limit of 10 %, so none is ever ejected.
    assert failed(black_hole(outliers=replace(outliers, max_ejection_percent=10))) == failed(black_hole())
    returns = black_hole(outliers=replace(outliers, ejection_ns=300 * MS))
    assert states(returns)[:4] == ["healthy", "ejected", "healthy", "ejected"]


def test_errors_after_headers_are_neither_ejected_nor_retried() -> None:
    start = fleet(4, FAILS, 50).replicas[0]
    told = replace(start, fail_share=1.0, fail_after_headers=True)
    found = run(
        change(1000, "behave", behaviour=told),
        policy=FAILS,
        outliers=OutlierDetection(5, 100 * MS, 10_000 * MS, 100),
        retries=Retries(3, (UNAVAILABLE,), 5 * MS),
    )
    assert (found.code[400:] != OK).mean() > 0.5
    assert found.tries.max() == 1


def test_an_attempt_that_takes_too_long_is_made_again() -> None:
    start = fleet(4, TURNS, 50).replicas[0]
    slow = change(1000, "behave", behaviour=replace(start, slow_factor=100.0))
    found = run(slow, retries=Retries(2, (UNAVAILABLE,), 5 * MS, attempt_timeout_ns=100 * MS))
    again = found.tries == 2
    assert 100 < again.sum() < 210
    assert (found.answered_ns - found.sent_ns)[found.code == OK].max() < 300 * MS
    made = found.attempts
    assert (made.code[made.service_ns == 100 * MS] == CANCELLED).all()


def test_the_circuit_breaker_refuses_what_is_too_much() -> None:
    calls = poisson(400, 400, 100)
    found = simulate(fleet(4, TURNS, 50, max_active=10, first_turn=0), calls)
    assert set(found.code) == {OK, UNAVAILABLE}
    refused = found.code == UNAVAILABLE
    assert (found.replica[refused] == -1).all()
    starts, ends = found.sent_ns[~refused], found.answered_ns[~refused]
    assert max(((starts <= now) & (ends > now)).sum() for now in starts) == 10
    # A refused call has taken its turn, as in Envoy: call n would have gone to replica n mod 4.
    assert (found.replica[~refused] == np.flatnonzero(~refused) % 4).all()


@st.composite
def upheavals(draw: Any) -> System:
    kinds: list[ChangeKind] = ["kill", "start", "pause", "resume", "not_serving", "serving", "drain"]
    kinds += ["join", "remove", "stop", "end"]
    changes = [
        change(draw(st.floats(1, 290)), draw(st.sampled_from(kinds)), draw(st.integers(0, 3)))
        for _ in range(draw(st.integers(0, 8)))
    ]
    policy = Policy(
        "proxy",
        draw(st.sampled_from(["round_robin", "least_request", "maglev", "ring_hash", "full_scan"])),
        sticky=draw(st.booleans()),
        table_size=251,
        ring_size=(64, 128),
    )
    return fleet(
        4,
        policy,
        2,
        changes=tuple(changes),
        checks=draw(st.sampled_from([None, replace(CHECKS, interval_ns=20 * MS)])),
        retries=draw(st.sampled_from([None, Retries(3, (UNAVAILABLE,), 5 * MS, 30 * MS)])),
        outliers=draw(st.sampled_from([None, OutlierDetection(2, 50 * MS, 50 * MS, 100)])),
        deadline_ns=draw(st.sampled_from([50, 1000])) * MS,
        seed=draw(st.integers(0, 100)),
    )


@settings(max_examples=examples(300), deadline=None)
@given(system=upheavals(), rate=st.sampled_from([100, 1000]))
def test_whatever_happens_every_call_ends_once_and_slots_are_not_exceeded(system: System, rate: int) -> None:
    calls = poisson(150, rate, 10, clients=8)
    found = simulate(system, calls)
    assert (found.sent_ns >= 0).all()
    assert (found.answered_ns >= found.sent_ns).all()
    assert (found.answered_ns - found.sent_ns <= system.deadline_ns).all()
    assert set(found.code) <= {OK, UNAVAILABLE, DEADLINE_EXCEEDED}
    made = found.attempts
    ok = np.flatnonzero(found.code == OK)
    rows = {(int(call), int(replica)) for call, replica in zip(made.call, made.replica, strict=True)}
    assert all((int(call), int(found.replica[call])) in rows for call in ok)
    most = 1 if system.retries is None else system.retries.attempts
    assert found.tries.max() <= most
    assert (np.bincount(made.call, minlength=len(calls)) <= found.tries).all()
    if not any(one.kind in ("kill", "end", "pause") for one in system.changes):
        for number, replica in enumerate(system.replicas):
            mine = (made.replica == number) & (made.service_ns > 0)
            started, finished = made.started_ns[mine], made.finished_ns[mine]
            assert all(((started <= now) & (finished > now)).sum() <= replica.slots for now in started)
