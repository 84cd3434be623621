"""`LabUser`, the base class of Locust users that call the lab's video service from a Locust file.

    from locust import between, task
    from load.lab_user import LabUser, pb

    class Viewer(LabUser):
        wait_time = between(0.5, 1.5)

        @task
        def watch(self):
            for video in self.stub.GetVideo(pb.GetVideoRequest(id=f"sample-{k}") for k in range(3)):
                print(video.title, video.served_by)

It is Locust's `User` with a stub and nothing else, so all of Locust's own works: tasks, wait_time, weights,
on_start, workers, shapes, the web page, --headless, --otel. gRPC runs on Locust's gevent.
"""

import itertools
import os
import sys

# Set before gRPC is imported: otherwise ring_hash reads no key from a header, and calls end with INTERNAL.
os.environ.setdefault("GRPC_EXPERIMENTAL_RING_HASH_SET_REQUEST_HASH_KEY", "true")

import time
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import gevent
import gevent.monkey
import grpc
from grpc.experimental.gevent import init_gevent
from locust import User, events
from locust.runners import WorkerRunner

from lb.channel import open_channel
from lb.settings import ClientSettings
from lb.target import resolver_target
from load.locust_adapter import CallFailedError
from load.page_guard import guard_page
from load.recorded_calls import CallLog, EndedCall, RecordedCalls
from load.row_batches import NO_ANSWER
from services import video_service_pb2 as pb
from services.video_service_pb2_grpc import VideoServiceStub

__all__ = ["LabUser", "pb"]

NUMBERS_PER_WORKER = 1_000_000  # so that users of different workers are different clients

if not gevent.monkey.is_module_patched("threading"):
    raise RuntimeError("load.lab_user needs Locust's gevent; do not set LOCUST_SKIP_MONKEY_PATCH")
init_gevent()  # before any channel: otherwise a call that waits would stop all users


class _Numbers(Iterator[int]):
    """0, 1, 2, ... `given`: how many so far."""

    given = 0

    def __next__(self) -> int:
        self.given += 1
        return self.given - 1


_numbers = _Numbers()


def _prepare(environment: Any, **_: object) -> None:
    # Without this, Locust counts --run-time from before the imports, when gevent last looked at the clock.
    gevent.get_hub().loop.update_now()
    if environment.web_ui:
        guard_page(environment.web_ui, read_only=False)
    elif not isinstance(environment.runner, WorkerRunner):  # a page and a master give the host later
        _confirm_host(environment)


def _confirm_host(environment: Any) -> None:
    """Exit with one line if a user has no host that can be called. Locust would print tracebacks."""
    for kind in environment.user_classes:
        host = environment.host or kind.host
        try:
            if issubclass(kind, LabUser):
                resolver_target(str(host or ""))
        except ValueError as error:
            told = "no --host" if not host else f"--host: {error}"
            print(f"error: {told}; expected --host HOST:PORT", file=sys.stderr)
            sys.exit(2)


events.init.add_listener(_prepare)


class StatisticsLog:
    """A CallLog that passes every call to Locust's statistics: one row for each method and replica."""

    def __init__(self, environment: Any) -> None:
        self._request = environment.events.request
        self._next = itertools.count()

    def begin(self, client: int) -> int:  # noqa: ARG002 - the numbers need only differ
        """See CallLog."""
        return next(self._next)

    def end(self, call: EndedCall) -> None:
        """See CallLog."""
        row = call.row
        self._request.fire(
            request_type=row["method"],
            name=row["replica"] or NO_ANSWER,
            response_time=(int(row["done_ns"]) - int(row["sent_ns"])) / 1e6,
            response_length=0,
            exception=None if row["code"] == "OK" else CallFailedError(row["code"]),
            context={},
        )


class LabUser(User):
    """A Locust user with a client of its own: a connection, a cookie jar, a session.

    `host`, as Locust has it (--host, or in the class): HOST:PORT of a proxy or a replica, or several replicas
    with commas between them. `stub`: the gRPC stub of VideoService. Each of its calls is counted by Locust
    under its method and the replica that answered. A failed call raises grpc.RpcError, as gRPC does.

    In an experiment (`workload.locustfile`) the arm decides the settings below, `deadline_ms` the deadline.
    """

    abstract = True

    deadline_s: float = 10.0  # of calls without a `timeout` of their own
    cookie_jar: bool = True  # send cookies back, as sticky balancers need
    service_config: str | None = None  # gRPC's, as JSON; None: gRPC's default, pick_first
    tls: bool = False
    ca_certificates: str | None = None  # authorities to trust, as PEM text; None: those of gRPC

    stub: Any
    _cell: ClassVar[tuple[ClientSettings, CallLog] | None] = None
    _clients: ClassVar[Sequence[int]] = ()

    def __init__(self, environment: Any) -> None:
        super().__init__(environment)
        worker: int = getattr(environment.runner, "worker_index", 0)
        number = next(_numbers)
        self.client_number = (
            self._clients[number] if self._cell else max(0, worker) * NUMBERS_PER_WORKER + number
        )
        self._ids = itertools.count()
        self._settings, log = self._cell or (self._client_settings(), StatisticsLog(environment))
        self._channel: Any = open_channel(self._settings, grpc)
        calls = RecordedCalls(self.client_number, self._settings, log)
        self.stub = VideoServiceStub(grpc.intercept_channel(self._channel, calls))  # type: ignore[no-untyped-call]

    def new_id(self) -> str:
        """Return an id for a video to add. Replicas refuse ids that they have."""
        return f"{self._settings.key_prefix}-{self.client_number}-{next(self._ids)}"

    @staticmethod
    def run_in_cell(settings: ClientSettings, log: CallLog, clients: Sequence[int]) -> None:
        """Give all users of this process the settings of a cell, and record their calls in `log`.

        `clients`: the users' numbers, in the order in which they start.
        """
        LabUser._cell, LabUser._clients = (settings, log), clients

    @staticmethod
    def numbers_given() -> Sequence[int]:
        """Return the numbers of the users of the cell that this process has made."""
        return LabUser._clients[: _numbers.given]

    def on_stop(self) -> None:
        """Close the connection. Call it from your own on_stop."""
        self._channel.close()

    def _client_settings(self) -> ClientSettings:
        return ClientSettings(
            target=str(self.host),
            service_config=self.service_config,
            cookie_jar=self.cookie_jar,
            await_first_answer=True,
            messages_per_stream=1,
            deadline_s=self.deadline_s,
            epoch_ns=time.monotonic_ns(),
            # Replicas outlive this process and refuse ids that they hold: each run needs ids of its own.
            key_prefix=f"locust-{time.time_ns()}-{os.getpid()}",
            tls=self.tls,
            ca_certificates=self.ca_certificates,
        )
