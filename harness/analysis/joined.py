"""The joined table of a cell: one row a request, with the moments of all ledgers and the stages between."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from harness.analysis.clocks import CellClocks, clocks_of
from harness.analysis.generator_share import first_over_connections, generator_share, with_generator_share
from harness.analysis.ledger_join import cut_of, join_ledgers, stand_side_by_side
from harness.analysis.ledgers import agreement_of_row
from harness.analysis.parts import collect_parts, parts_of
from harness.analysis.request_rules import Allowances, Rule, request_rules
from harness.analysis.stages import free_streams, stage_times, with_moments, with_stages
from harness.metrics.facts import GeneratorShare, StageTimes
from harness.metrics.stages import Stage, stages_of
from harness.record.joined_table import FOLDER, JOINED_COLUMNS, MAX_WRITTEN, STAGE_COLUMNS
from harness.record.record_file import own_folder, whole_file
from harness.record.run_directory import Cell
from harness.record.tables import table_errors
from harness.spec.experiment import Experiment

BROKEN, AGREEMENT = "broken", "agreement"


@dataclass(frozen=True)
class JoinedCell:
    """The joined table of one cell.

    joined: returns the joined ledgers of the cell, or of a part of it; its second argument is
    stand_side_by_side of that. side_by_side: whether it is true of all parts. rows: the columns that the
    facts need, in no particular order: request_id, in_window, latency_ns (done - planned),
    latency_from_send_ns (done - sent), late_ns (sent - ready), ok, generator_ns, the columns of `stages`, and
    `broken`: bit k is set if the request breaks rules[k], and, side by side, `agreement` (see
    agreement_of_row). All but the id have as few bytes as their values need: cast them before you add them
    up. stages: those into which its requests are cut; none
    where the replicas' ledgers cannot be read.
    """

    cell: Cell
    clocks: CellClocks
    stages: Mapping[str, Stage]
    rules: Sequence[Rule]
    joined: Callable[[Cell, bool], pl.LazyFrame]
    side_by_side: bool
    rows: pl.DataFrame

    @property
    def table(self) -> pl.LazyFrame:
        """JOINED_COLUMNS of every request in the clients' ledger, read when collected."""
        absent = [column for name, column in STAGE_COLUMNS.items() if name not in self.stages]
        nothing = [pl.lit(None, pl.Int64).alias(column) for column in absent]
        joined = self.joined(self.cell, stand_side_by_side(self.cell))
        return joined.with_columns(nothing).select(*JOINED_COLUMNS)


def join_cell(cell: Cell, experiment: Experiment | None = None) -> JoinedCell:
    """Join the ledgers of a cell. Without its experiment no rules are tried.

    Raises UserError naming the cell's folder when a ledger cannot be read.
    """
    clocks = clocks_of(cell)
    cut = cut_of(cell, clocks)
    stages = {} if cut is None else stages_of(cut, cell.record.max_attempts)
    known = experiment is not None and cell.record.arm in experiment.variants
    rules = request_rules(cell, clocks, cut, Allowances.of(cell, experiment)) if known and experiment else []
    with table_errors(cell.folder, "ledgers written by this lab"):
        # Clients may share a connection, so these two are of the whole cell.
        free, first = free_streams(cell, clocks), first_over_connections(cell, clocks)

        def joined(part: Cell, side_by_side: bool) -> pl.LazyFrame:
            moments = with_moments(join_ledgers(part, clocks, side_by_side=side_by_side), free)
            return with_stages(with_generator_share(moments, part, cut, first), stages)

        columns = [*_ROWS, *(STAGE_COLUMNS[name] for name in stages), _broken(rules)]
        parts = [(part, stand_side_by_side(part)) for part in parts_of(cell)]
        side_by_side = all(beside for _, beside in parts)
        if side_by_side:
            columns.append(agreement_of_row(cell.record).alias(AGREEMENT))
        rows = collect_parts(
            (joined(part, beside).select(columns) for part, beside in parts), whole=["request_id"]
        )
    return JoinedCell(cell, clocks, stages, rules, joined, side_by_side, rows)


_ROWS = (
    pl.col("request_id"),
    pl.col("in_window"),
    (pl.col("done_ns") - pl.col("planned_ns")).alias("latency_ns"),
    (pl.col("done_ns") - pl.col("sent_ns")).alias("latency_from_send_ns"),
    (pl.col("sent_ns") - pl.col("ready_ns")).alias("late_ns"),
    (pl.col("code") == "OK").alias("ok"),
    pl.col("generator_ns"),
)


def _broken(rules: Sequence[Rule]) -> pl.Expr:
    bits = [
        rule.broken.fill_null(value=False).cast(pl.Int64) * (1 << place) for place, rule in enumerate(rules)
    ]
    return pl.sum_horizontal(pl.lit(0, pl.Int64), *bits).alias(BROKEN)


@dataclass(frozen=True)
class JoinedFigures:
    """What the facts need of the joined ledgers: each stage's times, and the generator's own share.

    agreement: agreement_of_row -> number of requests, where all ledgers stand side by side; otherwise None.
    """

    stages: Mapping[str, StageTimes]
    generator: GeneratorShare
    agreement: Mapping[int, int] | None

    @classmethod
    def of(cls, joined: JoinedCell) -> JoinedFigures:
        """Return the figures of a joined cell."""
        agreement = None
        if joined.side_by_side:
            agreement = dict(joined.rows[AGREEMENT].value_counts().iter_rows())
        return cls(stage_times(joined.rows, joined.stages), generator_share(joined.rows), agreement)


def write_joined(joined: JoinedCell, run: Path) -> Path | None:
    """Write joined/<arm>.<repeat>.parquet below the directory `run`, whole or not at all; return its path.

    None for a cell of more than MAX_WRITTEN requests: that would take longer than the whole report. Raises
    UserError naming the cell's folder when a ledger cannot be read.
    """
    if joined.rows.height > MAX_WRITTEN:
        return None
    path = own_folder(run, FOLDER) / f"{joined.cell.folder.name}.parquet"
    with whole_file(path) as file, table_errors(joined.cell.folder, "ledgers written by this lab"):
        joined.table.sink_parquet(file, compression="zstd", compression_level=1)
    return path
