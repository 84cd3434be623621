"""The plan of a load: the same seed gives the same calls; Poisson arrivals, Zipf rates, the given mix."""

import itertools
import math
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lb.plan import (
    NS_PER_S,
    Load,
    Phase,
    PlannedCall,
    client_rate_per_s,
    closed_loop,
    open_loop,
    planned_requests,
    split_clients,
)
from tests.unit.thorough import examples

MIX = {"AddVideo": 5.0, "ListVideos": 2.0, "GetVideos": 2.0, "GetVideo": 1.0}
LOAD = Load(clients=4, rate_per_s=200, think_time_ms=None, skew=1.0, calls=MIX, seed=1, repeat=1)
EVEN = replace(LOAD, skew=0)
# Six standard deviations: a random value exceeds them once in 500 million draws.
SIGMAS = 6
MOST_RATE_PER_S = 2000

loads = st.builds(
    Load,
    clients=st.integers(1, 50),
    rate_per_s=st.floats(0.1, MOST_RATE_PER_S),
    think_time_ms=st.none(),
    skew=st.floats(0, 10),
    calls=st.just(MIX),
    seed=st.integers(0, 2**31 - 1),
    repeat=st.integers(1, 100),
)


def calls_of(load: Load, client: int, phase: Phase, duration_s: float, opens: bool) -> list[PlannedCall]:
    """Return one client's calls. Fail at once if there are far more than chance allows."""
    most = int(2 * MOST_RATE_PER_S * max(1.0, duration_s))
    calls = list(itertools.islice(open_loop(load, client, phase, duration_s, opens), most + 1))
    assert len(calls) <= most
    return calls


@given(loads, st.floats(0.001, 2), st.booleans(), st.data())
@settings(deadline=None)
def test_planned_times_are_sorted_and_inside_the_phase(
    load: Load, duration_s: float, opens: bool, data: st.DataObject
) -> None:
    client = data.draw(st.integers(0, load.clients - 1))
    times = [call.at_ns for call in calls_of(load, client, "measure", duration_s, opens)]
    assert times == sorted(times)
    assert all(0 <= at_ns < duration_s * NS_PER_S for at_ns in times)


def test_the_first_client_has_the_highest_rate() -> None:
    rates = [client_rate_per_s(LOAD, client) for client in range(LOAD.clients)]
    assert rates == pytest.approx([96, 48, 32, 24])  # 200/s as 1 : 1/2 : 1/3 : 1/4


@given(loads)
@settings(deadline=None)
def test_the_clients_rates_follow_zipf_and_add_up(load: Load) -> None:
    rates = [client_rate_per_s(load, client) for client in range(load.clients)]
    assert sum(rates) == pytest.approx(load.rate_per_s)
    for client, rate in enumerate(rates):
        assert rate == pytest.approx(rates[0] / (client + 1) ** load.skew)


@given(loads)
@settings(deadline=None, max_examples=examples(30))
def test_the_number_of_calls_is_poisson_around_rate_times_duration(load: Load) -> None:
    expected = (load.rate_per_s or 0) * 2
    # With a larger sum of rates, planning would take hours.
    assert sum(client_rate_per_s(load, client) for client in range(load.clients)) == pytest.approx(
        expected / 2
    )
    planned = planned_requests(load, warm_up_s=1, duration_s=2)
    assert abs(planned - expected) <= SIGMAS * math.sqrt(expected) + SIGMAS


def test_gaps_are_exponential() -> None:
    # In an exponential distribution the standard deviation equals the mean; a share of 1 - 1/e is below it.
    times = [call.at_ns for call in open_loop(replace(LOAD, clients=1), 0, "measure", 100, False)]
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    mean = sum(gaps) / len(gaps)
    deviation = math.sqrt(sum((gap - mean) ** 2 for gap in gaps) / len(gaps))
    assert deviation / mean == pytest.approx(1, abs=SIGMAS * 1 / math.sqrt(len(gaps)))
    below = sum(gap < mean for gap in gaps) / len(gaps)
    assert below == pytest.approx(1 - 1 / math.e, abs=SIGMAS * 0.5 / math.sqrt(len(gaps)))


def test_calls_follow_the_mix() -> None:
    calls = Counter(call.method for call in open_loop(LOAD, 0, "measure", 100, False))
    total = calls.total()
    for method, weight in MIX.items():
        share = weight / sum(MIX.values())
        assert abs(calls[method] - total * share) <= SIGMAS * math.sqrt(total * share * (1 - share))


def test_a_method_of_weight_nothing_is_never_called() -> None:
    load = replace(LOAD, calls={"AddVideo": 1.0, "GetVideo": 0.0})
    assert {call.method for call in open_loop(load, 0, "measure", 50, False)} == {"AddVideo"}


@given(loads, st.sampled_from(["warm_up", "measure"]))
@settings(deadline=None, max_examples=examples(30))
def test_the_same_seed_plans_the_same_calls(load: Load, phase: Phase) -> None:
    first, again = (calls_of(load, 0, phase, 1, True) for _ in range(2))
    assert first == again


@pytest.mark.parametrize(
    "other",
    [
        open_loop(EVEN, 1, "measure", 5, False),
        open_loop(EVEN, 0, "warm_up", 5, False),
        open_loop(replace(EVEN, repeat=2), 0, "measure", 5, False),
        open_loop(replace(EVEN, seed=2), 0, "measure", 5, False),
    ],
    ids=["client", "phase", "repeat", "seed"],
)
def test_another_client_phase_repeat_or_seed_plans_other_calls(other: object) -> None:
    times = {call.at_ns for call in open_loop(EVEN, 0, "measure", 5, False)}
    assert not times & {call.at_ns for call in other}  # type: ignore[attr-defined]


@given(loads)
@settings(deadline=None, max_examples=examples(30))
def test_opening_adds_one_call_at_the_start_and_changes_nothing_else(load: Load) -> None:
    plain, opening = (calls_of(load, 0, "measure", 1, opens) for opens in (False, True))
    assert opening[0].at_ns == 0
    assert opening[1:] == plain


def test_the_measured_phase_holds_the_openings_only_without_a_warm_up() -> None:
    assert planned_requests(LOAD, 0, 2) == planned_requests(LOAD, 1, 2) + LOAD.clients


def test_think_times_are_exponential_and_the_same_again() -> None:
    load = replace(LOAD, rate_per_s=None, think_time_ms=20.0)
    calls = list(itertools.islice(closed_loop(load, 3, "measure"), 5000))
    assert calls == list(itertools.islice(closed_loop(load, 3, "measure"), 5000))
    mean_ms = sum(call.at_ns for call in calls) / len(calls) / 1e6
    assert mean_ms == pytest.approx(20, abs=SIGMAS * 20 / math.sqrt(len(calls)))
    assert {call.method for call in calls} == set(MIX)


def test_a_think_time_of_zero() -> None:
    load = replace(LOAD, rate_per_s=None, think_time_ms=0.0)
    assert {call.at_ns for call in itertools.islice(closed_loop(load, 0, "measure"), 100)} == {0}


def test_a_closed_loop_has_no_planned_rate() -> None:
    with pytest.raises(ValueError, match="no planned rate"):
        client_rate_per_s(replace(LOAD, rate_per_s=None, think_time_ms=1.0), 0)


@given(loads, st.integers(1, 60))
@settings(deadline=None)
def test_every_client_belongs_to_one_worker_and_every_worker_gets_clients(load: Load, workers: int) -> None:
    hands = split_clients(load, workers)
    assert sorted(client for hand in hands for client in hand) == list(range(load.clients))
    assert all(hand == sorted(hand) for hand in hands)
    assert sum(bool(hand) for hand in hands) == min(workers, load.clients)


@given(loads, st.integers(1, 8))
@settings(deadline=None)
def test_no_worker_has_more_than_its_fair_share_and_one_client(load: Load, workers: int) -> None:
    rates = [sum(client_rate_per_s(load, client) for client in hand) for hand in split_clients(load, workers)]
    # Graham's bound for greedy scheduling: before its last client, the worker had a fair share at most.
    most = max(
        sum(rates) / workers + client_rate_per_s(load, min(load.clients - 1, workers)),
        client_rate_per_s(load, 0),
    )
    assert max(rates) <= most * (1 + 1e-9)


def test_the_workers_planned_requests_add_up() -> None:
    hands = split_clients(LOAD, 3)
    shares = [planned_requests(LOAD, 0, 2, hand) for hand in hands]
    assert sum(shares) == planned_requests(LOAD, 0, 2)
    assert all(shares)


def test_clients_of_a_closed_loop_count_alike() -> None:
    load = replace(LOAD, rate_per_s=None, think_time_ms=1.0, clients=10)
    assert sorted(len(hand) for hand in split_clients(load, 4)) == [2, 2, 3, 3]


def test_no_worker_is_an_error() -> None:
    with pytest.raises(ValueError, match="0 workers, expected at least 1"):
        split_clients(LOAD, 0)
