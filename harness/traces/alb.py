"""Parses access logs of an AWS Application Load Balancer, of all ages of the format.

The fields, in order, are in "Access log entries" of the Elastic Load Balancing user guide. Entries of earlier
years end sooner, and newer ones have more fields. So fields are found by position: the first twelve by
spaces, the others by the quotes between them. Quoted fields may have escaped quotes. A line in which the
quotes do not stand where they should is matched with a regular expression, and if that fails too, its first
twelve fields still count.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import polars as pl

from harness.traces.raw_lines import instant_ns, quoted_parts, seconds_as_ns, text_or_null, texts_of

TIME_FORMAT = "%Y-%m-%dT%H:%M:%S%.fZ"
FIRST_FIELDS = 12  # type time elb client target three times, two statuses, two byte counts
FIRST_LINE = re.compile(rb"(?:https?|h2|grpcs?|wss?) \d{4}-\d\d-\d\dT")

# Pieces of a line between its quotes: the first twelve fields, request, what is between request and user
# agent, ..., trace_id, ..., priority and creation time, ..., conn_trace_id.
_FIRST, _REQUEST, _GAP, _TRACE, _GAP_2, _GAP_3, _CREATED, _CONNECTION = 0, 1, 2, 5, 6, 8, 10, 24
_PIECES = (_FIRST, _REQUEST, _GAP, _GAP_2, _GAP_3, _CREATED, _CONNECTION)
_TEXT = r'(?:[^"\\]|\\.)*'
_QUOTED = f'"{_TEXT}"'
_LINE = (
    rf'^(?:[^ "]* ){{{FIRST_FIELDS}}}"(?P<path>{_TEXT})" {_QUOTED} [^ ]* [^ ]* [^ ]* "(?P<request>{_TEXT})"'
    rf"(?: {_QUOTED} {_QUOTED} [^ ]* (?P<created>[^ ]*)"
    rf"(?: {_QUOTED} {_QUOTED}(?:(?: {_QUOTED}){{5}} (?P<connection>[^ ]*))?)?)?"
)


@dataclass(frozen=True)
class AlbFields:
    """Which fields are wanted beyond those of every trace: see parse_alb."""

    connection: bool = False
    path: bool = False
    request: bool = False


def parse_alb(data: bytes, wanted: AlbFields = AlbFields()) -> pl.DataFrame:
    """Return one row per line of `data`, with the columns of raw_lines.RAW; broken lines have no time_ns.

    client has address and port; of `wanted`, conn_trace_id is in the column connection, the request in path.
    request: with two more columns, ended_ns (when the answer was sent) and request (the trace_id).
    """
    pieces = quoted_parts(data, sorted((*_PIECES, _TRACE)) if wanted.request else _PIECES)
    fields = pl.col(f"p{_FIRST}").str.splitn(" ", FIRST_FIELDS + 1)
    first = pieces.select(
        fields.struct.rename_fields([f"f{n}" for n in range(FIRST_FIELDS + 1)]).alias("fields")
    ).unnest("fields")
    rest = _rest(data, pieces, wanted)
    # Step by step, because polars computes an expression anew wherever it stands.
    table = pl.concat([first, rest], how="horizontal").with_columns(
        instant_ns(pl.col("created"), TIME_FORMAT).alias("created_ns"),
        pl.col("f8").cast(pl.Int32, strict=False).alias("status"),
        text_or_null(pl.col("f4")).alias("target"),
    )
    status, target = pl.col("status"), pl.col("target")
    whole = pl.col("f11").is_not_null() & (status.is_not_null() | (pl.col("f8") == "-"))
    return table.with_columns(_arrival(table).alias("arrived_ns")).select(
        pl.when(whole).then("arrived_ns").alias("time_ns"),
        text_or_null(pl.col("f3")).alias("client"),
        pl.lit(None, pl.String).alias("session"),
        "connection",
        "target",
        "status",
        pl.when(target.is_not_null()).then(seconds_as_ns(pl.col("f6"))).alias("target_time_ns"),
        pl.col("f10").cast(pl.Int64, strict=False).alias("bytes_received"),
        pl.col("f11").cast(pl.Int64, strict=False).alias("bytes_sent"),
        "path",
        *(
            [instant_ns(pl.col("f1"), TIME_FORMAT).alias("ended_ns"), pl.col("request")]
            if wanted.request
            else []
        ),
    )


def _arrival(table: pl.DataFrame) -> pl.Series:
    """Return the creation time. Without it (before 2018) the arrival is what the answer's time leaves."""
    created = table["created_ns"]
    missing = created.is_null()
    if not missing.any():
        return created
    times = [seconds_as_ns(pl.col(name)).fill_null(0) for name in ("f5", "f6", "f7")]
    sent = instant_ns(pl.col("f1"), TIME_FORMAT)
    places = missing.arg_true()
    return created.scatter(places, table[places].select(sent - pl.sum_horizontal(times)).to_series())


def _rest(data: bytes, pieces: pl.DataFrame, wanted: AlbFields) -> pl.DataFrame:
    """Return the columns created, connection, path and, if wanted, request of each line."""
    created = pl.col(f"p{_CREATED}").str.strip_chars(" ").str.splitn(" ", 2).struct.field("field_1")
    connection = pl.col(f"p{_CONNECTION}").str.strip_chars(" ").str.splitn(" ", 2).struct.field("field_0")
    nothing = pl.lit(None, pl.String)
    found = pieces.select(
        created.alias("created"),
        (connection if wanted.connection else nothing).alias("connection"),
        (pl.col(f"p{_REQUEST}") if wanted.path else nothing).alias("path"),
        *([pl.col(f"p{_TRACE}").alias("request")] if wanted.request else []),
    )
    # Between two quoted fields is one space, unless a quote within a field has moved all that follows.
    moved = pieces.select(
        pl.any_horizontal(pl.col(f"p{n}").fill_null(" ") != " " for n in (_GAP, _GAP_2, _GAP_3))
    ).to_series()
    if moved.any():
        found = _with_matched(found, texts_of(data), moved)
    return found.with_columns(
        text_or_null(pl.col("connection")),
        pl.col("path").str.extract(r"^\S+ (?:[a-z]+://[^/ ]*)?(/[^ ?]*)").alias("path"),
    )


def _with_matched(found: pl.DataFrame, lines: pl.Series, moved: pl.Series) -> pl.DataFrame:
    """Return `found` with the fields of the lines in `moved` matched with the regular expression."""
    places = moved.arg_true()
    groups = lines.gather(places).str.extract_groups(_LINE).struct.unnest()
    return found.with_columns(found[name].scatter(places, groups[name]) for name in found.columns)
