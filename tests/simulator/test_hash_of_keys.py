"""The hash tables: known values, evenness, and how many keys a change moves."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.hashing import build_maglev, build_ring, hash_keys, overflow_order, ring_hosts
from tests.unit.thorough import examples

ADDRESSES = [f"127.0.0.1:{40_000 + 7 * number}" for number in range(5)]
KEYS = hash_keys([f"{client}.0" for client in range(20_000)])


# From the test vectors and the documentation of xxHash: empty, short, and more than one stripe of 32 bytes.
@pytest.mark.parametrize(
    ("text", "seed", "expected"),
    [
        ("", 0, 0xEF46DB3751D8E999),
        ("a", 0, 0xD24EC4F1A98C6E5B),
        ("abc", 0, 0x44BC2CF5AD770999),
        ("Nobody inspects the spammish repetition", 0, 0xFBCEA83C8A378BF1),
    ],
)
def test_xxhash64_has_the_published_values(text: str, seed: int, expected: int) -> None:
    assert int(hash_keys([text], seed)[0]) == expected


@settings(max_examples=examples(50), deadline=None)
@given(hosts=st.integers(2, 40), size=st.sampled_from([251, 1009, 65_537]))
def test_maglev_is_even_to_within_a_slot(hosts: int, size: int) -> None:
    """Eisenbud et al., section 3.4: hosts take turns, so their shares differ by one slot at most."""
    table = build_maglev([f"10.0.{number}.1:80" for number in range(hosts)], size)
    slots = np.bincount(table, minlength=hosts)
    assert slots.sum() == size
    assert slots.max() - slots.min() <= 1


@settings(max_examples=examples(20), deadline=None)
@given(order=st.permutations(range(5)))
def test_the_order_of_hosts_changes_no_key_in_maglev(order: list[int]) -> None:
    table = build_maglev(ADDRESSES, 65_537)
    shuffled = build_maglev([ADDRESSES[host] for host in order], 65_537)
    assert (np.array(order)[shuffled] == table).all()


def test_a_ring_is_less_even_than_maglev() -> None:
    """With n points a host, a share's coefficient of variation is about 1 / sqrt(n) (consistent hashing)."""
    on_ring = np.bincount(ring_hosts(build_ring(ADDRESSES, 1024, 4096), KEYS), minlength=5) / len(KEYS)
    in_table = np.bincount(build_maglev(ADDRESSES, 65_537)[KEYS % np.uint64(65_537)], minlength=5) / len(KEYS)
    spread_of_ring, spread_of_table = np.std(on_ring) * 5, np.std(in_table) * 5
    assert spread_of_table < 0.03
    assert 0.2 / np.sqrt(1024 / 5) < spread_of_ring < 3 / np.sqrt(1024 / 5)
    assert spread_of_ring > spread_of_table


@pytest.mark.parametrize("lost", range(5))
def test_a_lost_host_moves_its_own_keys_and_few_others(lost: int) -> None:
    rest = [address for number, address in enumerate(ADDRESSES) if number != lost]
    kept = np.array([number for number in range(5) if number != lost])
    before = ring_hosts(build_ring(ADDRESSES, 1000, 4096), KEYS)
    after = kept[ring_hosts(build_ring(rest, 800, 4096), KEYS)]
    # With as many points for each host as before, only keys of the lost host move.
    assert (before[before != after] == lost).all()
    before = build_maglev(ADDRESSES, 65_537)[KEYS % np.uint64(65_537)]
    after = kept[build_maglev(rest, 65_537)[KEYS % np.uint64(65_537)]]
    needed, moved = np.mean(before == lost), np.mean(before != after)
    # Eisenbud et al., section 5.3: in a table of 65,537 slots few entries of other hosts change.
    assert needed <= moved <= needed + 0.03


@settings(max_examples=examples(50), deadline=None)
@given(key=st.integers(0, 2**64 - 1), hosts=st.integers(1, 256))
def test_bounded_load_shuffles_the_hosts_with_the_mersenne_twister(key: int, hosts: int) -> None:
    order = list(range(hosts))
    generator = np.random.RandomState(key & 0xFFFF_FFFF)  # the same generator as std::mt19937
    for place in range(hosts):
        left = hosts - place
        chosen = left
        while chosen >= left:
            chosen = int(generator.randint(0, 2**32, dtype=np.uint64)) // (2**32 // left)
        order[place], order[place + chosen] = order[place + chosen], order[place]
    assert list(overflow_order(np.uint64(key), hosts)) == order
