"""The lab's control plane: it tells gRPC clients (route xds) by xDS which policy and endpoints they have.

It speaks aggregated discovery (ADS), state of the world, with the published protobuf messages. It is for
tests and experiments: it listens on loopback, in clear text, and trusts every client. Source: Envoy's
documentation, "xDS REST and gRPC protocol".
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any

import grpc
from envoy.service.discovery.v3 import ads_pb2_grpc
from envoy.service.discovery.v3.discovery_pb2 import DiscoveryRequest, DiscoveryResponse
from google.protobuf.any_pb2 import Any as AnyMessage

HOST = "127.0.0.1"
MAX_CLIENTS = 64  # processes that call at once; each has one stream, which takes a thread
ENDPOINTS = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"


@dataclass
class _Stream:
    """The stream of one client process. `outgoing`: responses to send; None ends the stream.

    For each type of resource: `names` that the client asks for, `nonce` of the last response, `accepted`: the
    version that the client has last accepted.
    """

    outgoing: SimpleQueue[DiscoveryResponse | None] = field(default_factory=SimpleQueue)
    names: dict[str, frozenset[str]] = field(default_factory=dict)
    nonce: dict[str, str] = field(default_factory=dict)
    accepted: dict[str, str] = field(default_factory=dict)


class ControlPlane(AbstractContextManager["ControlPlane"]):
    """A control plane on a free port of loopback, in threads of its own. `publish` before clients connect.

    `address`: "host:port". `refusals`: what clients said of resources that they did not accept.
    """

    def __init__(self) -> None:
        self.refusals: list[str] = []
        self._lock = threading.Lock()
        self._streams: list[_Stream] = []
        self._resources: dict[str, dict[str, AnyMessage]] = {}  # type -> name -> resource
        self._versions: dict[str, int] = {}
        self._nonces = 0
        self._server = grpc.server(
            ThreadPoolExecutor(MAX_CLIENTS, thread_name_prefix="control-plane"),
            options=[("grpc.so_reuseport", 0)],
        )
        ads_pb2_grpc.add_AggregatedDiscoveryServiceServicer_to_server(_Service(self), self._server)
        self.address = f"{HOST}:{self._server.add_insecure_port(f'{HOST}:0')}"
        self._server.start()

    def publish(self, resources: Iterable[Any]) -> None:
        """Make these messages, each with a name, the resources of their types, and tell all clients."""
        packed: dict[str, dict[str, AnyMessage]] = {}
        for resource in resources:
            message = AnyMessage()
            message.Pack(resource)
            packed.setdefault(message.type_url, {})[_name_of(resource)] = message
        with self._lock:
            for type_url, named in packed.items():
                self._resources[type_url] = named
                self._versions[type_url] = self._versions.get(type_url, 0) + 1
                for stream in self._streams:
                    if type_url in stream.names:
                        self._send(stream, type_url)

    def accepted(self) -> bool:
        """Return whether every client that is connected has accepted the newest endpoints."""
        with self._lock:
            newest = str(self._versions.get(ENDPOINTS, 0))
            return all(stream.accepted.get(ENDPOINTS) == newest for stream in self._streams)

    def close(self) -> None:
        """End all streams and release the port."""
        self._server.stop(None).wait()

    def __exit__(self, *_: object) -> None:
        self.close()

    def stream(self, requests: Iterator[DiscoveryRequest], context: Any) -> Iterator[DiscoveryResponse]:
        """Serve one client: its requests in, the responses out."""
        stream = _Stream()
        with self._lock:
            self._streams.append(stream)
        context.add_callback(lambda: stream.outgoing.put(None))
        threading.Thread(target=self._read, args=(requests, stream), daemon=True).start()
        try:
            while (response := stream.outgoing.get()) is not None:
                yield response
        finally:
            with self._lock:
                self._streams.remove(stream)

    def _read(self, requests: Iterator[DiscoveryRequest], stream: _Stream) -> None:
        with suppress(grpc.RpcError):  # the client has gone
            for request in requests:
                with self._lock:
                    self._answer(stream, request)
        stream.outgoing.put(None)

    def _answer(self, stream: _Stream, request: DiscoveryRequest) -> None:
        """Take a request: a subscription, or what the client says of the last response."""
        kind, names = request.type_url, frozenset(request.resource_names)
        if request.response_nonce and request.response_nonce != stream.nonce.get(kind):
            return  # of an older response; the client will answer the newer one, too
        if request.HasField("error_detail"):
            self.refusals.append(request.error_detail.message)
        elif request.response_nonce:
            stream.accepted[kind] = request.version_info
        wants_more = not names <= stream.names.get(kind, frozenset())
        stream.names[kind] = names
        if wants_more or not request.response_nonce:
            self._send(stream, kind)

    def _send(self, stream: _Stream, kind: str) -> None:
        self._nonces += 1
        stream.nonce[kind] = str(self._nonces)
        known, names = self._resources.get(kind, {}), stream.names[kind]
        stream.outgoing.put(
            DiscoveryResponse(
                type_url=kind,
                version_info=str(self._versions.get(kind, 0)),
                nonce=stream.nonce[kind],
                resources=[message for name, message in known.items() if name in names],
            )
        )


class _Service(ads_pb2_grpc.AggregatedDiscoveryServiceServicer):  # type: ignore[misc]
    """The service as gRPC wants it."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane

    def StreamAggregatedResources(  # noqa: N802 - the name in the proto
        self, request_iterator: Iterator[DiscoveryRequest], context: Any
    ) -> Iterator[DiscoveryResponse]:
        return self._plane.stream(request_iterator, context)


def _name_of(resource: Any) -> str:
    """Return the name by which clients ask for a resource: endpoints have that of their cluster."""
    return str(getattr(resource, "cluster_name", None) or resource.name)
