"""The lab's own figures beside the formula of each theory page, from the runs of the experiments."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from harness.plan.capacity import alike_replicas
from harness.record.run_directory import Cell
from harness.record.tables import table_errors
from harness.site.formulas import amplification, moved, placement
from harness.site.prediction import in_words, time_in_words
from harness.site.run_facts import RunFacts

MOMENTS = 2000  # at which requests under way are counted
Z_95 = 1.96


@dataclass(frozen=True)
class Row:
    """One comparison: where it is from, the formula with its numbers, and what was measured."""

    where: str
    formula: str
    measured: str


@dataclass(frozen=True)
class Figures:
    """Where the figures of a theory page come from: an experiment, and what to compute from its run."""

    experiment: str
    rows: Callable[[RunFacts], Iterator[Row]]


def figures_from(facts: RunFacts) -> Mapping[str, list[Row]]:
    """Return theory page -> its rows, for the pages whose figures come from this run's experiment."""
    return {page: list(one.rows(facts)) for page, one in FIGURES.items() if one.experiment == facts.run.name}


def _measured(cell: Cell, *columns: str) -> pl.DataFrame:
    """Return these columns of the requests planned in the measured window."""
    record = cell.record
    planned = pl.col("planned_ns").is_between(record.measure_start_ns, record.measure_end_ns, closed="left")
    with table_errors(cell.folder, "ledgers written by this lab"):
        return cell.requests().filter(planned).select(*columns).collect()


def _cells(facts: RunFacts) -> Iterator[tuple[str, Cell]]:
    """Yield the first cell of each arm that the lesson compares."""
    for name, _ in facts.compared:
        if (cells := facts.run.cells_of(name)) and cells[0].record.window_ns > 0:
            yield name, cells[0]


def _little(facts: RunFacts) -> Iterator[Row]:
    for name, cell in _cells(facts):
        rows = _measured(cell, "sent_ns", "done_ns")
        if rows.is_empty():
            continue
        record = cell.record
        sent, done = (rows[column].to_numpy() for column in ("sent_ns", "done_ns"))
        rate_per_s = len(rows) / (record.window_ns / 1e9)
        stay_s = float((done - sent).mean()) / 1e9
        moments = np.linspace(record.measure_start_ns, record.measure_end_ns, MOMENTS)
        there = under_way(sent, done, moments).mean()
        formula = f"{rate_per_s:.0f}/s × {stay_s * 1000:.0f} ms = {rate_per_s * stay_s:.1f}"
        yield Row(in_words(name), formula, f"{there:.1f} requests under way")


def under_way(
    sent: NDArray[np.int64], done: NDArray[np.int64], moments: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Return how many requests are under way at each moment: sent, and not done."""
    begun = np.searchsorted(np.sort(sent), moments, side="right")
    ended = np.searchsorted(np.sort(done), moments, side="right")
    return np.asarray(begun - ended, dtype=np.int64)


def erlang_c(slots: int, offered: float) -> float:
    """Return the probability that a request waits in M/M/c. offered: λ/μ in Erlangs, below `slots`."""
    term, total = 1.0, 1.0
    for count in range(1, slots):
        term *= offered / count
        total += term
    last = term * offered / slots * slots / (slots - offered)
    return last / (total + last)


def _waiting(facts: RunFacts) -> Iterator[Row]:
    experiment = facts.run.experiment
    for name, arm in facts.compared:
        work = experiment.workload_of(experiment.variants[name].arm)
        (group, *others) = alike_replicas(experiment.replicas, work)
        if others or group.capacity_per_s is None or not arm.share_by_rank:
            continue
        if work.mean_rate_per_s is None or work.changes:
            continue
        slots = experiment.replicas.slots
        load_per_s = work.mean_rate_per_s * arm.share_by_rank[0]
        rho = load_per_s / group.capacity_per_s
        measured = arm.metrics["queue_ms.p90"]
        if measured is None:
            continue
        said = f"p90 of the queue, all replicas: {time_in_words(measured)}"
        where = f"{in_words(name)}, busiest replica"
        if rho >= 1:
            growth = load_per_s - group.capacity_per_s
            yield Row(where, f"ρ = {rho:.0%}: the queue grows by {growth:.0f} requests each second", said)
            continue
        wait = erlang_c(slots, slots * rho)
        p90_s = max(0.0, math.log(wait / 0.1)) / (group.capacity_per_s - load_per_s)
        yield Row(
            where, f"ρ = {rho:.0%}, C = {wait:.2f}: p90 of the wait {time_in_words(p90_s * 1000)}", said
        )


def zipf_shares(clients: int, exponent: float) -> list[float]:
    """Return the share of each client, the one that sends most first. They add up to 1."""
    weights = [place**-exponent for place in range(1, clients + 1)]
    return [weight / sum(weights) for weight in weights]


def _zipf(facts: RunFacts) -> Iterator[Row]:
    for name, cell in _cells(facts):
        work = facts.run.experiment.workload_of(facts.run.experiment.variants[name].arm)
        sent = _measured(cell, "client").group_by("client").len()
        counts = dict(zip(sent["client"].to_list(), sent["len"].to_list(), strict=True))
        total = sum(counts.values())
        for client, share in enumerate(zipf_shares(work.clients, work.skew)[:4]):
            formula = f"1/{client + 1} / H = {share:.1%}" if work.skew == 1 else f"{share:.1%}"
            yield Row(
                f"client {client + 1} of {work.clients}", formula, f"{counts.get(client, 0) / total:.1%}"
            )
        return  # both arms get the same requests


def _choices(facts: RunFacts) -> Iterator[Row]:
    replicas = facts.run.experiment.replicas
    (slow, *_) = replicas.different or ("replica-0",)
    said = {
        "random": f"one choice: 1 / {replicas.count} = {1 / replicas.count:.1%}",
        "least_request": f"two choices: at least 1 / {replicas.count}² = {1 / replicas.count**2:.1%}",
        "full_scan": "all compared: nearly none",
    }
    for name, formula in said.items():
        arm = facts.summary.arms.get(name)
        if arm is None or not (total := sum(arm.replicas.values())):
            continue
        wait = arm.metrics["latency_ms.p90"]
        p90 = "" if wait is None else f", p90 {time_in_words(wait)}"
        yield Row(
            in_words(name), formula, f"{arm.replicas.get(slow, 0) / total:.1%} to the slow replica{p90}"
        )


def _closed_loop(facts: RunFacts) -> Iterator[Row]:
    for name, cell in _cells(facts):
        clients = facts.run.experiment.workload_of(facts.run.experiment.variants[name].arm).clients
        rows = _measured(cell, "planned_ns", "done_ns")
        if rows.is_empty():
            continue
        wait_s = float((rows["done_ns"] - rows["planned_ns"]).to_numpy().mean()) / 1e9
        rate_per_s = len(rows) / (cell.record.window_ns / 1e9)
        formula = f"{clients} / {time_in_words(wait_s * 1000)} = {clients / wait_s:.0f}/s in a closed loop"
        yield Row(in_words(name), formula, f"{rate_per_s:.0f}/s in the open loop")


def percentile_ranks(count: int, q: float) -> tuple[int, int]:
    """Return the ranks, from 1, between which the true percentile lies with about 95 %."""
    half = Z_95 * math.sqrt(count * q * (1 - q))
    return max(1, math.floor(count * q - half)), min(count, math.ceil(count * q + half))


def _percentile(facts: RunFacts) -> Iterator[Row]:
    for name, cell in _cells(facts):
        rows = _measured(cell, "planned_ns", "done_ns")
        if len(rows) < 100:
            continue
        waits_ms = np.sort((rows["done_ns"] - rows["planned_ns"]).to_numpy() / 1e6)
        low, high = percentile_ranks(len(waits_ms), 0.99)
        between = f"{time_in_words(waits_ms[low - 1])} to {time_in_words(waits_ms[high - 1])}"
        repeats = [one.metrics["latency_ms.p99"] for one in facts.summary.arms[name].repeats]
        known = sorted(value for value in repeats if value is not None)
        said = ", ".join(time_in_words(value) for value in known) or "no p99"
        formula = f"repeat {cell.record.repeat}, n = {len(waits_ms):,}: ranks {low:,} to {high:,}, {between}"
        yield Row(in_words(name), formula, f"p99 of each repeat: {said}")


def _placed(facts: RunFacts) -> Iterator[Row]:
    for line in placement(facts).lines:
        yield Row(line.arm, line.numbers, line.measured)


def _amplified(facts: RunFacts) -> Iterator[Row]:
    for line in amplification(facts).lines:
        yield Row(line.arm, line.numbers, line.measured)


def _moved(facts: RunFacts) -> Iterator[Row]:
    for line in moved(facts).lines:
        yield Row(line.arm, line.numbers, line.measured)


# In the order in which the pages are to be read.
FIGURES: Mapping[str, Figures] = {
    "littles-law": Figures("sticky", _little),
    "utilisation": Figures("sticky", _waiting),
    "zipf": Figures("sticky", _zipf),
    "balls-into-bins": Figures("few_vs_many", _placed),
    "two-choices": Figures("slow_replica", _choices),
    "consistent-hashing": Figures("hash_remap", _moved),
    "open-loop": Figures("sticky", _closed_loop),
    "percentiles": Figures("sticky", _percentile),
    "metastable-failure": Figures("retry_storm", _amplified),
}
