"""The lab's hand on replicas that serve: LabControl, asked without waiting for the answer."""

from collections.abc import Mapping
from typing import Any

import grpc

from services import video_service_pb2 as pb
from services.video_service_pb2_grpc import LabControlStub

TIMEOUT_S = 2.0
OPTIONS = [("grpc.enable_http_proxy", 0), ("grpc.initial_reconnect_backoff_ms", 100)]


class Controls:
    """Calls to the replicas' LabControl; `addresses`: replica name -> "host:port", may grow.

    Every call returns a future of gRPC: done(), code(), result().
    """

    def __init__(self, addresses: Mapping[str, str]) -> None:
        self._addresses = addresses
        self._channels: dict[str, grpc.Channel] = {}

    def behave(self, name: str, behaviour: pb.Behaviour) -> Any:
        """Put the fields of `behaviour` in force."""
        return self._stub(name).SetBehaviour.future(behaviour, timeout=TIMEOUT_S, wait_for_ready=True)

    def serve(self, name: str, serving: bool) -> Any:
        """Set what its health service says."""
        request = pb.SetServingRequest(serving=serving)
        return self._stub(name).SetServing.future(request, timeout=TIMEOUT_S, wait_for_ready=True)

    def identify(self, name: str) -> Any:
        """Ask for its Identity, with the calls that it has had."""
        return self._stub(name).GetIdentity.future(pb.GetIdentityRequest(), timeout=TIMEOUT_S)

    def close(self) -> None:
        """Close the connections."""
        for channel in self._channels.values():
            channel.close()

    def _stub(self, name: str) -> Any:
        if name not in self._channels:
            self._channels[name] = grpc.insecure_channel(self._addresses[name], options=OPTIONS)
        return LabControlStub(self._channels[name])  # type: ignore[no-untyped-call]
