"""Joins the access log of a load balancer that is not the lab's with a run, as its third ledger.

The clients of the run sent ids that begin with their cell's prefix (lb.trace_id), and the load balancer wrote
them into its log. A cell of which the log lacks more than MAX_MISSING_SHARE stays as it was: figures of a
part of the requests would pass for those of all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from harness.errors import UserError
from harness.record.access_log import PROXY_COLUMNS
from harness.record.proxy_log import LogKind, ProxyLogRecord, write_proxy_log
from harness.record.run_directory import Cell, Run
from harness.record.tables import column_types
from harness.spec.own_service import UPSTREAM_LOG
from harness.traces.alb import AlbFields, parse_alb
from harness.traces.envoy import parse_envoy
from harness.traces.line_batches import line_batches
from harness.traces.log_format import format_of
from harness.traces.named_columns import LEDGER_JSON_DEFAULT, parse_json_lines
from lb.trace_id import PREFIX_DIGITS, VERSION_DIGIT

MAX_MISSING_SHARE = 0.01
_SLACK_NS = 60_000_000_000  # clocks that differ by less have the same hour
# A request id of 32 digits, as AWS writes one and as a UUID.
_ROOT = r"(?:^|;)\s*Root=1-([0-9a-f]{8})-([0-9a-f]{24})(?:;|$)"
_UUID = r"^([0-9a-f]{8})-([0-9a-f]{4})-([0-9a-f]{4})-([0-9a-f]{4})-([0-9a-f]{12})$"


@dataclass
class _Reading:
    """What was read. rows: those with an id of the run's. named: requests with any id that could be one.

    first_ns, last_ns: of all requests, or None. columns: see join_proxy_log.
    """

    kind: LogKind
    columns: Mapping[str, str]
    lines: int = 0
    broken: int = 0
    named: int = 0
    first_ns: int | None = None
    last_ns: int | None = None
    rows: list[pl.DataFrame] = field(default_factory=list)


@dataclass(frozen=True)
class _CellRows:
    """The log's rows of one cell, PROXY_COLUMNS. answered: requests that ended with OK for the client.

    missing: those of them that the log lacks. targets: address in the log -> replica.
    """

    cell: Cell
    rows: pl.DataFrame
    answered: int
    missing: int
    targets: dict[str, str]

    @property
    def usable(self) -> bool:
        """Whether the rows may stand for all requests of the cell."""
        return self.rows.height > 0 and self.missing <= MAX_MISSING_SHARE * self.answered


def join_proxy_log(run: Run, files: Sequence[Path], columns: Mapping[str, str] | None = None) -> str:
    """Write the logs' rows of the run's cells into the run's directory; return one line that says how many.

    columns: mapping of named_columns.LEDGER_KEYS to the names in JSON lines; None: Istio's.

    Raises UserError, in one line with counts, if a file cannot be read, if no request of the run is in the
    logs, or if of each cell too many are missing. Then nothing is written.
    """
    cells = {cell.record.trace_prefix: cell for cell in run.cells if cell.record.trace_prefix}
    if not cells:
        raise UserError(
            f"--proxy-log: the clients of {run.path} sent no ids that a load balancer would log; only those "
            "of --testbed external do, in arms of the route envoy"
        )
    reading = _read(files, [prefix for prefix in cells if prefix], columns)
    found = [_rows_of(cell, str(prefix), reading) for prefix, cell in cells.items()]
    if not any(one.rows.height for one in found):
        raise UserError(_nothing_in_words(files, reading, list(cells.values())))
    if not any(one.usable for one in found):
        raise UserError(
            f"--proxy-log: {_read_in_words(files, reading, found)}{_lacking_in_words(found)}; a log that "
            f"lacks more than {MAX_MISSING_SHARE:.0%} of a cell's answered requests is not joined: name the "
            "other files"
        )
    for one in found:
        if one.usable:
            names = [path.name for path in files]
            record = ProxyLogRecord(
                kind=reading.kind,
                files=names,
                requests=one.rows.height,
                missing=one.missing,
                targets=one.targets,
            )
            write_proxy_log(run.path, one.cell.folder.name, record, one.rows)
    return _joined_in_words(files, reading, found)


def _read(files: Sequence[Path], prefixes: Sequence[str], columns: Mapping[str, str] | None) -> _Reading:
    """Return the requests in the files whose ids begin with one of the prefixes."""
    kinds: dict[LogKind, Path] = {}
    for path in files:
        kind = format_of(path)
        if kind == "csv" or kind == "parquet":
            raise UserError(
                f"--proxy-log: {path} is a log of {kind}; expected an ALB's, or Envoy's as text or JSON"
            )
        if columns is not None and kind != "json":
            raise UserError(f"--columns: {path} is a log of {kind}, whose columns are known; leave it out")
        kinds.setdefault(kind, path)
    if len(kinds) > 1:
        raise UserError(f"--proxy-log: {' and '.join(map(str, kinds.values()))} have different formats")
    reading = _Reading(next(iter(kinds)), columns or LEDGER_JSON_DEFAULT)
    for path in files:
        for batch in line_batches(path):
            rows = _parsed(batch.data, reading)
            good = rows.filter(pl.col("time_ns").is_not_null() & pl.col("ended_ns").is_not_null())
            reading.lines += rows.height
            reading.broken += rows.height - good.height
            reading.named += good["prefix"].count()
            if good.height:
                times = [*filter(None, (reading.first_ns, reading.last_ns)), *_edges(good)]
                reading.first_ns, reading.last_ns = min(times), max(times)
            reading.rows.append(good.filter(pl.col("prefix").is_in(list(prefixes))))
    return reading


def _edges(rows: pl.DataFrame) -> tuple[int, int]:
    first, last = rows.select(pl.col("time_ns").min(), pl.col("time_ns").max().alias("last")).row(0)
    return int(first), int(last)


def _parsed(data: bytes, reading: _Reading) -> pl.DataFrame:
    """Return one row per line of text, with two columns of the id: prefix, request_id; null without one."""
    if reading.kind == "alb":
        rows = parse_alb(data, AlbFields(path=True, request=True))
        rows = rows.with_columns(pl.lit(None, pl.String).alias("flags"))
    elif reading.kind == "envoy":
        rows = parse_envoy(data, path=True, request=True)
    else:
        rows = parse_json_lines(data, reading.columns)
    digits = pl.col("digits")
    after = digits.str.slice(VERSION_DIGIT + 1, PREFIX_DIGITS - VERSION_DIGIT - 1)
    return rows.with_columns(pl.coalesce(_digits(_UUID), _digits(_ROOT)).alias("digits")).with_columns(
        pl.concat_str(digits.str.slice(0, VERSION_DIGIT), pl.lit("4"), after).alias("prefix"),
        digits.str.slice(PREFIX_DIGITS).str.to_integer(base=16, strict=False).alias("request_id"),
    )


def _digits(pattern: str) -> pl.Expr:
    """Return the digits of an id in the column `request`; null where it has another form."""
    return pl.concat_str(pl.col("request").str.extract_groups(pattern).struct.unnest())


def _rows_of(cell: Cell, prefix: str, reading: _Reading) -> _CellRows:
    own = pl.concat([rows.filter(prefix=prefix) for rows in reading.rows]).unique(maintain_order=True)
    took_us = (pl.col("ended_ns") - pl.col("time_ns")) // 1000
    of_envoy = reading.kind != "alb"
    nothing = pl.lit(None, pl.String)
    rows = own.sort("time_ns").select(
        pl.col("request_id"),
        pl.col("path"),
        (took_us // 1000).alias("duration_ms"),
        took_us.alias("duration_us"),
        pl.col("status").alias("http"),
        nothing.alias("grpc"),
        nothing.alias("details"),
        pl.col("flags"),
        nothing.alias("cluster"),
        pl.col("target").alias("upstream"),
        pl.lit(1).alias("attempts"),
        # An ALB counts headers, too. The lab's figures are of bodies.
        (pl.col("bytes_received") if of_envoy else pl.lit(None)).alias("bytes_in"),
        (pl.col("bytes_sent") if of_envoy else pl.lit(None)).alias("bytes_out"),
        # Each port of the client is a connection. Envoy's logs need not have ports.
        (pl.lit(None) if of_envoy else pl.col("client").rank("dense")).alias("connection"),
        pl.lit(None).alias("upstream_connection"),
        pl.col("time_ns").alias("start_unix_ns"),
    )
    table = rows.cast(dict(column_types(PROXY_COLUMNS))).select(*PROXY_COLUMNS)  # type: ignore[arg-type]
    answered = cell.requests().filter(pl.col("code") == "OK").select("request_id", "replica").collect()
    missing = answered.join(table, on="request_id", how="anti").height
    return _CellRows(cell, table, answered.height, missing, _targets(cell, table, answered))


def _targets(cell: Cell, rows: pl.DataFrame, answered: pl.DataFrame) -> dict[str, str]:
    """Return address in the log -> replica: as the run knows it, else the one that mostly answered there.

    A balancer often calls replicas by other addresses than the lab. answered: request_id, replica.
    """
    if cell.record.replica_from == UPSTREAM_LOG:  # nothing else names the replicas
        addresses = rows["upstream"].drop_nulls().unique().sort().to_list()
        return {address: address for address in addresses}
    known = {address: name for name, address in cell.record.replicas.items() if address}
    seen = (
        rows.join(answered, on="request_id")
        .filter(pl.col("replica").is_in(list(cell.record.replicas)) & pl.col("upstream").is_not_null())
        .group_by("upstream", "replica")
        .len()
        .sort("len", "replica", descending=[True, False])
        .unique("upstream", keep="first", maintain_order=True)
    )
    found = dict(seen.select("upstream", "replica").iter_rows())
    return found | {address: name for address, name in known.items() if address in found}


def _nothing_in_words(files: Sequence[Path], reading: _Reading, cells: Sequence[Cell]) -> str:
    records = [cell.record for cell in cells]
    first_ns = min(record.epoch_unix_ns for record in records)
    last_ns = max(record.epoch_unix_ns + record.measure_end_ns for record in records)
    ran = f"this run, whose load ran from {_utc(first_ns)} to {_utc(last_ns)} UTC"
    requests = reading.lines - reading.broken
    if reading.first_ns is None or reading.last_ns is None:
        return (
            f"--proxy-log: none of the {reading.lines:,} lines in {_names(files)} is a request with a time"
            f"{_columns_in_words(reading)}"
        )
    there = f"{_utc(reading.first_ns)} to {_utc(reading.last_ns)} UTC"
    other_time = reading.last_ns < first_ns - _SLACK_NS or reading.first_ns > last_ns + _SLACK_NS
    hint = (
        "name the log of that time"
        if other_time
        else f"none has an id of the lab's form{_columns_in_words(reading)}"
        if reading.kind == "json" and not reading.named
        else "is it another load balancer's log, or does something before it replace X-Amzn-Trace-Id?"
    )
    return f"--proxy-log: none of the {requests:,} requests in {_names(files)} ({there}) is of {ran}; {hint}"


def _columns_in_words(reading: _Reading) -> str:
    """Return which fields of JSON lines were looked at; "" for other logs, whose fields are known."""
    if reading.kind != "json":
        return ""
    fields = ", ".join(f"{key}={name}" for key, name in reading.columns.items())
    return f"; the fields were {fields[:400]}: say with --columns what yours are called"


def _joined_in_words(files: Sequence[Path], reading: _Reading, found: Sequence[_CellRows]) -> str:
    joined = [one for one in found if one.usable]
    rows = sum(one.rows.height for one in joined)
    text = f"proxy log: {rows:,} requests of {len(joined)} of {len(found)} cells joined"
    return f"{text}; {_read_in_words(files, reading, found)}{_lacking_in_words(found)}"


def _read_in_words(files: Sequence[Path], reading: _Reading, found: Sequence[_CellRows]) -> str:
    own = sum(one.rows.height for one in found)
    others = reading.lines - reading.broken - own
    broken = f" and {reading.broken:,} broken lines" if reading.broken else ""
    return f"{_names(files)} ({reading.kind}): {own:,} requests of this run, {others:,} others{broken}"


def _lacking_in_words(found: Sequence[_CellRows]) -> str:
    """Return which cells' answered requests the log lacks, in words; "" if none."""
    cells = [
        f"{one.missing:,} of {one.answered:,} of {one.cell.folder.name}"
        f"{'' if one.usable else ', which is left out'}"
        for one in found
        if one.missing or not one.usable
    ]
    return f"; the log lacks {'; '.join(cells)}" if cells else ""


def _names(files: Sequence[Path]) -> str:
    return str(files[0]) if len(files) == 1 else f"{len(files)} files"


def _utc(unix_ns: int) -> str:
    return f"{datetime.fromtimestamp(unix_ns / 1e9, UTC):%Y-%m-%d %H:%M:%S}"
