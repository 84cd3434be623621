"""The joined table of a cell: one row a request, with the moments of all ledgers and the stages between."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from harness.analysis.clocks import CellClocks, clocks_of
from harness.analysis.generator_share import with_generator_share
from harness.analysis.ledger_join import cut_of, join_ledgers
from harness.analysis.request_rules import Allowances, Rule, request_rules
from harness.analysis.stages import with_moments, with_stages
from harness.metrics.stages import Stage, stages_of
from harness.record.joined_table import FOLDER, JOINED_COLUMNS, STAGE_COLUMNS
from harness.record.record_file import own_folder, whole_file
from harness.record.run_directory import Cell
from harness.record.tables import table_errors
from harness.spec.experiment import Experiment

BROKEN = "broken"


@dataclass(frozen=True)
class JoinedCell:
    """The joined table of one cell.

    rows: JOINED_COLUMNS of every request in the clients' ledger, in no particular order, and `broken`: bit k
    is set if the request breaks rules[k]. stages: those into which its requests are cut; none where the
    replicas' ledgers cannot be read.
    """

    cell: Cell
    clocks: CellClocks
    stages: Mapping[str, Stage]
    rules: Sequence[Rule]
    rows: pl.DataFrame


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
        moments = with_moments(join_ledgers(cell, clocks), cell, clocks)
        shared = with_generator_share(moments, cell, clocks, cut)
        absent = [
            pl.lit(None, pl.Int64).alias(column)
            for name, column in STAGE_COLUMNS.items()
            if name not in stages
        ]
        table = with_stages(shared, stages).with_columns(*absent, _broken(rules))
        rows = table.select(*JOINED_COLUMNS, BROKEN).collect(engine="streaming")
    return JoinedCell(cell, clocks, stages, rules, rows)


def _broken(rules: Sequence[Rule]) -> pl.Expr:
    bits = [
        rule.broken.fill_null(value=False).cast(pl.Int64) * (1 << place) for place, rule in enumerate(rules)
    ]
    return pl.sum_horizontal(pl.lit(0, pl.Int64), *bits).alias(BROKEN)


def write_joined(joined: JoinedCell, run: Path) -> Path:
    """Write joined/<arm>.<repeat>.parquet below the directory `run`, whole or not at all; return its path."""
    path = own_folder(run, FOLDER) / f"{joined.cell.folder.name}.parquet"
    with whole_file(path) as file:
        joined.rows.select(*JOINED_COLUMNS).write_parquet(file, compression="zstd", compression_level=1)
    return path
