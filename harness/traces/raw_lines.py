"""What parsers of log lines share: the columns that they return, and vectorised ways to cut a line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl

# Columns of a parser's result, one row per line. A line is broken where time_ns is null.
RAW: Mapping[str, pl.DataType] = {
    "time_ns": pl.Int64(),
    "client": pl.String(),
    "session": pl.String(),
    "connection": pl.String(),
    "target": pl.String(),
    "status": pl.Int32(),
    "target_time_ns": pl.Int64(),
    "bytes_received": pl.Int64(),
    "bytes_sent": pl.Int64(),
    "path": pl.String(),
}
# Logs before load balancers existed, or after 2200, have a wrong clock or are none.
MIN_TIME_NS, MAX_TIME_NS = 315_532_800_000_000_000, 7_258_118_400_000_000_000
# An empty line before data that polars reads as CSV. It would take lines that begin like a compressed file
# for one, and cut a byte order mark away.
GUARD = b"\n"
MAX_DURATION_S = 10_000_000.0


def quoted_parts(data: bytes, places: Sequence[int]) -> pl.DataFrame:
    """Return the pieces of each line between its quotes, columns p0, p1, ... for `places`; null beyond it.

    One row per line, empty ones too. Bytes that are not UTF-8 become U+FFFD.
    """
    # The fastest way to cut many lines: CSV whose separator is the quote.
    return pl.read_csv(
        GUARD + data,
        has_header=False,
        separator='"',
        quote_char=None,
        encoding="utf8-lossy",
        schema={f"p{n}": pl.String() for n in range(max(places) + 1)},
        columns=list(places),
        extra_columns="ignore",
        missing_columns="insert",
        raise_if_empty=False,
    )[1:]


def texts_of(data: bytes) -> pl.Series:
    """Return the lines as texts, one for each row of `quoted_parts`."""
    texts = data.decode("utf-8", "replace").split("\n")
    return pl.Series("line", texts[:-1] if data.endswith(b"\n") or not data else texts, dtype=pl.String)


def text_or_null(column: pl.Expr) -> pl.Expr:
    """Return the text; null where the log has `-` or nothing."""
    return pl.when((column != "-") & (column != "")).then(column)


def instant_ns(column: pl.Expr, time_format: str) -> pl.Expr:
    """Return a time as nanoseconds since 1970 (UTC); null where it has another format or an absurd year."""
    # Microseconds: nanoseconds have no room for the year 9999, and would wrap around.
    # Without the cache: hardly any time stands twice.
    parsed = column.str.to_datetime(time_format, time_unit="us", strict=False, cache=False)
    micros = parsed.dt.epoch("us")
    return possible_ns(micros, 1000)


def possible_ns(column: pl.Expr, factor: int) -> pl.Expr:
    """Return `column` x `factor` as nanoseconds since 1970; null outside MIN_TIME_NS to MAX_TIME_NS."""
    possible = column.is_between(MIN_TIME_NS // factor, MAX_TIME_NS // factor)
    return pl.when(possible).then(column).cast(pl.Int64) * factor


def seconds_as_ns(column: pl.Expr, factor: float = 1e9) -> pl.Expr:
    """Return a duration as nanoseconds; null for `-`, for negative times (ALB: no target) and absurd ones.

    factor: nanoseconds of one unit of `column`.
    """
    value = column.cast(pl.Float64, strict=False)
    possible = value.is_finite() & value.is_between(0, MAX_DURATION_S * 1e9 / factor)
    return (pl.when(possible).then(value) * factor).round().cast(pl.Int64)
