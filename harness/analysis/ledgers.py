"""Joins the ledgers of client, Envoy and replicas by request: how they agree, and which answers were lost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl

from harness.analysis.parts import parts_of
from harness.metrics.facts import Ledgers
from harness.metrics.metric import NS_PER_MS
from harness.record.cell_record import CellRecord, LoadWorkerRecord
from harness.record.run_directory import Cell
from harness.record.tables import table_errors
from lb.rows import REQUEST_IDS_PER_CLIENT

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping


_PARTIES = ("client", "envoy", "replica")
_KINDS = ("matched", "unanswered", "only_client", "only_envoy", "only_replica", "disagree")
COUNTS = (*_PARTIES, *_KINDS)

# The number of any address or name that is no replica of the cell. No replica's row has it, so a request that
# such a server answered never matches.
_UNKNOWN_REPLICA = 65_535


def reconcile(cell: Cell, agreement: Mapping[int, int] | None = None) -> Ledgers:
    """Return the counts of one cell's ledgers, joined by request id.

    agreement: agreement_of_row -> number of requests, where each ledger has one row of each request.
    Raises UserError that names the cell's folder when a ledger cannot be read.
    """
    record = cell.record
    missing = set(record.missing_ledgers)
    through_envoy = record.route == "envoy" and "envoy" not in missing
    proxy = cell.proxy_ledger()
    with table_errors(cell.folder, "ledgers written by this lab"):
        if agreement is None or (proxy is not None and not through_envoy):
            counts = _counts(cell, _condition(cell, through_envoy))
        else:
            counts = _counts_side_by_side(agreement, through_envoy=through_envoy)
        envoy_bytes = None if proxy is None else _bytes(proxy).collect(engine="streaming").item()
    unknown = {name for party in missing for name in (party, f"only_{party}")}
    if "replica" in missing and not through_envoy:
        unknown |= {"matched", "only_client"}
    known: dict[str, Any] = {name: None if name in unknown else count for name, count in counts.items()}
    return Ledgers(**known, envoy_bytes=envoy_bytes)


def _condition(cell: Cell, through_envoy: bool) -> _Agreement:
    missing, most = set(cell.record.missing_ledgers), cell.record.max_attempts
    if most == 1:
        return _once_each(through_envoy, not cell.whole_proxy, missing)
    return _after_attempts(most, through_envoy, not cell.whole_proxy, missing)


def _counts(cell: Cell, agreement: _Agreement) -> dict[str, int]:
    """Return COUNTS of a cell, by grouping all rows by request."""
    tally = pl.concat(
        _tally(_by_request(part, agreement), agreement, cell.record.lost_clients).collect(engine="streaming")
        for part in parts_of(cell)
    )
    numbers = dict(tally.group_by("kind").agg(pl.col("requests").sum()).iter_rows())
    requests = {kind: numbers.get(number, 0) for number, kind in enumerate(_KINDS)}
    return {party: int(tally[party].sum()) for party in _PARTIES} | requests


def _counts_side_by_side(agreement: Mapping[int, int], *, through_envoy: bool) -> dict[str, int]:
    """Return COUNTS where each ledger has one row of each request, but Envoy may have no ledger."""
    requests = {kind: agreement.get(number, 0) for number, kind in enumerate(_KINDS)}
    rows = dict.fromkeys(_PARTIES, sum(requests.values()))
    return rows | ({} if through_envoy else {"envoy": 0}) | requests


def agreement_of_row(record: CellRecord) -> pl.Expr:
    """Return how the ledgers agree about a request, as a place in the kinds of agreement.

    Of joined rows (see harness.analysis.ledger_join) where each ledger has one row of each request.
    """
    replica = pl.col("replica")
    same = pl.col("answered_by") == replica
    if record.route == "envoy":
        same &= pl.col("proxy_replica") == replica
    return (
        pl.when(~_is_answered(record.incomplete_replicas))
        .then(_kind("unanswered"))
        .when(same & replica.is_in(list(record.replicas)))
        .then(_kind("matched"))
        .otherwise(_kind("disagree"))
    )


def _is_answered(incomplete: Collection[str]) -> pl.Expr:
    answered = pl.col("replica") != ""
    if incomplete:
        answered &= (pl.col("code") == "OK") | ~pl.col("replica").is_in(list(incomplete))
    return answered


def _by_request(part: Cell, agreement: _Agreement) -> pl.LazyFrame:
    """Return one row a request: its rows in each ledger, `answered`, and the aggregates of the agreement."""
    record = part.record
    numbers = {name: number for number, name in enumerate(record.replicas)}
    ledgers = [_client(part.requests(), numbers, record.incomplete_replicas)]
    if (replicas := part.replica_ledger()) is not None:
        ledgers.append(_replica(replicas, numbers))
    if (proxy := part.proxy_ledger()) is not None:
        targets = part.proxy_targets.items()
        addresses = {address: numbers[name] for address, name in targets if name in numbers}
        ledgers.append(_envoy(proxy, addresses))
    rows = pl.concat(ledgers)
    return rows.group_by("request_id").agg(pl.col(*_PARTIES, "answered").sum(), *agreement.aggregates)


def _row_of(party: str, replica: pl.Expr, answered: pl.Expr) -> list[pl.Expr]:
    """Return the common columns of all ledgers: the answering replica (null: none), and whose row it is."""
    return [
        pl.col("request_id"),
        replica.cast(pl.UInt16).alias("replica_number"),
        answered.cast(pl.UInt32).alias("answered"),
        *(pl.lit(int(party == other), pl.UInt32).alias(other) for other in _PARTIES),
    ]


def _number(column: str, numbers: Mapping[str, int]) -> pl.Expr:
    return pl.col(column).replace_strict(
        list(numbers), list(numbers.values()), default=_UNKNOWN_REPLICA, return_dtype=pl.UInt16
    )


def _client(requests: pl.LazyFrame, numbers: Mapping[str, int], incomplete: Collection[str]) -> pl.LazyFrame:
    answered = _is_answered(incomplete)
    replica = pl.when(answered).then(_number("replica", numbers))
    return requests.select(_row_of("client", replica, answered))


def _envoy(ledger: pl.LazyFrame, numbers: Mapping[str, int]) -> pl.LazyFrame:
    calls = ledger.filter(pl.col("request_id") >= 0)
    replica = _number("upstream", numbers)
    return calls.select(_row_of("envoy", replica, pl.lit(False)))


def _bytes(ledger: pl.LazyFrame) -> pl.LazyFrame:
    """Return one value: the bytes both ways of all requests of the lab; null if the ledger has no bytes."""
    both_ways = pl.col("bytes_in") + pl.col("bytes_out")
    calls = ledger.filter(pl.col("request_id") >= 0)
    return calls.select(pl.when(both_ways.count() > 0).then(both_ways.sum()))


def _replica(ledger: pl.LazyFrame, numbers: Mapping[str, int]) -> pl.LazyFrame:
    calls = ledger.filter(pl.col("request_id") >= 0)
    return calls.select(_row_of("replica", _number("replica", numbers), pl.lit(False)))


@dataclass(frozen=True)
class _Agreement:
    """The condition under which the rows of an answered request agree.

    aggregates: over a request's rows, besides the number of rows of each party.
    predicates: all must be true of the aggregates.
    """

    aggregates: tuple[pl.Expr, ...]
    predicates: tuple[pl.Expr, ...]


def _once_each(through_envoy: bool, incomplete_proxy: bool, missing: Collection[str]) -> _Agreement:
    """Return the condition without retries: one row in each ledger, all with the same replica."""
    replica = pl.col("replica_number")
    minimum = int(through_envoy and not incomplete_proxy)
    parties = [] if "replica" in missing else ["replica"]
    return _Agreement(
        (replica.min().alias("lowest"), replica.max().alias("highest")),
        (
            pl.col("client") == 1,
            pl.col("envoy").is_between(minimum, int(through_envoy)),
            *(pl.col(party) == 1 for party in parties),
            pl.col("lowest") == pl.col("highest"),
        ),
    )


def _after_attempts(
    max_attempts: int, through_envoy: bool, incomplete_proxy: bool, missing: Collection[str]
) -> _Agreement:
    """Return the condition with retries: see `matched` of harness.metrics.facts.Ledgers."""
    whole_envoy = through_envoy and not incomplete_proxy
    parties = [*(["envoy"] if whole_envoy else []), *(["replica"] if "replica" not in missing else [])]
    named = pl.col("replica_number").filter(pl.col("client") == 1).max()

    def has_named(party: str) -> pl.Expr:
        return (
            (pl.col("replica_number").filter(pl.col(party) == 1) == named).any().alias(f"{party}_has_named")
        )

    counts = [pl.col(party).is_between(1, max_attempts) for party in parties]
    absent = [] if whole_envoy else [pl.col("envoy") <= (max_attempts if through_envoy else 0)]
    return _Agreement(
        tuple(has_named(party) for party in parties),
        (pl.col("client") == 1, *counts, *absent, *(pl.col(f"{party}_has_named") for party in parties)),
    )


def _tally(by_request: pl.LazyFrame, agreement: _Agreement, lost_clients: Collection[int]) -> pl.LazyFrame:
    """Return one row per kind of agreement: its place in _KINDS, its requests, their rows in each ledger.

    Requests that are none of these kinds are those of lost load workers.
    """
    client, envoy, replica, answered = (pl.col(name) for name in (*_PARTIES, "answered"))
    caller = pl.col("request_id") // REQUEST_IDS_PER_CLIENT
    kind = (
        pl.when(client == 0, caller.is_in(list(lost_clients)))
        .then(_kind(None))
        .when(answered == 0, client == 1)
        .then(_kind("unanswered"))
        .when(answered == 1, *agreement.predicates)
        .then(_kind("matched"))
        .when(client == 1, envoy == 0, replica == 0)
        .then(_kind("only_client"))
        .when(client == 0, replica == 0)
        .then(_kind("only_envoy"))
        .when(client == 0, envoy == 0)
        .then(_kind("only_replica"))
        .otherwise(_kind("disagree"))
    )
    return by_request.group_by(kind.alias("kind")).agg(pl.len().alias("requests"), pl.col(*_PARTIES).sum())


def _kind(name: str | None) -> pl.Expr:
    # Numbers are grouped in a fraction of the time of texts.
    return pl.lit(len(_KINDS) if name is None else _KINDS.index(name), pl.UInt8)


def lost_answers(cell: Cell, failed: pl.DataFrame) -> pl.DataFrame:
    """Return the rows of `failed` whose answer was lost: a replica finished the request with OK.

    failed: request_id of the requests that did not end with OK for the client.
    Raises UserError that names the cell's folder when a ledger cannot be read.
    """
    ledger = cell.replica_ledger()
    if not failed.height or ledger is None:
        return failed.clear()
    finished = ledger.filter(pl.col("code") == "OK").select("request_id")
    with table_errors(cell.folder, "ledgers written by this lab"):
        return failed.lazy().join(finished, on="request_id", how="semi").collect(engine="streaming")


def attempts_by_interval(cell: Cell, intervals: pl.DataFrame) -> dict[int, int]:
    """Return interval -> rows in the replicas' ledgers for its requests, without intervals that have no row.

    intervals: request_id, interval (a number).
    Raises UserError that names the cell's folder when a ledger cannot be read.
    """
    ledger = cell.replica_ledger()
    if ledger is None:
        return {}
    with table_errors(cell.folder, "ledgers written by this lab"):
        counts = (
            ledger.select("request_id")
            .join(intervals.lazy(), on="request_id", how="inner")
            .group_by("interval")
            .agg(pl.len().alias("attempts"))
            .collect(engine="streaming")
        )
    return dict(counts.iter_rows())


def unsent_requests(record: CellRecord, recorded: int) -> int | None:
    """Return how many requests planned in the measured window the clients' ledger lacks; it has `recorded`.

    Without those of lost load workers: whether these were sent is not known. None in a closed loop.
    """
    if record.planned_rate_per_s is None:
        return None
    lost = [worker for worker in record.load_workers if worker.ended == "lost"]
    unknown = sum((worker.planned_requests or 0) - worker.measured_requests for worker in lost)
    return record.planned_requests - recorded - unknown


def lost_workers(cell: Cell) -> tuple[str, ...]:
    """Return one sentence for each load worker that was lost before the cell ended."""
    return tuple(
        _loss_in_words(cell, worker) for worker in cell.record.load_workers if worker.ended == "lost"
    )


def _loss_in_words(cell: Cell, worker: LoadWorkerRecord) -> str:
    start_ns = cell.record.measure_start_ns
    when = "before measuring"
    if start_ns and worker.ended_ns >= start_ns:
        when = f"{(worker.ended_ns - start_ns) / NS_PER_MS / 1000:.1f} s into measuring"
    planned = worker.planned_requests
    missing = (
        "the later requests of its clients are missing"
        if planned is None
        else f"{planned - worker.measured_requests} of its {planned} planned requests are missing"
    )
    return f"load worker {worker.name} was lost {when}: {missing}"
