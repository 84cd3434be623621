"""The figures of the page on capacity, from the measured points alone."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.capacity_law import Measured, Spread, kept, line, spread

SHARE_TO_PLAN_WITH = 0.7  # of a full core: what is left answers bursts before they become a queue
USUAL_RATE_PER_S = 400


@dataclass(frozen=True)
class Full:
    """What one process carries. `cores`: what it used then; `beyond`: the next step, and what went wrong."""

    calls_per_s: Spread
    cores: Spread
    beyond: str


@dataclass(frozen=True)
class Size:
    """What a process holds: MiB and open files of its own, and what each client adds (KiB, files)."""

    mib: float
    kib_per_client: float
    files: float
    files_per_client: float


def at_point(points: Sequence[Measured], **wanted: object) -> list[Measured]:
    """The rounds of one point: those that agree with `wanted`."""
    return [point for point in points if all(point[name] == value for name, value in wanted.items())]


def full_server(points: Sequence[Measured], kind: str) -> Full:
    """Of "envoy" or "replica": alone, called as fast as it answered."""
    rounds = at_point(points, what=kind, rate_per_s=0)
    return Full(
        spread(point["calls_per_s"] for point in rounds),
        spread(point["cores"][kind] for point in rounds),
        "called as fast as it answers",
    )


def full_load(points: Sequence[Measured]) -> Full:
    """Of the load process, alone: the highest rate of the ladder that it kept in every round."""
    ladder = sorted({point["rate_per_s"] for point in points if point["what"] == "load"})
    best: list[Measured] = []
    for rate_per_s in ladder:
        rounds = at_point(points, what="load", rate_per_s=rate_per_s)
        if not all(map(kept, rounds)):
            lag = spread(point["lag_p99_ms"] for point in rounds)
            cores = spread(point["cores"]["load"] for point in rounds)
            beyond = (
                f"at {rate_per_s:,}/s: send lag p99 {lag.middle:.0f} ms ({lag.least:.0f} to {lag.most:.0f}) "
                f"at {cores.middle:.2f} cores"
            )
            break
        best, beyond = rounds, "more was not tried"
    return Full(
        spread(point["calls_per_s"] for point in best),
        spread(point["cores"]["load"] for point in best),
        beyond,
    )


def cores_needed(rate_per_s: float, full: Full) -> tuple[int, int]:
    """Processes for a rate, each on a core of its own: filled, and at SHARE_TO_PLAN_WITH."""
    each = full.calls_per_s.middle
    return math.ceil(rate_per_s / each), math.ceil(rate_per_s / (each * SHARE_TO_PLAN_WITH))


def size(points: Sequence[Measured], kind: str) -> Size:
    """By clients, at one and the same rate, in whole cells.

    A load process and Envoy: behind each other, a connection a client. A replica: called directly too,
    where every client has a connection to it.
    """
    cells = at_point(points, what="lab", rate_per_s=USUAL_RATE_PER_S)
    if kind == "replica":
        connections = [1 if cell["route"] == "envoy" else cell["clients"] for cell in cells]
    else:
        cells = [cell for cell in cells if cell["route"] == "envoy"]
        connections = [cell["clients"] for cell in cells]
    mib, mib_per_client = line(connections, [cell["uss_mib"][kind] for cell in cells])
    files, files_per_client = line(connections, [cell["open_files"][kind] for cell in cells])
    return Size(mib, mib_per_client * 1024, files, files_per_client)


def replicas_by_rate(points: Sequence[Measured], clients: int) -> dict[float, Spread]:
    """Calls/s that one replica got, as planned -> cores that it used, in whole cells behind Envoy."""
    cells = at_point(points, what="lab", route="envoy", clients=clients)
    rates = sorted({cell["rate_per_s"] / cell["replicas"] for cell in cells})
    return {
        rate: spread(
            cell["cores"]["replica"] for cell in cells if cell["rate_per_s"] / cell["replicas"] == rate
        )
        for rate in rates
    }


def bytes_per_row(points: Sequence[Measured]) -> Mapping[str, Spread]:
    """On disk, by ledger, for each request."""
    cells = [cell["bytes_per_row"] for cell in at_point(points, what="lab", route="envoy")]
    return {ledger: spread(cell[ledger] for cell in cells) for ledger in cells[0]}


def by_point(points: Sequence[Measured]) -> list[tuple[Measured, list[Any]]]:
    """One point and all its rounds, in the order in which they were measured first."""
    names = ("what", "route", "rate_per_s", "clients", "replicas")
    rounds: dict[tuple[object, ...], list[Measured]] = {}
    for point in points:
        rounds.setdefault(tuple(point[name] for name in names), []).append(point)
    return [(several[0], several) for several in rounds.values()]
