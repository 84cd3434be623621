"""The figures of a run and the verdict, derived from its record alone."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TypedDict

from harness.analysis.facts import collect_facts
from harness.analysis.judge import CellResult, judge, measure, median
from harness.analysis.ledgers import COUNTS as LEDGER_COUNTS
from harness.analysis.machine_summary import machine_fields
from harness.metrics.event_metrics import EVENT_METRICS, event_metric
from harness.metrics.facts import CellFacts, EventEffects, Ledgers
from harness.metrics.registry import METRICS
from harness.metrics.spread import Number
from harness.record.reader import Cell, Run
from harness.record.summary import (
    ArmSummary,
    EffectSeen,
    EventSummary,
    Figure,
    LedgerTotals,
    RepeatSummary,
    Summary,
)
from harness.record.usage import usage_of
from harness.spec.arm import Variant

Facts = Mapping[str, Sequence[CellFacts]]


def facts_of(run: Run) -> dict[str, list[CellFacts]]:
    """Return arm as run (in the experiment's order) -> the facts of its recorded cells, by repeat."""
    eventful = any(cell.events() for cell in run.cells)
    return {
        name: [collect_facts(cell, with_series=eventful) for cell in run.cells_of(name)]
        for name in run.experiment.variants
    }


def summarise(run: Run, facts: Facts | None = None) -> Summary:
    """Return the content of summary.json. `facts`: those of the run where they are known already.

    Of a run that was not completed, what is there is reported.
    """
    facts = facts_of(run) if facts is None else facts
    results = {arm: [measure(cell) for cell in cells] for arm, cells in facts.items()}
    manifest, experiment = run.manifest, run.experiment
    left_out = bool(manifest.not_judged and not experiment.expect)
    verdict = judge(experiment, results, all_left_out=left_out)
    return Summary(
        experiment=run.name,
        run=manifest.run,
        status=manifest.status,
        title=experiment.title,
        question=experiment.question,
        verdict=verdict.verdict,
        expectations=verdict.findings,
        not_judged=manifest.not_judged,
        invalid_reasons=verdict.invalid_reasons,
        notes=manifest.notes,
        **machine_fields(run, verdict.verdict),
        arms={
            name: _arm(variant, run.cells_of(name), facts.get(name, ()), results.get(name, ()))
            for name, variant in experiment.variants.items()
        },
    )


def _arm(
    variant: Variant, cells: Sequence[Cell], facts: Sequence[CellFacts], results: Sequence[CellResult]
) -> ArmSummary:
    """Counts are totals over the repeats; metrics are medians over them."""
    return ArmSummary(
        route=variant.arm.route,
        policy=variant.arm.policy,
        base=None if variant.factor is None else variant.base,
        factor=variant.factor,
        value=variant.value,
        **_counts(facts),
        metrics=_summed_up({name: median([result.values[name] for result in results]) for name in METRICS}),
        events=events_of_arm(facts),
        usage=usage_of(cells),
        repeats=[
            RepeatSummary(
                repeat=cell.repeat,
                status=cell.status,
                invalid_reasons=list(result.invalid_reasons),
                **_counts([cell]),
                metrics=_summed_up(result.values),
                events=events_of_arm([cell]),
            )
            for cell, result in zip(facts, results, strict=True)
        ],
    )


class _Counts(TypedDict):
    requests: int
    errors: dict[str, int]
    replicas: dict[str, int]
    ledgers: LedgerTotals


def _counts(cells: Sequence[CellFacts]) -> _Counts:
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


def _ledgers(ledgers: Sequence[Ledgers]) -> LedgerTotals:
    """Totals over the cells; None where one of them lacks the ledger."""
    words = {one.reconciled for one in ledgers}
    counts = {name: [getattr(one, name) for one in ledgers] for name in LEDGER_COUNTS}
    totals = {name: None if None in found else sum(found) for name, found in counts.items()}
    reconciled = False if False in words else None if None in words else True
    return LedgerTotals.model_validate({**totals, "reconciled": reconciled})


def _summed_up(values: Mapping[str, Number]) -> dict[str, Figure]:
    """The metrics without what counts and events say already."""
    return {name: value for name, value in values.items() if name != "requests" and not event_metric(name)}


def events_of_arm(cells: Sequence[CellFacts]) -> list[EventSummary]:
    """Return the events of these cells by number. Counts are totals, metrics medians over the cells."""
    numbers = sorted({event.number for cell in cells for event in cell.events})
    return [_event([event for cell in cells for event in cell.events if event.number == n]) for n in numbers]


def _event(repeats: Sequence[EventEffects]) -> EventSummary:
    first = repeats[0]
    errors: Counter[str] = Counter()
    for event in repeats:
        errors.update(event.errors)
    return EventSummary(
        number=first.number,
        do=first.do,
        targets=list(dict.fromkeys(target for event in repeats for target in event.targets)),
        details=dict(first.details),
        undoes=first.undoes,
        notification=first.notification,
        at_s=statistics.median(event.at_s for event in repeats),
        length_s=statistics.median(event.length_s for event in repeats),
        effects=_effects(first) if len(repeats) == 1 else None,
        errors=dict(sorted(errors.items())),
        metrics={
            name: median([compute(event) for event in repeats])
            for name, (_, _, compute) in EVENT_METRICS.items()
        },
    )


def _effects(event: EventEffects) -> list[EffectSeen]:
    return [EffectSeen(at_s=at_s, target=target, seen=seen) for at_s, target, seen in event.effects]
