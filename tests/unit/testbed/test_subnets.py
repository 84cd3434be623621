"""Subnets that the lab's networks may have, next to the routes of this machine."""

import random
import stat
from ipaddress import IPv4Network
from pathlib import Path

import pytest

from harness.testbed.docker.subnets import free_subnets, host_routes, routes_of_ip, routes_of_proc

VPN = IPv4Network("10.128.0.0/9")


def networks(*texts: str) -> list[IPv4Network]:
    return [IPv4Network(text) for text in texts]


def test_a_subnet_that_a_vpn_routes_is_not_taken() -> None:
    found = list(free_subnets([VPN], random.Random(1)))
    assert len(set(found)) > 1000
    assert not any(subnet.overlaps(VPN) for subnet in found)
    assert all(subnet.is_private and subnet.prefixlen == 22 for subnet in found)
    # The lab's own range first: 10.100 up to where the VPN begins.
    assert all(subnet.subnet_of(IPv4Network("10.64.0.0/10")) for subnet in found[: 28 * 64])


@pytest.mark.parametrize("route", ["0.0.0.0/0", "0.0.0.0/1", "128.0.0.0/1"])
def test_a_default_route_does_not_count(route: str) -> None:
    first = next(free_subnets(networks(route), random.Random(1)))
    assert first.subnet_of(IPv4Network("10.0.0.0/8"))


def test_a_route_within_a_subnet_counts() -> None:
    assert IPv4Network("10.100.0.0/22") in free_subnets([], random.Random(1))
    found = set(free_subnets(networks("10.100.3.7/32"), random.Random(1)))
    assert IPv4Network("10.100.0.0/22") not in found
    assert IPv4Network("10.100.4.0/22") in found


def test_with_all_of_ten_routed_it_is_another_private_network() -> None:
    found = next(free_subnets(networks("10.0.0.0/8"), random.Random(1)))
    assert any(found.subnet_of(other) for other in networks("172.16.0.0/12", "192.168.0.0/16"))


def test_with_all_routed_there_is_none() -> None:
    everything = networks("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")
    assert list(free_subnets(everything, random.Random(1))) == []


def test_two_runs_do_not_try_the_same_ones() -> None:
    assert next(free_subnets([], random.Random(1))) != next(free_subnets([], random.Random(2)))


def test_what_ip_tells() -> None:
    text = (
        '[{"dst":"default","gateway":"192.0.2.1","dev":"eth0","flags":[]},{"dst":"10.8.0.0/16","dev":"tun0",'
        '"table":"51820"},{"type":"local","dst":"10.9.0.1","dev":"wg0","table":"local"}]'
    )
    assert routes_of_ip(text) == networks("0.0.0.0/0", "10.8.0.0/16", "10.9.0.1/32")


def test_what_the_kernel_tells() -> None:
    text = (
        "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n"
        "eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"
        "tun0\t0000080A\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n"
    )
    assert routes_of_proc(text) == networks("0.0.0.0/0", "10.8.0.0/16")


@pytest.mark.parametrize("script", [None, "echo nonsense", "exit 1", "exec sleep 60"])
def test_the_main_table_is_read_where_ip_says_nothing(
    script: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if script is not None:
        ip = tmp_path / "ip"
        ip.write_text(f"#!/bin/sh\n{script}\n")
        ip.chmod(ip.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin" if script else str(tmp_path))
    monkeypatch.setattr("harness.testbed.docker.subnets.IP_TIMEOUT_S", 0.2)
    assert host_routes() == routes_of_proc(Path("/proc/net/route").read_text())
