"""The latencies that the planned work alone causes, given which replica answered each request.

Every request arrives at its replica when it was planned, and takes the service time that its replica drew for
it. It waits only for a free slot. So nothing is in these latencies that a busy machine adds: late sending,
waiting for a core in Envoy or in the replica, and the queue that grows while replicas serve more slowly. What
an ideal machine would have measured is at least this.

Source of the queue: J. Kiefer, J. Wolfowitz, "On the theory of queues with many servers", Transactions of the
American Mathematical Society 78 (1955): a request starts when the first of the servers is free.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable

import polars as pl

from harness.analysis.latency import latency_of
from harness.metrics.facts import Latency
from harness.plan.cells import load_of
from harness.record.run_directory import Cell
from harness.spec.experiment import Experiment
from services.service_time import first_work_ns

MOST_REQUESTS = 300_000  # a second of one core
METHOD = "AddVideo"  # the one method whose calls are one piece of work each


def least_latency(cell: Cell, experiment: Experiment) -> Latency | None:
    """Return the percentiles over the measured window. Requests that failed count as longer than all others.

    None where the work is not known: in a closed loop or with a recorded trace, with streams, with events,
    with a cache, with replicas that are not the lab's, and above MOST_REQUESTS requests.
    """
    record, replicas = cell.record, experiment.replicas
    arm = experiment.variants[record.arm].arm
    work = experiment.workload_of(arm)
    drawn = work.rate_per_s is not None and work.trace is None and work.locustfile is None
    own = record.service is None and not record.own_clocks
    still = not experiment.events_of(arm) and replicas.cache is None and replicas.outage is None
    if not (drawn and own and still) or list(work.calls) != [METHOD]:
        return None
    columns = ("request_id", "client", "planned_ns", "code", "replica")
    # Rows of a damaged record may have gaps; what is wrong with it is said elsewhere.
    rows = cell.requests().select(columns).drop_nulls(columns[:-1]).sort("planned_ns").collect()
    if rows.height > MOST_REQUESTS:
        return None
    draw = load_of(work, experiment.seed, record.repeat).draw
    parts = [_failed(rows)]
    for name in replicas.names:
        answered = rows.filter((pl.col("code") == "OK") & (pl.col("replica") == name))
        settings = replicas.work_of(name)
        works_ns = [
            first_work_ns(settings.service_time_ms, draw, *request)
            for request in answered.select("request_id", "client").iter_rows()
        ]
        least_ns = queued_ns(answered["planned_ns"], works_ns, settings.slots)
        least = pl.Series("least_ns", least_ns, pl.Int64)
        parts.append(answered.with_columns(least, pl.lit(True).alias("ok")))
    in_window = pl.col("planned_ns").is_between(record.measure_start_ns, record.measure_end_ns, closed="left")
    return latency_of(pl.concat(parts).filter(in_window), "least_ns")


def queued_ns(arrivals_ns: Iterable[int], works_ns: Iterable[int], slots: int) -> list[int]:
    """Return the time from arrival to end of each request in a queue with `slots` servers (FIFO).

    arrivals_ns: in order. works_ns: the service time of each.
    """
    free_ns = [0] * slots
    times = []
    for arrival_ns, work_ns in zip(arrivals_ns, works_ns, strict=True):
        end_ns = max(arrival_ns, free_ns[0]) + work_ns
        heapq.heapreplace(free_ns, end_ns)
        times.append(end_ns - arrival_ns)
    return times


def _failed(rows: pl.DataFrame) -> pl.DataFrame:
    failed = rows.filter(pl.col("code") != "OK")
    return failed.with_columns(pl.lit(0, pl.Int64).alias("least_ns"), pl.lit(False).alias("ok"))
