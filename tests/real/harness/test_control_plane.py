"""The lab's control plane, asked by hand by aggregated discovery (ADS), and a whole run with it."""

import json
import queue
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest
from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.endpoint.v3.endpoint_pb2 import ClusterLoadAssignment
from envoy.service.discovery.v3 import ads_pb2_grpc
from envoy.service.discovery.v3.discovery_pb2 import DiscoveryRequest, DiscoveryResponse
from google.rpc.status_pb2 import Status
from lab_process import StartLab, experiment_file

from harness.proxy.control_plane import ENDPOINTS, ControlPlane

CLUSTERS = "type.googleapis.com/envoy.config.cluster.v3.Cluster"
TIMEOUT_S = 5


class Subscriber:
    """One client of the control plane at `address`."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._requests: queue.SimpleQueue[DiscoveryRequest | None] = queue.SimpleQueue()
        stub = ads_pb2_grpc.AggregatedDiscoveryServiceStub(channel)
        self._responses = stub.StreamAggregatedResources(iter(self._requests.get, None), timeout=TIMEOUT_S)

    def send(self, kind: str, *names: str, of: DiscoveryResponse | None = None, refuse: str = "") -> None:
        """Subscribe to the names; `of`: accept that response, or refuse it with these words."""
        request = DiscoveryRequest(type_url=kind, resource_names=names)
        if of is not None:
            request.response_nonce = of.nonce
            request.version_info = "" if refuse else of.version_info
        if refuse:
            request.error_detail.CopyFrom(Status(code=3, message=refuse))
        self._requests.put(request)

    def next(self) -> DiscoveryResponse:
        return next(self._responses)

    def end(self) -> None:
        self._requests.put(None)
        assert next(self._responses, None) is None


@pytest.fixture
def plane() -> Iterator[ControlPlane]:
    with ControlPlane() as plane:
        plane.publish([Cluster(name="a"), Cluster(name="b")])
        plane.publish([ClusterLoadAssignment(cluster_name="a")])
        yield plane


@pytest.fixture
def subscribe(plane: ControlPlane) -> Iterator[Callable[[], Subscriber]]:
    with grpc.insecure_channel(plane.address, options=[("grpc.enable_http_proxy", 0)]) as channel:
        yield lambda: Subscriber(channel)


def names(response: DiscoveryResponse) -> set[str]:
    return {Cluster.FromString(one.value).name for one in response.resources}


def test_a_client_gets_what_it_asks_for_and_every_change(
    plane: ControlPlane, subscribe: Callable[[], Subscriber]
) -> None:
    client = subscribe()
    client.send(CLUSTERS, "a", "nobody")
    first = client.next()
    assert (first.type_url, names(first), first.version_info) == (CLUSTERS, {"a"}, "1")
    client.send(CLUSTERS, "a", "nobody", of=first)
    client.send(CLUSTERS, "a", "b", of=first)  # one name more: it is answered at once
    second = client.next()
    assert (names(second), second.version_info) == ({"a", "b"}, "1")
    client.send(CLUSTERS, "a", of=first)  # of an older response: it changes nothing
    client.send(ENDPOINTS, "a")
    assert client.next().type_url == ENDPOINTS
    plane.publish([Cluster(name="b")])
    third = client.next()
    assert (names(third), third.version_info) == ({"b"}, "2")
    assert len({first.nonce, second.nonce, third.nonce}) == 3
    client.end()


def test_endpoints_count_as_accepted_when_every_client_says_so(
    plane: ControlPlane, subscribe: Callable[[], Subscriber]
) -> None:
    clients = [subscribe(), subscribe()]
    for client in clients:
        client.send(ENDPOINTS, "a")
    first, second = (client.next() for client in clients)
    assert not plane.accepted()
    clients[0].send(ENDPOINTS, "a", of=first)
    clients[1].send(ENDPOINTS, "a", of=second)
    for client in clients:  # answered after what was sent before
        client.send(CLUSTERS, "a")
        client.next()
    assert plane.accepted()
    plane.publish([ClusterLoadAssignment(cluster_name="a")])
    assert not plane.accepted()
    newest = [client.next() for client in clients]
    clients[0].send(ENDPOINTS, "a", of=newest[0], refuse="no port")
    clients[0].send(CLUSTERS, "a", "b")
    clients[0].next()
    assert not plane.accepted()
    assert plane.refusals == ["no port"]
    for client in clients:
        client.end()
    assert plane.accepted(), "nobody is left to accept them"


def test_it_listens_on_loopback_only(plane: ControlPlane) -> None:
    host, _, port = plane.address.rpartition(":")
    assert host == "127.0.0.1"
    with socket.socket() as probe:
        probe.bind(("127.0.0.2", int(port)))  # free on every other address


def test_events_reach_the_clients_and_the_record_says_when(tmp_path: Path, start_lab: StartLab) -> None:
    path = experiment_file(
        tmp_path,
        workload={"duration_s": 2.2},
        arms={
            "turns": {"route": "xds", "policy": "round_robin"},
            "retried": {
                "route": "xds",
                "policy": "sticky",
                "retries": {"by": "client", "attempts": 3, "backoff_ms": 20.0},
                "events": [{"at_s": 0.4, "do": "weight", "target": "replica-0", "weight": 3}],
            },
        },
        events=[
            {"at_s": 0.3, "do": "add"},
            {"at_s": 1.0, "do": "drain", "target": "replica-0", "delay_s": 0.2},
            {"at_s": 1.6, "do": "kill", "target": "replica-1"},
        ],
    )
    lab = start_lab("run", path, "--redo", 0)
    status, out, err = lab.end()
    assert status == 0, (out, err)
    cell = lab.cell("turns")
    lines = [json.loads(line) for line in (cell / "events.jsonl").read_text().splitlines()]
    seen = [(one["number"], one["seen"]) for one in lines if one["event"] == "took_effect"]
    accepted = "clients: endpoints accepted"
    assert [number for number, what in seen if what == accepted] == [1, 2, 2]  # drained, then removed
    assert {what for number, what in seen if number == 3} == {"process ended"}  # nobody announces a crash
    told = {one["do"]: one["notification"] for one in lines if one["event"] == "asked"}
    assert told["add"] == "clients: the control plane (EDS)"
    rows = lab.rows("turns")
    accepted_ns = {one["number"]: one["t_ns"] for one in lines if one.get("seen") == accepted}
    late = set(rows.filter(rows["sent_ns"] > accepted_ns[2] + 100_000_000)["replica"])
    assert "replica-0" not in late
    assert "replica-3" in late
    endpoints = json.loads((cell / "xds" / "endpoints.json").read_text())
    assert len(endpoints["endpoints"][0]["lb_endpoints"]) == 3
    assert {line.split(",")[1] for line in (cell / "usage.csv").read_text().splitlines()[1:]} == {
        *("load", "replica-0", "replica-1", "replica-2", "replica-3")
    }
    summary = json.loads((lab.run / "summary.json").read_text())
    assert summary["arms"]["turns"]["cpu"]["proxy_us_per_request"] == 0
    assert summary["arms"]["turns"]["cpu"]["all_us_per_request"] > 0
