"""Makes a synthetic access log of an Application Load Balancer, whose properties are known.

`python -m docs.examples.alb_log build/example.log.gz --policy sticky --skew 1.1` writes one. docs/observe.md
goes on from there. Addresses are those that RFC 5737 keeps for documentation.
"""

import argparse
import gzip
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import numpy as np

START = datetime(2026, 11, 24, 10, 0, tzinfo=UTC)
FAILED_SHARE = 0.002
POLICIES = ("sticky", "random")


@dataclass(frozen=True)
class Traffic:
    """What the log shall show. Arrivals are Poisson, and clients follow Zipf's law with exponent `skew`.

    policy: "random" draws a target for each request, "sticky" for each client's first one. late_s: the last
    target joins after so many seconds; 0: all are there from the start. slow: factor of the first target's
    service times, which are exponential with mean_ms.
    """

    requests: int = 60_000
    rate_per_s: float = 100.0
    clients: int = 500
    skew: float = 0.0
    targets: int = 6
    policy: str = "random"
    late_s: float = 0.0
    slow: float = 1.0
    mean_ms: float = 20.0
    seed: int = 1


class Request(NamedTuple):
    """One request. at_s: arrival, seconds after START. client, target: numbers. A failure has status 502."""

    at_s: float
    client: int
    target: int
    status: int
    target_s: float


def requests_of(traffic: Traffic) -> Iterator[Request]:
    """Yield the requests in the order of their arrivals."""
    random = np.random.default_rng(traffic.seed)
    at_s = random.exponential(1 / traffic.rate_per_s, traffic.requests).cumsum()
    weights = np.arange(1, traffic.clients + 1) ** -traffic.skew
    clients = random.choice(traffic.clients, traffic.requests, p=weights / weights.sum())
    picks = random.random(traffic.requests)
    times_s = random.exponential(traffic.mean_ms / 1000, traffic.requests)
    failed = random.random(traffic.requests) < FAILED_SHARE
    home: dict[int, int] = {}
    for number in range(traffic.requests):
        there = traffic.targets - (at_s[number] < traffic.late_s)
        target = int(picks[number] * there)
        client = int(clients[number])
        if traffic.policy == "sticky":
            target = home.setdefault(client, target)
        slow = traffic.slow if target == 0 else 1.0
        status = 502 if failed[number] else 200
        yield Request(float(at_s[number]), client, target, status, float(times_s[number]) * slow)


def line_of(request: Request) -> str:
    """Return the line that an ALB writes of a request, in the format of 2025."""
    arrival = START + timedelta(milliseconds=round(request.at_s * 1000))  # ALB: whole milliseconds
    answer = arrival + timedelta(milliseconds=round(request.target_s * 1000))
    client = f"203.0.{113 + (request.client >> 8)}.{request.client & 255}:{1024 + request.client}"
    target = f"192.0.2.{10 + request.target}:8080"
    of_target = request.status if request.status == 200 else "-"
    return (
        f"h2 {_time(answer)} app/video/50dc6c495c0c9188 {client} {target} 0.000 {request.target_s:.3f} 0.000 "
        f'{request.status} {of_target} 220 148 "POST https://video.example.com:443/video/AddVideo HTTP/2.0" '
        '"grpc-python/1.85.1" ECDHE-RSA-AES128-GCM-SHA256 TLSv1.2 '
        "arn:aws:elasticloadbalancing:eu-central-1:123456789012:targetgroup/video/73e2d6bc24d8a067 "
        f'"Root=1-58337281-1d84f3d73c47ec4e58577259" "video.example.com" "session-reused" 1 {_time(arrival)} '
        f'"forward" "-" "-" "{target}" "{of_target}" "-" "-" TID_{request.client:016x} "-" "-" "-"\n'
    )


def write_log(path: Path, traffic: Traffic) -> None:
    """Write the log; gzip if the name ends in .gz."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = map(line_of, requests_of(traffic))
    if path.suffix == ".gz":
        with gzip.open(path, "wt", compresslevel=1) as zipped:
            zipped.writelines(lines)
    else:
        with path.open("w") as plain:
            plain.writelines(lines)


def _time(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%S.%f}Z"


def main() -> None:
    """Write the log that the command line describes."""
    default = Traffic()
    parser = argparse.ArgumentParser(prog="python -m docs.examples.alb_log", description=__doc__)
    parser.add_argument("path", type=Path)
    for name in ("requests", "clients", "targets", "seed"):
        parser.add_argument(f"--{name}", type=int, default=getattr(default, name))
    for name in ("rate_per_s", "skew", "late_s", "slow", "mean_ms"):
        option = f"--{name.replace('_', '-')}"
        parser.add_argument(option, type=float, default=getattr(default, name), dest=name)
    parser.add_argument("--policy", choices=POLICIES, default=default.policy)
    options = vars(parser.parse_args())
    write_log(options.pop("path"), Traffic(**options))


if __name__ == "__main__":
    main()
