"""The ledgers of a run directory as tables: CSV as written while measuring, parquet once it is done."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import UserError
from harness.record.record_file import there_is

if TYPE_CHECKING:
    # Functions import polars when they use it: a run needs it only after its first cell.
    import polars as pl

Columns = Mapping[str, type[int] | type[str]]

REPLICA_COLUMNS: Columns = {
    "request_id": int,
    "method": str,
    "peer": str,
    "arrived_ns": int,
    "done_ns": int,
    "queue_ns": int,
    "service_ns": int,
    "in_flight": int,
    "messages": int,
    "code": str,
}
ROW_GROUP = 250_000  # rows that are read together
WIDE = ("request_id", "bytes_in", "bytes_out", "duration_us")  # 64 bits, as are times; other numbers have 32


def store_rows(csv: Path, parquet: Path, columns: Columns) -> None:
    """Turn a finished CSV ledger (header line, then rows) into parquet and remove it.

    A last line without its line end was cut off by a kill and is dropped. The parquet file appears whole or
    not at all. Raises UserError when the CSV does not hold `columns`.
    """
    store_by_request(scan_csv(csv, columns), parquet, [csv], f"rows of {','.join(columns)}")


def store_by_request(
    rows: pl.LazyFrame, parquet: Path, written: Sequence[Path], expected: str = "rows written by this lab"
) -> None:
    """Write rows to a parquet file in the order of their request ids; remove the files that they came from.

    Rows of one id keep their order. The file appears whole or not at all. written: the files that `rows`
    reads. Raises UserError when they cannot be read: it names the file (of several, their folder) and what
    was expected there.
    """
    import polars as pl
    import polars.selectors as cs

    temporary = parquet.with_name(f".{parquet.name}.{os.getpid()}.tmp")
    try:
        with table_errors(written[0] if len(written) == 1 else parquet.parent, expected):
            table = _by_request(rows).lazy().with_columns(cs.categorical().cast(pl.String))
            table.sink_parquet(temporary, compression="zstd", compression_level=1, row_group_size=ROW_GROUP)
        temporary.replace(parquet)
    finally:
        temporary.unlink(missing_ok=True)
    for path in written:
        path.unlink()


def _by_request(rows: pl.LazyFrame) -> pl.DataFrame:
    """Return rows in the order of their request ids, with categories in place of texts.

    It takes little more memory than the rows: categories take a third of the memory of texts, and one column
    after the other is put in order. A sort of the whole table takes three times as much.
    """
    import polars as pl
    import polars.selectors as cs

    coded = rows.with_columns(cs.string().cast(pl.Categorical)).collect(engine="streaming")
    order = coded.select(pl.arg_sort_by("request_id", maintain_order=True)).to_series()
    columns = coded.get_columns()
    del coded
    for place, column in enumerate(columns):
        columns[place] = column.gather(order)
    return pl.DataFrame(columns)


def column_types(columns: Columns) -> dict[str, pl.DataType]:
    """Return the type in a table of each column."""
    import polars as pl

    def of(name: str, kind: type) -> pl.DataType:
        if kind is str:
            return pl.String()
        return pl.Int64() if name.endswith("_ns") or name in WIDE else pl.Int32()

    return {name: of(name, kind) for name, kind in columns.items()}


@contextlib.contextmanager
def table_errors(path: Path, expected: str) -> Iterator[None]:
    """Turn an error of polars about a broken file into one UserError naming the file."""
    import polars as pl

    try:
        yield
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UserError(f"{path}: expected {expected}, but it cannot be read ({reason[:200]})") from error


def scan_csv(csv: Path, columns: Columns) -> pl.LazyFrame:
    """Return the rows of a CSV ledger, without a last line that a kill has cut off."""
    import polars as pl

    types = column_types(columns)
    lines = whole_lines(csv)
    if lines == 0:
        return pl.LazyFrame(schema=types)
    with csv.open(encoding="utf-8", errors="replace") as file:
        header = file.readline().rstrip("\r\n").split(",")
    if header != list(columns):
        raise UserError(f"{csv}: expected the columns {','.join(columns)}, found {','.join(header)[:200]}")
    rows = None if lines is None else lines - 1
    return pl.scan_csv(csv, schema=types, n_rows=rows, empty_string_is_null=False, glob=False)


def whole_lines(written: Path | bytes) -> int | None:
    """Return how many lines of a file, or of its content, have their line end; None: all of its lines."""
    if isinstance(written, bytes):
        return None if written.endswith(b"\n") else written.count(b"\n")
    with written.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 1))
        if file.read() == b"\n":
            return None
        file.seek(0)
        return sum(chunk.count(b"\n") for chunk in iter(lambda: file.read(1 << 20), b""))


def scan_rows(folder: Path, stem: str, columns: Columns) -> pl.LazyFrame:
    """Return a table of the load side: parquet, or the CSV that a killed run leaves.

    Raises UserError naming the file when it holds anything else than `columns`.
    """
    import polars as pl

    parquet, csv = folder / f"{stem}.parquet", folder / f"{stem}.csv"
    if not there_is(parquet) and there_is(csv):
        return scan_csv(csv, columns)
    with table_errors(parquet, "a parquet file written by this lab"):
        frame = pl.scan_parquet(parquet, glob=False)
        found = frame.collect_schema()
    for name, kind in column_types(columns).items():
        if found.get(name) != kind:
            raise UserError(f"{parquet}: expected a column {name} of type {kind}, found {found.get(name)}")
    return frame
