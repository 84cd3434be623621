"""Locust's usual gRPC user on gevent, as in its documentation. The lab's generator is compared with it.

`python -m bench.stock_locust TARGET LOAD.json SECONDS closed|open` prints one JSON object.
closed: the documented user (one interceptor, no records), paced by `constant_throughput`.
open: the lab's own plan; a new greenlet sends each call at its planned time.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

import gevent
import grpc
from grpc.experimental import gevent as grpc_gevent
from locust import User, constant_throughput, task
from locust.env import Environment

from lb.plan import NS_PER_S, Load, open_loop
from services import video_service_pb2 as pb
from services.video_service_pb2_grpc import VideoServiceStub

grpc_gevent.init_gevent()
SETTLE_S = 1.0


class LocustInterceptor(grpc.UnaryUnaryClientInterceptor):  # type: ignore[misc]
    """Fires Locust's request event after each call."""

    def __init__(self, environment: Environment) -> None:
        self.environment = environment

    def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        response, exception, length = None, None, 0
        start = time.perf_counter()
        try:
            response = continuation(client_call_details, request)
            length = response.result().ByteSize()
        except grpc.RpcError as error:
            exception = error
        self.environment.events.request.fire(
            request_type="grpc",
            name=client_call_details.method,
            response_time=(time.perf_counter() - start) * 1000,
            response_length=length,
            response=response,
            context=None,
            exception=exception,
        )
        return response


class GrpcUser(User):
    """A user with its own channel, as the lab's clients have."""

    abstract = True
    numbers = iter(range(1_000_000))

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        self.number = next(self.numbers)
        self.sent = 0
        channel = grpc.insecure_channel(self.host, options=[("grpc.use_local_subchannel_pool", 1)])
        self.stub = VideoServiceStub(grpc.intercept_channel(channel, LocustInterceptor(environment)))

    def add_video(self) -> None:
        """Make one unary call."""
        self.sent += 1
        key = f"stock-{id(self)}-{self.sent}"
        video = pb.Video(id=key, title="Load", author="lb-lab", url="https://example.com/v.mp4", duration=1)
        self.stub.AddVideo(video, timeout=10)


class ClosedUser(GrpcUser):
    """The documented user: it makes one call after another at a steady pace."""

    abstract = True

    @task
    def call(self) -> None:
        """Make one call."""
        self.add_video()


class OpenUser(GrpcUser):
    """A user that sends the lab's plan on time, even while earlier calls are not answered."""

    abstract = True
    load: Load
    seconds: float
    lags_ns: list[int]

    @task
    def play(self) -> None:
        """Send the whole plan once."""
        start_ns = time.monotonic_ns()
        for call in open_loop(self.load, self.number, "measure", self.seconds + SETTLE_S, opens=False):
            planned_ns = start_ns + call.at_ns
            gevent.sleep(max(0.0, (planned_ns - time.monotonic_ns()) / NS_PER_S))
            self.lags_ns.append(time.monotonic_ns() - planned_ns)
            gevent.spawn(self.add_video)
        gevent.sleep(60)


def main() -> None:
    """Settle for a second, then measure for SECONDS and print the figures."""
    target, load_path, seconds, loop = sys.argv[1], sys.argv[2], float(sys.argv[3]), sys.argv[4]
    load = Load(**json.loads(Path(load_path).read_text()))
    user: type[GrpcUser]
    if loop == "open":
        fields: dict[str, Any] = {"load": load, "seconds": seconds, "lags_ns": [], "abstract": False}
        user = type("OpenLoad", (OpenUser,), fields)
    else:
        pace = constant_throughput(load.rate_per_s / load.clients)
        user = type("ClosedLoad", (ClosedUser,), {"wait_time": pace, "abstract": False})
    environment = Environment(user_classes=[user], host=target)
    runner = environment.create_local_runner()
    runner.start(load.clients, spawn_rate=load.clients)
    gevent.sleep(SETTLE_S)
    lags_before = len(getattr(user, "lags_ns", []))
    calls, cpu_s = environment.stats.total.num_requests, time.process_time()
    gevent.sleep(seconds)
    result: dict[str, object] = {
        "calls": environment.stats.total.num_requests - calls,
        "cpu_s": time.process_time() - cpu_s,
        "failures": environment.stats.total.num_failures,
        "lags_ns": getattr(user, "lags_ns", [])[lags_before:],
    }
    print(json.dumps(result), flush=True)
    runner.quit()


if __name__ == "__main__":
    main()
