"""Forges a stored run: changes its tables and records, and seals it again."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl

from tests.unit.synthetic.edited_run import edit, seal_again

Change = Callable[[pl.DataFrame], pl.DataFrame]

ID, SENT, DONE = pl.col("request_id"), pl.col("sent_ns"), pl.col("done_ns")


class Forger:
    """A run that is to be forged. `first`: the name of the cell's folder that most forgeries change."""

    def __init__(self, run: Path, first: str) -> None:
        self.run, self.first = run, first

    def folder(self, cell: str | None = None) -> Path:
        return self.run / "cells" / (cell or self.first)

    def table(self, stem: str, change: Change, cell: str | None = None) -> None:
        """Replace a table of the cell by what `change` makes of it."""
        path = self.folder(cell) / f"{stem}.parquet"
        if path.exists():
            change(pl.read_parquet(path)).write_parquet(path)

    def rows(self, stem: str, where: pl.Expr | bool = True, cell: str | None = None, **columns: Any) -> None:
        """Give columns of the rows `where` new values: column -> value or expression."""
        new = [
            pl.when(where)
            .then(value if isinstance(value, pl.Expr) else pl.lit(value))
            .otherwise(name)
            .alias(name)
            for name, value in columns.items()
        ]
        self.table(stem, lambda rows: rows.with_columns(new).cast(dict(rows.schema)), cell)

    def keep(self, where: pl.Expr, cell: str | None = None) -> None:
        """Remove the rows of other requests from all ledgers. where: of request_id."""
        for stem in ("requests", "messages", "replicas", "proxy"):
            self.table(stem, lambda rows: rows.filter(where), cell)

    def read(self, stem: str, cell: str | None = None) -> pl.DataFrame:
        return pl.read_parquet(self.folder(cell) / f"{stem}.parquet")

    def cell_json(self, cell: str | None = None, **fields: Any) -> None:
        """Change fields of cell.json."""
        edit(self.folder(cell) / "cell.json", **fields)

    def record(self, cell: str | None = None) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.folder(cell) / "cell.json").read_text())
        return found

    def copy(self, source: str, target: str, *ledgers: str) -> None:
        """Replace a cell by a copy of another: all of it, or these tables."""
        if ledgers:
            for stem in ledgers:
                shutil.copy(self.folder(source) / f"{stem}.parquet", self.folder(target) / f"{stem}.parquet")
            return
        kept = {name: self.record(target)[name] for name in ("arm", "repeat", "order", "policy", "route")}
        shutil.rmtree(self.folder(target))
        shutil.copytree(self.folder(source), self.folder(target))
        self.cell_json(target, **kept)

    def seal(self) -> None:
        """Seal all again: nothing but the contents can betray the forger."""
        seal_again(self.run)
