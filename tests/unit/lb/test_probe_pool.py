"""The pool of probes: which answer is used, how often, and which ones are removed."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lb.picking import LeastRequest
from lb.policies import LeastRequestOptions, ProbingOptions
from lb.probing import Load, ProbePool

MS = 1_000_000
EIGHT = range(8)


def pool_of(*loads: Load, replicas: int = 8, **options: float) -> ProbePool:
    """Return a pool with an answer of replica 0, 1, ... each, one ns apart."""
    pool = ProbePool(ProbingOptions(**options), replicas, random.Random(1))  # type: ignore[arg-type]
    for place, load in enumerate(loads):
        pool.add(place, load, place)
    return pool


def test_of_cold_replicas_the_quickest_is_taken() -> None:
    assert pool_of((3, 30), (3, 10), (3, 20)).take(EIGHT, 10) == 1


def test_a_hot_replica_is_taken_only_if_all_are_hot() -> None:
    quick_but_full = ((9, 1), (2, 30), (2, 20), (3, 40))
    assert pool_of(*quick_but_full, hot_quantile=0.5).take(EIGHT, 10) == 2
    assert pool_of(*quick_but_full, hot_quantile=1).take(EIGHT, 10) == 0  # latency alone decides
    pool = pool_of((0, 5), (0, 5), (8, 1), (7, 9), hot_quantile=0.1)
    assert pool.take([2, 3], 10) == 3  # both are hot: the fewer requests in flight


def test_a_request_counts_in_the_answer_that_it_used() -> None:
    pool = pool_of((2, 10), (2, 20), (2, 30), (2, 40), hot_quantile=0.9)
    # The first one takes replica 0, which is hot from then on: it has one more in flight than the others.
    assert [pool.take(EIGHT, 10) for _ in range(3)] == [0, 1, 2]


def test_old_answers_and_replicas_that_are_away_are_not_used() -> None:
    pool = pool_of((1, 10), (1, 20), (1, 30), max_age_ms=1)
    assert pool.take([1, 2], 10) == 1
    assert pool.take([1], 10) is None  # one answer is too few
    assert pool.take(EIGHT, MS + 10) is None
    assert len(pool) == 0


def test_a_new_answer_replaces_the_old_one_of_its_replica() -> None:
    pool = pool_of((1, 10), (1, 20), (1, 30))
    pool.add(0, (1, 25), 5)
    assert (len(pool), pool.take(EIGHT, 10)) == (3, 1)


def test_the_oldest_and_the_worst_are_removed_in_turn() -> None:
    pool = pool_of((1, 10), (1, 40), (1, 30), (1, 20))
    pool.remove_one()  # replica 0, the oldest
    pool.remove_one()  # replica 1, the slowest
    assert {pool.take(EIGHT, 10), pool.take([2], 10)} == {3, None}


@pytest.mark.parametrize(
    ("probes", "removed", "kept", "replicas", "uses"),
    [(3, 1, 16, 100, 2 / (0.84 * 3 - 1)), (3, 1, 4, 8, 4), (8, 0, 4, 8, 1), (1, 1, 4, 8, 5)],
)
def test_uses_of_an_answer_as_in_the_paper(
    probes: float, removed: float, kept: int, replicas: int, uses: float
) -> None:
    options = ProbingOptions(probes_per_request=probes, removed_per_request=removed)
    assert options.kept_of(replicas) == kept
    assert options.uses_of_an_answer(replicas) == pytest.approx(uses)


STEPS = st.lists(st.one_of(st.none(), st.tuples(st.integers(0, 9), st.integers(0, 9))), max_size=80)


@given(steps=STEPS, size=st.integers(1, 8), replicas=st.integers(1, 10), removes=st.booleans())
def test_a_pool_never_outgrows_its_size_and_names_only_what_it_was_told(
    steps: list[Load | None], size: int, replicas: int, removes: bool
) -> None:
    """A step is an answer of a replica, or a request."""
    pool, told = pool_of(replicas=replicas, pool_size=size), set[int]()
    uses = 0
    for now_ns, step in enumerate(steps):
        if step is not None:
            place = step[0] % replicas
            told.add(place)
            pool.add(place, step, now_ns)
        else:
            taken = pool.take(range(replicas), now_ns)
            assert taken is None or taken in told
            uses += taken is not None
            if removes:
                pool.remove_one()
        assert len(pool) <= max(1, min(size, replicas // 2))
    most = ProbingOptions(pool_size=size).uses_of_an_answer(replicas) + 1
    assert uses <= most * len(steps)


@given(in_flight=st.lists(st.integers(0, 9), min_size=1, max_size=8), choices=st.integers(2, 9))
def test_least_request_never_takes_the_busiest_of_what_it_draws(in_flight: list[int], choices: int) -> None:
    picker = LeastRequest(LeastRequestOptions(choices=choices), random.Random(0))
    taken = picker.pick(range(len(in_flight)), in_flight)
    busier = sum(one >= in_flight[taken] for one in in_flight)
    assert busier >= min(choices, len(in_flight))
