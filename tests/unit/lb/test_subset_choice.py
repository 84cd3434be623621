"""Subsets of replicas: their size, that rounds deal replicas out evenly, and what follows from the draw."""

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lb.settings import ClientSettings
from lb.subsets import settings_of_client, subset_of
from tests.unit.thorough import examples

ADDRESSES = [f"127.0.0.1:{port}" for port in range(1, 65)]


@settings(max_examples=examples(100), deadline=None)
@given(
    count=st.integers(1, 64),
    client=st.integers(0, 500),
    by=st.sampled_from(["deterministic", "random"]),
    data=st.data(),
)
def test_a_subset_has_its_size_and_no_address_twice(
    count: int, client: int, by: str, data: st.DataObject
) -> None:
    size = data.draw(st.integers(1, count))
    own = subset_of(ADDRESSES[:count], client, size, by, "1.1")  # type: ignore[arg-type]
    assert len(own) == len(set(own)) == size
    assert set(own) <= set(ADDRESSES[:count])
    assert own == subset_of(ADDRESSES[:count], client, size, by, "1.1")  # type: ignore[arg-type]


@settings(max_examples=examples(100), deadline=None)
@given(size=st.integers(1, 16), each=st.integers(1, 8), rounds=st.integers(1, 5), left=st.integers(0, 3))
def test_whole_rounds_give_every_replica_equally_many_clients(
    size: int, each: int, rounds: int, left: int
) -> None:
    addresses = [f"a:{number}" for number in range(size * each + min(left, size - 1))]
    subsets = [subset_of(addresses, client, size, "deterministic", "1.1") for client in range(each * rounds)]
    clients = Counter(address for own in subsets for address in own)
    # Addresses that fill no whole subset of a round have no client in it.
    assert max(clients.values()) <= rounds
    assert sum(clients.values()) == size * each * rounds
    for turn in range(rounds):
        of_round = subsets[turn * each : (turn + 1) * each]
        assert len({address for own in of_round for address in own}) == size * each


def test_rounds_and_repeats_are_shuffled_anew() -> None:
    first, second = (subset_of(ADDRESSES, client, 8, "deterministic", "1.1") for client in (0, 8))
    assert first != second
    assert first != subset_of(ADDRESSES, 0, 8, "deterministic", "1.2")
    assert subset_of(ADDRESSES, 0, 8, "random", "1.1") != subset_of(ADDRESSES, 1, 8, "random", "1.1")


def test_random_subsets_leave_some_replicas_alone_and_crowd_others() -> None:
    """Of 64 replicas with 16 clients of 8 each, a mean of 2: the number of clients is binomial (16, 1/8)."""
    alone, most = [], []
    for repeat in range(50):
        own = [subset_of(ADDRESSES, client, 8, "random", f"1.{repeat}") for client in range(16)]
        clients = Counter(address for subset in own for address in subset)
        alone.append(64 - len(clients))
        most.append(max(clients.values()))
    assert 6.4 < sum(alone) / 50 < 8.7  # 64 * (7/8)^16 = 7.6, five standard errors of 0.23
    assert 4.5 < sum(most) / 50 < 6.5


def test_only_clients_with_subsets_have_targets_of_their_own() -> None:
    target = ",".join(ADDRESSES)
    everything = ClientSettings(target, None, False, True, 3, 1.0, 0, draw="1.1")
    assert settings_of_client(everything, 3) is everything
    some = settings_of_client(replace(everything, subset_size=8), 3)
    assert some.target.split(",") == subset_of(ADDRESSES, 3, 8, "deterministic", "1.1")


def test_a_subset_larger_than_the_whole_is_refused() -> None:
    with pytest.raises(ValueError, match="a subset of 3 is not possible, expected 1 to 2 replicas"):
        subset_of(ADDRESSES[:2], 0, 3, "random", "1.1")
