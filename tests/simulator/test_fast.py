"""The fast simulation: the same as the event by event one, and its own bounds."""

import math
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tests.simulator.kernels  # noqa: F401
from simulator.fast import (
    BLOCK,
    FIRST_ROOM,
    Draws,
    FastMachine,
    FastRule,
    Fleet,
    alias_tables,
    memory_bytes,
    simulate_fast,
)
from simulator.histogram import count, new_counts, quantile_s
from simulator.simulation import simulate
from simulator.system import Calls, Policy
from tests.simulator.loads import fleet as system_of
from tests.unit.thorough import examples

FLEET = Fleet(clients=40, replicas=5, requests=3000, rate_per_s=800, mean_service_s=0.01, slots=2, skew=0.8)


@settings(max_examples=examples(40), deadline=None)
@given(
    sticky=st.booleans(),
    slots=st.integers(1, 9),
    rate=st.sampled_from([100, 900, 5000]),
    seed=st.integers(0, 99),
)
def test_it_is_the_event_by_event_simulation(sticky: bool, slots: int, rate: float, seed: int) -> None:
    fleet = replace(FLEET, sticky=sticky, slots=slots, rate_per_s=rate, seed=seed, requests=500)
    at_s, client, service_s = (column.copy() for column in Draws(fleet).next(500))
    machine = FastMachine(fleet)
    machine.serve(at_s, client, service_s)
    calls = Calls(
        **dict.fromkeys(("client", "session", "channel"), client.astype(np.int64)),
        measured=np.ones(500, bool),
        planned_ns=np.round(at_s * 1e9).astype(np.int64),
        work_ns=np.round(service_s * 1e9).astype(np.int64),
        key=np.zeros(500, np.uint64),
    )
    policy = Policy("proxy", "round_robin")
    if sticky:
        # Here a client has its replica from its first request on; event by event it has it from its first
        # answer on. So only the picks are compared, with what they must be.
        first = {int(who): turn % 5 for turn, who in enumerate(dict.fromkeys(client.tolist()))}
        expected = np.bincount([first[int(who)] for who in client], minlength=5)
        assert (machine.outcome().replica_requests == expected).all()
        return
    slow = simulate(system_of(5, policy, slots, first_turn=0, deadline_ns=10**15), calls)
    found = machine.outcome()
    assert (found.replica_requests == np.bincount(slow.replica, minlength=5)).all()
    for histogram, exact_ns in (
        (found.waits, slow.queue_ns),
        (found.latencies, slow.answered_ns - slow.planned_ns),
    ):
        for share in (0.1, 0.5, 0.9, 0.99):
            exact_s = float(np.quantile(exact_ns / 1e9, share, method="inverted_cdf"))
            assert quantile_s(histogram, share) == pytest.approx(exact_s, rel=0.006, abs=2e-6)


def test_two_choices_are_the_event_by_event_ones_in_distribution() -> None:
    fleet = replace(FLEET, rule="least_request", requests=100_000, rate_per_s=850)
    at_s, client, service_s = (column.copy() for column in Draws(replace(fleet, seed=7)).next(16_000))
    calls = Calls(
        **dict.fromkeys(("client", "session", "channel"), client.astype(np.int64)),
        measured=np.ones(len(client), bool),
        planned_ns=np.round(at_s * 1e9).astype(np.int64),
        work_ns=np.round(service_s * 1e9).astype(np.int64),
        key=np.zeros(len(client), np.uint64),
    )
    slow = simulate(system_of(5, Policy("proxy", "least_request"), 2, deadline_ns=10**15), calls)
    machine = FastMachine(fleet)
    machine.serve(at_s, client, service_s)
    for share in (0.5, 0.9):
        exact_s = float(np.quantile((slow.answered_ns - slow.planned_ns) / 1e9, share))
        assert machine.outcome().latency_s(share) == pytest.approx(exact_s, rel=0.05)


@settings(max_examples=examples(20), deadline=None)
@given(
    rule=st.sampled_from(["round_robin", "random", "least_request"]),
    sticky=st.booleans(),
    pieces=st.lists(st.integers(0, 2 * BLOCK), max_size=4),
)
def test_requests_may_arrive_in_any_pieces(rule: FastRule, sticky: bool, pieces: list[int]) -> None:
    fleet = replace(FLEET, rule=rule, sticky=sticky, clients=3 * BLOCK, requests=3 * BLOCK)
    drawn = tuple(column.copy() for column in Draws(fleet).next(3 * BLOCK))
    whole, parts = FastMachine(fleet), FastMachine(fleet)
    whole.serve(*drawn)
    edges = sorted({0, 3 * BLOCK, *(min(piece, 3 * BLOCK) for piece in pieces)})
    for first, last in pairwise(edges):
        parts.serve(*(column[first:last] for column in drawn))
    for found, expected in zip(vars(parts.outcome()).values(), vars(whole.outcome()).values(), strict=True):
        assert (found == expected).all()


def test_a_replica_may_have_any_number_of_requests_under_way() -> None:
    busy = replace(FLEET, rule="least_request", requests=2000, mean_service_s=60.0)
    assert simulate_fast(busy).replica_requests.max() > 4 * FIRST_ROOM


@settings(max_examples=examples(60), deadline=None)
@given(values=st.lists(st.floats(2e-6, 1e5), min_size=1, max_size=300), share=st.floats(0.01, 1))
def test_a_quantile_is_wrong_by_half_a_per_cent_at_most(values: list[float], share: float) -> None:
    counts = new_counts()
    for value in values:
        count(counts, value)
    exact = sorted(values)[max(1, math.ceil(share * len(values))) - 1]
    assert quantile_s(counts, share) == pytest.approx(exact, rel=0.0051)


@settings(max_examples=examples(40), deadline=None)
@given(weights=st.lists(st.floats(0.001, 1000), min_size=1, max_size=60))
def test_alias_tables_draw_each_entry_as_often_as_its_weight(weights: list[float]) -> None:
    keep, other = alias_tables(np.array(weights))
    shares = keep.copy()
    for place, given_to in enumerate(other):
        shares[given_to] += 1 - keep[place]
    assert shares / len(weights) == pytest.approx(np.array(weights) / sum(weights), rel=1e-6, abs=1e-9)


def test_memory_is_that_of_the_formula_and_is_confirmed_before_it_is_taken() -> None:
    large = Fleet(
        clients=10**9, replicas=10**7, requests=10**9, rate_per_s=1e6, mean_service_s=0.01, slots=1000
    )
    assert memory_bytes(large) > 9e10
    with pytest.raises(ValueError, match="take 96 GB, and 4 GB are free; expected a smaller fleet"):
        simulate_fast(large, limit_bytes=4 * 10**9)
    # A million clients and ten thousand replicas fit into a few dozen MB, however many requests there are.
    assert memory_bytes(replace(large, clients=10**6, replicas=10**4, slots=4)) < 2e7


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("clients", 0),
        ("replicas", 0),
        ("requests", -1),
        ("slots", 10**9),
        ("rate_per_s", math.nan),
        ("rate_per_s", math.inf),
        ("mean_service_s", 0.0),
        ("skew", -1),
        ("skew", math.nan),
        ("rule", "magic"),
    ],
)
def test_sizes_that_cannot_be_are_refused_in_one_line(field: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"^{field} is .*, expected ") as caught:
        replace(FLEET, **{field: value})
    assert "\n" not in str(caught.value)
