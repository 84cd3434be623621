"""Metrics of durations: latencies, lag, queue time, and the load generator's own share."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from harness.metrics.metric import Compute, Metric, Number, Sort, in_ms, reported

if TYPE_CHECKING:
    from harness.metrics.facts import CellFacts, Latency

_PERCENTILES = {
    "p50": "Median",
    "p90": "90th percentile",
    "p95": "95th percentile",
    "p99": "99th percentile",
    "p999": "99.9th percentile",
    "max": "Maximum",
}

_RANK_HEADLINES = {**dict(zip(_PERCENTILES, _PERCENTILES, strict=True)), "p50": "median", "p999": "p99.9"}
_RANK_HEADLINES["max"] = "maximum"

# Prefix of metrics that count failed requests as longer than any answer -> the latency, what it is of, and
# its name for people.
_LATENCIES: dict[str, tuple[Callable[[CellFacts], Latency], str, str]] = {
    "latency_ms": (
        lambda f: f.latency,
        "the latency of all requests from the planned send (done - planned)",
        "latency",
    ),
    "latency_from_send_ms": (
        lambda f: f.latency_from_send,
        "the latency of all requests from the actual send (done - sent)",
        "latency from the actual send",
    ),
}
_OF_FAILED = "A failed request counts as longer than any answer: null where the percentile falls on one"

# Prefix -> percentiles of a cell, those of them that are metrics, the quantity in words, its name for people.
_DURATIONS: dict[str, tuple[Callable[[CellFacts], Mapping[str, float]], Sequence[str], str, str]] = {
    "ok_latency_ms": (
        lambda f: f.latency.of_ok_ns,
        tuple(_PERCENTILES),
        "the latency from the planned send (done - planned) of the requests that ended with OK",
        "latency of OK alone",
    ),
    "message_latency_ms": (
        lambda f: f.streams.message_latency_ns,
        ("p50", "p90", "p99", "max"),
        "the latency of stream messages (received - planned)",
        "latency of a stream's message",
    ),
    "lag_ms": (
        lambda f: reported(f.lag_ns, f.requests),
        ("p50", "p99", "max"),
        "the lag of the load generator (sent - ready: the wait for an answer that a call needs is no lag)",
        "lag of the load generator",
    ),
    "queue_ms": (
        lambda f: f.queue_ns,
        ("p50", "p90", "p99", "max"),
        "the time that an attempt waited for a slot, until it got one or was given up, from the replicas' "
        "ledgers (where the lab cannot read them: of answered requests, as the answering replica says)",
        "queue time",
    ),
}


def generator_metrics() -> Iterator[tuple[str, Metric]]:
    """Yield (name, metric) of the load generator's own share of the latency."""
    own = (
        "the load generator's own share of the latency: late sending, late receiving, and what is neither "
        "proxy nor replica"
    )
    for rank in ("p50", "p99", "max"):
        compute = _percentile(lambda f: f.generator.own_ns, rank)
        headline = f"{_RANK_HEADLINES[rank]} of the generator's own share"
        yield (
            f"generator_ms.{rank}",
            Metric("ms", f"{_PERCENTILES[rank]} of {own}", compute, "counts", headline=headline),
        )
    for rank in ("p50", "p90", "p99"):
        meaning = (
            f"Part of `latency_ms.{rank}` that the lab itself caused: 1 - the same percentile of the "
            f"latencies less the load generator's own share / `latency_ms.{rank}`"
        )
        headline = f"generator's part of the {_RANK_HEADLINES[rank]} latency"
        metric = Metric("share", meaning, _generator_part(rank), "counts", headline=headline)
        yield f"generator_part.{rank}", metric


def _generator_part(rank: str) -> Compute:
    def compute(facts: CellFacts) -> Number:
        whole, rest = (one.of_all_ns.get(rank) for one in (facts.latency, facts.generator.latency))
        return None if not whole or rest is None or math.isinf(whole) else 1 - rest / whole

    return compute


def latency_metrics() -> Iterator[tuple[str, Metric]]:
    """Yield (name, metric) for each percentile of the latencies of all requests."""
    for prefix, (latency, quantity, noun) in _LATENCIES.items():
        for name, words in _PERCENTILES.items():
            meaning = f"{words} of {quantity}. {_OF_FAILED}"
            yield f"{prefix}.{name}", _latency_metric(latency, name, meaning, noun)


def _latency_metric(latency: Callable[[CellFacts], Latency], name: str, meaning: str, noun: str) -> Metric:
    return Metric(
        "ms",
        meaning,
        _percentile(lambda facts: latency(facts).of_all_ns, name),
        "times",
        name,
        at_least=_percentile(lambda facts: latency(facts).at_least_ns, name),
        headline=f"{_RANK_HEADLINES[name]} {noun}",
    )


def duration_metrics() -> Iterator[tuple[str, Metric]]:
    """Yield (name, metric) for each percentile of the other durations."""
    for prefix, (percentiles, names, quantity, noun) in _DURATIONS.items():
        for name in names:
            meaning = f"{_PERCENTILES[name]} of {quantity}"
            # The lag itself is what would spoil the others.
            sort: Sort = "counts" if prefix == "lag_ms" else "times"
            compute, headline = _percentile(percentiles, name), f"{_RANK_HEADLINES[name]} {noun}"
            yield f"{prefix}.{name}", Metric("ms", meaning, compute, sort, name, headline=headline)


def _percentile(percentiles: Callable[[CellFacts], Mapping[str, float]], name: str) -> Compute:
    return lambda facts: in_ms(percentiles(facts).get(name))
