"""Parses Envoy's access log in its default text format.

[%START_TIME%] "%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%" %RESPONSE_CODE% %RESPONSE_FLAGS%
%BYTES_RECEIVED% %BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% "%REQ(X-FORWARDED-FOR)%"
"%REQ(USER-AGENT)%" "%REQ(X-REQUEST-ID)%" "%REQ(:AUTHORITY)%" "%UPSTREAM_HOST%", all in one line. Source:
Envoy's documentation, "Access logging", default format string.
"""

from __future__ import annotations

import re

import polars as pl

from harness.traces.raw_lines import instant_ns, quoted_parts, seconds_as_ns, text_or_null, texts_of

TIME_FORMAT = "%Y-%m-%dT%H:%M:%S%.fZ"
FIRST_LINE = re.compile(rb"\[\d{4}-\d\d-\d\dT[^\]]*\] \"")

# Pieces of a line between its quotes.
_TIME, _REQUEST, _FIGURES, _FORWARDED, _TARGET, _BEYOND = 0, 1, 2, 3, 11, 13
_GAPS = (4, 6, 8, 10)
_REQUEST_ID = 7
_PIECES = tuple(sorted((_TIME, _REQUEST, _FIGURES, _FORWARDED, _REQUEST_ID, *_GAPS, _TARGET, _BEYOND)))
# Envoy escapes no quotes, so that a user agent may have any number of them. What stands after it is found
# from the end of the line.
_LAST_QUOTED = r'"([^"]*)"\s*$'


def parse_envoy(data: bytes, *, path: bool = False, request: bool = False) -> pl.DataFrame:
    """Return one row per line of `data`, with the columns of raw_lines.RAW; broken lines have no time_ns.

    client: the first address of X-Forwarded-For, which the client itself may have written. `path`: keep it.
    request: with three more columns, ended_ns (start and duration), flags, and request (x-request-id).
    """
    pieces = quoted_parts(data, _PIECES)
    figures = pl.col(f"p{_FIGURES}").str.strip_chars(" ").str.splitn(" ", 7)
    names = {"status": 0, "flags": 1, "received": 2, "sent": 3, "duration": 4, "upstream": 5}
    cut = pieces.select(
        pl.col(f"p{_TIME}").str.strip_chars("[] ").alias("time"),
        pl.col(f"p{_REQUEST}").alias("request"),
        pl.col(f"p{_FORWARDED}").str.splitn(",", 2).struct.field("field_0").alias("client"),
        _target(pieces, data).alias("target"),
        pl.col(f"p{_REQUEST_ID}").alias("id"),
        *(figures.struct.field(f"field_{n}").alias(name) for name, n in names.items()),
    )
    status = pl.col("status").cast(pl.Int32, strict=False)
    target = text_or_null(pl.col("target"))
    time_ns = instant_ns(pl.col("time"), TIME_FORMAT)
    # Envoy's own time of the upstream; where that header is missing, the duration of the whole request.
    served_ns = pl.coalesce(seconds_as_ns(pl.col("upstream"), 1e6), seconds_as_ns(pl.col("duration"), 1e6))
    asked_for = pl.col("request").str.extract(r"^\S+ (/[^ ?]*)")
    lasted = seconds_as_ns(pl.col("duration"), 1e6)
    more = [(time_ns + lasted).alias("ended_ns"), pl.col("flags"), pl.col("id").alias("request")]
    return cut.select(
        pl.when(status.is_not_null() & pl.col("duration").is_not_null()).then(time_ns).alias("time_ns"),
        text_or_null(pl.col("client").str.strip_chars(" ")).alias("client"),
        pl.lit(None, pl.String).alias("session"),
        pl.lit(None, pl.String).alias("connection"),
        target.alias("target"),
        status.alias("status"),
        pl.when(target.is_not_null()).then(served_ns).alias("target_time_ns"),
        pl.col("received").cast(pl.Int64, strict=False).alias("bytes_received"),
        pl.col("sent").cast(pl.Int64, strict=False).alias("bytes_sent"),
        (asked_for if path else pl.lit(None, pl.String)).alias("path"),
        *(more if request else []),
    )


def _target(pieces: pl.DataFrame, data: bytes) -> pl.Series:
    """Return the last quoted field of each line, without the scheme of old versions (tcp://)."""
    gaps = (pl.col(f"p{n}").fill_null(" ") != " " for n in _GAPS)
    moved = pieces.select(pl.any_horizontal(*gaps, pl.col(f"p{_BEYOND}").is_not_null())).to_series()
    found = pieces[f"p{_TARGET}"]
    if moved.any():
        places = moved.arg_true()
        found = found.scatter(places, texts_of(data).gather(places).str.extract(_LAST_QUOTED))
    return found.str.strip_prefix("tcp://")
