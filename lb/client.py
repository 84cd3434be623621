"""One client: a caller with its own connection, its own cookie jar, its plan, its calls, its rows."""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from lb.calls import Answer, VideoCalls
from lb.channel import open_channel
from lb.cookies import CookieJar
from lb.plan import NS_PER_S, PlannedCall
from lb.settings import ClientSettings

REQUEST_IDS_PER_CLIENT = 1_000_000_000
CONNECT_TIMEOUT_S = 2.0
Row = tuple[int | str, ...]


@dataclass
class Rows:
    """Rows on their way to a file, in the order of lb.rows; one thread appends, another may take."""

    requests: deque[Row] = field(default_factory=deque)
    messages: deque[Row] = field(default_factory=deque)


class Client:
    """To be made and used on one event loop. `number` names it in every ledger."""

    def __init__(self, number: int, settings: ClientSettings, rows: Rows) -> None:
        self._number = number
        self._settings = settings
        self._rows = rows
        self._channel = open_channel(
            settings.target, settings.service_config, CookieJar() if settings.cookie_jar else None
        )
        self._calls = VideoCalls(self._channel, settings.messages_per_stream).by_method()
        self._sequence = 0
        self._opened = asyncio.Event()

    async def connect(self) -> None:
        """Connect before the first call is due, so that no call's latency holds the handshake.

        Gives up after CONNECT_TIMEOUT_S: whether anybody answers is for the calls to find out.
        """
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._channel.channel_ready(), CONNECT_TIMEOUT_S)

    async def play_open_loop(self, plan: Iterator[PlannedCall], start_ns: int) -> None:
        """Send every call at its planned time, whatever the earlier ones do; return when all have ended.

        `start_ns`: monotonic ns of the phase's start.
        """
        async with asyncio.TaskGroup() as calls:
            for call in plan:
                planned_ns = start_ns + call.at_ns
                await _sleep_until(planned_ns)
                calls.create_task(self.call(call.method, planned_ns))

    async def play_closed_loop(self, plan: Iterator[PlannedCall], start_ns: int, end_ns: int) -> None:
        """Send each call a think time after the last answer, until `end_ns` (monotonic ns)."""
        planned_ns = start_ns
        for call in plan:
            planned_ns += call.at_ns
            if planned_ns >= end_ns:
                return
            await _sleep_until(planned_ns)
            await self.call(call.method, planned_ns)
            planned_ns = time.monotonic_ns()

    async def call(self, method: str, planned_ns: int) -> None:
        """Make one call, planned for `planned_ns` (monotonic ns), and write its row."""
        sequence = self._sequence
        self._sequence += 1
        if sequence and self._settings.await_first_answer:
            # The first answer brings the cookie; a call sent before it would be balanced as a stranger's.
            await self._opened.wait()
        request_id = self._number * REQUEST_IDS_PER_CLIENT + sequence
        metadata = (("x-lab-request-id", str(request_id)), ("x-lab-session", f"{self._number}.0"))
        sent_ns = time.monotonic_ns()
        answer = await self._calls[method](
            f"{self._settings.key_prefix}-{request_id}", metadata, self._settings.deadline_s
        )
        done_ns = time.monotonic_ns()
        self._opened.set()
        self._record(request_id, method, (planned_ns, sent_ns, done_ns), answer)

    def _record(self, request_id: int, method: str, times_ns: tuple[int, int, int], answer: Answer) -> None:
        code, initial, trailing, messages = answer
        epoch_ns = self._settings.epoch_ns
        planned_ns, sent_ns, done_ns = times_ns
        replica = initial.get("x-lab-replica") or trailing.get("x-lab-replica", "")
        self._rows.requests.append(
            (
                request_id,
                self._number,
                0,  # one session a client, so far
                method,
                planned_ns - epoch_ns,
                sent_ns - epoch_ns,
                done_ns - epoch_ns,
                code,
                replica,
                int(trailing.get("x-lab-queue-ns", 0)),
                int(trailing.get("x-lab-service-ns", 0)),
                int(trailing.get("x-lab-in-flight", 0)),
                len(messages) if messages else int(code == "OK"),
                initial.get("x-lab-connection", ""),
                trailing.get("x-lab-cache", ""),
            )
        )
        for number, (message_sent_ns, received_ns) in enumerate(messages):
            self._rows.messages.append(
                (
                    request_id,
                    number,
                    planned_ns - epoch_ns,
                    message_sent_ns - epoch_ns,
                    received_ns - epoch_ns,
                    replica,
                )
            )

    async def close(self) -> None:
        """Close the connection; calls that are still running end with CANCELLED."""
        await self._channel.close()


async def _sleep_until(instant_ns: int) -> None:
    # uvloop's timers count whole milliseconds: rounded up, so that nothing is sent early and nothing spins.
    while (left_ns := instant_ns - time.monotonic_ns()) > 0:
        await asyncio.sleep(-(-left_ns // 1_000_000) * 1_000_000 / NS_PER_S)
