"""Reads log files into a trace: parses batch by batch, hashes identities, counts broken lines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from harness.errors import UserError
from harness.record.tables import table_errors
from harness.traces.alb import AlbFields, parse_alb
from harness.traces.envoy import parse_envoy
from harness.traces.line_batches import LineBatch, line_batches
from harness.traces.log_format import LogFormat, format_of
from harness.traces.named_columns import (
    JSON_DEFAULT,
    TRACE_COLUMNS,
    csv_header,
    from_table,
    missing_columns,
    parse_csv,
    parse_json_lines,
)
from harness.traces.pseudonyms import Pseudonyms
from harness.traces.raw_lines import texts_of
from harness.traces.trace import COLUMNS, OPTIONAL, BrokenLines, Trace

IDENTITIES = ("ip", "ip+port", "conn_trace_id")
COLUMN = "column:"  # before the name of a column that identifies clients
DEFAULT_MAX_BROKEN = 0.01
_PARQUET_ROWS = 500_000  # in one batch
_PORT = r"^(\d+\.\d+\.\d+\.\d+|\[.*\]):\d+$"


@dataclass(frozen=True)
class ReadOptions:
    """How logs are read.

    key: of the hashes. identity: one of IDENTITIES, or "column:NAME". log_format: None: told from each file.
    columns: mapping of named_columns.KEYS to the log's names; None: the format's own. max_broken: the share
    of broken lines from which on nothing is reported.
    """

    key: bytes
    identity: str = "ip"
    log_format: LogFormat | None = None
    columns: Mapping[str, str] | None = None
    keep_paths: bool = False
    keep_targets: bool = False
    max_broken: float = DEFAULT_MAX_BROKEN


@dataclass
class _Reading:
    """What is known so far. targets: name in the log -> index."""

    options: ReadOptions
    pseudonyms: Pseudonyms
    broken: BrokenLines = field(default_factory=BrokenLines)
    targets: dict[str, int] = field(default_factory=dict)
    tables: list[pl.DataFrame] = field(default_factory=list)


def read_trace(paths: Sequence[Path], options: ReadOptions) -> Trace:
    """Return the requests of all files, sorted by time.

    Memory is that of the trace (some 40 bytes a request, twice that while it is sorted) and of one batch.
    Raises UserError for a file that cannot be read or has no known format, for an identity that a log does
    not have, for more broken lines than allowed, and if there is no request at all.
    """
    reading = _Reading(options, Pseudonyms(options.key))
    formats: dict[str, str] = {}
    for path in _distinct(paths):
        kind: LogFormat = options.log_format or format_of(path)
        formats[str(path)] = kind
        _check_identity(path, kind, options.identity)
        batches = _parquet_tables(path, options) if kind == "parquet" else _parsed(path, kind, reading)
        for raw in batches:
            reading.tables.append(_compact(raw, kind, reading))
        _check_broken(path, reading)
    return _finished(reading, formats)


def _distinct(paths: Sequence[Path]) -> Sequence[Path]:
    seen: set[Path] = set()
    for path in paths:
        if path.resolve() in seen:
            raise UserError(f"{path}: this file is named twice; its requests would count twice")
        seen.add(path.resolve())
    return paths


def _check_identity(path: Path, kind: LogFormat, identity: str) -> None:
    named = kind not in ("alb", "envoy")
    if identity.startswith(COLUMN):
        if not named:
            raise UserError(f"--client {identity}: {path} is a log of {kind}, which has no named columns")
    elif identity not in IDENTITIES:
        raise UserError(f"--client: {identity!r}; expected {', '.join(IDENTITIES)} or {COLUMN}NAME")
    elif identity == "conn_trace_id" and kind != "alb":
        raise UserError(f"--client conn_trace_id: only ALB logs have it, and {path} is a log of {kind}")
    elif identity == "ip+port" and kind == "envoy":
        raise UserError(f"--client ip+port: Envoy's default log has no ports ({path}); expected ip")


def _mapping(kind: LogFormat, options: ReadOptions) -> Mapping[str, str]:
    mapping = options.columns
    if mapping is None and kind == "csv":
        raise UserError(
            "a CSV log needs --columns, as --columns time=ts,client=ip,target=backend,status=code"
        )
    if mapping is None:
        mapping = JSON_DEFAULT if kind == "json" else TRACE_COLUMNS
    if options.identity.startswith(COLUMN):
        mapping = {**mapping, "client": options.identity.removeprefix(COLUMN)}
    return mapping


def _parquet_tables(path: Path, options: ReadOptions) -> Iterator[pl.DataFrame]:
    with table_errors(path, "a Parquet file with the named columns"):
        frame = pl.scan_parquet(path, glob=False)
        present = frame.collect_schema().names()
        mapping = _mapping("parquet", options)
        if options.columns is None:
            # A trace of this lab lacks columns that its log did not have. What --client names must be there.
            needed = {"time", *(["client"] if options.identity.startswith(COLUMN) else [])}
            mapping = {key: name for key, name in mapping.items() if name in present or key in needed}
        for problem in missing_columns(mapping, present):
            raise UserError(f"{path}: {problem}")
        wanted = frame.select(*dict.fromkeys(mapping.values()))
        start = 0
        while (table := wanted.slice(start, _PARQUET_ROWS).collect()).height:
            yield from_table(table, mapping)
            start += table.height


def _parsed(path: Path, kind: LogFormat, reading: _Reading) -> Iterator[pl.DataFrame]:
    """Yield what a parser makes of each batch of lines; broken lines are counted and left out."""
    options, header = reading.options, None
    mapping = _mapping(kind, options) if kind in ("csv", "json") else {}
    for batch in line_batches(path):
        data, first = batch.data, batch.first
        if kind == "csv" and header is None:
            line, _, data = data.partition(b"\n")
            first += 1
            header = csv_header(line.decode("utf-8", "replace"))
            for problem in missing_columns(mapping, header):
                raise UserError(f"{path}:1: {problem}")
        if kind == "alb":
            raw = parse_alb(data, AlbFields(options.identity == "conn_trace_id", options.keep_paths))
        elif kind == "envoy":
            raw = parse_envoy(data, path=options.keep_paths)
        elif kind == "json":
            raw = parse_json_lines(data, mapping)
        else:
            raw = parse_csv(data, header or [], mapping)
        yield _without_broken(raw, LineBatch(data, first, batch.problem), path, reading.broken)


def _without_broken(raw: pl.DataFrame, batch: LineBatch, path: Path, broken: BrokenLines) -> pl.DataFrame:
    """Return the good rows, and count the others. Empty lines do not count at all."""
    bad = raw["time_ns"].is_null()
    broken.lines += raw.height + bool(batch.problem)
    if bad.any():
        places = bad.arg_true()
        lines = texts_of(batch.data).gather(places)
        for place, line in zip(places, lines, strict=True):
            if line.strip():
                broken.add(str(path), batch.first + place, line)
            else:
                broken.lines -= 1
        raw = raw.filter(~bad)
    if batch.problem:
        broken.add(str(path), batch.first + batch.data.count(b"\n"), f"({batch.problem})")
    return raw


def _compact(raw: pl.DataFrame, kind: LogFormat, reading: _Reading) -> pl.DataFrame:
    """Return the rows with the columns of a trace: identities hashed, targets as indexes."""
    if kind == "parquet":
        reading.broken.lines += raw.height
        reading.broken.broken += raw["time_ns"].null_count()
        raw = raw.filter(pl.col("time_ns").is_not_null())
    options = reading.options
    client = raw["connection" if options.identity == "conn_trace_id" else "client"]
    if options.identity == "ip":
        client = _without_port(client, always=kind == "alb")
    targets = raw["target"]
    for name in targets.drop_nulls().unique(maintain_order=True):
        reading.targets.setdefault(name, len(reading.targets))
    indexes = pl.Series(list(reading.targets.values()), dtype=pl.UInt32)
    names = pl.Series(list(reading.targets), dtype=pl.String)
    hashed = reading.pseudonyms.column
    table = raw.select(
        pl.col("time_ns").alias("time_unix_ns"),
        hashed(client).alias("client"),
        hashed(raw["session"]).alias("session"),
        targets.replace_strict(names, indexes, default=None, return_dtype=pl.UInt32).alias("target"),
        pl.col("status").cast(pl.Int16, strict=False),
        "target_time_ns",
        "bytes_received",
        "bytes_sent",
        pl.col("path") if options.keep_paths else pl.lit(None, pl.String).alias("path"),
    )
    return table.drop(name for name in OPTIONAL if table[name].null_count() == table.height)


def _without_port(client: pl.Series, *, always: bool) -> pl.Series:
    """Return addresses without their ports. `always`: each has one, also IPv6 addresses without brackets."""
    if always:
        return client.str.strip_chars_end("0123456789").str.strip_suffix(":").str.strip_chars("[]")
    bare = client.str.extract(_PORT).str.strip_chars("[]")
    return pl.select(pl.coalesce(bare, client)).to_series()


def _check_broken(path: Path, reading: _Reading) -> None:
    broken, allowed = reading.broken, reading.options.max_broken
    if broken.share > allowed:
        where = "".join(f"; first: {file}:{number}: {text!a}" for file, number, text in broken.first[:1])
        raise UserError(
            f"{path}: {broken.broken:,} of {broken.lines:,} lines so far are broken, and --max-broken allows "
            f"{allowed:g} of them{where}; is --format right?"
        )


def _finished(reading: _Reading, formats: dict[str, str]) -> Trace:
    if not any(table.height for table in reading.tables):
        raise UserError(f"{', '.join(formats)[:300]}: no request in these logs")
    table = pl.concat(reading.tables, how="diagonal", rechunk=True)
    reading.tables.clear()
    table = table.select(name for name in COLUMNS if name in table.columns).sort("time_unix_ns")
    targets = list(reading.targets)
    if not reading.options.keep_targets:
        targets = [f"target-{reading.pseudonyms.of(name) >> 40:06x}" for name in targets]
    return Trace(table, targets, reading.options.identity, reading.broken, formats)
