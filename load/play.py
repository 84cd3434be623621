"""A Locust file for a lab that is up: users who call until you stop them, on Locust's own page.

    LOCUST_SKIP_MONKEY_PATCH=1 python -m locust -f load/play.py --host 127.0.0.1:8080

Nothing is measured here: Locust's table shows who answered, a row for each method and replica. Each user is a
client of its own, with a cookie jar.
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
from locust import User, task

from lb.client import Client, Rows
from lb.rows import REQUEST_COLUMNS
from lb.settings import ClientSettings

MEAN_WAIT_S = 1.0  # of a user between an answer and the next call
DEADLINE_S = 2.0
NOBODY = "(no answer)"

if gevent.monkey.is_module_patched("threading"):
    raise RuntimeError("load/play.py: grpc.aio needs real threads; set LOCUST_SKIP_MONKEY_PATCH=1")

_numbers = itertools.count()


class PlayUser(User):
    """One client behind Locust's `host` ("host:port"), in clear text."""

    def __init__(self, environment: Any) -> None:
        super().__init__(environment)
        self._rows = Rows()
        self._client: Client | None = None

    def wait_time(self) -> float:
        """Seconds to the next call: exponential, so that users do not march in step."""
        return random.expovariate(1 / MEAN_WAIT_S)

    def on_stop(self) -> None:
        """Close the connection."""
        if self._client is not None:
            _play(self._client.close())

    @task(4)
    def get_video(self) -> None:
        """Ask for videos on a stream."""
        self._call("GetVideo")

    @task(1)
    def add_video(self) -> None:
        """Add a video."""
        self._call("AddVideo")

    def _call(self, method: str) -> None:
        _play(self._calls(method))
        row = dict(zip(REQUEST_COLUMNS, self._rows.requests.pop(), strict=True))
        self._rows.messages.clear()
        self.environment.events.request.fire(
            request_type=method,
            name=row["replica"] or NOBODY,
            response_time=(int(row["done_ns"]) - int(row["sent_ns"])) / 1e6,
            response_length=0,
            exception=None if row["code"] == "OK" else RuntimeError(row["code"]),
            context={},
        )

    async def _calls(self, method: str) -> None:
        if self._client is None:
            # Made on the event loop, as its channels must be.
            self._client = Client(next(_numbers), _settings(str(self.host)), self._rows)
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
        # Replicas outlive this process and refuse an id that they hold.
        key_prefix=f"play-{time.time_ns()}-{os.getpid()}",
    )


@cache
def _loop() -> asyncio.AbstractEventLoop:
    """The event loop of all users, in a native thread beside Locust's gevent."""
    loop = uvloop.new_event_loop()
    threading.Thread(target=loop.run_forever, name="play", daemon=True).start()
    return loop


def _play(coroutine: Coroutine[Any, Any, None]) -> None:
    """Run it on the event loop; this greenlet alone waits for its end."""
    hub_loop, ended = gevent.get_hub().loop, gevent.event.Event()
    playing = asyncio.run_coroutine_threadsafe(coroutine, _loop())
    playing.add_done_callback(lambda _: hub_loop.run_callback_threadsafe(ended.set))
    ended.wait()
    playing.result()
