"""Sequence diagrams of recorded exchanges: one request of a run with its moments. Lengths are SVG units."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from harness.analysis.moments import moments_of
from harness.record.run_directory import Cell
from harness.site.prediction import in_words
from harness.site.run_facts import RunFacts

WIDTH = 420
MAX_MESSAGES = 3  # of a stream; more make the drawing long and say nothing new
STEP, TOP = 34, 44
METHODS = ("AddVideo", "ListVideos", "GetVideos", "GetVideo")


@dataclass(frozen=True)
class Step:
    """One line of the diagram. at_ms: since the request was sent; None: no ledger knows the moment.

    source, target: numbers of the parties; equal for something that happens at one party.
    """

    at_ms: float | None
    source: int
    target: int
    text: str


@dataclass(frozen=True)
class Exchange:
    """One recorded request. parties: from left to right. origin: experiment, arm, and request of its run."""

    method: str
    parties: Sequence[str]
    steps: Sequence[Step]
    origin: str
    simulated: bool

    @property
    def x(self) -> Sequence[float]:
        """Where the lines of the parties stand."""
        gap = (WIDTH - 140) / (len(self.parties) - 1)
        return [90 + gap * place for place in range(len(self.parties))]

    @property
    def height(self) -> int:
        """Height of the drawing."""
        return TOP + STEP * len(self.steps) + 16

    @property
    def text(self) -> str:
        """The diagram in words."""
        lines = []
        for step in self.steps:
            when = "" if step.at_ms is None else f" at {step.at_ms:.2f} ms"
            who = self.parties[step.source]
            to = f" to {self.parties[step.target]}" if step.target != step.source else ""
            lines.append(f"{who}{to}: {step.text}{when}")
        return "; ".join(lines)


def exchanges_from(facts: RunFacts) -> Mapping[str, Exchange]:
    """Return method -> a recorded exchange, for each kind of call that the run has on route envoy."""
    found: dict[str, Exchange] = {}
    for cell in facts.run.cells:
        if cell.record.route != "envoy" or cell.record.window_ns <= 0:
            continue
        for exchange in _exchanges(facts, cell):
            found.setdefault(exchange.method, exchange)
        if len(found) == len(METHODS):
            break
    return found


def _exchanges(facts: RunFacts, cell: Cell) -> Iterator[Exchange]:
    """Yield an exchange of each method in a cell: the first answered request with all its moments."""
    moments = moments_of(cell)
    first = pl.exclude("request_id").first()
    stays = moments.stays.group_by("request_id").agg(pl.len().alias("stays"), first)
    counted = moments.messages.group_by("request_id").agg(pl.len().alias("messages"))
    rows = (
        moments.requests.filter(pl.col("code") == "OK", pl.col("proxy_ns").is_not_null())
        .join(stays.filter(pl.col("stays") == 1), on="request_id")
        .join(counted, on="request_id", how="left")
        # The proxy has a clock of its own: only a request whose moments are in order can be drawn.
        .filter(
            pl.col("proxy_ns").is_between("sent_ns", "arrived_ns"),
            pl.col("finished_ns") <= pl.col("done_ns"),
        )
        .sort("sent_ns")
    )
    for method in METHODS:
        of_method = rows.filter(pl.col("method") == method)
        if method == "GetVideo":
            of_method = of_method.filter(pl.col("messages") >= 2)
        if of_method.is_empty():
            continue
        row = of_method.row(0, named=True)
        sent = moments.messages.filter(pl.col("request_id") == row["request_id"]).sort(
            "sent_ns", "received_ns"
        )
        yield Exchange(
            method=method,
            parties=("client", "Envoy", list(cell.record.replicas)[row["replica"]]),
            steps=_steps(method, row, sent),
            origin=f"{facts.run.name}, arm {in_words(cell.record.arm)}, request {row['request_id']}",
            simulated=facts.stored.simulated,
        )


def _steps(method: str, row: Mapping[str, int], messages: pl.DataFrame) -> Sequence[Step]:
    """Return the lines of the diagram by time."""
    client, proxy, replica = range(3)

    def at(moment_ns: int) -> float:
        return (moment_ns - row["sent_ns"]) / 1e6

    one_message = method in ("AddVideo", "ListVideos")
    steps = [
        Step(0.0, client, proxy, f"{method}, one message" if one_message else f"{method}, the call begins"),
        Step(at(row["proxy_ns"]), proxy, proxy, "picks a replica"),
        Step(at(row["arrived_ns"]), proxy, replica, "the call"),
    ]
    if method == "AddVideo":
        waited = (row["started_ns"] - row["arrived_ns"]) / 1e6
        steps += [
            Step(at(row["started_ns"]), replica, replica, f"gets a slot after {waited:.2f} ms in line"),
            Step(at(row["finished_ns"]), replica, replica, "is done"),
        ]
    shown = messages.head(MAX_MESSAGES)
    for number, message in enumerate(shown.iter_rows(named=True), 1):
        # No ledger has the moment at which the replica got a message. So the arrow ends at the proxy.
        if method in ("GetVideos", "GetVideo"):
            steps.append(Step(at(message["sent_ns"]), client, proxy, f"message {number}"))
        if method in ("ListVideos", "GetVideo"):
            steps.append(Step(at(message["received_ns"]), replica, client, f"video {number}"))
    steps.sort(key=lambda step: step.at_ms or 0.0)
    if more := len(messages) - len(shown):
        steps.append(Step(None, replica, replica, f"and {more} more, all by this replica"))
    last = {"AddVideo": "the answer", "GetVideos": "one answer"}.get(method, "the call ends")
    return [*steps, Step(at(row["done_ns"]), replica, client, f"{last}, status OK")]
