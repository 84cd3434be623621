"""Join what client, Envoy and replicas wrote down, request by request, and say whether they agree."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from harness.record import Cell
from harness.tables import table_errors

if TYPE_CHECKING:
    from collections.abc import Mapping

_PARTIES = ("client", "envoy", "replica")
_KINDS = ("matched", "unanswered", "only_client", "only_envoy", "only_replica", "disagree")

# In place of a replica's number, for what is no replica of the cell. The row of a replica never has it, so
# a request that a stranger answered never matches.
_STRANGER = 65_535


@dataclass(frozen=True)
class Ledgers:
    """Counts of one cell, warm-up included. Rows without a request id (not the lab's calls) are not counted.

    client, envoy, replica: rows of each ledger; envoy is 0 on a route without Envoy.
    matched: answered requests with exactly one row in every ledger, all naming the same replica.
    unanswered: requests without an answer, given up by the client; they may be in any ledger or in none.
    only_client (answered), only_envoy, only_replica: requests that no other ledger has.
    disagree: any other requests: another replica, or another number of rows.
    """

    client: int
    envoy: int
    replica: int
    matched: int
    unanswered: int
    only_client: int
    only_envoy: int
    only_replica: int
    disagree: int

    @property
    def reconciled(self) -> bool:
        """Nothing is wrong: every answered request is matched, and no ledger has requests of its own."""
        return not (self.only_client or self.only_envoy or self.only_replica or self.disagree)


def reconcile(cell: Cell) -> Ledgers:
    """Join the ledgers of one cell by request id.

    Raises UserError naming the cell's folder when a ledger cannot be read.
    """
    through_envoy = cell.info["route"] == "envoy"
    numbers = {name: number for number, name in enumerate(cell.replicas)}
    ledgers = [_client(cell.requests(), numbers)]
    ledgers += [_replica(frame, numbers[name]) for name, frame in cell.replica_ledgers().items()]
    access_log = cell.access_log() if through_envoy else None
    if access_log is not None:
        ledgers.append(
            _envoy(access_log, {address: numbers[name] for name, address in cell.replicas.items()})
        )
    with table_errors(cell.folder, "ledgers written by this lab"):
        tally = _tally(ledgers, rows_in_envoy=int(through_envoy)).collect(engine="streaming")
    requests = dict(zip(tally["kind"], tally["requests"], strict=True))
    return Ledgers(
        **{party: int(tally[party].sum()) for party in _PARTIES},
        **{kind: int(requests.get(kind, 0)) for kind in _KINDS},
    )


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


def _client(requests: pl.LazyFrame, numbers: Mapping[str, int]) -> pl.LazyFrame:
    answered = pl.col("replica") != ""
    who = pl.when(answered).then(_number("replica", numbers))
    return requests.select(_row_of("client", who, answered))


def _envoy(access_log: pl.LazyFrame, numbers: Mapping[str, int]) -> pl.LazyFrame:
    calls = access_log.filter(pl.col("request_id") >= 0)
    who = _number("upstream", numbers)
    return calls.select(_row_of("envoy", who, pl.lit(False)))


def _replica(ledger: pl.LazyFrame, number: int) -> pl.LazyFrame:
    calls = ledger.filter(pl.col("request_id") >= 0)
    return calls.select(_row_of("replica", pl.lit(number), pl.lit(False)))


def _tally(ledgers: list[pl.LazyFrame], rows_in_envoy: int) -> pl.LazyFrame:
    """Kind of agreement -> requests, and rows of each ledger."""
    by_request = (
        pl.concat(ledgers)
        .group_by("request_id")
        .agg(
            pl.col(*_PARTIES, "answered").sum(),
            pl.col("who").min().alias("lowest"),
            pl.col("who").max().alias("highest"),
        )
    )
    client, envoy, replica, answered = (pl.col(name) for name in (*_PARTIES, "answered"))
    once_each = (client == 1) & (envoy == rows_in_envoy) & (replica == 1)
    kind = (
        pl.when(answered == 0, client == 1)
        .then(pl.lit("unanswered"))
        .when(answered == 1, once_each, pl.col("lowest") == pl.col("highest"))
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
