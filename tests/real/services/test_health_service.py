"""gRPC's health service of real replicas, asyncio and threads; and methods that do not exist."""

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from replica_process import Server, StartReplica

from services.lab_control_pb2 import SetServingRequest

SERVICE = "video_service.VideoService"


@pytest.fixture(params=["asyncio", "threads", "threads_own_health"])
def server(request: pytest.FixtureRequest, start_replica: StartReplica) -> Server:
    return start_replica(server=request.param)


@pytest.fixture
def stub(server: Server) -> health_pb2_grpc.HealthStub:
    return health_pb2_grpc.HealthStub(server.channel)


def test_list_has_the_health_of_each_service(server: Server, stub: health_pb2_grpc.HealthStub) -> None:
    answers = health_pb2.HealthCheckResponse
    for serving, status in ((True, answers.SERVING), (False, answers.NOT_SERVING)):
        server.control.SetServing(SetServingRequest(serving=serving))
        listed = stub.List(health_pb2.HealthListRequest(), timeout=5).statuses
        assert {name: answer.status for name, answer in listed.items()} == {"": status, SERVICE: status}
        for name in listed:
            request = health_pb2.HealthCheckRequest(service=name)
            assert stub.Check(request, timeout=5).status == status


@pytest.mark.parametrize("service", ["video_service.Nothing", "\x1b[31mü", "x" * 5000])
def test_a_service_without_health_is_not_found(stub: health_pb2_grpc.HealthStub, service: str) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=5)
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    shown = repr(service[:100])
    assert caught.value.details() == (
        f"no health of a service {shown} here; expected one of '', 'video_service.VideoService'"
    )


@pytest.mark.parametrize(
    "path", ["/grpc.health.v1.Health/Nothing", f"/{SERVICE}/Nothing", "/nothing.Nothing/Nothing", "/"]
)
def test_a_method_that_does_not_exist_is_unimplemented(server: Server, path: str) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        server.channel.unary_unary(path)(b"", timeout=5)
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert caught.value.details() == "Method not found!"
