"""Derives the figures of a run and the verdict from its record alone."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from harness.analysis.contradictions import contradictions_of
from harness.analysis.facts import collect_facts
from harness.analysis.failed_cells import failed_arms
from harness.analysis.joined import JoinedFigures, join_cell, write_joined
from harness.analysis.judge import judge, median
from harness.analysis.ledgers import COUNTS as LEDGER_COUNTS
from harness.analysis.replica_ranks import replicas_differ, shares_by_rank
from harness.analysis.run_rules import fingerprint, run_contradictions
from harness.analysis.search import search_summary
from harness.analysis.validity import CellResult, measure
from harness.metrics.event_metrics import EVENT_METRICS, event_metric
from harness.metrics.facts import CellFacts, EventEffects, Ledgers
from harness.metrics.metric import Number
from harness.metrics.registry import CAPACITY, METRICS
from harness.record.cell_record import read_machine
from harness.record.run_directory import Cell, Run
from harness.record.summary import (
    ArmSummary,
    CellMachine,
    DisturbedCell,
    EffectSeen,
    EventSummary,
    Figures,
    LedgerTotals,
    RepeatedCell,
    RepeatSummary,
    Summary,
    VerdictWord,
)
from harness.record.usage import usage_of
from harness.spec.arm import Variant
from harness.spec.model import Expectation

Facts = Mapping[str, Sequence[CellFacts]]
Repeat = TypeVar("Repeat", CellFacts, EventEffects)


def facts_of(run: Run, *, write_tables: bool = False) -> dict[str, list[CellFacts]]:
    """Return arm (in the experiment's order) -> the facts of its recorded cells, by repeat.

    `write_tables`: write the joined table of each cell into the run's directory. Raises UserError naming the
    file when one is missing or damaged, and OSError when a table cannot be written.
    """
    eventful = any(cell.events() or cell.record.planned_rates_per_s for cell in run.cells)
    facts, fingerprints = {}, {}
    for cell in run.cells:
        joined = join_cell(cell, run.experiment)
        if write_tables:
            write_joined(joined, run.path)
        sentences, figures = contradictions_of(joined, run.experiment), JoinedFigures.of(joined)
        fingerprints[cell.folder.name] = fingerprint(joined.rows)
        del joined  # the rows of a large cell fill a gigabyte
        found = collect_facts(cell, with_series=eventful, joined=figures, experiment=run.experiment)
        facts[cell.folder.name] = replace(found, contradictions=sentences)
    of_run = run_contradictions(run, fingerprints)
    for name, sentences in of_run.items():
        facts[name] = replace(facts[name], contradictions=(*sentences, *facts[name].contradictions))
    return {
        name: [facts[cell.folder.name] for cell in run.cells_of(name)] for name in run.experiment.variants
    }


def summarise(run: Run, facts: Facts | None = None) -> Summary:
    """Return the content of summary.json. `facts`: facts_of(run), where the caller has them already."""
    facts = facts_of(run) if facts is None else facts
    results = {arm: [measure(cell) for cell in cells] for arm, cells in facts.items()}
    manifest, experiment = run.manifest, run.experiment
    left_out = bool(manifest.not_judged and not experiment.expect)
    verdict = judge(experiment, results, all_left_out=left_out, changes=manifest.changes)
    return Summary(
        experiment=run.name,
        run=manifest.run,
        status=manifest.status,
        title=experiment.title,
        question=experiment.question,
        verdict=verdict.verdict,
        failed_arms=failed_arms(facts, [cell.record for cell in run.cells]),
        expectations=verdict.findings,
        not_judged=manifest.not_judged,
        changes=manifest.changes,
        invalid_reasons=verdict.invalid_reasons,
        replicas_differ=replicas_differ(experiment),
        notes=[*manifest.notes, *_log_notes(run)],
        search=search_summary(experiment, results),
        **machine_fields(run, verdict.verdict),
        arms={
            name: _arm(
                variant,
                run.cells_of(name),
                facts.get(name, ()),
                results.get(name, ()),
                [one for one in experiment.expect if one.arm == name and one.of is None],
            )
            for name, variant in experiment.variants.items()
        },
    )


def _log_notes(run: Run) -> list[str]:
    """Return a note about the log of a load balancer that is not the lab's, if one was joined."""
    logs = [cell.proxy_log.record for cell in run.cells if cell.proxy_log is not None]
    if not logs:
        return []
    requests, missing = sum(log.requests for log in logs), sum(log.missing for log in logs)
    lacking = f"; it lacks {missing:,} answered requests" if missing else ""
    name = {"alb": "an ALB's", "envoy": "an Envoy's", "json": "an Envoy's"}[logs[0].kind]
    return [
        f"the proxy's ledger is {name} access log ({requests:,} requests in {len(logs)} cells): whole "
        f"milliseconds, no gRPC codes{lacking}"
    ]


def _arm(
    variant: Variant,
    cells: Sequence[Cell],
    facts: Sequence[CellFacts],
    results: Sequence[CellResult],
    expected: Sequence[Expectation],
) -> ArmSummary:
    """Return the figures of one arm. `expected`: what is expected of it alone, without the other arms."""
    bounds: dict[str, list[float]] = {}
    for expectation in expected:
        bounds.setdefault(expectation.metric, []).append(expectation.bound[0])
    medians = {name: median([result.values[name] for result in results]) for name in METRICS}
    return ArmSummary(
        route=variant.arm.route,
        policy=variant.arm.policy,
        base=None if variant.factor is None else variant.base,
        factor=variant.factor,
        value=variant.value,
        bounds=bounds,
        usage=usage_of(cells),
        repeats=[_repeat(cell, result) for cell, result in zip(facts, results, strict=True)],
        **dict(_figures(facts, medians)),
    )


def _repeat(cell: CellFacts, result: CellResult) -> RepeatSummary:
    return RepeatSummary(
        repeat=cell.repeat,
        status=cell.status,
        invalid_reasons=[reason.in_words for reason in result.invalid_reasons],
        **dict(_figures([cell], result.values)),
    )


def _figures(cells: Sequence[CellFacts], metrics: Mapping[str, Number]) -> Figures:
    """Return the figures of `cells`: counts are totals. `metrics` holds the cell's, or the arm's medians.

    Metrics that repeat a count, or belong to one event or to a search, are left out.
    """
    elsewhere = ("requests", CAPACITY)
    kept = {
        name: value for name, value in metrics.items() if name not in elsewhere and not event_metric(name)
    }
    return Figures(
        requests=sum(cell.requests for cell in cells),
        errors=_total(cell.errors for cell in cells),
        replicas=_total(cell.replica_requests for cell in cells),
        ledgers=_ledgers([cell.ledgers for cell in cells]),
        share_by_rank=shares_by_rank(cells),
        metrics=kept,
        at_least=_at_least(kept, {name: METRICS[name].at_least for name in kept}, cells),
        events=events_of_arm(cells),
    )


def _at_least(
    metrics: Mapping[str, Number],
    least_of: Mapping[str, Callable[[Repeat], Number] | None],
    repeats: Sequence[Repeat],
) -> dict[str, float]:
    """Return what each metric that is infinity is at least: the median over the repeats."""
    found = {
        name: median([least(one) for one in repeats])
        for name, least in least_of.items()
        if metrics[name] == math.inf and least is not None
    }
    return {name: value for name, value in found.items() if value is not None}


def _total(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for one in counts:
        total.update(one)
    return dict(total)


def _ledgers(ledgers: Sequence[Ledgers]) -> LedgerTotals:
    """Totals over the cells; None where one of them lacks the ledger."""
    words = {one.reconciled for one in ledgers}
    counts = {name: [getattr(one, name) for one in ledgers] for name in LEDGER_COUNTS}
    totals = {name: None if None in found else sum(found) for name, found in counts.items()}
    reconciled = False if False in words else None if None in words else True
    return LedgerTotals.model_validate({**totals, "reconciled": reconciled})


def events_of_arm(cells: Sequence[CellFacts]) -> list[EventSummary]:
    """Return the events of these cells by number. Counts are totals, metrics medians over the cells."""
    numbers = sorted({event.number for cell in cells for event in cell.events})
    return [_event([event for cell in cells for event in cell.events if event.number == n]) for n in numbers]


def _event(repeats: Sequence[EventEffects]) -> EventSummary:
    first = repeats[0]
    metrics = {
        name: median([metric.compute(event) for event in repeats]) for name, metric in EVENT_METRICS.items()
    }
    effects = [EffectSeen(at_s=at_s, target=target, seen=seen) for at_s, target, seen in first.effects]
    return EventSummary(
        number=first.number,
        do=first.do,
        targets=list(dict.fromkeys(target for event in repeats for target in event.targets)),
        details=dict(first.details),
        undoes=first.undoes,
        notification=first.notification,
        at_s=statistics.median(event.at_s for event in repeats),
        length_s=statistics.median(event.length_s for event in repeats),
        effects=effects if len(repeats) == 1 else None,
        errors=dict(sorted(_total(event.errors for event in repeats).items())),
        metrics=metrics,
        at_least=_at_least(
            metrics, {name: metric.at_least for name, metric in EVENT_METRICS.items()}, repeats
        ),
    )


def machine_fields(run: Run, verdict: VerdictWord) -> dict[str, Any]:
    """Return the fields of summary.json about the machine and disturbed cells."""
    disturbed = [
        DisturbedCell(
            arm=record.arm,
            repeat=record.repeat,
            reason=record.disturbed,
            cause=record.disturbed_by or "unknown",
            planned_rate_per_s=record.planned_rate_per_s,
        )
        for record in (cell.record for cell in run.cells)
        if record.disturbed
    ]
    return {
        "repeated_cells": [
            RepeatedCell(arm=planned.arm, repeat=planned.repeat, **attempt.model_dump())
            for planned in run.manifest.cells
            for attempt in planned.disturbed
        ],
        "disturbed_cells": disturbed,
        "machine": [
            CellMachine(arm=cell.record.arm, repeat=cell.record.repeat, **machine.model_dump())
            for cell in run.cells
            if (machine := read_machine(cell.folder))
        ],
        "advice": _advice(disturbed, run) if disturbed and verdict == "inconclusive" else None,
    }


def _advice(disturbed: Sequence[DisturbedCell], run: Run) -> str:
    """Return what would help the user to a verdict."""
    (cause, _), *_ = Counter(one.cause for one in disturbed).most_common(1)
    rate = max(one.planned_rate_per_s or 0.0 for one in disturbed)
    half = f"{round(rate / 2)}" if rate >= 20 else f"{rate / 2:g}"
    what, less = (
        (f"{rate:g} calls/s", f"--rate {half}") if rate else ("this load", "--clients with fewer clients")
    )
    again = "" if run.manifest.redo else "--redo 2, "
    once_more = "again" if run.manifest.redo else "--redo 2"
    other = f"{less} asks another question: it shows figures, and judges nothing."
    if cause == "stopped":
        return f"A signal (SIGSTOP) or a debugger stopped parts of the lab. Try {once_more}."
    if cause == "asleep":
        return f"This machine slept or was paused. Keep it awake, and try {once_more}."
    if run.experiment.search is not None:
        return f"This machine is too busy or too slow for {what}. Close other programs, and try {once_more}."
    if cause == "load":
        return (
            f"The load processes are too slow for {what}. Try more of them (--processes), or {less}. {other}"
        )
    if cause == "lab":
        return f"This machine is too slow for {what}. Try a machine with more CPU cores, or {less}. {other}"
    if cause == "hypervisor":
        return (
            f"This machine is too busy for {what}: other virtual machines take its CPU. "
            f"Try {again}another machine, or {less}. {other}"
        )
    return f"This machine is too busy for {what}. Close other programs, or try {again}{less}. {other}"
