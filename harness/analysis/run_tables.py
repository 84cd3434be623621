"""The record of a run as polars tables, for notebooks and scripts: requests, messages, events, metrics.

Every table has the columns `arm` and `repeat` first. Its other columns are declared here, and
results/README.md lists them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import polars as pl

from harness.analysis.facts import collect_facts
from harness.analysis.joined import join_cell
from harness.metrics.headlines import headline_of
from harness.metrics.registry import METRICS
from harness.record.joined_table import JOINED_COLUMNS, Column
from harness.record.run_directory import Cell, Run, read_run
from harness.record.tables import table_errors

_OF_CELL = {
    "arm": Column("text", "name of the arm as run"),
    "repeat": Column("int32", "which repeat of the arm, from 1"),
}
REQUESTS: Mapping[str, Column] = {**_OF_CELL, **JOINED_COLUMNS}
MESSAGES: Mapping[str, Column] = {
    **_OF_CELL,
    "request_id": Column("int64", "the stream, as in the ledgers"),
    "message": Column("int32", "number of the message in its stream, from 0"),
    "planned_ns": Column("int64", "when it was planned, from the cell's start"),
    "sent_ns": Column("int64", "when it was sent; in a server stream: when the one request was sent"),
    "received_ns": Column("int64", "when its answer was received"),
    "replica": Column("text", "replica that the message itself names"),
}
EVENTS: Mapping[str, Column] = {
    **_OF_CELL,
    "number": Column("int32", "number of the event, from 1 in the order of time"),
    "do": Column("text", "what happened, as in the experiment"),
    "targets": Column("text", "names of the replicas it happened to, or `envoy`; with commas between them"),
    "at_ns": Column("int64", "when it was asked for, from the cell's start"),
    "seen_at_ns": Column("int64", "when its last effect was seen; null: none was"),
    "undoes": Column("int32", "number of the event that it ends, or null"),
    "details": Column("text", "the event's own parameters, as JSON"),
}
METRIC_VALUES: Mapping[str, Column] = {
    **_OF_CELL,
    "metric": Column("text", "name of the metric, as in an experiment's expectations"),
    "headline": Column("text", "its name for people"),
    "unit": Column("text", "its unit"),
    "value": Column(
        "float64",
        "what was measured; null: not defined in the cell; infinity: the percentile falls on failed requests",
    ),
}
_TYPES: Mapping[str, pl.DataType] = {
    "text": pl.String(),
    "bool": pl.Boolean(),
    "int32": pl.Int32(),
    "int64": pl.Int64(),
    "float64": pl.Float64(),
}


@dataclass(frozen=True)
class RunTables:
    """The tables of one run. Each is read when it is first asked for.

    Moments (`*_ns`) are nanoseconds from the start of their cell. Warm-up is included: `in_window` of
    `requests` tells the measured ones.
    """

    run: Run

    @classmethod
    def of(cls, path: Path) -> RunTables:
        """Return the tables of a run's directory. Raises UserError when it is no run, or is damaged."""
        return cls(read_run(path))

    def __repr__(self) -> str:
        """Return what a notebook shows: which run this is, and the names of its tables."""
        manifest = self.run.manifest
        which = f"{manifest.experiment}, {manifest.started_utc}, {len(self.run.cells)} cells"
        return f"<run of {which}: requests, messages, events, metrics>"

    @cached_property
    def requests(self) -> pl.DataFrame:
        """One row a request and cell: REQUESTS. The ledgers of clients, proxy and replicas are joined."""
        return self._table(REQUESTS, lambda cell: join_cell(cell, self.run.experiment).table)

    @cached_property
    def messages(self) -> pl.DataFrame:
        """One row a received message of a stream: MESSAGES. Empty where there were no streams."""
        return self._table(MESSAGES, lambda cell: cell.messages())

    @cached_property
    def events(self) -> pl.DataFrame:
        """One row an event and cell: EVENTS. Empty where nothing was changed."""
        return self._table(EVENTS, _events)

    @cached_property
    def metrics(self) -> pl.DataFrame:
        """One row a metric and cell: METRIC_VALUES. Of cells that do not count as well: see summary.json."""
        return self._table(METRIC_VALUES, _metrics)

    def _table(
        self, columns: Mapping[str, Column], rows_of: Callable[[Cell], pl.LazyFrame | None]
    ) -> pl.DataFrame:
        """Return the rows of all cells, in the order of arms and repeats, with the declared columns."""
        schema = pl.Schema({name: _TYPES[column.kind] for name, column in columns.items()})
        parts = [pl.DataFrame(schema=schema)]
        for arm in self.run.experiment.variants:
            for cell in self.run.cells_of(arm):
                rows = rows_of(cell)
                if rows is None:
                    continue
                of_cell = (pl.lit(arm).alias("arm"), pl.lit(cell.record.repeat).alias("repeat"))
                with table_errors(cell.folder, "ledgers written by this lab"):
                    parts.append(rows.with_columns(*of_cell).select(*columns).cast(schema).collect())
        return pl.concat(parts)


def _events(cell: Cell) -> pl.LazyFrame | None:
    rows = [
        {
            "number": event.number,
            "do": event.do,
            "targets": ",".join(event.targets),
            "at_ns": event.t_ns,
            "seen_at_ns": max((effect.t_ns for effect in event.effects), default=None),
            "undoes": event.undoes,
            "details": json.dumps(event.details, sort_keys=True),
        }
        for event in cell.events()
    ]
    return _frame(rows, EVENTS) if rows else None


def _metrics(cell: Cell) -> pl.LazyFrame:
    facts = collect_facts(cell)
    rows = [
        {"metric": name, "headline": headline_of(name), "unit": metric.unit, "value": metric.compute(facts)}
        for name, metric in METRICS.items()
    ]
    return _frame(rows, METRIC_VALUES)


def _frame(rows: Iterable[Mapping[str, object]], columns: Mapping[str, Column]) -> pl.LazyFrame:
    schema = {name: _TYPES[column.kind] for name, column in columns.items() if name not in _OF_CELL}
    return pl.LazyFrame(list(rows), schema=schema)
