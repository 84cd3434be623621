"""The simulator's hash tables against the real Envoy: every key goes to the same replica."""

from typing import Any

import numpy as np
import pytest
from behind_envoy import StartBalanced, on_one_connection, sessions

from simulator.hashing import build_maglev, build_ring, hash_keys, ring_hosts

KEYS = 500


@pytest.mark.parametrize(
    ("policy", "options"),
    [
        ("maglev", {}),
        ("maglev", {"table_size": 13}),
        ("ring_hash", {}),
        ("ring_hash", {"min_ring_size": 100, "max_ring_size": 100}),
        ("ring_hash", {"min_ring_size": 4, "max_ring_size": 4}),
    ],
)
def test_every_key_goes_where_envoy_sends_it(
    policy: str, options: dict[str, Any], balanced: StartBalanced
) -> None:
    live = balanced(policy, options)
    keys = sessions(KEYS)
    answers = on_one_connection(live.address, keys, at_once=8)
    addresses = list(live.names)
    hashes = hash_keys([key for ((_, key),) in keys])
    if policy == "maglev":
        size = options.get("table_size", 65_537)
        expected = build_maglev(addresses, size)[hashes % np.uint64(size)]
    else:
        ring = build_ring(
            addresses, options.get("min_ring_size", 1024), options.get("max_ring_size", 8_388_608)
        )
        expected = ring_hosts(ring, hashes)
    assert [answer.replica for answer in answers] == [live.names[addresses[host]] for host in expected]
