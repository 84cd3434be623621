"""METRICS: name -> metric, for everything that an experiment can expect of a cell.

This module imports no numpy and no polars: the check of an experiment file needs the names, and must stay
quick. `make schema` writes the meanings to results/README.md.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from harness.fields import is_proxy
from harness.metrics.duration_metrics import duration_metrics, generator_metrics, latency_metrics
from harness.metrics.event_metrics import event_metrics
from harness.metrics.metric import (
    Compute,
    Metric,
    Number,
    chi2_p,
    cv,
    effective_replicas,
    in_ms,
    jain,
    max_off_fair,
    max_over_mean,
    share,
)
from harness.metrics.stages import stage_metrics

if TYPE_CHECKING:
    from harness.metrics.facts import CellFacts, Placement

NAMED_REPLICAS = 8  # replicas whose share is a metric of its own
COUNTED_CODES = ("UNAVAILABLE", "DEADLINE_EXCEEDED", "INTERNAL", "CANCELLED")
CAPACITY = "capacity_per_s"  # the metric of a search


def _of_spread(function: Callable[[Sequence[int]], Number]) -> Compute:
    return lambda facts: function(list(facts.replica_requests.values()))


def _off_fair_per_client(facts: CellFacts) -> Number:
    return max(
        (off for row in facts.client_requests.values() if (off := max_off_fair(row)) is not None),
        default=None,
    )


def _replicas_per_client(facts: CellFacts) -> Number:
    used = [sum(map(bool, row)) for row in facts.client_requests.values() if any(row)]
    return statistics.median(used) if used else None


def _group_purity(facts: CellFacts) -> Number:
    on_most_used = facts.sessions.group_requests
    return None if on_most_used is None else share(on_most_used, facts.sessions.requests)


def _of_placement(value: Callable[[Placement], float]) -> Compute:
    def compute(facts: CellFacts) -> Number:
        placement = facts.sessions.random_placement
        return None if placement is None else value(placement)

    return compute


def _bytes_per_request(facts: CellFacts) -> Number:
    carried = facts.ledgers.envoy_bytes
    return None if carried is None else share(carried, facts.ledgers.client)


# Unit -> what is counted on each replica.
_UNITS = {
    "connections": "the clients' connections that the replica served",
    "sessions": "the sessions that the replica served",
    "messages": "the messages that the replica sent (an RPC without a stream has one)",
    "busy_time": "the time that the replica worked on requests that it answered, summed over its slots",
}


def _metrics_of_units() -> Iterator[tuple[str, Metric]]:
    functions = {
        "max_over_mean": ("ratio", "Busiest replica / fair share", max_over_mean, "busiest / fair"),
        "cv": ("ratio", "Standard deviation / mean over the replicas", cv, "deviation / mean"),
        "effective_replicas": (
            "replicas",
            "1 / sum(share^2) over the replicas",
            effective_replicas,
            "effective number of replicas",
        ),
    }
    for unit, counted in _UNITS.items():
        noun = unit.replace("_", " ")
        for name, (scale, meaning, function, words) in functions.items():
            yield (
                f"{unit}.{name}",
                Metric(
                    scale,
                    f"{meaning}, counting {counted}",
                    _of_unit(unit, function),
                    "counts",
                    headline=f"{words} by {noun}",
                    clause=f"the busiest replica had {{}} times its fair share of the {noun}"
                    if function is max_over_mean
                    else "",
                ),
            )


def _of_unit(unit: str, function: Callable[[Sequence[int]], Number]) -> Compute:
    return lambda facts: function(facts.units[unit])


_CPU_PARTS: dict[str, tuple[str, Callable[[str], bool]]] = {
    "clients": ("the load, which is all clients", lambda part: part == "load"),
    "proxy": ("Envoy; 0 without a proxy", is_proxy),
    "replicas": ("all replicas", lambda part: part.startswith("replica-")),
    "all": ("load, Envoy and replicas", lambda _part: True),
}


def _metrics_of_cpu() -> Iterator[tuple[str, Metric]]:
    for name, (counted, belongs) in _CPU_PARTS.items():
        yield (
            f"cpu.{name}_us_per_request",
            Metric(
                "us",
                f"CPU time of {counted}, while measuring / requests; null where nobody counted it",
                _cpu_of(belongs),
                headline=f"CPU time of {'all parts' if name == 'all' else f'the {name}'} for a request",
            ),
        )


def _cpu_of(belongs: Callable[[str], bool]) -> Compute:
    def compute(facts: CellFacts) -> Number:
        if "load" not in facts.cpu_cores or not facts.requests:
            return None
        cores = sum(used for part, used in facts.cpu_cores.items() if belongs(part))
        return cores * facts.window_s * 1e6 / facts.requests

    return compute


def _share_of(replica: str, counts_of: Callable[[CellFacts], Mapping[str, int]]) -> Compute:
    def compute(facts: CellFacts) -> Number:
        counts = counts_of(facts)
        return share(counts[replica], sum(counts.values())) if replica in counts else None

    return compute


def _error_share(code: str) -> Compute:
    return lambda facts: share(facts.errors.get(code, 0), facts.requests)


METRICS: dict[str, Metric] = {
    "requests": Metric(
        "requests",
        "Requests planned in the measured window",
        lambda f: f.requests,
        "counts",
        headline="requests",
        clause="{} were planned",
    ),
    "error_share": Metric(
        "share",
        "Requests that did not end with OK / all requests",
        lambda f: share(sum(f.errors.values()), f.requests),
        one_event=lambda f: share(1, f.requests),
        headline="share of failed requests",
        clause="{} of the requests failed",
    ),
    **{
        f"errors.{code}": Metric(
            "share",
            f"Requests that ended with {code} / all requests",
            _error_share(code),
            one_event=lambda f: share(1, f.requests),
            headline=f"requests that ended with {code}",
            clause=f"{{}} of the requests ended with {code}",
        )
        for code in COUNTED_CODES
    },
    "goodput_per_s": Metric(
        "requests/s",
        "Requests that ended with OK inside the measured window / its length. A later answer does not count",
        lambda f: f.good_answers / f.window_s,
        headline="goodput",
    ),
    CAPACITY: Metric(
        "requests/s",
        "Of an arm in one repeat, not of a cell: the highest rate at which the condition of `search` holds. "
        "It lies in a bracket, from the highest rate at which the condition held to the lowest at which it "
        "did not",
        lambda _: None,
        headline="capacity",
    ),
    "unsent_requests": Metric(
        "requests",
        "Requests planned in the measured window that were never sent: with `await_each_answer` a client "
        "does not send what would leave later than a deadline after the window. Null in a closed loop",
        lambda f: f.unsent,
        headline="requests never sent",
        clause="{} were never sent",
    ),
    "attempts.per_request": Metric(
        "ratio",
        "Rows of the replicas / rows of the clients, warm-up included. Above 1: retries add to the load. "
        "Below 1: some requests never reached a replica",
        lambda f: None if f.ledgers.replica is None else share(f.ledgers.replica, f.ledgers.client),
        headline="attempts per request",
        clause="a request took {} attempts on average",
    ),
    "attempts.max_over_mean": Metric(
        "ratio",
        "Busiest replica's attempts / fair share, from the replicas' ledgers; 1 is even",
        lambda f: None if f.replica_attempts is None else max_over_mean(list(f.replica_attempts.values())),
        headline="busiest / fair by attempts",
        clause="the busiest replica got {} times its fair share of the attempts",
    ),
    "attempts.wasted_share": Metric(
        "share",
        "Time in slots of attempts that nobody had an answer of / time in slots of all attempts, from the "
        "replicas' ledgers. Nobody had one if the attempt did not end with OK, or its request did not. 0 "
        "where every request ended with OK in one attempt",
        lambda f: f.wasted_share,
        one_event=lambda f: share(1, f.requests),
        headline="share of the replicas' work that was wasted",
        clause="{} of the replicas' work was wasted",
    ),
    "bytes.per_request": Metric(
        "bytes",
        "Bytes of the bodies that Envoy carried, both ways / requests, warm-up included; route `envoy`",
        _bytes_per_request,
        "counts",
        headline="bytes per request",
        clause="a request took {} on average",
    ),
    "spread.max_over_mean": Metric(
        "ratio",
        "Busiest replica's requests / fair share; 1 is even",
        _of_spread(max_over_mean),
        "counts",
        headline="busiest / fair share",
        clause="the busiest replica got {} times its fair share",
    ),
    "spread.cv": Metric(
        "ratio",
        "Standard deviation / mean of the replicas' requests; 0 is even",
        _of_spread(cv),
        "counts",
        headline="deviation / mean of the replicas' requests",
    ),
    "spread.jain": Metric(
        "index",
        "Jain's fairness index, `spread.effective_replicas` / replicas: from 1/n (all on one replica) to 1 "
        "(even)",
        _of_spread(jain),
        "counts",
        headline="Jain's fairness index",
    ),
    "spread.effective_replicas": Metric(
        "replicas",
        "The effective number of replicas, 1 / sum(share^2): n when even, 1 when all requests are on one",
        _of_spread(effective_replicas),
        "counts",
        headline="effective number of replicas",
        clause="the requests were spread as if over {}",
    ),
    "spread.chi2_p": Metric(
        "probability",
        "Probability that replicas drawn at random would be at least as uneven (Pearson's chi-square test)",
        _of_spread(chi2_p),
        "counts",
        headline="probability of so uneven a spread by chance",
    ),
    "spread.used_replicas": Metric(
        "replicas",
        "Replicas that answered a request",
        _of_spread(lambda counts: sum(map(bool, counts))),
        "counts",
        headline="replicas that answered",
        clause="{} answered",
    ),
    "random_placement.max_over_mean": Metric(
        "ratio",
        "**A model, not a measurement**: the expected `spread.max_over_mean` when each session, with the "
        "requests that it really made, goes to a replica drawn at random and stays there. The mean of up to "
        "2,000 draws with a fixed seed",
        _of_placement(lambda placement: placement.mean),
        "counts",
        headline="busiest / fair share by random placement (model)",
    ),
    "random_placement.max_over_mean_p5": Metric(
        "ratio",
        "**A model**: the 5th percentile of the same draws. One placement is below it one time in twenty",
        _of_placement(lambda placement: placement.p5),
        "counts",
        headline="p5 of busiest / fair share by random placement (model)",
    ),
    "random_placement.max_over_mean_p95": Metric(
        "ratio",
        "**A model**: the 95th percentile of the same draws. One placement is above it one time in twenty",
        _of_placement(lambda placement: placement.p95),
        "counts",
        headline="p95 of busiest / fair share by random placement (model)",
    ),
    **dict(_metrics_of_units()),
    "connections.count": Metric(
        "connections",
        "Connections of clients with an answered request",
        lambda f: f.connections,
        "counts",
        headline="connections",
        clause="there were {}",
    ),
    **{
        f"share.replica-{number}": Metric(
            "share",
            f"Share of the answered requests on replica-{number}",
            _share_of(f"replica-{number}", lambda f: f.replica_requests),
            "counts",
            headline=f"share of replica-{number}",
            clause=f"replica-{number} got {{}} of the requests",
        )
        for number in range(NAMED_REPLICAS)
    },
    **{
        f"attempt_share.replica-{number}": Metric(
            "share",
            f"Share of the attempts on replica-{number}, from the replicas' ledgers. A request that was "
            "tried again has several attempts; `share` counts only the one that answered",
            _share_of(f"replica-{number}", lambda f: f.replica_attempts or {}),
            headline=f"share of replica-{number} in the attempts",
            clause=f"replica-{number} got {{}} of the attempts",
        )
        for number in range(NAMED_REPLICAS)
    },
    "zones.crossed_share": Metric(
        "share",
        "Answered requests that a proxy node sent to a replica of another zone / all answered requests; arms "
        "with `zones`, route `envoy`",
        lambda f: (
            None if f.crossed_zones is None else share(f.crossed_zones, sum(f.replica_requests.values()))
        ),
        "counts",
        one_event=lambda f: share(1, f.requests),
        headline="share of the requests that crossed zones",
        clause="{} of the requests crossed zones",
    ),
    "per_client.replicas": Metric(
        "replicas",
        "Number of replicas that answered a client, median over the clients",
        _replicas_per_client,
        "counts",
        headline="replicas per client",
        clause="a client was answered by {}",
    ),
    "balance.max_off_fair_requests": Metric(
        "requests",
        "Largest distance of a replica's requests from the fair share",
        _of_spread(max_off_fair),
        "counts",
        headline="largest distance from the fair share",
    ),
    "balance.max_off_fair_per_client_requests": Metric(
        "requests",
        "The same within the requests of one client, for the client with the largest distance",
        _off_fair_per_client,
        "counts",
        headline="largest distance from a client's fair share",
    ),
    "balance.round_off_fair_requests": Metric(
        "requests",
        "The requests are cut into rounds of 3 x replicas successive requests, in the order of planned "
        "sends; what is left over does not count. In each round: the largest "
        "distance of a replica's requests from 3. The mean over the rounds; it says how even the balancer is "
        "in the short run",
        lambda f: f.short_run_unfairness,
        "counts",
        headline="distance from the fair share in a short run",
    ),
    "affinity.sessions": Metric(
        "sessions",
        "Sessions with an answered request",
        lambda f: f.sessions.count,
        "counts",
        headline="sessions",
        clause="there were {}",
    ),
    "affinity.purity": Metric(
        "share",
        "Share of a session's requests on its most used replica, over all sessions, weighted by requests",
        lambda f: share(f.sessions.top_requests, f.sessions.requests),
        "counts",
        one_event=lambda f: share(1, f.sessions.requests),
        headline="share of a session's requests on one replica",
        clause="a session had {} of its requests on one replica",
    ),
    "affinity.group_purity": Metric(
        "share",
        "Share of a session's requests in its most used target group, over all sessions, weighted by "
        "requests; policy `target_groups`",
        _group_purity,
        "counts",
        headline="share of a session's requests in one target group",
        clause="a session had {} of its requests in one target group",
    ),
    "affinity.breaks": Metric(
        "breaks",
        "How often a session's next request, in the order of planned sends, went to another replica",
        lambda f: f.sessions.breaks,
        "counts",
        one_event=lambda _: 1,
        headline="moves of a session between two requests",
        clause="sessions had {} of affinity",
    ),
    "cache.hit_share": Metric(
        "share",
        "Answers from a replica that remembered the session / answers of replicas with a cache",
        lambda f: share(f.cache_hits, f.cache_lookups),
        "counts",
        headline="share of cache hits",
        clause="{} of the answers came from a replica that knew the session",
    ),
    "stream.count": Metric(
        "streams",
        "Streams with an answered message",
        lambda f: f.streams.count,
        "counts",
        headline="streams",
        clause="there were {}",
    ),
    "stream.purity": Metric(
        "share",
        "Streams whose messages all name one replica / streams with an answered message",
        lambda f: share(f.streams.pure, f.streams.count),
        "counts",
        headline="share of streams on one replica",
        clause="{} of the streams stayed on one replica",
    ),
    "stream.missing_messages": Metric(
        "messages",
        "Messages that streams were to have and that never came: requests that are streams x messages of a "
        "stream - messages received; 0 without streams. Null with a Locust file",
        lambda f: f.streams.missing,
        headline="missing messages of streams",
        clause="{} of streams never came",
    ),
    **dict(latency_metrics()),
    **dict(duration_metrics()),
    **dict(stage_metrics()),
    **dict(generator_metrics()),
    "in_flight.p99": Metric(
        "requests",
        "99th percentile of the requests inside a replica when an attempt arrives, this one included, from "
        "the replicas' ledgers (where the lab cannot read them: as `queue_ms`)",
        lambda f: f.in_flight.get("p99"),
        headline="p99 of the requests inside a replica",
    ),
    "in_flight.max": Metric(
        "requests",
        "Maximum of the requests inside one replica",
        lambda f: f.in_flight.get("max"),
        headline="most requests inside a replica",
    ),
    "answers_lost": Metric(
        "requests",
        "Requests that a replica finished with OK while the client got an error",
        lambda f: f.answers_lost,
        one_event=lambda _: 1,
        headline="lost answers",
        clause="{} lost their answer",
    ),
    "longest_gap_ms": Metric(
        "ms",
        "The longest time that a session waited for a good answer. It counts from a request's planned send "
        "to the first answer with OK that the session got to this or a later request; to the end of the "
        "measured window where no such answer came",
        lambda f: in_ms(f.longest_outage_ns),
        "times",
        "max",
        headline="longest gap of a session",
        clause="the longest time that a session waited for a good answer was {}",
    ),
    "recovery_ms": Metric(
        "ms",
        "Where the rate changes: how long requests were late after the peak. It counts from the end of the "
        "last step of time with more than the mean planned rate to the end of the last late step; 0 when "
        "none was late, null where the window ends with such a rate. A step is late if a tenth of its "
        "requests failed or took more than twice the usual latency, and so did a tenth of the step before "
        "or after. The usual latency is the 95th percentile of the requests with OK of the first eighth of "
        "the window. The steps are the smallest of ..., 0.1, 0.2, 0.5, 1, ... s that cut the window into 80 "
        "or less",
        lambda f: None if f.rate is None or f.rate.recovery_s is None else 1000 * f.rate.recovery_s,
        headline="time until recovery after the peak",
        clause="requests were late for {} after the peak",
    ),
    "knee_per_s": Metric(
        "requests/s",
        "Where the rate changes: the planned rate in the first late step of time, see `recovery_ms`; null "
        "where no step was late",
        lambda f: None if f.rate is None else f.rate.knee_per_s,
        headline="rate at the knee",
        clause="requests began to be late at {}",
    ),
    "endpoints.healthy_min": Metric(
        "replicas",
        "Minimum number of replicas that were `healthy` in Envoy while measuring; only with events and Envoy",
        lambda f: f.healthy.minimum,
        "counts",
        headline="fewest healthy replicas",
        clause="the proxy had {} or more as healthy",
    ),
    "endpoints.healthy_mean": Metric(
        "replicas",
        "Mean number (over time) of replicas that were `healthy` in Envoy while measuring; only with events "
        "and Envoy",
        lambda f: f.healthy.mean,
        "counts",
        headline="mean number of healthy replicas",
    ),
    **dict(_metrics_of_cpu()),
    "planned_rate_per_s": Metric(
        "requests/s",
        "Sends planned in the measured window / its length, from the plan as drawn",
        lambda f: f.planned_rate_per_s,
        headline="planned rate",
    ),
    "achieved_rate_per_s": Metric(
        "requests/s",
        "Sends in the measured window / its length",
        lambda f: f.achieved_rate_per_s,
        headline="achieved rate",
    ),
    **dict(event_metrics()),
}
