"""Subnets for the lab's networks that this machine has no route to yet, such as one of a VPN."""

import json
import random
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv4Network, summarize_address_range
from pathlib import Path

PREFIX = 22  # of the lab's networks: some thousand addresses
ADDRESSES = 2 ** (32 - PREFIX)
# Private addresses (RFC 1918). The first ones are seldom used elsewhere, so they come first.
POOLS: tuple[tuple[IPv4Network, ...], ...] = (
    tuple(summarize_address_range(IPv4Address("10.100.0.0"), IPv4Address("10.255.255.255"))),
    (IPv4Network("10.0.0.0/8"), IPv4Network("172.16.0.0/12"), IPv4Network("192.168.0.0/16")),
)
# 0.0.0.0/0 is the default route. A VPN that takes all traffic has the two halves instead, 0.0.0.0/1 and
# 128.0.0.0/1. A network of the lab has a longer prefix, so it takes nothing away from the rest of them.
DEFAULT_PREFIX = 1
IP_TIMEOUT_S = 2.0


def free_subnets(routes: Iterable[IPv4Network], chance: random.Random) -> Iterator[IPv4Network]:
    """Yield the subnets that overlap none of `routes`, in an order drawn from `chance`, best pool first.

    Default routes do not count.
    """
    taken = [route for route in routes if route.prefixlen > DEFAULT_PREFIX]
    for pool in POOLS:
        first = [
            address
            for block in pool
            for address in range(int(block.network_address), int(block.broadcast_address), ADDRESSES)
        ]
        chance.shuffle(first)
        subnets = (IPv4Network((address, PREFIX)) for address in first)
        yield from (subnet for subnet in subnets if not any(subnet.overlaps(route) for route in taken))


def host_routes() -> list[IPv4Network]:
    """Return the destinations of this machine's IPv4 routes: of all routing tables if `ip` can be asked."""
    if ip := shutil.which("ip"):
        words = [ip, "-4", "-json", "route", "show", "table", "all"]
        try:
            told = subprocess.run(  # noqa: S603 - fixed words
                words, capture_output=True, text=True, timeout=IP_TIMEOUT_S, check=True
            )
            return routes_of_ip(told.stdout)
        except (subprocess.SubprocessError, ValueError, OSError):
            pass  # another program of that name, or one too old
    try:
        return routes_of_proc(Path("/proc/net/route").read_text())
    except OSError:  # no Linux: the engine is in a virtual machine with routes of its own
        return []


def routes_of_ip(text: str) -> list[IPv4Network]:
    """Return the destinations in the output of `ip -4 -json route`. Raises ValueError for other text."""
    destinations = [route["dst"] for route in json.loads(text)]
    return [IPv4Network("0.0.0.0/0" if each == "default" else each) for each in destinations]


def routes_of_proc(text: str) -> list[IPv4Network]:
    """Return the destinations in the content of /proc/net/route, which has the main table only."""
    rows = [line.split() for line in text.splitlines()[1:]]
    return [IPv4Network((_number(row[1]), str(IPv4Address(_number(row[7]))))) for row in rows]


def _number(word: str) -> int:
    """Return an address as the kernel writes it: hexadecimal, its bytes in the machine's order."""
    return int.from_bytes(int(word, 16).to_bytes(4, sys.byteorder), "big")
