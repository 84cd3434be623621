"""The figures of a trace as tables and sentences, for terminal and page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

import numpy as np

from harness.metrics.metric import show
from harness.report.tables import ABSENT, Table
from harness.traces.figures import TraceFigures
from harness.traces.model import SESSION_PAUSE_S, WorkloadModel
from harness.traces.presence import Presence
from harness.traces.trace import Trace
from harness.traces.zipf import SOURCES

MAX_ROWS = 40  # targets of a table; the others are in targets.csv
_ADVERBS = {"good": "well", "rough": "roughly", "poor": "badly"}
HOT_SHARE = 0.05  # of one client, from which on it may be many users behind one address


def percent(value: float | None) -> str:
    """Return a share as "8.33 %"; a dash for None."""
    if value is None:
        return ABSENT
    return f"{100 * value:.3g} %" if value >= 0.01 else f"{100 * value:.2g} %"


def milliseconds(ns: float | None) -> str:
    """Return nanoseconds as milliseconds with about three digits; a dash for None."""
    return ABSENT if ns is None else f"{ns / 1e6:,.0f}" if ns >= 1e9 else f"{ns / 1e6:.3g}"


def duration(seconds: float) -> str:
    """Return a time in words: "16 min 40 s"."""
    if seconds < 60:
        return f"{seconds:.3g} s"
    minutes, left = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = [(days, "d"), (hours, "h"), (minutes, "min"), (left, "s")]
    return " ".join([f"{count} {unit}" for count, unit in parts if count][:2])


def moment(start_ns: int, at_s: float) -> str:
    """Return a time of the trace as "2026-11-24 10:00:03" (UTC)."""
    return f"{datetime.fromtimestamp(start_ns / 1e9 + at_s, UTC):%Y-%m-%d %H:%M:%S}"


def headline(figures: TraceFigures) -> str:
    """Return the first sentence: how many requests, when, and how many a second."""
    last = moment(figures.start_ns, figures.span_s)
    return (
        f"{figures.requests:,} requests in {duration(figures.span_s)} ({show(figures.rate_per_s)}/s), from "
        f"{moment(figures.start_ns, 0)} to {last[11:] if figures.span_s < 43_200 else last}, UTC."
    )


def read_lines(trace: Trace) -> Iterator[str]:
    """Yield what was read, and what was left out."""
    kinds = sorted(set(trace.formats.values()))
    files = len(trace.formats)
    yield f"Read: {files} file{'s' * (files > 1)} ({', '.join(kinds)}), {trace.broken.lines:,} lines."
    if trace.broken.broken:
        yield f"Left out: {trace.broken.broken:,} broken lines ({percent(trace.broken.share)})."


def status_line(figures: TraceFigures) -> str:
    """Return how requests ended, by class of status."""
    parts = [f"{kind} {percent(count / figures.requests)}" for kind, count in figures.statuses.items()]
    unrouted = f"; {figures.unrouted:,} reached no target" if figures.unrouted else ""
    return f"Status: {', '.join(parts)}{unrouted}."


def targets_table(figures: TraceFigures) -> Table:
    """Return one row per target, the busiest first."""
    rows = [
        [
            target.name,
            f"{target.requests:,}",
            percent(target.share),
            percent(target.failed / target.requests),
            milliseconds(target.time_ns.get("p50")),
            milliseconds(target.time_ns.get("p99")),
            ABSENT if target.in_flight is None else f"{target.in_flight:.3g}",
            there(target.presence),
        ]
        for target in figures.targets[:MAX_ROWS]
    ]
    head = ["target", "requests", "share", "failed", "p50 ms", "p99 ms", "in flight", "there"]
    more = len(figures.targets) - MAX_ROWS
    caption = (
        "Failed: status 5xx, or none. Times are the targets' own. In flight: mean while a target was there. "
        + (f"{more:,} more targets are not shown." if more > 0 else "")
    )
    return Table(head, rows, caption.strip())


def there(presence: Presence) -> str:
    """Return when a target got requests: "all", "from 300 s", "to 90 s", "2 silences"."""
    parts = [f"from {presence.first_s:.0f} s"] if presence.late else []
    parts += [f"to {presence.last_s:.0f} s"] if presence.left else []
    count = len(presence.silences)
    parts += [f"{count} silence{'s' * (count > 1)}"] if count else []
    return ", ".join(parts) or "all"


def change_lines(figures: TraceFigures) -> Iterator[str]:
    """Yield a sentence for each target that came or went, ordered by target."""
    for target in figures.targets[:MAX_ROWS]:
        presence = target.presence
        if presence.late:
            yield f"{target.name} got its first request at {moment(figures.start_ns, presence.first_s)}."
        for start, end in presence.silences[:5]:
            yield (
                f"{target.name} got nothing from {moment(figures.start_ns, start)} to "
                f"{moment(figures.start_ns, end)[11:]}."
            )
        if presence.left:
            yield f"{target.name} got its last request at {moment(figures.start_ns, presence.last_s)}."


def balance_lines(figures: TraceFigures) -> Iterator[str]:
    """Yield how even the targets were, over all and in windows."""
    windows = figures.windows
    if figures.max_over_mean is None:
        yield "No request reached a target."
        return
    yield f"Busiest / fair over the whole log: {figures.max_over_mean:.3g} (1 is even)."
    values = windows.busiest_over_fair[~np.isnan(windows.busiest_over_fair)]
    length = "minute" if windows.width_s == 60 else f"{windows.width_s:g} s"
    if len(values):
        low, high, most = np.median(values), np.quantile(values, 0.95), values.max()
        yield (
            f"Busiest / fair in a {length}: median {low:.3g}, 95th percentile {high:.3g}, largest {most:.3g}."
        )
    else:
        yield f"No {length} has enough requests to say how even it was."


def session_lines(trace: Trace, figures: TraceFigures) -> Iterator[str]:
    """Yield how sticky sessions were."""
    sessions, purity = figures.sessions, figures.purity
    if sessions is None or purity is None:
        yield "The log does not tell clients apart, so it says nothing of sessions."
        return
    named = "session" in trace.table.columns
    what = "named by the log" if named else f"one a client, told apart by {trace.identity}"
    yield f"{sessions.count:,} sessions ({what}), {sessions.requests:,} requests."
    yield f"Purity: {percent(purity)} of a session's requests went to its most used target."
    if figures.break_share is not None:
        yield (
            f"Breaks: {sessions.breaks:,} times the next request of a session went to another target "
            f"({percent(figures.break_share)})."
        )
    placed = sessions.random_placement
    if placed is not None:
        yield (
            f"If each session stayed on a target drawn at random, busiest / fair would be {placed.mean:.3g} "
            f"(9 of 10 draws: {placed.p5:.3g} to {placed.p95:.3g}). This is a model."
        )


def client_lines(trace: Trace, figures: TraceFigures) -> Iterator[str]:
    """Yield how much the busiest clients send, with a warning where one of them may be many."""
    hot = figures.hot
    if hot is None:
        return
    yield (
        f"{hot.clients:,} clients. The busiest sends {percent(hot.top_1)} of the requests, the ten busiest "
        f"{percent(hot.top_10)}, the busiest 1 % {percent(hot.top_percent)}. Half come from {hot.half:,}."
    )
    warning = identity_warning(trace.identity, hot.top_1, hot.clients)
    if warning:
        yield warning


def identity_warning(identity: str, top_share: float, clients: int) -> str:
    """Return what to doubt about the clients' identity; "" where it does not matter."""
    if identity == "ip" and clients > 1 and top_share >= max(HOT_SHARE, 2 / clients):
        return (
            "Warning: clients are told apart by address. The busiest may be many users behind one NAT or "
            "proxy. Compare with --client ip+port or conn_trace_id."
        )
    if identity in ("ip+port", "conn_trace_id"):
        return "Note: a client is one connection here. A user with several connections counts several times."
    return ""


def model_lines(model: WorkloadModel) -> Iterator[str]:
    """Yield the model of the workload in sentences."""
    fit = model.skew
    if fit is not None:
        yield (
            f"Rates of clients: Zipf's law with exponent {fit.skew:.2f} fits {_ADVERBS[fit.quality]} (largest"
            f" difference of cumulative shares {fit.distance:.3f}; by chance up to {fit.by_chance:.3f})."
        )
    burst = model.burstiness
    if burst.dispersion:
        parts = [f"{index:.3g} in {seconds:g} s" for seconds, index in burst.dispersion.items()]
        yield f"Burstiness: variance / mean of arrivals {', '.join(parts)} (Poisson: 1)."
    if model.sessions is not None:
        lengths = model.sessions
        middle = lengths.requests.get("p50")
        yield (
            f"Sessions that end after {duration(SESSION_PAUSE_S)} of silence: {lengths.count:,}, mean "
            f"{show(lengths.mean_requests)} requests"
            + ("" if middle is None else f", median {show(middle)}")
            + (f", median length {duration(lengths.seconds['p50'])}." if "p50" in lengths.seconds else ".")
        )
    if model.service_ms is not None:
        slow = "".join(f" {name} takes {factor:.3g} times that." for name, factor in model.slow.items())
        yield f"Service time: mean {show(model.service_ms)} ms, nearest to {model.distribution}.{slow}"


def method_lines() -> Sequence[str]:
    """Return where the model's methods come from."""
    return (
        f"Skew: {SOURCES}.",
        "Burstiness: index of dispersion for counts (R. Gusella, IEEE Journal on Selected Areas in "
        "Communications 9, 1991).",
        "A target that is due 20 requests by its share, and gets none for a minute, counts as away.",
    )
