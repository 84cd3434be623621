"""Collects the facts of one cell from its run directory. Metrics and plots need nothing else.

All facts are about the measured window, by planned send. Only the ledgers' counts include the warm-up.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from harness.analysis.attempts import attempts_of, wasted_share_of
from harness.analysis.event_effects import answered_between, event_effects_of
from harness.analysis.interruptions import interruptions_of
from harness.analysis.joined import JoinedFigures, join_cell
from harness.analysis.latency import latency_of
from harness.analysis.least_latency import least_latency
from harness.analysis.ledgers import lost_answers, lost_workers, reconcile, unsent_requests
from harness.analysis.parts import collect_parts, parts_of
from harness.analysis.rate_effects import rate_effects_of
from harness.analysis.sessions import longest_outage_ns, session_outages, sessions_of, streams_of
from harness.analysis.statistics import percentiles, reported_percentiles
from harness.analysis.validity import TAKERS
from harness.analysis.window_series import (
    healthy_replicas,
    node_series_of,
    replica_series_of,
    short_run_unfairness,
    window_series_of,
)
from harness.analysis.zones import node_index, nodes_told, requests_by_zones
from harness.metrics.facts import CellFacts, EventEffects
from harness.record.cell_record import read_machine
from harness.record.run_directory import Cell
from harness.record.tables import table_errors
from harness.record.usage import USAGE_FILE, read_usage
from harness.spec.experiment import Experiment
from lb.rows import STREAM_METHODS


def collect_facts(
    cell: Cell,
    *,
    with_series: bool = False,
    joined: JoinedFigures | None = None,
    experiment: Experiment | None = None,
) -> CellFacts:
    """Return the facts of one cell. `with_series`: with CellFacts.series, which plots over time need.

    `joined`: the figures of its joined ledgers, where the caller has them. `experiment`: the cell's, for
    CellFacts.least_latency; None: that is None. The facts say nothing of contradictions. Raises UserError
    that names the file when one is missing or damaged.
    """
    joined = JoinedFigures.of(join_cell(cell)) if joined is None else joined
    record = cell.record
    taken = record.disturbed_by in TAKERS
    start, end = record.measure_start_ns, record.measure_end_ns
    window_s = max((end - start) / 1e9, 1e-9)
    with table_errors(cell.folder, "request rows written by this lab"):
        unread = "envoy" in record.missing_ledgers or cell.proxy_log is not None
        foreign_proxy = record.route == "envoy" and unread
        counts = _counts(_window(cell), foreign_proxy=foreign_proxy)
        names = [*record.replicas, *sorted(set(counts["replica"]) - {"", *record.replicas})]
        by_zones = requests_by_zones(counts, record)
        counts = counts.with_columns(_replica_index(names))
        rows = _rows(cell, names)
        sent = cell.requests().filter(pl.col("sent_ns").is_between(start, end, closed="left"))
        sends = sent.select(pl.len()).collect()
        counts_answered = counts.filter(pl.col("replica").is_not_null())
        # Where all were answered, a large cell's rows need not be copied.
        answered = rows.filter(pl.col("replica").is_not_null()) if rows["replica"].has_nulls() else rows
        closed_loop = record.planned_rate_per_s is None
        lost = lost_answers(cell, rows.filter(~pl.col("ok")).select("request_id"))
        longest_ns, events = _outages_and_events(cell, rows, names, lost)
        attempts = attempts_of(cell, rows, answered, names)
        waits = answered if attempts is None else attempts
        if record.service is not None:  # its replicas tell nothing of these
            waits = waits.clear()
        return CellFacts(
            arm=record.arm,
            repeat=record.repeat,
            status=record.status,
            window_s=window_s,
            requests=rows.height,
            good_answers=answered_between(rows, 0, end - start),
            unsent=unsent_requests(record, rows.height),
            errors=dict(sorted(rows.filter(~pl.col("ok"))["code"].value_counts().iter_rows())),
            replica_requests=dict(
                zip(names, _by_replica(counts_answered, "requests", len(names)), strict=True)
            ),
            client_requests=_client_requests(counts, len(names)),
            replica_attempts=None if attempts is None else _attempts(attempts, names),
            short_run_unfairness=short_run_unfairness(answered, len(names)),
            wasted_share=wasted_share_of(cell, rows),
            zone_requests=by_zones,
            node_series=node_series_of(answered, nodes, window_s) if (nodes := nodes_told(record)) else None,
            units=_units(counts_answered, len(names)),
            connections=_connections(counts_answered) or (None if foreign_proxy else 0),
            cache_lookups=int(counts["lookups"].sum()),
            cache_hits=int(counts["hits"].sum()),
            sessions=sessions_of(counts_answered, answered, names, record.groups),
            latency=latency_of(rows, "latency_ns"),
            latency_from_send=latency_of(rows, "latency_from_send_ns"),
            lag_ns=percentiles(rows["lag_ns"]),
            queue_ns=reported_percentiles(waits["queue_ns"]),
            in_flight=reported_percentiles(waits["in_flight"]),
            # The rate of the plan as drawn, not of the experiment file. A Poisson plan of 2,400 sends differs
            # from its rate by 2 % by chance. That is not a fault of the generator.
            planned_rate_per_s=None if closed_loop else record.planned_requests / window_s,
            achieved_rate_per_s=sends.item() / window_s,
            streams=streams_of(
                cell.messages(), rows, None if record.own_tasks else record.messages_per_stream
            ),
            replica_series=replica_series_of(answered, waits, len(names), window_s),
            ledgers=reconcile(cell, joined.agreement),
            awaits_answers=record.awaits_answers,
            answers_lost=None if "replica" in record.missing_ledgers else lost.height,
            longest_outage_ns=longest_ns,
            rate=rate_effects_of(
                rows["at_ns"].to_numpy(),
                rows["latency_ns"].to_numpy(),
                rows["ok"].to_numpy(),
                record.planned_rates_per_s,
                window_s,
            ),
            initial_replicas=len(record.initial_replicas),
            healthy=healthy_replicas(cell.endpoint_changes(), record.initial_replicas, start, end),
            events=events,
            series=window_series_of(rows, window_s) if with_series and rows.height else None,
            lost_workers=lost_workers(cell),
            interruptions=interruptions_of(read_machine(cell.folder)),
            disturbed=record.disturbed,
            disturbed_by=record.disturbed_by,
            least_latency=None if experiment is None or not taken else least_latency(cell, experiment),
            stages=joined.stages,
            generator=joined.generator,
            cpu_cores={
                part: used.cpu_cores
                for part, used in read_usage(cell.folder / USAGE_FILE, start, end).items()
            },
        )


def _outages_and_events(
    cell: Cell, rows: pl.DataFrame, names: Sequence[str], lost: pl.DataFrame
) -> tuple[float | None, list[EventEffects]]:
    """Return the longest outage (ns) and the effects of the events. Nothing else needs the outages."""
    outages = session_outages(rows, cell.record.window_ns)
    return longest_outage_ns(outages), event_effects_of(cell, rows, names, outages, lost)


def _envoy_connection() -> pl.Expr:
    """Return the connection if the lab's Envoy numbered it, else "".

    Behind another proxy, replicas report the proxy's connections to them, not the clients' connections.
    """
    numbered = pl.col("connection").str.contains("^[0-9]+$")
    return pl.when(numbered).then("connection").otherwise(pl.lit("")).alias("connection")


def _connections(counts: pl.DataFrame) -> int:
    return counts.filter(pl.col("connection") != "")["connection"].n_unique()


def _replica_index(names: Sequence[str]) -> pl.Expr:
    """Return the replica as its index in `names`, or null."""
    return pl.col("replica").replace_strict(
        list(names), list(range(len(names))), default=None, return_dtype=pl.UInt16
    )


def _window(cell: Cell) -> pl.LazyFrame:
    """Return the requests of the measured window of a cell, or of a part of it."""
    start, end = cell.record.measure_start_ns, cell.record.measure_end_ns
    return cell.requests().filter(pl.col("planned_ns").is_between(start, end, closed="left"))


def _counts(window: pl.LazyFrame, *, foreign_proxy: bool) -> pl.DataFrame:
    """Return one row per client, session, connection and replica: requests, messages, service time, cache."""
    if foreign_proxy:
        window = window.with_columns(_envoy_connection())
    sums = window.group_by("client", "session", "connection", "replica").agg(
        pl.len().cast(pl.Int64).alias("requests"),
        pl.col("messages").cast(pl.Int64).sum(),
        pl.col("service_ns").sum(),
        (pl.col("cache") != "").cast(pl.Int64).sum().alias("lookups"),
        (pl.col("cache") == "hit").cast(pl.Int64).sum().alias("hits"),
    )
    return sums.collect(engine="streaming")


def _rows(cell: Cell, names: Sequence[str]) -> pl.DataFrame:
    """Return one row per request of the measured window, with the columns that the facts need.

    Durations have as few bytes as they need.
    """
    done = pl.col("done_ns")
    durations = {
        "queue_ns": pl.col("queue_ns"),
        "latency_ns": done - pl.col("planned_ns"),
        "latency_from_send_ns": done - pl.col("sent_ns"),
        "lag_ns": pl.col("sent_ns") - pl.col("ready_ns"),
    }
    others = {
        **{name: pl.col(name) for name in ("request_id", "client", "session", "in_flight")},
        "streamed": pl.col("method").is_in(STREAM_METHODS),
        "code": pl.col("code").cast(pl.Categorical),
        "ok": pl.col("code") == "OK",
        "replica": _replica_index(names),
        "at_ns": pl.col("planned_ns") - cell.record.measure_start_ns,
        **({"node": node_index(cell.record)} if nodes_told(cell.record) else {}),
    }
    parts = (_window(part).select(**others, **durations) for part in parts_of(cell))
    return collect_parts(parts, whole=others)


def _by_replica(table: pl.DataFrame, column: str, replicas: int) -> list[int]:
    """Return the sum of a column for each replica."""
    sums = [0] * replicas
    for replica, amount in table.group_by("replica").agg(pl.col(column).sum()).iter_rows():
        sums[replica] = amount
    return sums


def _units(counts: pl.DataFrame, replicas: int) -> dict[str, list[int]]:
    """Return CellFacts.units. counts: see `_counts`, of answered requests."""

    def distinct(rows: pl.DataFrame, *columns: str) -> list[int]:
        each = rows.select(*columns, "replica").unique()
        return _by_replica(each.with_columns(pl.lit(1).alias("one")), "one", replicas)

    return {
        "connections": distinct(counts.filter(pl.col("connection") != ""), "connection"),
        "sessions": distinct(counts, "client", "session"),
        "messages": _by_replica(counts, "messages", replicas),
        "busy_time": _by_replica(counts, "service_ns", replicas),
    }


def _attempts(attempts: pl.DataFrame, names: Sequence[str]) -> dict[str, int]:
    """Return replica -> its attempts, for all `names`. attempts: column replica (index)."""
    counts = np.bincount(attempts["replica"].to_numpy(), minlength=len(names))
    return dict(zip(names, counts.tolist(), strict=True))


def _client_requests(counts: pl.DataFrame, replicas: int) -> dict[int, list[int]]:
    """Return client -> its answered requests on each replica, (replicas,)."""
    table = {client: [0] * replicas for client in sorted(counts["client"].unique())}
    for client, replica, requests in (
        counts.group_by("client", "replica").agg(pl.col("requests").sum()).iter_rows()
    ):
        if replica is not None:
            table[client][replica] = requests
    return table
