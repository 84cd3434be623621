"""STAGES: where the time of a request goes, from its planned send to its answer.

Each stage begins where the one before it ended, so the stages of a request add up to its latency. A request
that was given up, or that nobody answered, spends the rest of its time in the stage that it had reached.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from harness.metrics.metric import Compute, Metric, Number, Sort, in_ms

if TYPE_CHECKING:
    from harness.metrics.facts import CellFacts, StageTimes

# By whose ledgers the stages of a cell can be cut: with the proxy's, or with the replicas' alone.
Cut = Literal["proxy", "replicas"]


@dataclass(frozen=True)
class Stage:
    """One stage: its label, what happens in it, and the moment that ends it (see JOINED_COLUMNS).

    cuts: the cells that have it. only: a further condition, in words, or "".
    """

    label: str
    meaning: str
    ends: str
    cuts: tuple[Cut, ...] = ("proxy", "replicas")
    only: str = ""


STAGES: Mapping[str, Stage] = {
    "waiting_for_answer": Stage(
        "waiting for an answer",
        "the client waits on purpose for an earlier answer: the first of its session, or with "
        "`await_each_answer` the one before",
        "ready_ns",
    ),
    "late_sending": Stage(
        "late sending", "the load generator sends later than it could: from then to the send", "sent_ns"
    ),
    "waiting_for_stream": Stage(
        "waiting for a stream",
        "all 128 streams of the client's connection are in use, and the request waits in the client's gRPC. "
        "It can be told only for requests that reached the proxy later",
        "stream_ns",
        ("proxy",),
    ),
    "to_proxy": Stage(
        "to the proxy",
        "from the send, or from a free stream, until Envoy has the request's headers. It includes waiting "
        "for a connection",
        "proxy_ns",
        ("proxy",),
    ),
    "earlier_attempts": Stage(
        "earlier attempts",
        "attempts that were repeated, until the last of them had ended",
        "retried_ns",
        only="retries",
    ),
    "proxy_to_replica": Stage(
        "proxy to replica",
        "until the replica has the request, with the proxy's own time and its wait before a repetition",
        "arrived_ns",
        ("proxy",),
    ),
    "to_replica": Stage(
        "to the replica",
        "without a ledger of the proxy: from the send until the replica has the request",
        "arrived_ns",
        ("replicas",),
    ),
    "queue": Stage("queue", "the request waits in the replica for a slot", "started_ns"),
    "service": Stage(
        "service",
        "the rest of its time in the replica: mostly holding a slot; of a stream also the time between its "
        "messages",
        "finished_ns",
    ),
    "way_back": Stage(
        "way back",
        "from the end in the replica until the client has the answer. It includes late receiving",
        "done_ns",
    ),
}


def stages_of(cut: Cut, max_attempts: int) -> dict[str, Stage]:
    """Return name -> stage, in order, of cells that can be cut so."""
    return {
        name: stage
        for name, stage in STAGES.items()
        if cut in stage.cuts and (stage.only != "retries" or max_attempts > 1)
    }


_FIGURES: Mapping[str, tuple[str, Callable[[StageTimes], Number]]] = {
    "p50": ("Median", lambda times: times.percentiles.get("p50")),
    "p99": ("99th percentile", lambda times: times.percentiles.get("p99")),
    "mean": ("Mean", lambda times: times.mean),
    "slowest": (
        "Mean over the requests whose latency is at least its 99th percentile (of failures: the time that "
        "they took)",
        lambda times: times.slowest,
    ),
}

_HEADLINES = {"p50": "median", "p99": "p99", "mean": "mean", "slowest": "mean over the slowest 1 %"}


def stage_metrics() -> Iterator[tuple[str, Metric]]:
    """Yield (name, metric) for each stage: stage_ms.<stage>.<figure>; None in cells without that stage."""
    for name, stage in STAGES.items():
        for figure, (words, compute) in _FIGURES.items():
            meaning = f"{words} of the stage *{stage.label}*: {stage.meaning}"
            # Late sending is what would spoil the others.
            sort: Sort = "counts" if name == "late_sending" else "times"
            rank = figure if figure in ("p50", "p99") else "p99"
            headline = f"{_HEADLINES[figure]} of {stage.label}"
            metric = Metric("ms", meaning, _of_stage(name, compute), sort, rank, headline=headline)
            yield f"stage_ms.{name}.{figure}", metric


def _of_stage(name: str, compute: Callable[[StageTimes], Number]) -> Compute:
    def metric(facts: CellFacts) -> Number:
        times = facts.stages.get(name)
        return None if times is None else in_ms(compute(times))

    return metric
