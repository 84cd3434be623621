"""The hashes and tables with which Envoy and gRPC send a key to a replica: xxHash64, the ring and Maglev.

Sources: Envoy 1.40, ring_hash_lb.cc, maglev_lb.cc and thread_aware_lb_impl.cc; gRFC A42 (gRPC's ring is the
same); https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md; D. Eisenbud et al., "Maglev: A Fast and
Reliable Software Network Load Balancer", NSDI 2016; V. Mirrokni et al., "Consistent Hashing with Bounded
Loads", arXiv 1608.01350.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from simulator.compiled import compiled, whole

Hashes = npt.NDArray[np.uint64]
Indexes = npt.NDArray[np.int32]

_PRIME_1 = np.uint64(0x9E3779B185EBCA87)
_PRIME_2 = np.uint64(0xC2B2AE3D27D4EB4F)
_PRIME_3 = np.uint64(0x165667B19E3779F9)
_PRIME_4 = np.uint64(0x85EBCA77C2B2AE63)
_PRIME_5 = np.uint64(0x27D4EB2F165667C5)


def hash_keys(keys: Sequence[str], seed: int = 0) -> Hashes:
    """Return the xxHash64 of each key's UTF-8 text, (len(keys),)."""
    texts = [key.encode() for key in keys]
    ends = np.cumsum([len(text) for text in texts], dtype=np.int64)
    data = np.frombuffer(b"".join(texts), np.uint8)
    return _hash_all(data, ends, np.uint64(seed))


@compiled
def _hash_all(data: npt.NDArray[np.uint8], ends: npt.NDArray[np.int64], seed: Any) -> Hashes:
    hashes = np.empty(len(ends), np.uint64)
    start = 0
    for number in range(len(ends)):
        hashes[number] = _xxhash64(data[start : ends[number]], seed)
        start = ends[number]
    return hashes


@compiled
def _rotated(value: Any, bits: int) -> Any:
    return (value << np.uint64(bits)) | (value >> np.uint64(64 - bits))


@compiled
def _number(data: npt.NDArray[np.uint8], place: int, size: int) -> Any:
    """Return `size` bytes from `place` as a little-endian number."""
    value = np.uint64(0)
    for byte in range(size):
        value |= np.uint64(data[place + byte]) << np.uint64(8 * byte)
    return value


@compiled
def _round(lane: Any, value: Any) -> Any:
    return _rotated(lane + value * _PRIME_2, 31) * _PRIME_1


@compiled
def _xxhash64(data: npt.NDArray[np.uint8], seed: Any) -> Any:
    size, place = len(data), 0
    if size >= 32:
        lanes = np.array([seed + _PRIME_1 + _PRIME_2, seed + _PRIME_2, seed, seed - _PRIME_1], np.uint64)
        while place + 32 <= size:
            for lane in range(4):
                lanes[lane] = _round(lanes[lane], _number(data, place + 8 * lane, 8))
            place += 32
        value = (
            _rotated(lanes[0], 1) + _rotated(lanes[1], 7) + _rotated(lanes[2], 12) + _rotated(lanes[3], 18)
        )
        for lane in range(4):
            value = (value ^ _round(np.uint64(0), lanes[lane])) * _PRIME_1 + _PRIME_4
    else:
        value = seed + _PRIME_5
    value += np.uint64(size)
    while place + 8 <= size:
        value = _rotated(value ^ _round(np.uint64(0), _number(data, place, 8)), 27) * _PRIME_1 + _PRIME_4
        place += 8
    if place + 4 <= size:
        value = _rotated(value ^ (_number(data, place, 4) * _PRIME_1), 23) * _PRIME_2 + _PRIME_3
        place += 4
    while place < size:
        value = _rotated(value ^ (np.uint64(data[place]) * _PRIME_5), 11) * _PRIME_1
        place += 1
    value = (value ^ (value >> np.uint64(33))) * _PRIME_2
    value = (value ^ (value >> np.uint64(29))) * _PRIME_3
    return value ^ (value >> np.uint64(32))


def points_per_host(hosts: int, min_size: int, max_size: int) -> list[int]:
    """Return how many points each of `hosts` equal hosts has on a ring."""
    weight = 1 / hosts
    scale = min(math.ceil(weight * min_size) / weight, float(max_size))
    points, made, wanted = [], 0, 0.0
    for _ in range(hosts):
        wanted += scale * weight
        own = max(0, math.ceil(wanted - made))
        points.append(own)
        made += own
    return points


def ring_hashes(address: str, points: int) -> Hashes:
    """Return the hashes of a host's points: of "host:port_0", "host:port_1", ..."""
    return hash_keys([f"{address}_{number}" for number in range(points)])


def build_ring(addresses: Sequence[str], min_size: int, max_size: int) -> tuple[Hashes, Indexes]:
    """Return the ring of equal hosts: its points in ascending order, and the host (index) of each."""
    points = points_per_host(len(addresses), min_size, max_size)
    own = [ring_hashes(address, count) for address, count in zip(addresses, points, strict=True)]
    hashes = np.concatenate(own)
    order = np.argsort(hashes, kind="stable")
    hosts = np.repeat(np.arange(len(addresses), dtype=np.int32), points)
    return hashes[order], hosts[order]


def ring_hosts(ring: tuple[Hashes, Indexes], keys: Hashes) -> Indexes:
    """Return the host of each key: that of the first point at or after the key, else of the first point."""
    hashes, hosts = ring
    return hosts[np.searchsorted(hashes, keys, side="left") % len(hashes)]


def maglev_order(addresses: Sequence[str]) -> Indexes:
    """Return the order in which Maglev deals out its slots: by address, as text."""
    return np.array(sorted(range(len(addresses)), key=lambda host: addresses[host].encode()), np.int32)


def maglev_steps(addresses: Sequence[str], size: int) -> tuple[Hashes, Hashes]:
    """Return each host's first slot of a table of `size` slots, and its step from slot to slot."""
    offsets = hash_keys(addresses) % np.uint64(size)
    steps = hash_keys(addresses, seed=1) % np.uint64(size - 1) + np.uint64(1)
    return offsets, steps


def build_maglev(addresses: Sequence[str], size: int) -> Indexes:
    """Return the table of equal hosts: slot -> host (index). `size`: a prime number."""
    order = maglev_order(addresses)
    offsets, steps = maglev_steps(addresses, size)
    return fill_maglev(order, offsets, steps, size)


@compiled
def fill_maglev(order: Indexes, offsets: Hashes, steps: Hashes, size: int) -> Indexes:
    """Let the hosts take slots in turn, each the next free one of its own permutation.

    order: the hosts that take part, in their order. offsets, steps: of all hosts.
    """
    table = np.full(size, -1, np.int32)
    tried = np.zeros(len(offsets), np.uint64)
    slots = np.uint64(size)
    taken = 0
    while taken < size:
        for host in order:
            if taken == size:
                break
            slot = (offsets[host] + steps[host] * tried[host]) % slots
            while table[slot] != -1:
                tried[host] += np.uint64(1)
                slot = (offsets[host] + steps[host] * tried[host]) % slots
            table[slot] = host
            tried[host] += np.uint64(1)
            taken += 1
    return table


@compiled
def overflow_order(key: Any, hosts: int) -> Indexes:
    """Return the order in which bounded load tries the hosts when the own host of a key (a hash) is full.

    The shuffle is Envoy's: seeded with the key, and so the same each time.
    """
    numbers = _mersenne_twister(key & np.uint64(0xFFFF_FFFF))
    order = np.arange(hosts).astype(np.int32)
    used = 0
    for place in range(hosts):
        left = hosts - place
        chosen = left
        while chosen >= left:
            chosen = whole(numbers[used]) // (2**32 // left)
            used += 1
        other = order[place + chosen]
        order[place + chosen] = order[place]
        order[place] = other
    return order


@compiled
def _mersenne_twister(seed: Any) -> Hashes:
    """Return the first 397 numbers of std::mt19937 with this seed, more than a fleet of 256 needs.

    Source: M. Matsumoto, T. Nishimura, "Mersenne Twister", ACM TOMACS 8 (1998), and its mt19937ar.c.
    """
    low32 = np.uint64(0xFFFF_FFFF)
    words = np.empty(624, np.uint64)
    words[0] = seed
    for place in range(1, 624):
        before = words[place - 1]
        before ^= before >> np.uint64(30)
        words[place] = (np.uint64(1_812_433_253) * before + np.uint64(place)) & low32
    numbers = np.empty(397, np.uint64)
    for place in range(397):
        mixed = (words[place] & np.uint64(0x8000_0000)) | (words[place + 1] & np.uint64(0x7FFF_FFFF))
        other = words[place + 397] if place < 227 else words[place - 227]
        words[place] = other ^ (mixed >> np.uint64(1)) ^ (mixed & np.uint64(1)) * np.uint64(0x9908_B0DF)
    for place in range(397):
        value = words[place]
        value ^= value >> np.uint64(11)
        value ^= (value << np.uint64(7)) & np.uint64(0x9D2C_5680)
        value ^= (value << np.uint64(15)) & np.uint64(0xEFC6_0000)
        numbers[place] = value ^ (value >> np.uint64(18))
    return numbers
