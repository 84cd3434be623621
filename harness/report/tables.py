"""The tables and lines of the report and the terminal, made from summary.json."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from harness.analysis.ledgers import COUNTS as LEDGER_COUNTS
from harness.analysis.machine_samples import taken_share
from harness.analysis.validity import MAX_LAG_P99_MS, MIN_ACHIEVED_SHARE
from harness.metrics.metric import show
from harness.metrics.registry import METRICS
from harness.record.cell_record import Party
from harness.record.summary import ArmSummary, Figure, Summary, Usage

MAX_REPLICA_COLUMNS = 8
COUNTS = ("least", "median", "most")  # columns in place of the replicas' where they are many
ABSENT = "–"
# Heading -> metric, what the heading means: columns that are there only where they say something.
_EXTRAS = {
    "group purity": ("affinity.group_purity", "Group purity: the same for its target group."),
    "cache hits": ("cache.hit_share", "Cache hits: share of answers from a replica that knew the session."),
    "attempts": ("attempts.per_request", "Attempts: rows of the replicas per request."),
}
_CPU_SHARES = {
    "lab_share": "lab",
    "others_share": "other processes",
    "steal_share": "other virtual machines",
    "pressure_share": "waiting for a core",
}

Arms = Mapping[str, ArmSummary]


@dataclass(frozen=True)
class Table:
    """A table of the page: the first cell of a row is its heading. Without `head`, values are text."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""


def figure(value: Figure) -> str:
    """Return `value` for people; a dash for None."""
    return ABSENT if value is None else show(value)


def figures(arm: ArmSummary, metrics: Iterable[str]) -> list[str]:
    """Return the arm's value of each metric for people."""
    return [figure(arm.metrics[metric]) for metric in metrics]


def where_table(arms: Arms, most_replicas: int = MAX_REPLICA_COLUMNS) -> Table:
    """Requests per replica and arm, all repeats; the least, median and most where replicas are many."""
    names = list(dict.fromkeys(name for arm in arms.values() for name in arm.replicas))
    few = len(names) <= most_replicas
    extras = _extras(arms)
    metrics = ["spread.max_over_mean", "affinity.purity", *extras.values()]
    rows = []
    for name, arm in arms.items():
        counts = list(arm.replicas.values())
        if few:
            cells = [figure(arm.replicas.get(replica)) for replica in names]
        else:
            cells = [show(find(counts)) if counts else ABSENT for find in (min, statistics.median, max)]
        rows.append([name, *cells, *figures(arm, metrics), show(sum(arm.errors.values()))])
    by_replica = ", by replica" if few else f" on each of {len(names)} replicas"
    caption = (
        f"Answered requests in the measured window{by_replica}, all repeats together. Busiest / fair: 1 is "
        "even. Purity: share of a session's requests on its most used replica; 1 is fully sticky."
    )
    head = ["Arm", *(names if few else COUNTS), "busiest / fair", "purity", *extras, "errors"]
    return Table(head, rows, " ".join([caption, *(_EXTRAS[heading][1] for heading in extras)]))


def _extras(arms: Arms) -> dict[str, str]:
    def is_shown(metric: str) -> bool:
        values = [value for arm in arms.values() if (value := arm.metrics[metric]) is not None]
        return any(value > 1 for value in values) if metric == "attempts.per_request" else bool(values)

    return {heading: metric for heading, (metric, _) in _EXTRAS.items() if is_shown(metric)}


def units_table(arms: Arms) -> Table:
    """Busiest / fair in each unit, and how many replicas work for one client."""
    units = ("connections", "sessions", "spread", "messages", "busy_time")
    metrics = [*(f"{unit}.max_over_mean" for unit in units), "per_client.replicas", "connections.count"]
    counted = ("by connections", "by sessions", "by RPCs", "by messages", "by busy time")
    head = ["Busiest / fair", *counted, "replicas of a client", "connections"]
    streams = any(arm.metrics["stream.count"] for arm in arms.values())
    if streams:
        metrics += ["stream.count", "stream.purity"]
        head += ["streams", "on one replica"]
    return Table(
        head,
        [[name, *figures(arm, metrics)] for name, arm in arms.items()],
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
    rows = []
    for name, arm in arms.items():
        counts = [arm.errors.get(code, 0) for code in codes]
        cells = [f"{count:,} ({count / arm.requests:.2%})" if count else "0" for count in counts]
        rows.append([name, *cells, *figures(arm, ("goodput_per_s", "attempts.per_request"))])
    return Table(
        ["Arm", *codes, "goodput, requests/s", "attempts per request"],
        rows,
        "Requests that did not end with OK, by gRPC code, all repeats together (share of all requests). "
        "Goodput: requests that ended with OK. Attempts per request: rows of the replicas / rows of the "
        "clients, warm-up included; above 1 retries add to the load, below 1 requests never arrived.",
    )


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
            metrics = [f"{field}.{rank}" for rank in ranks]
            cells = [figure(arm.metrics[metric]) if metric in METRICS else ABSENT for metric in metrics]
            rows.append([f"{name}, {words}", *cells])
    caption = "All requests, whatever their outcome; medians over repeats."
    return Table(["Milliseconds", *ranks.values()], rows, caption)


def ledgers_table(arms: Arms, missing_ledgers: Mapping[Party, str]) -> Table:
    """Rows of each ledger, and how they agree. `missing_ledgers`: whose the lab cannot read, and why."""
    owners = {"envoy": "the proxy", "replica": "the replicas"}
    lacking = [
        f" Not available: the ledger of {owners[name]} ({why})." for name, why in missing_ledgers.items()
    ]
    rows = []
    for name, arm in arms.items():
        counts = {field: getattr(arm.ledgers, field) for field in LEDGER_COUNTS}
        cells = {field: "not available" if count is None else show(count) for field, count in counts.items()}
        if arm.route != "envoy":
            cells |= {"envoy": ABSENT, "only_envoy": ABSENT}
        word = {True: "yes", False: "no", None: "not judged"}[arm.ledgers.reconciled]
        rows.append([name, *cells.values(), word if arm.repeats else "no"])
    return Table(
        ["Requests", *(field.replace("_", " ") for field in LEDGER_COUNTS), "reconciled"],
        rows,
        "Clients, Envoy and replicas each wrote down every request (warm-up included), and the lists were "
        "joined by request id. Reconciled: every answered request is in each list exactly once, with the "
        "same replica; where requests were tried again, once for each attempt at most. Envoy has no list of "
        "requests where calls are direct, or where it balances connections (envoy-l4)." + "".join(lacking),
    )


def usage_table(arms: Arms) -> Table | None:
    """CPU and memory of every container; None where the testbed did not write them down."""
    names = list(dict.fromkeys(name for arm in arms.values() for name in arm.usage))
    if not names:
        return None
    return Table(
        ["Cores, MiB", *names],
        [[arm, *(_used(own.usage.get(name)) for name in names)] for arm, own in arms.items()],
        "CPU cores used while measuring (mean; 1 is a whole core; median of repeats) and the most memory, of "
        "each container, as its engine counted them.",
    )


def _used(usage: Usage | None) -> str:
    return f"{usage.cpu_cores:.3f}, {usage.memory_bytes / 2**20:.0f}" if usage else ABSENT


def generator_table(arms: Arms) -> Table:
    """What the load generator should send and what it sent."""
    rows = []
    for name, arm in arms.items():
        planned = arm.metrics["planned_rate_per_s"]
        sent = figures(arm, ("achieved_rate_per_s", "lag_ms.p99", "lag_ms.max"))
        rows.append([name, "closed loop" if planned is None else show(planned), *sent])
    return Table(
        ["Arm", "planned, requests/s", "achieved, requests/s", "lag p99, ms", "lag max, ms"],
        rows,
        "The load generator: what it should send and what it sent, and how late (medians over repeats). "
        f"Figures of the load need {MIN_ACHIEVED_SHARE:.0%} of the plan or more and at most "
        f"{MAX_LAG_P99_MS:g} ms of lag at p99. A duration is judged with and without the lag.",
    )


def machine_table(summary: Summary) -> Table | None:
    """Who had the CPU while each arm was measured; None where nobody watched."""
    if not summary.machine:
        return None
    rows = []
    for arm in dict.fromkeys(one.arm for one in summary.machine):
        own = [one for one in summary.machine if one.arm == arm]
        shares = [_percent(statistics.median, (getattr(one, field) for one in own)) for field in _CPU_SHARES]
        rows.append([arm, *shares, _percent(max, (taken_share(one.worst) for one in own))])
    return Table(
        ["Share of the CPU", *_CPU_SHARES.values(), "worst half second"],
        rows,
        "The machine while measuring, medians over repeats: the CPU time of all its cores that the lab's own "
        "processes, other processes and other virtual machines had; and the share of time in which a process "
        "waited for a core. Worst half second: the most that others had, in any repeat. "
        f"{ABSENT}: this system does not tell.",
    )


def _percent(pick: Callable[[list[float]], float], shares: Iterable[float | None]) -> str:
    known = [share for share in shares if share is not None]
    return f"{pick(known):.0%}" if known else ABSENT


def repeated_in_words(summary: Summary) -> str | None:
    """Return how many cells were measured again, as a sentence; None where none was."""
    cells = {(one.arm, one.repeat) for one in summary.repeated_cells}
    if not cells:
        return None
    times = len(summary.repeated_cells)
    often = "" if times == len(cells) else f", {times} times in all"
    return f"{len(cells)} {'cell was' if len(cells) == 1 else 'cells were'} measured again{often}"


def repeated_lines(summary: Summary) -> list[str]:
    """Return a line for each attempt that was set aside, with the reason."""
    return [
        f"{one.arm}, repeat {one.repeat}, attempt {one.attempt}: {one.reason}"
        for one in summary.repeated_cells
    ]
