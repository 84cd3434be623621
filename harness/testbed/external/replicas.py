"""Replicas that the lab did not start: finds their names and fetches their ledgers over gRPC."""

from __future__ import annotations

import csv
import socket
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import grpc

from harness.errors import UserError
from harness.record.tables import REPLICA_COLUMNS
from lb.target import resolver_target, split_address
from services import lab_control_pb2 as lab
from services import video_service_pb2 as pb
from services.lab_control_pb2_grpc import LabControlStub
from services.video_service_pb2_grpc import VideoServiceStub

TIMEOUT_S = 5.0
LEDGER_TIMEOUT_S = 60.0
QUIET_TIMEOUT_S = 2.0  # for the end, in the replicas, of calls that the clients have cancelled
POLL_S = 0.02
PROBES_PER_REPLICA = 16  # with four replicas, random picks miss one of them with probability 4e-8
OPTIONS = [("grpc.enable_http_proxy", 0), ("grpc.use_local_subchannel_pool", 1)]


@dataclass(frozen=True)
class Target:
    """A load balancer at `address` ("host:port,...").

    `authority`: with TLS, the PEM text of the trusted CA certificates; None: those that come with gRPC.
    """

    address: str
    tls: bool = False
    authority: str | None = None

    def channel(self) -> grpc.Channel:
        """Return a channel with its own connection."""
        name = resolver_target(self.address)
        if not self.tls:
            return grpc.insecure_channel(name, OPTIONS)
        trusted = None if self.authority is None else self.authority.encode("ascii")
        return grpc.secure_channel(name, grpc.ssl_channel_credentials(trusted), OPTIONS)


def name_of_lab_replica(target: Target, number: int) -> str:
    """Return the replica of this lab that answers a call. Raises UserError if the servers are others."""
    metadata = (("x-lab-session", f"probe-{time.time_ns()}-{number}"),)
    with target.channel() as channel:
        stub: Any = VideoServiceStub(channel)  # type: ignore[no-untyped-call]
        call = stub.ListVideos(pb.ListVideosRequest(limit=1), metadata=metadata, timeout=TIMEOUT_S)
        try:
            headers = dict(call.initial_metadata())
            deque(call, maxlen=0)
        except grpc.RpcError as error:
            raise UserError(f"--target {target.address}: {failure(error)}{hint(target, error)}") from error
    name = headers.get("x-lab-replica")
    if not name:
        raise UserError(
            f"--target {target.address}: the answer has no replica name (header x-lab-replica); "
            "expected replicas of this lab, and a load balancer that forwards their headers"
        )
    return str(name)


def replica_names_behind(
    target: Target, replicas: int, ask: Callable[[Target, int], str] = name_of_lab_replica
) -> list[str]:
    """Return the sorted names of the replicas behind a load balancer.

    ask(target, number): makes one call with a connection and session of its own, and returns who answered.
    Raises UserError when a call fails, and when the number of replicas seems not to be `replicas`.
    """
    names: set[str] = set()
    for number in range(PROBES_PER_REPLICA * replicas):
        names.add(ask(target, number))
        # A few calls more than needed find a replica too many, if the policy is round robin.
        if len(names) > replicas or (len(names) == replicas and number >= 2 * replicas):
            break
    if len(names) != replicas:
        found = f"{len(names)} replicas answered ({', '.join(sorted(names))})"
        raise UserError(
            f"--target {target.address}: {found}, the experiment has {replicas}; start as many, run it "
            f"with --replicas {len(names)}, or name each with --replica"
        )
    return sorted(names)


def confirm_named(target: Target, named: Sequence[str]) -> None:
    """Make one call through a load balancer. Raises UserError if none of the replicas `named` answers."""
    name = name_of_lab_replica(target, 0)
    if name not in named:
        raise UserError(
            f"--replica: {name} answers behind --target and is none of those named ({', '.join(named)}); "
            "name all replicas behind --target"
        )


def failure(error: Any) -> str:
    """Return how a call ended, in words."""
    return f"a call ended with {error.code().name} ({' '.join(str(error.details()).split())[:300]})"


def hint(target: Target, error: Any) -> str:
    """Return what may help with a call that ended so; "" if nothing is known."""
    if error.code() is not grpc.StatusCode.UNAVAILABLE:
        return ""
    return "; if it speaks TLS, add --tls" if not target.tls else "; check that --ca signed its certificate"


class Calls(NamedTuple):
    """What a replica has done so far: its finished calls, and where its ledger ends."""

    done: int
    ledger_end: int


class ExternalReplicas:
    """Calls replicas at `addresses` ("host:port" each) in clear text. Always close it."""

    def __init__(self, addresses: Sequence[str]) -> None:
        self._channels = [grpc.insecure_channel(resolver_target(one), OPTIONS) for one in addresses]
        stubs = [LabControlStub(channel) for channel in self._channels]  # type: ignore[no-untyped-call]
        self._stubs: dict[str, Any] = {}
        self.addresses: dict[str, str] = {}
        for address, stub in zip(addresses, stubs, strict=True):
            name = _identity(address, stub).name
            if name in self._stubs:
                twin = f"has the name {name}, like {self.addresses[name]}"
                raise UserError(f"--replica {address}: {twin}; start each replica with its own --name")
            self._stubs[name], self.addresses[name] = stub, ipv4_of(address)

    def so_far(self) -> dict[str, Calls]:
        """Return name -> its calls until now. Wait up to QUIET_TIMEOUT_S until no call is in flight."""
        deadline_s = time.monotonic() + QUIET_TIMEOUT_S
        while True:
            found = {name: _identity(self.addresses[name], stub) for name, stub in self._stubs.items()}
            quiet = all(one.calls_started == one.calls_done for one in found.values())
            if quiet or time.monotonic() > deadline_s:
                return {name: Calls(one.calls_done, one.ledger_end) for name, one in found.items()}
            time.sleep(POLL_S)

    def write_ledgers(self, folder: Path, before: Mapping[str, Calls]) -> None:
        """Write `folder`/NAME.csv for each replica: the rows of the calls after those `before`[NAME].

        The times in the rows count from that replica's own epoch. Raises UserError if a replica does not
        answer.
        """
        now = self.so_far()
        for name, stub in self._stubs.items():
            new = now[name].done - before[name].done
            if new < 0:
                raise UserError(f"--replica {self.addresses[name]}: it was restarted during the cell")
            request = lab.GetLedgerRequest(after=before[name].ledger_end)
            rows = stub.GetLedger(request, timeout=LEDGER_TIMEOUT_S)
            try:
                # A replica of an earlier version sends its whole ledger.
                last = deque(rows, maxlen=new)
            except grpc.RpcError as error:
                raise UserError(f"--replica {self.addresses[name]}: {failure(error)}") from error
            with (folder / f"{name}.csv").open("w", newline="") as file:
                table = csv.writer(file, lineterminator="\n")
                table.writerow(REPLICA_COLUMNS)
                table.writerows([getattr(row, column) for column in REPLICA_COLUMNS] for row in last)

    def close(self) -> None:
        """Close the connections."""
        for channel in self._channels:
            channel.close()


def _identity(address: str, stub: Any) -> lab.Identity:
    try:
        identity: lab.Identity = stub.GetIdentity(lab.GetIdentityRequest(), timeout=TIMEOUT_S)
    except grpc.RpcError as error:
        other = (
            "" if error.code() is not grpc.StatusCode.UNIMPLEMENTED else "; expected a replica of this lab"
        )
        raise UserError(f"--replica {address}: {failure(error)}{other}") from error
    return identity


def ipv4_of(address: str) -> str:
    """Return HOST:PORT with the host's IPv4 address, because gRPC accepts lists of numeric addresses only.

    Raises UserError if the host has none.
    """
    host, port = split_address(address)
    try:
        found = socket.getaddrinfo(host, port, socket.AF_INET, socket.SOCK_STREAM)
    except OSError as error:
        raise UserError(f"--replica {address}: the host has no IPv4 address ({error.strerror})") from error
    return f"{found[0][4][0]}:{port}"
