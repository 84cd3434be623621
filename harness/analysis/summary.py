"""summary.json: the figures of a run, derived from its record alone. Fields: results/README.md."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from harness.analysis.facts import collect_facts
from harness.analysis.judge import CellResult, judge, measure, median
from harness.analysis.ledgers import COUNTS as LEDGER_COUNTS
from harness.metrics.event_facts import EventEffects
from harness.metrics.event_metrics import EVENT_METRICS, event_metric
from harness.metrics.facts import CellFacts, Ledgers
from harness.metrics.registry import METRICS
from harness.metrics.spread import Number
from harness.record.directory import SCHEMA, Run
from harness.record.usage import usage_of
from harness.spec.arm import Variant

Facts = Mapping[str, Sequence[CellFacts]]


def facts_of(run: Run) -> dict[str, list[CellFacts]]:
    """Arm as run (in the experiment's order) -> the facts of its recorded cells, by repeat."""
    eventful = any(cell.events() for cell in run.cells)
    return {
        name: [collect_facts(cell, with_series=eventful) for cell in run.cells_of(name)]
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


def events_of_arm(cells: Sequence[CellFacts]) -> list[dict[str, Any]]:
    """The events of these cells by number: counts are totals, metrics medians over the cells that had it."""
    numbers = sorted({event.number for cell in cells for event in cell.events})
    return [_event([event for cell in cells for event in cell.events if event.number == n]) for n in numbers]


def _event(repeats: Sequence[EventEffects]) -> dict[str, Any]:
    first = repeats[0]
    errors: Counter[str] = Counter()
    for event in repeats:
        errors.update(event.errors)
    metrics = {
        name: median([compute(event) for event in repeats]) for name, (_, _, compute) in EVENT_METRICS.items()
    }
    return {
        "number": first.number,
        "do": first.do,
        "targets": list(dict.fromkeys(target for event in repeats for target in event.targets)),
        "details": dict(first.details),
        "undoes": first.undoes,
        "notification": first.notification,
        "at_s": median([event.at_s for event in repeats]),
        "length_s": median([event.length_s for event in repeats]),
        **({"effects": _effects(first)} if len(repeats) == 1 else {}),
        "errors": dict(sorted(errors.items())),
        **metrics,
    }


def _effects(event: EventEffects) -> list[dict[str, Any]]:
    return [{"at_s": at_s, "target": target, "seen": seen} for at_s, target, seen in event.effects]


def value_of(figures: Mapping[str, Any], metric: str) -> float | None:
    """A metric (other than errors.*) by its dotted name, of an arm or of one of its repeats."""
    found: Any = figures
    for name in metric.split("."):
        found = found[name]
    return None if found is None else float(found)
