"""The tables and lines of the report and the terminal, made from summary.json."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from harness.analysis.claims import shown_apart
from harness.analysis.ledgers import COUNTS as LEDGER_COUNTS
from harness.analysis.machine_samples import taken_share
from harness.analysis.validity import MAX_LAG_P99_MS, MIN_ACHIEVED_SHARE
from harness.metrics.headlines import headline_of
from harness.metrics.metric import MIN_VALUES, show
from harness.metrics.registry import METRICS
from harness.record.cell_record import Party
from harness.record.summary import ArmSummary, EventSummary, Figure, Figures, Summary, Usage

ABSENT = "–"
_STREAMS = (
    "On one replica: share of the streams whose messages all came from one. Missing messages: those that "
    "streams were to have and that never came. "
)
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


def named(metric: str, words: str = "") -> Markup:
    """Return `words`, or else the metric's name for people; the metric's own name shows when pointed at."""
    return Markup('<abbr title="{}">{}</abbr>').format(metric, words or headline_of(metric))


def figure(value: Figure, bounds: Iterable[float] = ()) -> str:
    """Return `value` for people, with the digits that tell it from each of `bounds`; a dash for None."""
    if value is None:
        return ABSENT
    return max((shown_apart(value, bound) for bound in bounds), key=len, default=show(value))


def figures(measured: ArmSummary | EventSummary, metrics: Iterable[str]) -> list[str]:
    """Return each metric for people, see `figure_of`."""
    return [figure_of(measured, metric) for metric in metrics]


def figure_of(measured: Figures | EventSummary, metric: str, bounds: Iterable[float] = ()) -> str:
    """Return the metric for people; "≥ 500" where it is known only what it is at least.

    It has the digits that tell it from each of `bounds`, and from what is expected of it in the arm.
    """
    if metric in measured.at_least:
        return f"≥ {show(measured.at_least[metric])}"
    expected = measured.bounds.get(metric, ()) if isinstance(measured, ArmSummary) else ()
    return figure(measured.metrics[metric], [*bounds, *expected])


def retried(arms: Arms) -> bool:
    """Return whether an arm has more attempts than requests."""
    return any((arm.metrics["attempts.per_request"] or 0) > 1 for arm in arms.values())


def units_table(arms: Arms) -> Table:
    """Busiest / fair in each unit, and how many replicas work for one client."""
    units = ("connections", "sessions", "spread", "messages", "busy_time")
    metrics = [*(f"{unit}.max_over_mean" for unit in units), "per_client.replicas", "connections.count"]
    counted = ("by connections", "by sessions", "by RPCs", "by messages", "by busy time")
    head = ["Busiest / fair", *counted, "replicas of a client", "connections"]
    streams = any(arm.metrics["stream.count"] for arm in arms.values())
    if streams:
        metrics += ["stream.count", "stream.purity", "stream.missing_messages"]
        head += ["streams", "on one replica", "missing messages"]
    return Table(
        head,
        [[name, *figures(arm, metrics)] for name, arm in arms.items()],
        "The same load, counted in units of its own: connections and sessions that a replica answered a "
        "request of, RPCs, messages that it sent, time that it was busy. 1 is even, the number of replicas "
        "is all on one. Replicas of a client: how many answered it (median over the clients). "
        + (_STREAMS if streams else "")
        + "Medians over repeats.",
    )


def errors_table(arms: Arms) -> Table | None:
    """Requests by how they ended, and what still came through; None where all ended with OK, at once."""
    codes = sorted({code for arm in arms.values() for code in arm.errors})
    if not codes and not retried(arms):
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
        "Goodput: requests that ended with OK inside the measured window. Attempts per request: rows of the "
        "replicas / rows of the clients, warm-up included; above 1 retries add to the load, below 1 requests "
        "never arrived.",
    )


def latency_table(arms: Arms) -> Table:
    """Percentiles of the latency from the planned and from the actual send; of messages, of streams.

    Where requests failed: of the requests that ended with OK as well.
    """
    ranks = {"p50": "p50", "p90": "p90", "p95": "p95", "p99": "p99", "p999": "p99.9", "max": "max"}
    fields = {
        "latency_ms": "from the planned send",
        "ok_latency_ms": "from the planned send, OK alone",
        "latency_from_send_ms": "from the actual send",
        "message_latency_ms": "of a stream's message",
    }
    rows = []
    for name, arm in arms.items():
        absent = {
            "ok_latency_ms": not arm.errors,
            "message_latency_ms": arm.metrics["message_latency_ms.max"] is None,
        }
        for field, words in fields.items():
            if not absent.get(field):
                metrics = [f"{field}.{rank}" for rank in ranks]
                cells = [figure_of(arm, metric) if metric in METRICS else ABSENT for metric in metrics]
                rows.append([f"{name}, {words}", *cells])
    needed = ", ".join(f"{MIN_VALUES[rank]:,} for {words}" for rank, words in ranks.items() if rank != "max")
    of_failed = (
        "Of all requests, a failed one counts as longer than any answer, since no answer came. ≥: the "
        "percentile falls on failed requests, which took at least that long to fail. Of OK alone, a deadline "
        "makes the figures look better: it leaves out the slowest. "
    )
    caption = (
        f"Medians over repeats. {of_failed if any(arm.errors for arm in arms.values()) else ''}A percentile "
        f"of too few values is not shown ({ABSENT}): it takes {needed}."
    )
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
    """CPU and memory of every part; None where the testbed did not write them down."""
    names = list(dict.fromkeys(name for arm in arms.values() for name in arm.usage))
    if not names:
        return None
    return Table(
        ["Cores, MiB", *names],
        [[arm, *(_used(own.usage.get(name)) for name in names)] for arm, own in arms.items()],
        "CPU cores used while measuring (mean; 1 is a whole core; median of repeats) and the most memory, of "
        "each part, as the kernel or the container engine counted them.",
    )


def _used(usage: Usage | None) -> str:
    return f"{usage.cpu_cores:.3f}, {usage.memory_bytes / 2**20:.0f}" if usage else ABSENT


def generator_table(arms: Arms) -> Table:
    """What the load generator should send, what it sent, and its own share of the latency."""
    rows = []
    unsent = any(arm.metrics["unsent_requests"] for arm in arms.values())
    for name, arm in arms.items():
        planned = arm.metrics["planned_rate_per_s"]
        own = ("generator_ms.p50", "generator_ms.p99", "generator_part.p50", "generator_part.p99")
        sent = figures(arm, ("achieved_rate_per_s", "lag_ms.p99", "lag_ms.max", *own))
        never = [figure(arm.metrics["unsent_requests"])] if unsent else []
        rows.append([name, "closed loop" if planned is None else show(planned), *sent, *never])
    head = [
        *("Arm", "planned, requests/s", "achieved, requests/s", "lag p99, ms", "lag max, ms"),
        *("own share p50, ms", "own share p99, ms", "part of latency p50", "part of latency p99"),
    ]
    return Table(
        [*head, "never sent"] if unsent else head,
        rows,
        "The load generator: what it should send and what it sent, and how late (medians over repeats). "
        f"Figures of the load need {MIN_ACHIEVED_SHARE:.0%} of the plan or more and at most "
        f"{MAX_LAG_P99_MS:g} ms of lag at p99. A duration is judged with and without the lag. "
        "Own share: late sending, late receiving, and what is neither proxy nor replica. Part of latency: "
        "how much smaller the percentile would be without it."
        + (" Never sent: requests of the plan that their clients did not send." if unsent else ""),
    )


def not_judged_lines(summary: Summary) -> list[str]:
    """Return a line for each expectation that was not judged."""
    return [f"{text}, an arm was not run" for text in summary.not_judged]


def unsent_lines(summary: Summary) -> list[str]:
    """Return a line for each arm that did not send all planned requests."""
    lines = []
    for name, arm in summary.arms.items():
        unsent = sum(repeat.metrics["unsent_requests"] or 0 for repeat in arm.repeats)
        if unsent > 0:
            planned = sum(repeat.requests for repeat in arm.repeats) + unsent
            lines.append(f"{name}: {show(unsent)} of {show(planned)} planned requests were never sent")
    return lines


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


def failed_lines(summary: Summary) -> list[str]:
    """Return a line for each arm in which every request of a repeat failed, with the most frequent reason."""
    lines = []
    for one in summary.failed_arms:
        others = len(summary.arms[one.arm].repeats) - len(one.repeats)
        which = f" of repeat {', '.join(map(str, one.repeats))}" if others else ""
        reason = f"{one.code}: {one.message}" if one.message else one.code
        lines.append(f"{one.arm}: all {one.requests:,} requests{which} failed, most often {reason}")
    return lines


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
