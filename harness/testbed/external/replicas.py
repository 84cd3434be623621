"""Replicas that somebody else has started: who they are, and their ledgers, asked over gRPC."""

from __future__ import annotations

import csv
import itertools
import socket
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from harness.errors import UserError
from harness.record.tables import REPLICA_COLUMNS
from lb.target import resolver_target, split_address
from services import video_service_pb2 as pb
from services.video_service_pb2_grpc import LabControlStub, VideoServiceStub

TIMEOUT_S = 5.0
LEDGER_TIMEOUT_S = 60.0
QUIET_S = 2.0  # for calls that the load has given up to end in the replicas
POLL_S = 0.02
PROBES_PER_REPLICA = 16  # chance that four balls in so many boxes, times four, leave one out: 4e-8
OPTIONS = [("grpc.enable_http_proxy", 0), ("grpc.use_local_subchannel_pool", 1)]


@dataclass(frozen=True)
class Target:
    """A balancer at `address` ("host:port,..."). `authority`: PEM text, None: gRPC's own; for `tls` alone."""

    address: str
    tls: bool = False
    authority: str | None = None

    def channel(self) -> grpc.Channel:
        """A connection of its own."""
        name = resolver_target(self.address)
        if not self.tls:
            return grpc.insecure_channel(name, OPTIONS)
        trusted = None if self.authority is None else self.authority.encode("ascii")
        return grpc.secure_channel(name, grpc.ssl_channel_credentials(trusted), OPTIONS)


def names_behind(target: Target, replicas: int) -> list[str]:
    """The names of the replicas behind a balancer, sorted: one call a connection, each its own session.

    Raises UserError when calls are not answered, or not by the lab's replicas, and when there seem to be
    fewer or more than `replicas`.
    """
    names: set[str] = set()
    for number in range(PROBES_PER_REPLICA * replicas):
        names.add(_who_answers(target, number))
        # A few more than needed: round robin shows at once that there is one too many.
        if len(names) > replicas or (len(names) == replicas and number >= 2 * replicas):
            break
    if len(names) != replicas:
        told = f"{len(names)} replicas answered ({', '.join(sorted(names))})"
        raise UserError(
            f"--target {target.address}: {told}, the experiment has {replicas}; make them as many, run it "
            f"with --replicas {len(names)}, or name each with --replica"
        )
    return sorted(names)


def confirm_among(target: Target, named: Sequence[str]) -> None:
    """One call through a balancer. Raises UserError when none of the replicas `named` answers it."""
    name = _who_answers(target, 0)
    if name not in named:
        raise UserError(
            f"--replica: {name} answers behind --target and is none of those named ({', '.join(named)}); "
            "name all that are there"
        )


def _who_answers(target: Target, number: int) -> str:
    metadata = (("x-lab-session", f"probe-{time.time_ns()}-{number}"),)
    with target.channel() as channel:
        stub: Any = VideoServiceStub(channel)  # type: ignore[no-untyped-call]
        call = stub.ListVideos(pb.ListVideosRequest(limit=1), metadata=metadata, timeout=TIMEOUT_S)
        try:
            headers = dict(call.initial_metadata())
            deque(call, maxlen=0)
        except grpc.RpcError as error:
            raise UserError(f"--target {target.address}: {_told(error)}{_hint(target, error)}") from error
    name = headers.get("x-lab-replica")
    if not name:
        raise UserError(
            f"--target {target.address}: who answered does not say its name (header x-lab-replica); "
            "expected replicas of this lab, and a balancer that passes their headers on"
        )
    return str(name)


def _told(error: Any) -> str:
    return f"a call ended with {error.code().name} ({' '.join(str(error.details()).split())[:300]})"


def _hint(target: Target, error: Any) -> str:
    if error.code() is not grpc.StatusCode.UNAVAILABLE:
        return ""
    return (
        "; is it TLS that it speaks (--tls)?" if not target.tls else "; is --ca the one that signed for it?"
    )


class ExternalReplicas:
    """Replicas at `addresses` ("host:port" each), called in clear text. `close` it."""

    def __init__(self, addresses: Sequence[str]) -> None:
        self._channels = [grpc.insecure_channel(resolver_target(one), OPTIONS) for one in addresses]
        stubs = [LabControlStub(channel) for channel in self._channels]  # type: ignore[no-untyped-call]
        self._stubs: dict[str, Any] = {}
        self.addresses: dict[str, str] = {}
        for address, stub in zip(addresses, stubs, strict=True):
            name = _identity(address, stub).name
            if name in self._stubs:
                told = f"calls itself {name}, as {self.addresses[name]} does"
                raise UserError(f"--replica {address}: {told}; give each a --name of its own")
            self._stubs[name], self.addresses[name] = stub, ipv4_of(address)

    def calls_done(self) -> dict[str, int]:
        """Name -> calls that it has had, once none is under way or QUIET_S have passed."""
        deadline_s = time.monotonic() + QUIET_S
        while True:
            found = {name: _identity(self.addresses[name], stub) for name, stub in self._stubs.items()}
            quiet = all(one.calls_started == one.calls_done for one in found.values())
            if quiet or time.monotonic() > deadline_s:
                return {name: one.calls_done for name, one in found.items()}
            time.sleep(POLL_S)

    def write_ledgers(self, folder: Path, before: Mapping[str, int]) -> None:
        """Write `folder`/NAME.csv for each: the rows of the calls since it had had `before`[NAME].

        Its instants count from where that replica's clock began. Raises UserError when one does not answer.
        """
        done = self.calls_done()
        for name, stub in self._stubs.items():
            if done[name] < before[name]:
                raise UserError(f"--replica {self.addresses[name]}: it was started anew meanwhile")
            rows = stub.GetLedger(pb.GetLedgerRequest(), timeout=LEDGER_TIMEOUT_S)
            try:
                last = deque(rows, maxlen=done[name] - before[name])
            except grpc.RpcError as error:
                raise UserError(f"--replica {self.addresses[name]}: {_told(error)}") from error
            with (folder / f"{name}.csv").open("w", newline="") as file:
                table = csv.writer(file, lineterminator="\n")
                table.writerows(
                    itertools.chain(
                        [REPLICA_COLUMNS],
                        ([getattr(row, column) for column in REPLICA_COLUMNS] for row in last),
                    )
                )

    def close(self) -> None:
        """Close the connections."""
        for channel in self._channels:
            channel.close()


def _identity(address: str, stub: Any) -> pb.Identity:
    try:
        identity: pb.Identity = stub.GetIdentity(pb.GetIdentityRequest(), timeout=TIMEOUT_S)
    except grpc.RpcError as error:
        hint = "" if error.code() is not grpc.StatusCode.UNIMPLEMENTED else "; expected a replica of this lab"
        raise UserError(f"--replica {address}: {_told(error)}{hint}") from error
    return identity


def ipv4_of(address: str) -> str:
    """HOST:PORT with the host's IPv4 address: gRPC takes several addresses as numbers alone.

    Raises UserError for a name that has none.
    """
    host, port = split_address(address)
    try:
        found = socket.getaddrinfo(host, port, socket.AF_INET, socket.SOCK_STREAM)
    except OSError as error:
        raise UserError(f"--replica {address}: no IPv4 address of that name ({error.strerror})") from error
    return f"{found[0][4][0]}:{port}"
