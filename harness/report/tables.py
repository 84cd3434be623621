"""The tables of the report and the terminal, made from the arms of summary.json."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.analysis.judge import MAX_LAG_P99_MS, MIN_ACHIEVED_SHARE
from harness.analysis.ledgers import COUNTS as LEDGER_COUNTS
from harness.metrics.figures import show
from harness.metrics.registry import METRICS
from harness.record.cell_record import Party
from harness.record.summary import ArmSummary, Usage

MAX_REPLICA_COLUMNS = 8
COUNTS = ("least", "median", "most")  # columns in place of the replicas' where they are many
ABSENT = "–"

Arms = Mapping[str, ArmSummary]


@dataclass(frozen=True)
class Table:
    """A table of the page: the first cell of a row is its heading. Without `head`, values are text."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""


def where_table(arms: Arms, most_replicas: int = MAX_REPLICA_COLUMNS) -> Table:
    """Requests per replica and arm, all repeats; the least, median and most where replicas are many."""
    names = list(dict.fromkeys(name for arm in arms.values() for name in arm.replicas))
    few = len(names) <= most_replicas
    extras = _extras(arms)
    replicas = names if few else COUNTS
    head = ["Arm", *replicas, "busiest / fair", "purity", *extras, "errors"]
    rows = []
    for name, arm in arms.items():
        counts = list(arm.replicas.values())
        if few:
            found = [arm.replicas.get(replica) for replica in names]
            cells = [ABSENT if count is None else show(count) for count in found]
        else:
            cells = [show(find(counts)) if counts else ABSENT for find in (min, statistics.median, max)]
        figures = ["spread.max_over_mean", "affinity.purity", *extras.values()]
        told = [_shown(arm, metric) for metric in figures]
        rows.append([name, *cells, *told, show(sum(arm.errors.values()))])
    caption = (
        "Answered requests in the measured window"
        + (", by replica" if few else f" on each of {len(names)} replicas")
        + ", all repeats together. Busiest / fair: 1 is even. Purity: share of a session's requests on its "
        "most used replica; 1 is fully sticky."
    )
    return Table(head, rows, " ".join([caption, *(_EXTRAS[heading][1] for heading in extras)]))


# Heading -> metric, what the heading means: columns that are there only where they say something.
_EXTRAS = {
    "group purity": ("affinity.group_purity", "Group purity: the same for its target group."),
    "cache hits": ("cache.hit_share", "Cache hits: share of answers from a replica that knew the session."),
    "attempts": ("attempts.per_request", "Attempts: rows of the replicas per request."),
}


def _extras(arms: Arms) -> dict[str, str]:
    def tells(metric: str) -> bool:
        values = [value for arm in arms.values() if (value := arm.metrics[metric]) is not None]
        return any(value > 1 for value in values) if metric == "attempts.per_request" else bool(values)

    return {heading: metric for heading, (metric, _) in _EXTRAS.items() if tells(metric)}


def _shown(arm: ArmSummary, metric: str) -> str:
    value = arm.metrics[metric]
    return ABSENT if value is None else show(value)


def units_table(arms: Arms) -> Table:
    """Busiest / fair in each unit, and how many replicas work for one client."""
    units = ("connections", "sessions", "spread", "messages", "busy_time")
    metrics = [*(f"{unit}.max_over_mean" for unit in units), "per_client.replicas", "connections.count"]
    head = [
        *("Busiest / fair", "by connections", "by sessions", "by RPCs", "by messages", "by busy time"),
        *("replicas of a client", "connections"),
    ]
    streams = any(arm.metrics["stream.count"] for arm in arms.values())
    if streams:
        metrics += ["stream.count", "stream.purity"]
        head += ["streams", "on one replica"]
    rows = [[name, *(_shown(arm, metric) for metric in metrics)] for name, arm in arms.items()]
    return Table(
        head,
        rows,
        "The same load, counted in units of its own: connections and sessions that a replica answered a "
        "request of, RPCs, messages that it sent, time that it was busy. 1 is even, the number of replicas "
        "is all on one. Replicas of a client: how many answered it (median over the clients). "
        + ("On one replica: share of the streams whose messages all came from one. " if streams else "")
        + "Medians over repeats.",
    )


def errors_table(arms: Arms) -> Table | None:
    """Requests by how they ended, and what still came through; None where all ended with OK, at once."""
    codes = sorted({code for arm in arms.values() for code in arm.errors})
    if not codes and "attempts" not in _extras(arms):
        return None
    rows = [
        [
            name,
            *(_share_text(arm.errors.get(code, 0), arm.requests) for code in codes),
            _shown(arm, "goodput_per_s"),
            _shown(arm, "attempts.per_request"),
        ]
        for name, arm in arms.items()
    ]
    return Table(
        ["Arm", *codes, "goodput, requests/s", "attempts per request"],
        rows,
        "Requests that did not end with OK, by gRPC code, all repeats together (share of all requests). "
        "Goodput: requests that ended with OK. Attempts per request: rows of the replicas / rows of the "
        "clients, warm-up included; above 1 retries add to the load, below 1 requests never arrived.",
    )


def _share_text(count: int, requests: int) -> str:
    return f"{count:,} ({count / requests:.2%})" if count else "0"


def latency_table(arms: Arms) -> Table:
    """Percentiles of the latency from the planned and from the actual send; of messages, of streams."""
    ranks = {"p50": "p50", "p90": "p90", "p95": "p95", "p99": "p99", "p999": "p99.9", "max": "max"}
    fields = {
        "latency_ms": "from the planned send",
        "latency_from_send_ms": "from the actual send",
        "message_latency_ms": "of a stream's message",
    }
    rows = []
    for name, arm in arms.items():
        for field, words in fields.items():
            if field == "message_latency_ms" and arm.metrics[f"{field}.p50"] is None:
                continue
            cells = [
                _shown(arm, f"{field}.{rank}") if f"{field}.{rank}" in METRICS else ABSENT for rank in ranks
            ]
            rows.append([f"{name}, {words}", *cells])
    return Table(
        ["Milliseconds", *ranks.values()], rows, "All requests, whatever their outcome; medians over repeats."
    )


def ledgers_table(arms: Arms, missing_ledgers: Mapping[Party, str]) -> Table:
    """Rows of each ledger, and how they agree. `missing_ledgers`: whose the lab cannot read, and why."""
    rows = []
    for name, arm in arms.items():
        ledgers = arm.ledgers
        absent = () if arm.route == "envoy" else ("envoy", "only_envoy")
        counts = [ABSENT if field in absent else _known(getattr(ledgers, field)) for field in LEDGER_COUNTS]
        word = {True: "yes", False: "no", None: "not judged"}[ledgers.reconciled]
        rows.append([name, *counts, word if arm.repeats else "no"])
    lacking = [
        f" Not available: the ledger of {_OWNERS[party]} ({why})." for party, why in missing_ledgers.items()
    ]
    return Table(
        ["Requests", *(field.replace("_", " ") for field in LEDGER_COUNTS), "reconciled"],
        rows,
        "Clients, Envoy and replicas each wrote down every request (warm-up included), and the lists were "
        "joined by request id. Reconciled: every answered request is in each list exactly once, with the "
        "same replica; where requests were tried again, once for each attempt at most. Envoy has no list of "
        "requests where calls are direct, or where it balances connections (envoy-l4)." + "".join(lacking),
    )


_OWNERS = {"envoy": "the proxy", "replica": "the replicas"}


def _known(count: int | None) -> str:
    return "not available" if count is None else show(count)


def usage_table(arms: Arms) -> Table | None:
    """CPU and memory of every part; None where the testbed did not write them down."""
    parts = list(dict.fromkeys(part for arm in arms.values() for part in arm.usage))
    if not parts:
        return None
    rows = [[name, *(_used(arm.usage.get(part)) for part in parts)] for name, arm in arms.items()]
    return Table(
        ["Cores, MiB", *parts],
        rows,
        "CPU cores used while measuring (mean; 1 is a whole core; median of repeats) and the most memory, of "
        "each container, as its engine counted them.",
    )


def _used(usage: Usage | None) -> str:
    if usage is None:
        return ABSENT
    return f"{usage.cpu_cores:.3f}, {usage.memory_bytes / 2**20:.0f}"


def _planned(rate_per_s: float | None) -> str:
    return "closed loop" if rate_per_s is None else show(rate_per_s)


def generator_table(arms: Arms) -> Table:
    """What the load generator should send and what it sent."""
    rows = [
        [
            name,
            _planned(arm.metrics["planned_rate_per_s"]),
            *(_shown(arm, metric) for metric in ("achieved_rate_per_s", "lag_ms.p99", "lag_ms.max")),
        ]
        for name, arm in arms.items()
    ]
    return Table(
        ["Arm", "planned, requests/s", "achieved, requests/s", "lag p99, ms", "lag max, ms"],
        rows,
        "The load generator: what it should send and what it sent, and how late (medians over repeats). A "
        f"cell counts when it achieved {MIN_ACHIEVED_SHARE:.0%} of the plan or more and lagged at most "
        f"{MAX_LAG_P99_MS:g} ms at p99.",
    )
