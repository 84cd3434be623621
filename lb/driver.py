"""Makes N calls and prints which replica answered how many.

    python -m lb.driver --policy round_robin -n 1000 127.0.0.1:50051,127.0.0.1:50052

Exit status: 0 every call ended with OK, 1 some did not, 2 bad usage, 130 interrupted.
"""

import os

# Set before gRPC is imported: otherwise ring_hash reads no key from a header, and calls end with INTERNAL.
os.environ.setdefault("GRPC_EXPERIMENTAL_RING_HASH_SET_REQUEST_HASH_KEY", "true")

import argparse
import asyncio
import itertools
import sys
import time
from collections import Counter

import uvloop

from lb.client import Client, Row, Rows
from lb.driver_options import parse
from lb.rows import REQUEST_COLUMNS
from lb.settings import ClientSettings

NO_ANSWER = "(no answer)"


def main(argv: list[str] | None = None) -> int:
    """Parse the command line, make the calls, print the table; return the exit status."""
    options = parse(argv)
    try:
        rows = uvloop.run(_make_calls(options))
    except KeyboardInterrupt:
        return 130
    return _print_result(options, rows)


async def _make_calls(options: argparse.Namespace) -> list[Row]:
    rows = Rows()
    clients = [Client(number, _settings(options), rows) for number in range(options.clients)]
    # Each caller takes the next call when its last one has ended. A caller belongs to one client.
    remaining = iter(range(options.calls))

    async def caller(client: Client) -> None:
        for _ in remaining:
            await client.call(options.method, time.monotonic_ns())

    try:
        await asyncio.gather(*(client.connect() for client in clients))
        callers = max(options.concurrency, options.clients)
        clients_of_callers = itertools.islice(itertools.cycle(clients), min(callers, options.calls))
        await asyncio.gather(*(caller(client) for client in clients_of_callers))
    finally:
        await asyncio.gather(*(client.close() for client in clients))
    return list(rows.requests)


def _settings(options: argparse.Namespace) -> ClientSettings:
    return ClientSettings(
        target=options.target,
        service_config=options.service_config,
        cookie_jar=options.cookie_jar,
        await_first_answer=True,
        messages_per_stream=options.messages,
        deadline_s=options.deadline / 1000,
        epoch_ns=time.monotonic_ns(),
        # Replicas outlive the driver and refuse ids that they hold: each run needs ids of its own.
        key_prefix=f"driver-{time.time_ns()}",
        connections=options.connections,
        compression=options.compression,
        keepalive_ms=options.keepalive,
        tls=options.tls,
        ca_certificates=options.ca,
    )


def _print_result(options: argparse.Namespace, rows: list[Row]) -> int:
    column = {name: [row[number] for row in rows] for number, name in enumerate(REQUEST_COLUMNS)}
    policy = options.policy if options.service_config else "of the control plane"
    print(f"{len(rows)} calls of {options.method}, policy {policy}, to {options.target}")
    print(f"{'replica':<16}{'calls':>9}{'share':>9}")
    for replica, calls in sorted(Counter(column["replica"]).items()):
        print(f"{replica or NO_ANSWER:<16}{calls:>9}{calls / len(rows):>9.1%}")
    codes = Counter(column["code"])
    print("codes: " + ", ".join(f"{code} {calls}" for code, calls in codes.most_common()))
    latencies_ms = sorted(
        (int(done) - int(sent)) / 1e6 for sent, done in zip(column["sent_ns"], column["done_ns"], strict=True)
    )
    p50, p99 = (
        latencies_ms[min(len(latencies_ms) - 1, int(len(latencies_ms) * share))] for share in (0.5, 0.99)
    )
    print(f"latency: p50 {p50:.1f} ms, p99 {p99:.1f} ms, max {latencies_ms[-1]:.1f} ms")
    return 0 if set(codes) == {"OK"} else 1


if __name__ == "__main__":
    sys.exit(main())
