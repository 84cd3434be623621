"""Runs clients with a script against real parts."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import uvloop

from lb.client import Client, Rows
from lb.policies import service_config
from lb.rows import MESSAGE_COLUMNS, REQUEST_COLUMNS
from lb.settings import ClientSettings

# The load process and the driver set this too: otherwise ring_hash reads no key from a header.
HASH_KEY_SWITCH = "GRPC_EXPERIMENTAL_RING_HASH_SET_REQUEST_HASH_KEY"

SETTINGS = ClientSettings(
    target="",
    service_config=service_config("round_robin"),
    cookie_jar=False,
    await_first_answer=True,
    messages_per_stream=4,
    deadline_s=5,
    epoch_ns=0,
)


def run_clients(
    settings: ClientSettings, clients: int, script: Callable[[list[Client]], Awaitable[None]]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Run `script` with `clients` clients; return their request rows and message rows by column name."""
    rows = Rows()

    async def run_script() -> None:
        started = [Client(number, settings, rows) for number in range(clients)]
        try:
            await script(started)
        finally:
            for client in started:
                await client.close()

    uvloop.run(run_script())
    return (
        [dict(zip(REQUEST_COLUMNS, row, strict=True)) for row in rows.requests],
        [dict(zip(MESSAGE_COLUMNS, row, strict=True)) for row in rows.messages],
    )


async def connect(clients: list[Client]) -> None:
    await asyncio.gather(*(client.connect() for client in clients))


async def calls(client: Client, count: int, method: str = "AddVideo") -> None:
    for _ in range(count):
        await client.call(method, time.monotonic_ns())
