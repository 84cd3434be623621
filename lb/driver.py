"""N calls, who answered?

    python -m lb.driver --policy round_robin -n 1000 127.0.0.1:50051,127.0.0.1:50052

Exit status: 0 every call was answered OK, 1 some were not, 2 bad usage.
"""

import argparse
import asyncio
import sys
import time
from collections import Counter
from collections.abc import Callable

import uvloop

from lb.calls import METHODS
from lb.channel import resolver_target
from lb.client import Client, Row, Rows
from lb.policies import POLICIES, service_config
from lb.rows import REQUEST_COLUMNS
from lb.settings import ClientSettings

NOBODY = "(no answer)"
MAX_CALLS = 10_000_000


def main(argv: list[str] | None = None) -> int:
    """Parse the command line, make the calls, print the table."""
    options = _parser().parse_args(argv)
    try:
        rows = uvloop.run(_drive(options))
    except KeyboardInterrupt:
        return 130
    return _tell(options, rows)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m lb.driver",
        description="Make N calls to VideoService from one client and print which replica answered how many.",
        epilog="policies: " + "; ".join(f"{name}: {policy.meaning}" for name, policy in POLICIES.items()),
    )
    parser.add_argument("target", type=_target, help="HOST:PORT, or several: HOST:PORT,HOST:PORT,...")
    parser.add_argument("--policy", choices=list(POLICIES), default="pick_first", help="how the client picks")
    parser.add_argument("-n", "--calls", type=_number(1, MAX_CALLS), default=100, metavar="N")
    parser.add_argument("--method", choices=METHODS, default="AddVideo", help="which call (default AddVideo)")
    parser.add_argument("--messages", type=_number(1, 100_000), default=3, help="messages a streaming call")
    parser.add_argument("--concurrency", type=_number(1, 10_000), default=1, help="calls at once (default 1)")
    parser.add_argument("--cookie-jar", action="store_true", help="send cookies back, as sticky proxies need")
    parser.add_argument("--deadline", type=_number(1, 86_400_000), default=10_000, metavar="MS")
    return parser


async def _drive(options: argparse.Namespace) -> list[Row]:
    rows = Rows()
    start_ns = time.monotonic_ns()
    settings = ClientSettings(
        target=options.target,
        service_config=service_config(options.policy),
        cookie_jar=options.cookie_jar,
        await_first_answer=True,
        messages_per_stream=options.messages,
        deadline_s=options.deadline / 1000,
        epoch_ns=start_ns,
        # Replicas outlive the driver and refuse an id that they hold: every run brings its own.
        key_prefix=f"driver-{time.time_ns()}",
    )
    client = Client(0, settings, rows)
    left = options.calls

    async def caller() -> None:
        nonlocal left
        while left:
            left -= 1
            await client.call(options.method, time.monotonic_ns())

    try:
        await client.connect()
        await asyncio.gather(*(caller() for _ in range(min(options.concurrency, options.calls))))
    finally:
        await client.close()
    return list(rows.requests)


def _tell(options: argparse.Namespace, rows: list[Row]) -> int:
    column = {name: [row[number] for row in rows] for number, name in enumerate(REQUEST_COLUMNS)}
    print(f"{len(rows)} calls of {options.method}, policy {options.policy}, to {options.target}")
    print(f"{'replica':<16}{'calls':>9}{'share':>9}")
    for replica, calls in sorted(Counter(column["replica"]).items()):
        print(f"{replica or NOBODY:<16}{calls:>9}{calls / len(rows):>9.1%}")
    codes = Counter(column["code"])
    print("codes: " + ", ".join(f"{code} {calls}" for code, calls in codes.most_common()))
    took_ms = sorted(
        (int(done) - int(sent)) / 1e6 for sent, done in zip(column["sent_ns"], column["done_ns"], strict=True)
    )
    p50, p99 = (took_ms[min(len(took_ms) - 1, int(len(took_ms) * share))] for share in (0.5, 0.99))
    print(f"latency: p50 {p50:.1f} ms, p99 {p99:.1f} ms, max {took_ms[-1]:.1f} ms")
    return 0 if set(codes) == {"OK"} else 1


def _target(text: str) -> str:
    try:
        resolver_target(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return text


def _number(least: int, most: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not text.isdecimal() or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {least} to {most}")
        return int(text)

    return parse


if __name__ == "__main__":
    sys.exit(main())
