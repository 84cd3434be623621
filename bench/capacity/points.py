"""The points to measure, and the CSV file with the results: one row for each point."""

from itertools import product
from pathlib import Path
from typing import NamedTuple

import polars as pl

KINDS = ("load", "envoy", "replica")
USUAL_RATE_PER_S, USUAL_CLIENTS = 400, 24
LADDERS: tuple[tuple[str, str, tuple[int, ...], tuple[int, ...], tuple[int, ...]], ...] = (
    # what, route, rates (calls/s; 0: as fast as possible), clients, replicas
    ("lab", "envoy", (100, 200, USUAL_RATE_PER_S, 800, 1200, 1600), (USUAL_CLIENTS,), (8,)),
    ("lab", "envoy", (USUAL_RATE_PER_S,), (6, 96, 384, 1536), (8,)),
    ("lab", "envoy", (USUAL_RATE_PER_S,), (USUAL_CLIENTS,), (2, 32)),
    ("lab", "envoy", (1200,), (384,), (8,)),  # many calls and many clients: the law must hold there, too
    ("lab", "direct", (USUAL_RATE_PER_S, 800, 1200), (USUAL_CLIENTS,), (8,)),
    ("lab", "direct", (USUAL_RATE_PER_S,), (384,), (8,)),
    ("load", "direct", (200, 400, 800, 1600, 2400, 3200, 4000, 5000, 6000), (USUAL_CLIENTS,), (1,)),
    ("envoy", "envoy", (1000, 2000, 4000, 8000, 0), (USUAL_CLIENTS,), (4,)),
    ("replica", "direct", (250, 500, 1000, 2000, 3000, 0), (USUAL_CLIENTS,), (1,)),
)


class Point(NamedTuple):
    """One measurement of a few seconds. rate_per_s: planned; 0: as fast as possible.

    what: "lab" is a whole cell; "load", "envoy" or "replica" is that part alone. For a part alone, nghttpd
    takes the place of the replicas, and h2load's connections that of the clients.
    """

    what: str
    route: str
    rate_per_s: int
    clients: int
    replicas: int
    round: int


def planned_points(rounds: int) -> list[Point]:
    """Return all points, round by round, so that a change of the machine affects all points."""
    return [
        Point(what, route, rate_per_s, clients, replicas, number)
        for number in range(1, rounds + 1)
        for what, route, *values in LADDERS
        for rate_per_s, clients, replicas in product(*values)
    ]


def read_points(path: Path) -> pl.DataFrame:
    """Return the measured points of a CSV file, which may be compressed."""
    return pl.read_csv(path, infer_schema_length=None)
