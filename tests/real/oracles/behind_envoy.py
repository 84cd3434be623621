"""Replicas behind an Envoy with one policy, and plain gRPC clients that record which replica answers."""

import asyncio
import itertools
import json
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import uvloop
from envoy_process import EnvoyProcess, endpoints_of, nodes_of, start_envoy_process
from replica_process import Server

from harness.events.context import Endpoint
from harness.fields import PROXY
from harness.proxy.admin import confirm_envoy, confirm_zone_aware
from harness.proxy.render import write_endpoints
from harness.record.access_log import scan_access_log
from harness.spec.arm import Arm
from harness.spec.zones import is_zone_aware, replicas_of_node
from services import video_service_pb2 as pb
from services.video_service_pb2_grpc import VideoServiceStub

Metadata = Sequence[tuple[str, str]]
OWN_CONNECTION = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0)]

_ids = itertools.count()


@dataclass
class Balanced:
    """Replicas and the Envoy at `address` that balances over them. `names`: "host:port" -> replica."""

    envoy: EnvoyProcess
    address: str
    servers: dict[str, Server]
    arm: Arm

    @property
    def names(self) -> dict[str, str]:
        return {server.address: name for name, server in self.servers.items()}

    @property
    def endpoints(self) -> dict[str, Endpoint]:
        """The endpoints of all replicas, as they are at the start."""
        return endpoints_of({name: server.address for name, server in self.servers.items()})

    def publish(self, endpoints: Mapping[str, Endpoint]) -> None:
        """Give Envoy these endpoints."""
        write_endpoints(self.envoy.files, endpoints, self.arm)

    def state(self, replica: str) -> str:
        """Return the replica's state in Envoy; "absent" if Envoy does not have the endpoint."""
        return self.envoy.admin.endpoint_states().get(self.servers[replica].address, "absent")

    def await_state(self, replica: str, state: str) -> None:
        self.envoy.await_true(lambda: self.state(replica) == state)

    def stat(self, name: str) -> int:
        """Return a counter or gauge of the cluster `videos`."""
        text = self.envoy.admin.get(f"/stats?filter=^cluster.videos.{name}$")
        return int(text.rpartition(":")[2])

    def access_log(self, lines: int) -> list[dict[str, Any]]:
        """Wait until Envoy's access log has that many lines, and return it."""
        log = self.envoy.files.access_log
        deadline_s = time.monotonic() + 5
        while (found := log.read_bytes().count(b"\n")) < lines:
            assert time.monotonic() < deadline_s, f"{found} lines of {lines}"
            time.sleep(0.02)
        if self.arm.route == "envoy":
            return scan_access_log(log).collect().to_dicts()
        return [json.loads(line) for line in log.read_text().splitlines()]


class Answer(NamedTuple):
    """One call. `replica`: "" if none answered; `code`: gRPC's name; `headers`: the initial metadata."""

    replica: str
    code: str
    headers: Sequence[tuple[str, str]]

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key == name), None)


StartBalanced = Callable[..., Balanced]


def start_balanced(folder: Path, arm: Arm, servers: dict[str, Server], node: str = PROXY) -> Balanced:
    """Start a node of `arm`; return when its replicas are healthy and its configuration is confirmed."""
    addresses = {name: server.address for name, server in servers.items()}
    envoy = start_envoy_process(folder, arm, addresses, node=node)
    known = replicas_of_node(arm, servers, node)
    try:
        envoy.await_true(lambda: list(envoy.admin.endpoint_health().values()) == [True] * len(known))
        confirm_envoy(envoy.admin, envoy.files.config, addresses, arm, node)
        if is_zone_aware(arm):
            confirm_zone_aware(envoy.admin, arm, node, nodes_of(arm))
        return Balanced(envoy, envoy.admin.listener_address(), servers, arm)
    except BaseException:
        envoy.stop()
        raise


@asynccontextmanager
async def connection(target: str) -> AsyncIterator[VideoServiceStub]:
    """Yield a stub with its own TCP connection."""
    async with grpc.aio.insecure_channel(target, options=OWN_CONNECTION) as channel:
        yield VideoServiceStub(channel)


async def call(stub: VideoServiceStub, metadata: Metadata = ()) -> Answer:
    """Make one unary call."""
    request = stub.AddVideo(
        pb.Video(id=f"oracle-{next(_ids)}", title="Oracle"), metadata=tuple(metadata), timeout=20
    )
    code = await request.code()
    headers = tuple(await request.initial_metadata() or ())
    answer = Answer("", code.name, headers)
    return answer._replace(replica=answer.header("x-lab-replica") or "")


async def calls(stub: VideoServiceStub, metadata: Iterable[Metadata], at_once: int = 1) -> list[Answer]:
    """Make one call for each entry, `at_once` at a time; return the answers in the order of the calls."""
    todo = enumerate(metadata)
    answers: dict[int, Answer] = {}

    async def caller() -> None:
        for number, entry in todo:
            answers[number] = await call(stub, entry)

    await asyncio.gather(*(caller() for _ in range(at_once)))
    return [answers[number] for number in sorted(answers)]


def on_one_connection(target: str, metadata: Iterable[Metadata], at_once: int = 1) -> list[Answer]:
    """Make the calls of `calls` over one new connection."""

    async def make_calls() -> list[Answer]:
        async with connection(target) as stub:
            return await calls(stub, metadata, at_once)

    return uvloop.run(make_calls())


def sessions(count: int) -> list[Metadata]:
    """Return the metadata of `count` calls, each of another session."""
    return [session(number) for number in range(count)]


def session(number: int) -> Metadata:
    return (("x-lab-session", f"{number}.0"),)
