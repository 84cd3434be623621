"""Parses logs whose columns have names: CSV, JSON lines, Parquet. A mapping says which column is what."""

from __future__ import annotations

import contextlib
import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import polars as pl

from harness.errors import UserError, did_you_mean
from harness.traces.raw_lines import GUARD, RAW, possible_ns, seconds_as_ns, text_or_null, texts_of

# Key of a mapping -> what it names. Exactly these may stand left of `=` in --columns.
KEYS: Mapping[str, str] = {
    "time": "arrival: ISO 8601 or seconds, milliseconds, microseconds or nanoseconds since 1970",
    "client": "who asked: an address, a header's value, an account",
    "session": "the session, as a cookie's value (default: a client is a session)",
    "target": "the replica that answered",
    "status": "HTTP status",
    "target_time_s": "the target's time in seconds",
    "target_time_ms": "the same in milliseconds",
    "target_time_ns": "the same in nanoseconds",
    "bytes_received": "bytes of the request",
    "bytes_sent": "bytes of the answer",
    "path": "the path, kept only with --keep-paths",
}
# More keys, of a log that is joined with a run: report --proxy-log.
LEDGER_KEYS: Mapping[str, str] = {
    **KEYS,
    "request_id": "x-request-id or X-Amzn-Trace-Id, as the clients have sent it",
    "duration_s": "from the first byte of the request to the last one of the answer, in seconds",
    "duration_ms": "the same in milliseconds",
    "duration_ns": "the same in nanoseconds",
    "flags": "Envoy's response flags",
}
# Names in Istio's default JSON log of Envoy; any other log needs --columns.
JSON_DEFAULT: Mapping[str, str] = {
    "time": "start_time",
    "client": "downstream_remote_address",
    "target": "upstream_host",
    "status": "response_code",
    "target_time_ms": "duration",
    "bytes_received": "bytes_received",
    "bytes_sent": "bytes_sent",
    "path": "path",
}
LEDGER_JSON_DEFAULT: Mapping[str, str] = {
    **JSON_DEFAULT,
    "request_id": "request_id",
    "duration_ms": "duration",
    "flags": "response_flags",
}
# The columns of a trace that this lab has saved.
TRACE_COLUMNS: Mapping[str, str] = {
    "time": "time_unix_ns",
    **{name: name for name in ("client", "session", "target", "status", "target_time_ns")},
    **{name: name for name in ("bytes_received", "bytes_sent", "path")},
}
_UNITS_NS = {"s": 1e9, "ms": 1e6, "ns": 1.0}
# Three more columns of a parser's result for a log that is joined with a run.
LEDGER_COLUMNS: Mapping[str, pl.DataType] = {
    "ended_ns": pl.Int64(),
    "flags": pl.String(),
    "request": pl.String(),
}
_DATES = ("%+", "%Y-%m-%d %H:%M:%S%.f%#z", "%d/%b/%Y:%H:%M:%S %z")
_DATES_UTC = ("%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f UTC")


def parse_mapping(text: str, keys: Mapping[str, str] = KEYS) -> dict[str, str]:
    """Return the mapping that --columns gives: "time=ts,client=ip". Raises UserError in one line.

    keys: KEYS, or LEDGER_KEYS for a log that is joined with a run.
    """
    found: dict[str, str] = {}
    for part in text.split(","):
        key, equals, column = part.strip().partition("=")
        if key not in keys:
            hint = did_you_mean(key, keys) or f"; expected one of {', '.join(keys)}"
            raise UserError(f"--columns: {key[:80]!r} is no field of a log{hint}")
        if not equals or not column:
            raise UserError(f"--columns: {key} names no column; expected {key}=NAME")
        if key in found:
            raise UserError(f"--columns: {key} is given twice")
        found[key] = column
    if "time" not in found:
        raise UserError("--columns: time is missing; expected time=NAME, the column of the arrival")
    if keys is LEDGER_KEYS:
        _confirm_ledger(found)
    return found


def _confirm_ledger(mapping: Mapping[str, str]) -> None:
    """Raise UserError for a mapping without a column that every ledger needs."""
    for key in ("request_id", "target"):
        if key not in mapping:
            raise UserError(
                f"--columns: {key} is missing; expected {key}=NAME, the column of {LEDGER_KEYS[key]}"
            )
    if not any(f"duration_{unit}" in mapping for unit in _UNITS_NS):
        raise UserError("--columns: duration_ms is missing; expected it, duration_s or duration_ns")


def parse_csv(data: bytes, header: Sequence[str], mapping: Mapping[str, str]) -> pl.DataFrame:
    """Return one row per line of `data` (without the header), with the columns of raw_lines.RAW."""
    lines = data.count(b"\n") + (not data.endswith(b"\n") and bool(data))
    schema = {f"c{n}": pl.String() for n in range(len(header))}
    table: pl.DataFrame | None = None
    with contextlib.suppress(pl.exceptions.PolarsError):
        table = pl.read_csv(
            GUARD + data, has_header=False, encoding="utf8-lossy", schema=schema, extra_columns="ignore",
            missing_columns="insert", raise_if_empty=False,
        )[1:]  # fmt: skip
    if table is None or table.height != lines:
        # A quote that is never closed: each line for itself, so that it spoils no other.
        rows = (_csv_fields(text, len(header)) for text in texts_of(data))
        table = pl.DataFrame(list(rows), schema=schema, orient="row")
    return from_table(table.rename(dict(zip(schema, header, strict=True))), mapping)


def _csv_fields(line: str, count: int) -> list[str | None]:
    return ([*_cut(line)] + [None] * count)[:count]


def _cut(line: str) -> list[str]:
    try:
        return next(csv.reader([line]), [])
    except csv.Error:
        return []


def csv_header(line: str) -> list[str]:
    """Return the names in a CSV file's first line; a name that stands twice gets a number."""
    names: list[str] = []
    for name in _cut(line.rstrip("\r\n").removeprefix("\ufeff")):
        names.append(name if name not in names else f"{name}.{len(names)}")
    return names


def parse_json_lines(data: bytes, mapping: Mapping[str, str]) -> pl.DataFrame:
    """Return one row per line of `data`, with the columns of raw_lines.RAW.

    A name with dots is looked for as it stands, and then as a path of nested objects.
    """
    columns: dict[str, list[str | None]] = {name: [] for name in mapping.values()}
    for line in texts_of(data):
        try:
            value = json.loads(line, parse_int=str, parse_float=str)
        except (ValueError, RecursionError):
            value = None
        for name, found in columns.items():
            found.append(_found(value, name))
    schema = {name: pl.String() for name in columns}
    return from_table(pl.DataFrame(columns, schema=schema), mapping)


def _found(value: Any, name: str) -> str | None:
    if isinstance(value, dict) and name in value:
        value = value[name]
    else:
        for step in name.split("."):
            value = value.get(step) if isinstance(value, dict) else None
    # A half of a surrogate pair, which JSON may have, is no text.
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else None


def from_table(table: pl.DataFrame, mapping: Mapping[str, str]) -> pl.DataFrame:
    """Return the columns of raw_lines.RAW from a table with the columns that `mapping` names.

    If it names request_id: with LEDGER_COLUMNS, too.
    """

    def text(key: str) -> pl.Expr:
        if key not in mapping:
            return pl.lit(None, pl.String)
        return text_or_null(pl.col(mapping[key]).cast(pl.String, strict=False))

    def number(key: str, kind: pl.DataType) -> pl.Expr:
        return text(key).cast(pl.Float64, strict=False).cast(kind, strict=False)

    def took_ns(name: str) -> pl.Expr:
        unit = next((one for one in _UNITS_NS if f"{name}_{one}" in mapping), None)
        return (
            pl.lit(None, pl.Int64) if unit is None else seconds_as_ns(text(f"{name}_{unit}"), _UNITS_NS[unit])
        )

    time_ns = _time_ns(table.schema[mapping["time"]], mapping["time"])
    columns = dict(RAW)
    more = []
    if "request_id" in mapping:
        columns |= LEDGER_COLUMNS
        ended_ns = time_ns + took_ns("duration")
        more = [ended_ns.alias("ended_ns"), text("flags").alias("flags"), text("request_id").alias("request")]
    return table.select(
        time_ns.alias("time_ns"),
        text("client").alias("client"),
        text("session").alias("session"),
        pl.lit(None, pl.String).alias("connection"),
        text("target").str.strip_prefix("tcp://").alias("target"),
        number("status", pl.Int32()).alias("status"),
        took_ns("target_time").alias("target_time_ns"),
        number("bytes_received", pl.Int64()).alias("bytes_received"),
        number("bytes_sent", pl.Int64()).alias("bytes_sent"),
        text("path").str.extract(r"^([^?]*)").alias("path"),
        *more,
    ).cast(columns)  # type: ignore[arg-type]


def _time_ns(kind: pl.DataType, name: str) -> pl.Expr:
    column = pl.col(name)
    if isinstance(kind, pl.Datetime):
        return possible_ns(column.dt.epoch("us"), 1000)
    texts = column.cast(pl.String, strict=False)
    numbers = _since_1970(texts.cast(pl.Float64, strict=False), texts.cast(pl.Int64, strict=False))
    dates = [
        *(texts.str.to_datetime(one, time_unit="us", time_zone="UTC", strict=False) for one in _DATES),
        *(
            texts.str.to_datetime(one, time_unit="us", strict=False).dt.replace_time_zone("UTC")
            for one in _DATES_UTC
        ),
    ]
    return pl.coalesce(numbers, *(possible_ns(date.dt.epoch("us"), 1000) for date in dates))


def _since_1970(number: pl.Expr, whole: pl.Expr) -> pl.Expr:
    """Return numbers of seconds, ms, us or ns since 1970 as ns. Their size tells the unit, from 1980 on."""
    result = pl.lit(None, pl.Int64)
    for factor in (1, 1000, 1_000_000, 1_000_000_000):
        rounded = (number * factor).round().cast(pl.Int64, strict=False)
        fits = number.abs() < 9e18 / factor
        result = pl.when(fits).then(pl.coalesce(whole * factor, rounded)).otherwise(result)
    return possible_ns(result, 1)


def missing_columns(mapping: Mapping[str, str], present: Sequence[str]) -> Iterator[str]:
    """Yield one sentence for each column of the mapping that a file lacks."""
    for key, column in mapping.items():
        if column not in present:
            hint = did_you_mean(column, present) or f"; it has {', '.join(present)[:200]}"
            yield f"there is no column {column[:80]!r} for {key}{hint}"
