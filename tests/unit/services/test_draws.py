"""Draws: from a request's identity they are the same everywhere; else they come in order of arrival."""

import math
import random
import statistics
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from services.call import Call
from services.draws import RECENT_REQUESTS, Draws
from services.service_time import draw_ns
from services.settings import ServiceTime
from services.uniform import uniform
from tests.unit.thorough import examples

IDS = st.integers(0, 10**18 - 1)
REPEATS = st.tuples(st.integers(0, 2**31 - 1), st.integers(1, 50)).map(lambda pair: f"{pair[0]}.{pair[1]}")
SAMPLE = 20_000


def lab_call(request_id: int = 1, repeat: str = "1.1") -> Call:
    identity = f"{repeat}/{request_id}"
    return Call(request_id, "AddVideo", "127.0.0.1:1", arrived_ns=0, in_flight=1, identity=identity)


def hand_call() -> Call:
    return Call(-1, "AddVideo", "127.0.0.1:1", arrived_ns=0, in_flight=1)


@settings(max_examples=examples(200), deadline=None)
@given(request_ids=st.lists(IDS, min_size=1, max_size=20, unique=True), repeat=REPEATS, order=st.randoms())
def test_a_request_takes_the_same_time_on_every_replica_in_any_order(
    request_ids: list[int], repeat: str, order: random.Random
) -> None:
    first, second = Draws("1/replica-0"), Draws("7/replica-1")
    there = {one: first.service(lab_call(one, repeat)) for one in request_ids}
    first.service(hand_call())  # the calls of others shift nothing
    order.shuffle(request_ids)
    assert {one: second.service(lab_call(one, repeat)) for one in request_ids} == there


@settings(max_examples=examples(200), deadline=None)
@given(request_id=IDS, repeats=st.lists(REPEATS, min_size=2, max_size=2, unique=True))
def test_repeats_and_requests_differ(request_id: int, repeats: list[str]) -> None:
    draws = Draws("1/replica-0")
    one, other = (draws.service(lab_call(request_id, repeat)) for repeat in repeats)
    assert one != other
    assert one != draws.service(lab_call(request_id + 1, repeats[0]))


def test_a_stream_draws_anew_for_each_message_and_alike_in_every_arm() -> None:
    stream, again = lab_call(), lab_call()
    first, second = Draws("1/replica-0"), Draws("1/replica-1")
    times = [first.service(stream) for _ in range(5)]
    assert len(set(times)) == 5
    assert [second.service(again) for _ in range(5)] == times


def test_a_retry_takes_the_same_time_and_draws_failure_and_slowness_anew() -> None:
    draws = Draws("1/replica-0")
    attempts = [lab_call(5) for _ in range(4)]
    assert len({draws.service(call) for call in attempts}) == 1
    failures = [draws.failure(call) for call in attempts]
    slowness = [draws.slowness(call) for call in attempts]
    assert [call.attempt for call in attempts] == [1, 2, 3, 4]
    assert len({*failures, *slowness}) == 8
    elsewhere = Draws("1/replica-1")
    assert elsewhere.failure(lab_call(5)) not in failures
    assert Draws("1/replica-0").failure(lab_call(5)) == failures[0]


def test_attempts_of_a_request_are_counted_while_it_is_recent() -> None:
    draws = Draws("1/replica-0")
    first = draws.failure(lab_call(0))
    for other in range(1, RECENT_REQUESTS):
        draws.failure(lab_call(other))
    second = draws.failure(lab_call(0))
    assert second != first
    for other in range(RECENT_REQUESTS, 2 * RECENT_REQUESTS):
        draws.failure(lab_call(other))
    assert draws.failure(lab_call(0)) == first  # forgotten: memory does not grow with the load


def test_calls_without_identity_draw_in_order_of_arrival() -> None:
    def story(seed: str, count: int) -> list[float]:
        draws = Draws(seed)
        return [draws.service(hand_call()) for _ in range(count)]

    assert story("1/replica-0", 9)[:5] == story("1/replica-0", 5)
    assert story("1/replica-0", 5) != story("1/replica-1", 5)
    assert len(set(story("1/replica-0", 9))) == 9


def test_failures_and_slowness_shift_no_service_time() -> None:
    for call in (hand_call, lab_call):
        plain, shaken = Draws("1"), Draws("1")
        for _ in range(10):
            shaken.failure(call())
            shaken.slowness(call())
        assert plain.service(call()) == shaken.service(call())
        assert plain.failure(call()) != plain.slowness(call())


def distance_from_uniform(sample: list[float]) -> float:
    """Return Kolmogorov's statistic times the root of the sample's size: below 2 in 99.9 % of samples."""
    ordered, size = sorted(sample), len(sample)
    gaps = (max((n + 1) / size - value, value - n / size) for n, value in enumerate(ordered))
    return max(gaps) * math.sqrt(size)


def correlation(one: list[float], other: list[float]) -> float:
    return statistics.correlation(one, other)


def test_draws_of_successive_requests_are_uniform_and_independent() -> None:
    draws = Draws("1/replica-0")
    sample = [draws.service(lab_call(number)) for number in range(SAMPLE)]
    repeat_2 = [draws.service(lab_call(number, "1.2")) for number in range(SAMPLE)]
    client_1 = [draws.service(lab_call(10**9 + number)) for number in range(SAMPLE)]
    attempts = [[draws.failure(lab_call(number)) for _ in range(2)] for number in range(SAMPLE)]
    failures, again = ([pair[place] for pair in attempts] for place in range(2))
    for one in (sample, repeat_2, client_1, failures, again):
        assert min(one) > 0
        assert max(one) < 1
        assert distance_from_uniform(one) < 2
    limit = 4 / math.sqrt(SAMPLE)  # four standard deviations
    for other in (repeat_2, client_1, failures, again):
        assert abs(correlation(sample, other)) < limit
    assert abs(correlation(sample[:-1], sample[1:])) < limit
    assert abs(correlation(failures, again)) < limit


def test_service_times_of_requests_are_exponential() -> None:
    service_time = ServiceTime(distribution="exponential", mean=10)
    times = [draw_ns(service_time, uniform(f"1.1/{number}/service/1")) for number in range(SAMPLE)]
    assert abs(statistics.fmean(times) / 10e6 - 1) < 4 / math.sqrt(SAMPLE)
    assert distance_from_uniform([1 - math.exp(-time / 10e6) for time in times]) < 2


@settings(max_examples=examples(200), deadline=None)
@given(names=st.lists(st.text(max_size=30), min_size=2, max_size=20, unique=True))
def test_a_name_has_one_number_of_its_own(names: list[str]) -> None:
    numbers = [uniform(name) for name in names]
    assert numbers == [uniform(name) for name in names]
    assert all(one != other for one, other in pairwise(sorted(numbers)))


def test_the_number_of_a_name_never_changes() -> None:
    # Recorded runs are compared with later ones: another version must draw the same.
    assert uniform("1.1/1000000017/service/1") == 0.4431914457441425
