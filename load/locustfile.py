"""A locustfile for a lab that is up: its users call until you stop them on Locust's web page.

    LOCUST_SKIP_MONKEY_PATCH=1 python -m locust -f load/locustfile.py --host 127.0.0.1:8080

Locust's table shows which replica answered: one row for each method and replica. The lab records nothing.
Each user is a client with its own connection and cookie jar.
"""

import asyncio
import itertools
import os
import random
import threading
import time
from collections.abc import Coroutine
from functools import cache
from typing import Any

import gevent
import gevent.event
import gevent.monkey
import uvloop
from locust import User, events, task

from lb.client import Client, Rows
from lb.rows import REQUEST_COLUMNS
from lb.settings import ClientSettings
from load.page_guard import guard_page
from load.row_batches import NO_ANSWER

MEAN_WAIT_S = 1.0  # from an answer to the next call of the same user
DEADLINE_S = 2.0

if gevent.monkey.is_module_patched("threading"):
    raise RuntimeError("load/locustfile.py: grpc.aio needs real threads; set LOCUST_SKIP_MONKEY_PATCH=1")

_client_numbers = itertools.count()


def _guard_page(environment: Any, **_: object) -> None:
    if environment.web_ui:
        guard_page(environment.web_ui, read_only=False)


events.init.add_listener(_guard_page)


class VideoUser(User):
    """A user with one client that calls Locust's `host` ("host:port") without TLS."""

    def __init__(self, environment: Any) -> None:
        super().__init__(environment)
        self._rows = Rows()
        self._client: Client | None = None

    def wait_time(self) -> float:
        """Return the seconds until the next call: exponential, so that users do not call all at once."""
        return random.expovariate(1 / MEAN_WAIT_S)

    def on_stop(self) -> None:
        """Close the connection."""
        if self._client is not None:
            _run_on_loop(self._client.close())

    @task(4)
    def get_video(self) -> None:
        """Get a video on a bidirectional stream."""
        self._make_call("GetVideo")

    @task(1)
    def add_video(self) -> None:
        """Add a video."""
        self._make_call("AddVideo")

    def _make_call(self, method: str) -> None:
        _run_on_loop(self._call_on_loop(method))
        row = dict(zip(REQUEST_COLUMNS, self._rows.requests.pop(), strict=True))
        self._rows.messages.clear()
        self._rows.failures.clear()
        self.environment.events.request.fire(
            request_type=method,
            name=row["replica"] or NO_ANSWER,
            response_time=(int(row["done_ns"]) - int(row["sent_ns"])) / 1e6,
            response_length=0,
            exception=None if row["code"] == "OK" else RuntimeError(row["code"]),
            context={},
        )

    async def _call_on_loop(self, method: str) -> None:
        if self._client is None:
            # Channels must be created on their event loop.
            self._client = Client(next(_client_numbers), _settings(str(self.host)), self._rows)
        await self._client.call(method, time.monotonic_ns())


def _settings(target: str) -> ClientSettings:
    return ClientSettings(
        target=target,
        service_config=None,
        cookie_jar=True,
        await_first_answer=True,
        messages_per_stream=1,
        deadline_s=DEADLINE_S,
        epoch_ns=time.monotonic_ns(),
        # Replicas outlive this process and refuse ids that they hold: each run needs ids of its own.
        key_prefix=f"locust-{time.time_ns()}-{os.getpid()}",
    )


@cache
def _loop() -> asyncio.AbstractEventLoop:
    """Return the event loop of all users. It runs in a native thread; Locust's gevent has the main thread."""
    loop = uvloop.new_event_loop()
    threading.Thread(target=loop.run_forever, name="clients", daemon=True).start()
    return loop


def _run_on_loop(coroutine: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine on the event loop and wait for its end. Other greenlets continue meanwhile."""
    hub_loop, ended = gevent.get_hub().loop, gevent.event.Event()
    running = asyncio.run_coroutine_threadsafe(coroutine, _loop())
    running.add_done_callback(lambda _: hub_loop.run_callback_threadsafe(ended.set))
    ended.wait()
    running.result()
