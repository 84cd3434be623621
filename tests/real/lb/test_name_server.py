"""The lab's name server, queried by a DNS client and by gRPC's resolver."""

import asyncio
import socket
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import dns.message
import dns.query
import dns.rcode
import pytest
from clients import SETTINGS, calls, run_clients
from replica_process import Server, StartReplica

from harness.proxy.name_server import NAME, NameServer
from lb.client import Client
from lb.policies import service_config


@pytest.fixture
def names() -> Iterator[NameServer]:
    with NameServer() as names:
        yield names


def ask(names: NameServer, name: str = NAME, kind: str = "A") -> dns.message.Message:
    host, port = names.address.split(":")
    return dns.query.udp(dns.message.make_query(name, kind), host, timeout=5, port=int(port))


def addresses(answer: dns.message.Message) -> list[str]:
    return [record.address for rrset in answer.answer for record in rrset]


def test_a_name_resolves_to_the_addresses_published_last(names: NameServer) -> None:
    assert addresses(ask(names)) == []
    names.publish(["127.0.1.1", "127.0.1.2"])
    answer = ask(names)
    assert (addresses(answer), answer.answer[0].ttl) == (["127.0.1.1", "127.0.1.2"], 0)
    names.publish(["127.0.1.3"])
    assert addresses(ask(names, NAME.upper())) == ["127.0.1.3"]
    assert names.queries == 3


def test_a_query_of_another_type_or_name(names: NameServer) -> None:
    names.publish(["127.0.1.1"])
    other, ipv6 = ask(names, "other.lab"), ask(names, kind="AAAA")
    assert (other.rcode(), addresses(other)) == (dns.rcode.NXDOMAIN, [])
    assert (ipv6.rcode(), addresses(ipv6)) == (dns.rcode.NOERROR, [])


def test_a_packet_that_is_no_query_is_ignored(names: NameServer) -> None:
    host, port = names.address.split(":")
    answer = dns.message.make_response(dns.message.make_query(NAME, "A"))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        for data in (b"", b"\0", b"GET / HTTP/1.1\r\n\r\n", answer.to_wire()):
            client.sendto(data, (host, int(port)))
    names.publish(["127.0.1.1"])
    assert addresses(ask(names)) == ["127.0.1.1"]
    assert names.queries == 1


def test_closing_gives_the_port_back() -> None:
    names = NameServer()
    host, port = names.address.split(":")
    names.close()
    names.close()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind((host, int(port)))


def start_three(start_replica: StartReplica) -> tuple[list[Server], str]:
    """Replicas at 127.0.1.1, .2 and .3, all with the same port."""
    first = start_replica("--listen", "127.0.1.1:0")
    port = first.address.rpartition(":")[2]
    return [first, *(start_replica("--listen", f"127.0.1.{host}:{port}") for host in (2, 3))], port


@pytest.mark.alone
def test_grpc_learns_of_a_change_when_a_connection_ends_and_not_before(
    start_replica: StartReplica, names: NameServer
) -> None:
    servers, port = start_three(start_replica)
    names.publish(["127.0.1.1", "127.0.1.2"])
    asked: list[int] = []

    async def script(clients: list[Client]) -> None:
        await clients[0].connect()
        await calls(clients[0], 20)
        names.publish(["127.0.1.1", "127.0.1.2", "127.0.1.3"])
        asked.append(names.queries)
        await asyncio.sleep(0.5)  # ten intervals
        await calls(clients[0], 20)
        asked.append(names.queries)
        servers[1].process.terminate()  # GOAWAY
        until_s = time.monotonic() + 10
        while names.queries == asked[0] and time.monotonic() < until_s:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.2)
        await calls(clients[0], 20)
        asked.append(names.queries)

    settings = replace(SETTINGS, target=f"dns://{names.address}/{NAME}:{port}", dns_interval_ms=50)
    rows, _ = run_clients(settings, 1, script)
    assert asked[0] == asked[1] < asked[2]
    before = {row["replica"] for row in rows[:40]}
    after: list[dict[str, Any]] = rows[40:]
    assert before == {"replica-0", "replica-1"}
    assert {row["replica"] for row in after if row["code"] == "OK"} == {"replica-0", "replica-2"}


@pytest.mark.parametrize("first", [0, 2])
def test_pick_first_takes_the_address_that_was_published_first(
    first: int, start_replica: StartReplica, names: NameServer
) -> None:
    servers, port = start_three(start_replica)
    names.publish([server.address.rpartition(":")[0] for server in (servers[first], *servers)])
    settings = replace(
        SETTINGS, target=f"dns://{names.address}/{NAME}:{port}", service_config=service_config("pick_first")
    )
    rows, _ = run_clients(
        settings, 4, lambda clients: asyncio.gather(*(calls(client, 1) for client in clients))
    )
    assert [row["replica"] for row in rows] == [f"replica-{first}"] * 4


def test_as_many_addresses_as_a_cell_may_have_replicas(
    start_replica: StartReplica, names: NameServer
) -> None:
    server = start_replica("--listen", "127.0.3.250:0")
    port = server.address.rpartition(":")[2]
    others = [f"127.0.{net}.{host}" for net in (1, 2) for host in range(1, 128)]
    names.publish([*others, "127.0.3.250"])
    settings = replace(
        SETTINGS, target=f"dns://{names.address}/{NAME}:{port}", service_config=service_config("pick_first")
    )
    (row,), _ = run_clients(settings, 1, lambda clients: calls(clients[0], 1))
    assert (row["code"], row["replica"]) == ("OK", "replica-0")
