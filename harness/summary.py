"""summary.json: the figures of a run, derived from its record alone. Fields: results/README.md."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from harness.facts import CellFacts, collect_facts
from harness.judge import CellResult, judge, measure, median
from harness.ledgers import COUNTS as LEDGER_COUNTS
from harness.ledgers import Ledgers
from harness.machine_report import machine_fields
from harness.metrics import METRICS
from harness.metrics_events import event_metric
from harness.record import SCHEMA, Run
from harness.spread import Number
from harness.summary_events import events_of_arm
from harness.usage import usage_of
from harness.variants import Variant

Facts = Mapping[str, Sequence[CellFacts]]


def facts_of(run: Run) -> dict[str, list[CellFacts]]:
    """Arm as run (in the experiment's order) -> the facts of its recorded cells, by repeat."""
    eventful = any(cell.events() for cell in run.cells)
    return {
        name: [collect_facts(cell, with_course=eventful) for cell in run.cells_of(name)]
        for name in run.experiment.variants
    }


def summarise(run: Run, facts: Facts | None = None) -> dict[str, Any]:
    """The content of summary.json. `facts`: those of the run where they are known already.

    Of a run that was not completed, what is there is reported.
    """
    facts = facts_of(run) if facts is None else facts
    results = {arm: [measure(cell) for cell in cells] for arm, cells in facts.items()}
    not_judged = list(run.manifest.get("not_judged", []))
    verdict = judge(run.experiment, results, all_left_out=bool(not_judged and not run.experiment.expect))
    return {
        "schema": SCHEMA,
        "experiment": run.name,
        "run": run.manifest["run"],
        "status": run.manifest["status"],
        "title": run.experiment.title,
        "question": run.experiment.question,
        "verdict": verdict.verdict,
        "expectations": [asdict(finding) for finding in verdict.findings],
        "not_judged": not_judged,
        "doubts": verdict.doubts,
        "notes": list(run.manifest.get("notes", [])),
        **machine_fields(run, verdict.verdict),
        "arms": {
            name: _arm(variant, facts.get(name, ()), results.get(name, ()))
            | {"usage": usage_of(run.cells_of(name))}
            for name, variant in run.experiment.variants.items()
        },
    }


def _arm(variant: Variant, cells: Sequence[CellFacts], results: Sequence[CellResult]) -> dict[str, Any]:
    """Counts are totals over the repeats; metrics are medians over them."""
    swept = {"base": variant.base, "factor": variant.factor, "value": variant.value}
    values = {name: median([result.values[name] for result in results]) for name in METRICS}
    return {
        "route": variant.arm.route,
        "policy": variant.arm.policy,
        **(swept if variant.factor is not None else {}),
        **_counts(cells),
        **_nested(values),
        "events": events_of_arm(cells),
        "repeats": [
            {
                "repeat": cell.repeat,
                "status": cell.status,
                "doubts": list(result.doubts),
                **_counts([cell]),
                **_nested(result.values),
                "events": events_of_arm([cell]),
            }
            for cell, result in zip(cells, results, strict=True)
        ],
    }


def _counts(cells: Sequence[CellFacts]) -> dict[str, Any]:
    errors: Counter[str] = Counter()
    replicas: Counter[str] = Counter()
    for cell in cells:
        errors.update(cell.errors)
        replicas.update(cell.replica_requests)
    return {
        "requests": sum(cell.requests for cell in cells),
        "errors": dict(errors),
        "replicas": dict(replicas),
        "ledgers": _ledgers([cell.ledgers for cell in cells]),
    }


def _ledgers(ledgers: Sequence[Ledgers]) -> dict[str, int | bool | None]:
    """Totals over the cells; None where one of them lacks the ledger."""
    words = {one.reconciled for one in ledgers}
    counts = {name: [getattr(one, name) for one in ledgers] for name in LEDGER_COUNTS}
    return {
        **{name: None if None in found else sum(found) for name, found in counts.items()},
        "reconciled": False if False in words else None if None in words else True,
    }


def _nested(values: Mapping[str, Number]) -> dict[str, Any]:
    """{"spread.cv": 1} as {"spread": {"cv": 1}}, without what _counts and events_of_arm tell."""
    nested: dict[str, Any] = {}
    for name, value in values.items():
        group, _, leaf = name.rpartition(".")
        if event_metric(name):
            continue
        if group == "errors":
            nested.setdefault("error_shares", {})[leaf] = value
        elif group:
            nested.setdefault(group, {})[leaf] = value
        elif leaf != "requests":
            nested[leaf] = value
    return nested
