"""Makes calls and prints which replica answered how many.

    python -m lb.driver --policy round_robin -n 1000 127.0.0.1:50051,127.0.0.1:50052
    python -m lb.driver --rate 200 --duration 10 127.0.0.1:8080

Without --rate each caller sends its next call when its last one has ended: a closed loop. With --rate calls
leave at planned (Poisson) times, whatever the earlier answers do: an open loop.
Exit status: 0 every call ended with OK, 1 some did not, 2 bad usage, 130 interrupted.
"""

import os

# Set before gRPC is imported: otherwise ring_hash reads no key from a header, and calls end with INTERNAL.
os.environ.setdefault("GRPC_EXPERIMENTAL_RING_HASH_SET_REQUEST_HASH_KEY", "true")

import argparse
import asyncio
import itertools
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import uvloop

from lb.client import Client, Row, Rows
from lb.clock import sleep_until
from lb.driver_options import parse
from lb.plan import NS_PER_S
from lb.policies import POLICIES
from lb.rows import REQUEST_COLUMNS
from lb.settings import ClientSettings

NO_ANSWER = "(no answer)"


def main(argv: list[str] | None = None) -> int:
    """Parse the command line, make the calls, print the result; return the exit status."""
    options = parse(argv)
    try:
        rows = uvloop.run(_make_calls(options))
    except KeyboardInterrupt:
        return 130
    result = _result(options, rows)
    print(json.dumps(result) if options.json else _table(result))
    return 0 if set(result["codes"]) <= {"OK"} else 1


async def _make_calls(options: argparse.Namespace) -> list[Row]:
    rows = Rows()
    clients = [Client(number, _settings(options), rows) for number in range(options.clients)]
    try:
        await asyncio.gather(*(client.connect() for client in clients))
        run = _closed_loop if options.rate is None else _open_loop
        await run(options, clients)
    finally:
        await asyncio.gather(*(client.close() for client in clients))
    return list(rows.requests)


async def _closed_loop(options: argparse.Namespace, clients: list[Client]) -> None:
    """Let each caller take the next call when its last one has ended. A caller belongs to one client."""
    end_ns = _end_ns(options)
    remaining = itertools.count() if options.calls is None else iter(range(options.calls))

    async def caller(client: Client) -> None:
        while time.monotonic_ns() < end_ns and next(remaining, None) is not None:
            await client.call(options.method, time.monotonic_ns())

    callers = max(options.concurrency, options.clients)
    if options.calls is not None:
        callers = min(callers, options.calls)
    await asyncio.gather(*(caller(client) for client in itertools.islice(itertools.cycle(clients), callers)))


async def _open_loop(options: argparse.Namespace, clients: list[Client]) -> None:
    """Send each call at its planned time. Clients take turns."""
    async with asyncio.TaskGroup() as tasks:
        planned = zip(_arrivals(options), itertools.cycle(clients), strict=False)
        for planned_ns, client in planned:
            await sleep_until(planned_ns)
            tasks.create_task(client.call(options.method, planned_ns))


def _arrivals(options: argparse.Namespace) -> Iterator[int]:
    """Yield the planned instants of the calls (monotonic ns): Poisson arrivals with the rate."""
    at_ns, end_ns = float(time.monotonic_ns()), _end_ns(options)
    for _ in itertools.count() if options.calls is None else range(options.calls):
        at_ns += random.expovariate(options.rate) * NS_PER_S
        if at_ns >= end_ns:
            return
        yield int(at_ns)


def _end_ns(options: argparse.Namespace) -> float:
    """Return when the last call may be sent (monotonic ns)."""
    seconds = float("inf") if options.duration is None else options.duration
    return time.monotonic_ns() + seconds * NS_PER_S


def _settings(options: argparse.Namespace) -> ClientSettings:
    return ClientSettings(
        target=options.target,
        service_config=options.service_config,
        pick=options.policy if POLICIES[options.policy].by_lab else "",
        pick_options=options.policy_options,
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
        headers=dict(options.header),
    )


def _result(options: argparse.Namespace, rows: list[Row]) -> dict[str, Any]:
    """Return what was called and what came of it, as JSON can carry it.

    Latency is measured from the sending, or with a rate from the planned sending, to the end of the call.
    """
    column: dict[str, list[Any]] = {
        name: [row[number] for row in rows] for number, name in enumerate(REQUEST_COLUMNS)
    }
    start = "sent_ns" if options.rate is None else "planned_ns"
    seconds = (max(column["done_ns"], default=0) - min(column["sent_ns"], default=0)) / NS_PER_S
    result = {
        **{"target": options.target, "method": options.method},
        "policy": options.policy if options.service_config else "of the control plane",
        **{"calls": len(rows), "seconds": round(seconds, 6)},
        "rate_per_s": round(len(rows) / seconds, 3) if seconds else 0.0,
        "replicas": dict(sorted(Counter(column["replica"]).items())),
        "codes": dict(Counter(column["code"]).most_common()),
        "latency_ms": _percentiles(column[start], column["done_ns"]),
    }
    if options.rate is not None:
        result["late_ms"] = _percentiles(column["ready_ns"], column["sent_ns"])
    return result


def _percentiles(starts: list[Any], ends: list[Any]) -> dict[str, float]:
    """Return p50, p99 and the maximum of the times between, in ms; nothing of no calls."""
    found = sorted((end - start) / 1e6 for start, end in zip(starts, ends, strict=True))
    if not found:
        return {}
    at = {"p50": int(len(found) * 0.5), "p99": min(len(found) - 1, int(len(found) * 0.99)), "max": -1}
    return {name: round(found[place], 3) for name, place in at.items()}


def _table(result: dict[str, Any]) -> str:
    calls = result["calls"]
    lines = [
        f"{calls} calls of {result['method']}, policy {result['policy']}, to {result['target']}",
        f"{'replica':<16}{'calls':>9}{'share':>9}",
    ]
    for replica, own in result["replicas"].items():
        lines.append(f"{replica or NO_ANSWER:<16}{own:>9}{own / calls:>9.1%}")
    lines.append("codes: " + ", ".join(f"{code} {count}" for code, count in result["codes"].items()))
    lines.append(f"rate: {result['rate_per_s']:.1f}/s in {result['seconds']:.1f} s")
    for name, title in (("latency_ms", "latency"), ("late_ms", "sent late")):
        if found := result.get(name):
            lines.append(f"{title}: " + ", ".join(f"{key} {value:.1f} ms" for key, value in found.items()))
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
