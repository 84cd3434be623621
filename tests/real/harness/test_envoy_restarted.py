"""Envoy ends and starts again at its address, as in the event proxy_restart."""

import socket
from pathlib import Path

import grpc
import pytest
from envoy_process import arm_of, start_envoy_process
from replica_process import StartReplica

from services import video_service_pb2 as pb
from services.video_service_pb2_grpc import VideoServiceStub


@pytest.mark.parametrize("route", ["envoy", "envoy-l4"])
def test_envoy_restarts_on_a_port_that_another_socket_reserves(
    route: str, tmp_path: Path, start_replica: StartReplica
) -> None:
    addresses = {"replica-0": start_replica().address}
    with socket.socket() as reserved:
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        reserved.bind(("127.0.0.1", 0))  # it never listens
        address = f"127.0.0.1:{reserved.getsockname()[1]}"
        with grpc.insecure_channel(address, options=[("grpc.enable_http_proxy", 0)]) as channel:
            stub = VideoServiceStub(channel)
            for attempt in range(2):
                envoy = start_envoy_process(tmp_path, arm_of(route, "round_robin"), addresses, listen=address)
                try:
                    assert envoy.admin.listener_address() == address
                    envoy.await_true(lambda envoy=envoy: all(envoy.admin.endpoint_health().values()))
                    video = pb.Video(id=f"start-{attempt}", title="Again")
                    stub.AddVideo(video, timeout=20, wait_for_ready=True)
                finally:
                    envoy.stop()
                with pytest.raises(grpc.RpcError) as refused:
                    stub.AddVideo(pb.Video(id="away", title="Away"), timeout=20)
                assert refused.value.code() == grpc.StatusCode.UNAVAILABLE
