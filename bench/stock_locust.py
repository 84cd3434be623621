"""Locust's usual gRPC user on gevent, as in its documentation. The lab's generator is compared with it.

`python -m bench.stock_locust TARGET LOAD.json SECONDS SENT.json` makes calls. With a rate in LOAD.json they
follow the lab's own plan: a new greenlet sends each call at its planned time. Without one each user makes one
call after another, as in the documentation. SENT.json then has the planned time of each call and how late it
was sent, ns.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

import gevent
import grpc
from grpc.experimental import gevent as grpc_gevent
from locust import User, constant, task
from locust.env import Environment

from lb.plan import NS_PER_S, Load, open_loop
from services import video_service_pb2 as pb
from services.video_service_pb2_grpc import VideoServiceStub

grpc_gevent.init_gevent()


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
    """The documented user: it makes one call after another, here without a pause."""

    abstract = True
    wait_time = constant(0)

    @task
    def call(self) -> None:
        """Make one call."""
        self.add_video()


class OpenUser(GrpcUser):
    """A user that sends the lab's plan on time, even while earlier calls are not answered."""

    abstract = True
    load: Load
    seconds: float
    lates: list[tuple[int, int]]  # of each call: its planned time, how late it was sent; ns

    @task
    def play(self) -> None:
        """Send the whole plan once."""
        start_ns = time.monotonic_ns()
        for call in open_loop(self.load, self.number, "measure", self.seconds, opens=False):
            planned_ns = start_ns + call.at_ns
            gevent.sleep(max(0.0, (planned_ns - time.monotonic_ns()) / NS_PER_S))
            gevent.spawn(self.call_planned, call.at_ns, planned_ns)
        gevent.sleep(60)

    def call_planned(self, at_ns: int, planned_ns: int) -> None:
        """Make a call whose time has come."""
        self.lates.append((at_ns, time.monotonic_ns() - planned_ns))
        self.add_video()


def main() -> None:
    """Make the calls, and write how late each was sent. Exits with status 1 if some failed."""
    target, load_path, seconds, sent_path = sys.argv[1], sys.argv[2], float(sys.argv[3]), sys.argv[4]
    load = Load(**json.loads(Path(load_path).read_text()))
    user: type[GrpcUser] = ClosedUser if load.rate_per_s is None else OpenUser
    lates: list[tuple[int, int]] = []
    fields: dict[str, Any] = {"load": load, "seconds": seconds, "lates": lates, "abstract": False}
    environment = Environment(user_classes=[type("StockUser", (user,), fields)], host=target)
    runner = environment.create_local_runner()
    runner.start(load.clients, spawn_rate=load.clients)
    gevent.sleep(seconds)
    Path(sent_path).write_text(json.dumps(lates))
    failures = environment.stats.total.num_failures
    runner.quit()
    sys.exit(f"{failures} calls failed" if failures else 0)


if __name__ == "__main__":
    main()
