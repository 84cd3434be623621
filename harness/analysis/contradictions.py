"""Finds what in a record contradicts itself. A cell whose record does is not usable.

docs/decisions/0009-a-record-that-contradicts-itself.md says what is checked, and what cannot be.
"""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from harness.analysis.cell_rules import cell_contradictions, example
from harness.analysis.joined import BROKEN, JoinedCell
from harness.spec.experiment import Experiment


def contradictions_of(joined: JoinedCell, experiment: Experiment) -> tuple[str, ...]:
    """Return one sentence for each rule that the cell's record breaks, with a count and an example.

    joined: made with the same experiment. Raises UserError naming the file when a ledger cannot be read.
    """
    found = [*_broken_rules(joined), *cell_contradictions(joined.cell, joined.rows, experiment)]
    found += [
        f"the times of {name} fit no clock: some requests would reach it before their send, or end there "
        "after their answer"
        for name, clock in joined.clocks.replicas.items()
        if clock.impossible
    ]
    if joined.clocks.log_impossible:
        found.append(
            "the times of the load balancer's log fit no clock: some requests would reach it before their "
            "send, or leave it after their answer"
        )
    return tuple(found)


def _broken_rules(joined: JoinedCell) -> Iterator[str]:
    suspects = joined.rows.select("request_id", BROKEN).filter(pl.col(BROKEN) != 0).cast({BROKEN: pl.Int64})
    for place, rule in enumerate(joined.rules):
        broken = suspects.filter(pl.col(BROKEN) & (1 << place) != 0)
        if broken.height > rule.allowed(joined.rows.height):
            noun = "request" if broken.height == 1 else "requests"
            yield f"{broken.height:,} {noun} {rule.problem}, {example(broken)}"
