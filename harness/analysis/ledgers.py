"""Join what client, Envoy and replicas wrote down, request by request, and say whether they agree."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl

from harness.metrics.facts import Ledgers
from harness.record.reader import Cell
from harness.record.tables import table_errors
from lb.rows import REQUEST_IDS_PER_CLIENT

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

_PARTIES = ("client", "envoy", "replica")
_KINDS = ("matched", "unanswered", "only_client", "only_envoy", "only_replica", "disagree")
COUNTS = (*_PARTIES, *_KINDS)

# In place of a replica's number, for what is no replica of the cell. The row of a replica never has it, so
# a request that a stranger answered never matches.
_STRANGER = 65_535


def reconcile(cell: Cell) -> Ledgers:
    """Join the ledgers of one cell by request id.

    Raises UserError naming the cell's folder when a ledger cannot be read.
    """
    record = cell.record
    lacking = set(record.missing_ledgers)
    through_envoy = record.route == "envoy" and "envoy" not in lacking
    numbers = {name: number for number, name in enumerate(record.replicas)}
    ledgers = [_client(cell.requests(), numbers, record.incomplete_replicas)]
    ledgers += [_replica(frame, numbers[name]) for name, frame in cell.replica_ledgers().items()]
    access_log = cell.access_log()
    queries = [_bytes(access_log)] if access_log is not None else []
    if access_log is not None:
        ledgers.append(
            _envoy(access_log, {address: numbers[name] for name, address in record.replicas.items()})
        )
    agreement = (
        _once_each(through_envoy, record.incomplete_proxy, lacking)
        if record.max_attempts == 1
        else _after_attempts(record.max_attempts, through_envoy, record.incomplete_proxy, lacking)
    )
    with table_errors(cell.folder, "ledgers written by this lab"):
        # Together, so that the access log is read once.
        tally, *totals = pl.collect_all(
            [_tally(pl.concat(ledgers), agreement, record.lost_clients), *queries], engine="streaming"
        )
    requests = dict(zip(tally["kind"], tally["requests"], strict=True))
    counts = {party: int(tally[party].sum()) for party in _PARTIES}
    counts |= {kind: int(requests.get(kind, 0)) for kind in _KINDS}
    unknown = {name for party in lacking for name in (party, f"only_{party}")}
    if "replica" in lacking and not through_envoy:
        unknown |= {"matched", "only_client"}
    known: dict[str, Any] = {name: None if name in unknown else count for name, count in counts.items()}
    return Ledgers(**known, envoy_bytes=totals[0].item() if totals else None)


def _row_of(party: str, who: pl.Expr, answered: pl.Expr) -> list[pl.Expr]:
    """The columns that all ledgers are brought to: who answered (null: nobody), and whose row it is."""
    return [
        pl.col("request_id"),
        who.cast(pl.UInt16).alias("who"),
        answered.cast(pl.UInt32).alias("answered"),
        *(pl.lit(int(party == other), pl.UInt32).alias(other) for other in _PARTIES),
    ]


def _number(column: str, numbers: Mapping[str, int]) -> pl.Expr:
    return pl.col(column).replace_strict(
        list(numbers), list(numbers.values()), default=_STRANGER, return_dtype=pl.UInt16
    )


def _client(requests: pl.LazyFrame, numbers: Mapping[str, int], incomplete: Collection[str]) -> pl.LazyFrame:
    answered = pl.col("replica") != ""
    if incomplete:
        answered &= (pl.col("code") == "OK") | ~pl.col("replica").is_in(list(incomplete))
    who = pl.when(answered).then(_number("replica", numbers))
    return requests.select(_row_of("client", who, answered))


def _envoy(access_log: pl.LazyFrame, numbers: Mapping[str, int]) -> pl.LazyFrame:
    calls = access_log.filter(pl.col("request_id") >= 0)
    who = _number("upstream", numbers)
    return calls.select(_row_of("envoy", who, pl.lit(False)))


def _bytes(access_log: pl.LazyFrame) -> pl.LazyFrame:
    """One value: the bytes both ways of all requests of the lab; null where none were written down."""
    both_ways = pl.col("bytes_in") + pl.col("bytes_out")
    calls = access_log.filter(pl.col("request_id") >= 0)
    return calls.select(pl.when(both_ways.count() > 0).then(both_ways.sum()))


def _replica(ledger: pl.LazyFrame, number: int) -> pl.LazyFrame:
    calls = ledger.filter(pl.col("request_id") >= 0)
    return calls.select(_row_of("replica", pl.lit(number), pl.lit(False)))


@dataclass(frozen=True)
class _Agreement:
    """What it takes that the rows of an answered request agree.

    gathered: aggregates of a request's rows, beside the rows of each party; holds: a predicate on those.
    """

    gathered: tuple[pl.Expr, ...]
    holds: tuple[pl.Expr, ...]


def _once_each(through_envoy: bool, incomplete_proxy: bool, lacking: Collection[str]) -> _Agreement:
    who = pl.col("who")
    least = int(through_envoy and not incomplete_proxy)
    parties = [] if "replica" in lacking else ["replica"]
    return _Agreement(
        (who.min().alias("lowest"), who.max().alias("highest")),
        (
            pl.col("client") == 1,
            pl.col("envoy").is_between(least, int(through_envoy)),
            *(pl.col(party) == 1 for party in parties),
            pl.col("lowest") == pl.col("highest"),
        ),
    )


def _after_attempts(
    most: int, through_envoy: bool, incomplete_proxy: bool, lacking: Collection[str]
) -> _Agreement:
    whole_envoy = through_envoy and not incomplete_proxy
    parties = [*(["envoy"] if whole_envoy else []), *(["replica"] if "replica" not in lacking else [])]
    named = pl.col("who").filter(pl.col("client") == 1).max()

    def has_named(party: str) -> pl.Expr:
        return (pl.col("who").filter(pl.col(party) == 1) == named).any().alias(f"{party}_has_named")

    counts = [pl.col(party).is_between(1, most) for party in parties]
    absent = [] if whole_envoy else [pl.col("envoy") <= (most if through_envoy else 0)]
    return _Agreement(
        tuple(has_named(party) for party in parties),
        (pl.col("client") == 1, *counts, *absent, *(pl.col(f"{party}_has_named") for party in parties)),
    )


def _tally(rows: pl.LazyFrame, agreement: _Agreement, lost_clients: Collection[int]) -> pl.LazyFrame:
    """Kind of agreement -> requests, and rows of each ledger."""
    by_request = rows.group_by("request_id").agg(pl.col(*_PARTIES, "answered").sum(), *agreement.gathered)
    client, envoy, replica, answered = (pl.col(name) for name in (*_PARTIES, "answered"))
    caller = pl.col("request_id") // REQUEST_IDS_PER_CLIENT
    kind = (
        pl.when(client == 0, caller.is_in(list(lost_clients)))
        .then(pl.lit("unheard"))
        .when(answered == 0, client == 1)
        .then(pl.lit("unanswered"))
        .when(answered == 1, *agreement.holds)
        .then(pl.lit("matched"))
        .when(client == 1, envoy == 0, replica == 0)
        .then(pl.lit("only_client"))
        .when(client == 0, replica == 0)
        .then(pl.lit("only_envoy"))
        .when(client == 0, envoy == 0)
        .then(pl.lit("only_replica"))
        .otherwise(pl.lit("disagree"))
    )
    return by_request.group_by(kind.alias("kind")).agg(pl.len().alias("requests"), pl.col(*_PARTIES).sum())
