"""summary.json: the figures of a run and the verdict. All of it is derived from the other files."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    Field,
    JsonValue,
    PlainSerializer,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from harness.fields import DisturbanceCause, Route, Status
from harness.record.cell_record import MachineRecord
from harness.record.manifest import DisturbedAttempt
from harness.record.record_file import Record, is_absent

SUMMARY = "summary.json"

FindingWord = Literal["held", "refuted", "inconclusive"]
VerdictWord = Literal[FindingWord, "measured"]
Basis = Literal["interval", "every repeat", "one repeat", "nothing"]


def _written(value: Any) -> Any:
    return None if value in (math.inf, -math.inf) else value


# JSON has no infinity. It is written as null, and `at_least` says of which metrics.
Figure = Annotated[
    int | Annotated[float, Field(allow_inf_nan=True)] | None, PlainSerializer(_written, when_used="json")
]


class Finding(Record):
    """One expectation and what was measured."""

    text: str = Field(description="the expectation in words")
    arm: str = Field(description="name of the arm that it is about")
    metric: str = Field(description="name of the metric")
    of: str | None = Field(description="name of the arm with which it is compared, or null")
    bound: float = Field(description="the bound: of the metric, or of its ratio to that of the arm `of`")
    verdict: FindingWord = Field(
        description="`held`, `refuted` or `inconclusive`: whether the interval lies on one side of the bound"
    )
    measured: Figure = Field(
        description='median over the repeats that count for this metric; for "times" the median of '
        "the ratios of two arms, one a repeat; null: nothing to compare"
    )
    interval: tuple[Figure, Figure] | None = Field(
        description="its 95 % confidence interval over the repeats; null: there is none; an end that is null "
        "is infinity"
    )
    basis: Basis = Field(
        description="what the verdict rests on: `interval`; `every repeat` (the claim allows no exception); "
        "`one repeat`, which has no interval; `nothing`"
    )
    reason: str = Field(description="why the verdict is so, in words")
    figures: str = Field(description="what was measured and why the verdict is so, in words")


class LedgerTotals(Record):
    """How the ledgers agree, warm-up included. null: of a ledger that the lab cannot read."""

    client: int = Field(description="rows of the clients' ledger")
    envoy: int | None = Field(description="rows of Envoy's ledger; 0 where it keeps none of requests")
    replica: int | None = Field(description="rows of the replicas' ledgers")
    matched: int | None = Field(
        description="answered requests with one row in each ledger and the same replica; where requests may "
        "be tried again (`max_attempts` above 1): with one row of the client, one to `max_attempts` rows in "
        "each other ledger, and there a row of the replica that the client names"
    )
    unanswered: int = Field(description="requests given up by the client; they may be in any ledger")
    only_client: int | None = Field(description="answered requests that no other ledger has")
    only_envoy: int | None = Field(description="requests that only Envoy's ledger has")
    only_replica: int | None = Field(description="requests that only a replica's ledger has")
    disagree: int = Field(description="requests with another replica or another number of rows")
    reconciled: bool | None = Field(description="whether all of it agrees; null: only the clients' ledger")


class EffectSeen(Record):
    """Something that was seen to have happened because of an event."""

    at_s: float = Field(description="when, seconds from the start of measuring")
    target: str = Field(description="where it was seen")
    seen: str = Field(description="what was seen, as in `events.jsonl`")


class EventSummary(Record):
    """One event: of a repeat its own figures, of an arm medians over the repeats."""

    number: int = Field(description="number of the event, from 1 in the order of time")
    do: str = Field(description="what happened, as in the experiment")
    targets: list[str] = Field(description="whom it happened to, in any of the repeats")
    details: dict[str, JsonValue] = Field(description="the event's own parameters")
    undoes: int | None = Field(description="number of the event that this one ends, or null")
    notification: str = Field(description="how clients and proxy learn of it")
    at_s: float = Field(description="when it was asked for, seconds from the start of measuring")
    length_s: float = Field(description="length of its interval")
    effects: list[EffectSeen] | None = Field(
        default=None,
        exclude_if=is_absent,
        description="what was seen of it, by time; only of a single repeat",
    )
    errors: dict[str, int] = Field(description="failed requests of the interval by gRPC code, all repeats")
    metrics: dict[str, Figure] = Field(
        title="(metrics)", description="every metric of an event by its name, as `failed_requests`; see below"
    )
    at_least: dict[str, float] = Field(description="as `at_least` of an arm")

    @model_validator(mode="before")
    @classmethod
    def _gathered(cls, fields: Any) -> Any:
        return _without_metrics(fields, cls.model_fields)

    @model_serializer(mode="wrap")
    def _flat(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return _with_metrics(write(self), {name: _written(value) for name, value in self.metrics.items()})


class Figures(Record):
    """What was measured: of a cell, or of all repeats of an arm."""

    requests: int = Field(description="requests planned in the window, all repeats together")
    errors: dict[str, int] = Field(description="requests by gRPC code, without OK, all repeats together")
    replicas: dict[str, int] = Field(description="requests answered, by replica, all repeats together")
    share_by_rank: list[float] = Field(
        description="share of the answered requests of the busiest replica, of the second, ...: ranked "
        "within each repeat, then the median over the repeats"
    )
    ledgers: LedgerTotals = Field(description="how the ledgers agree, all repeats together")
    metrics: dict[str, Figure] = Field(
        title="(metrics)",
        description="every metric by its name; what stands before a dot is an object: `spread.cv` is the "
        "field `cv` of `spread`. The metrics `errors.*` are the fields of `error_shares`",
    )
    at_least: dict[str, float] = Field(
        description="metrics that are null because failed requests count as longer than any answer -> what "
        "they are at least: the same percentile of the time until the end of all requests, and no less than "
        "a lower percentile. Over repeats the median, with what is known of each"
    )
    events: list[EventSummary] = Field(description="every event, by number")

    @model_validator(mode="before")
    @classmethod
    def _gathered(cls, fields: Any) -> Any:
        return _without_metrics(fields, cls.model_fields)

    @model_serializer(mode="wrap")
    def _nested(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return _with_metrics(write(self), nested(self.metrics))


def nested(metrics: Mapping[str, Figure]) -> dict[str, Any]:
    """Return {"spread.cv": 1} as {"spread": {"cv": 1}}; `errors` are counts elsewhere, so here shares."""
    tree: dict[str, Any] = {}
    for name, value in metrics.items():
        *groups, leaf = name.split(".")
        group = tree
        for part in groups:
            group = group.setdefault("error_shares" if part == "errors" else part, {})
        group[leaf] = _written(value)
    return tree


def _with_metrics(fields: dict[str, Any], metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Return `fields` with the metrics where the field `metrics` stands."""
    parts = (metrics if name == "metrics" else {name: value} for name, value in fields.items())
    return {name: value for part in parts for name, value in part.items()}


def _without_metrics(fields: Any, own: Iterable[str]) -> Any:
    """Return what `_with_metrics` was made of: fields that are not the model's own are metrics."""
    if not isinstance(fields, dict) or "metrics" in fields:
        return fields  # not read from a file
    others = {name: value for name, value in fields.items() if name not in own}
    return {name: value for name, value in fields.items() if name in own} | {"metrics": dict(_dotted(others))}


def _dotted(tree: Mapping[str, Any], group: str = "") -> Iterator[tuple[str, Any]]:
    """Yield what `nested` has nested: each metric with its dotted name."""
    for name, value in tree.items():
        part = "errors" if name == "error_shares" else name
        if isinstance(value, dict):
            yield from _dotted(value, f"{group}{part}.")
        else:
            yield f"{group}{part}", value


class RepeatSummary(Figures):
    """One cell of an arm."""

    repeat: int = Field(description="which repeat, from 1")
    status: Status = Field(description="as in `cell.json`")
    invalid_reasons: list[str] = Field(description="why the cell is not usable; empty where it is")


class Usage(Record):
    """What one container used while measuring."""

    cpu_cores: float = Field(description="mean; 1 is a whole core; median over the repeats")
    memory_bytes: int = Field(description="the most that was seen, without what the kernel can drop")


class ArmSummary(Figures):
    """One arm: counts are totals over its repeats, all else medians over them."""

    route: Route = Field(description="`envoy`, `envoy-l4`, `direct` or `xds`")
    policy: str = Field(description="how requests were balanced")
    base: str | None = Field(default=None, exclude_if=is_absent, description="of a swept arm: the file's arm")
    factor: str | None = Field(
        default=None, exclude_if=is_absent, description="of a swept arm: what is swept"
    )
    value: Figure = Field(
        default=None, exclude_if=is_absent, description="of a swept arm: the factor's value"
    )
    bounds: dict[str, list[float]] = Field(
        description="metric -> the bounds that are expected of it in this arm; tables show a figure with the "
        "digits that tell it from them"
    )
    usage: dict[str, Usage] = Field(description="testbed `docker`: container -> what it used; `{}` elsewhere")
    repeats: list[RepeatSummary] = Field(description="the same for each cell, by repeat")


class SearchedCell(Record):
    """One cell of a search."""

    arm: str = Field(description="name of the arm as run; its figures are in `arms`")
    value: float = Field(description="value of the factor in it")
    measured: Figure = Field(description="the condition's metric; null: not measured, or infinity")
    held: bool | None = Field(description="whether the condition held; null: the cell cannot say")
    reason: str = Field(description="why it cannot say; else empty")


class RepeatSearch(Record):
    """The search of one arm in one repeat. The capacity lies between `low` and `high`."""

    repeat: int = Field(description="which repeat, from 1")
    low: float | None = Field(description="highest value at which the condition held; null: it held nowhere")
    high: float | None = Field(
        description="lowest value above at which it did not hold; null: none was found"
    )
    is_found: bool = Field(description="whether the two are as close as `within` asks")
    cells: list[SearchedCell] = Field(description="the cells, by value")


class ArmSearch(Record):
    """The search of one arm."""

    low: float | None = Field(description="median of `low` over the repeats; null: it held nowhere")
    high: float | None = Field(description="median of `high` over the repeats; null: none was found")
    capacity_per_s: Figure = Field(
        description="halfway between the two, on a log scale; if there is only one, this one; null: neither"
    )
    repeats: list[RepeatSearch] = Field(description="the search in each repeat")
    contradictions: list[str] = Field(
        description="where the condition failed at a value and held at a higher one, in words"
    )


class SearchSummary(Record):
    """What a search has found. It takes for granted that the condition fails above some value."""

    factor: str = Field(description="what was varied")
    metric: str = Field(description="the condition's metric")
    bound: float = Field(description="the condition's bound")
    condition: str = Field(description="the condition in words")
    within: float = Field(description="how far `low` and `high` may be apart, as a share")
    arms: dict[str, ArmSearch] = Field(description="name of the arm in the experiment -> what was found")


class RepeatedCell(DisturbedAttempt):
    """An attempt that was set aside because the machine disturbed it. No figure comes from it."""

    arm: str = Field(description="name of the arm")
    repeat: int = Field(description="which repeat, from 1")


class DisturbedCell(Record):
    """A cell that counts although it was disturbed, since it might not be measured again."""

    arm: str = Field(description="name of the arm")
    repeat: int = Field(description="which repeat, from 1")
    reason: str = Field(description="`disturbed` of its `cell.json`")
    cause: DisturbanceCause = Field(description="`disturbed_by` of its `cell.json`")
    planned_rate_per_s: float | None = Field(description="as in `cell.json`")


class FailedArm(Record):
    """An arm with cells in which every request failed."""

    arm: str = Field(description="name of the arm")
    repeats: list[int] = Field(description="the repeats in which every request failed")
    requests: int = Field(description="requests planned in the window, in these repeats together")
    code: str = Field(description="the most frequent gRPC code")
    message: str = Field(description="the most frequent message with it; empty if there was none")


class CellMachine(MachineRecord):
    """machine.json of one cell."""

    arm: str = Field(description="name of the arm")
    repeat: int = Field(description="which repeat, from 1")


class Summary(Record):
    """The figures of a run and the verdict."""

    experiment: str = Field(description="name of the experiment")
    run: str = Field(description="name of the directory")
    status: Status = Field(description="as in `manifest.json`")
    title: str = Field(description="as in the experiment")
    question: str = Field(description="as in the experiment")
    verdict: VerdictWord = Field(
        description="`refuted` by one refuted expectation; otherwise `inconclusive` by one inconclusive "
        "expectation, a cell with a wrong record or a missing repeat; otherwise `held`; `measured` where "
        "nothing was expected"
    )
    failed_arms: list[FailedArm] = Field(description="arms in which every request of a repeat failed")
    expectations: list[Finding] = Field(description="what was expected, and what was measured")
    not_judged: list[str] = Field(description="as in `manifest.json`")
    changes: list[str] = Field(
        description="as in `manifest.json`; where there are some, no expectation is judged: each is "
        "`inconclusive` by `nothing`, and `verdict` is `measured`"
    )
    invalid_reasons: list[str] = Field(
        description="why cells are not usable: a cell did not complete; its ledgers do not reconcile, or its "
        "record contradicts itself (docs/decisions/0009); a seal is broken; the "
        "generator sent less than 95 % or more than 105 % of its plan, or lagged more than 50 ms behind it "
        "at p99; more than 1 % of the calls of such a generator ended at their deadline; a load worker was "
        "lost; a repeat is missing. Clients that wait for each answer "
        "(`awaits_answers`) fall behind on purpose: what they achieve is no reason. Waiting for an answer "
        "that a call needs is no lag"
    )
    notes: list[str] = Field(description="as in `manifest.json`")
    repeated_cells: list[RepeatedCell] = Field(description="disturbed attempts; no figure comes from them")
    disturbed_cells: list[DisturbedCell] = Field(description="disturbed cells that count all the same")
    machine: list[CellMachine] = Field(description="`machine.json` of each cell")
    replicas_differ: bool = Field(
        description="whether the experiment tells its replicas apart: by settings of their own, weights, "
        "target groups or events. Otherwise tables rank them"
    )
    search: SearchSummary | None = Field(
        default=None, exclude_if=is_absent, description="of an experiment with `search`; else left out"
    )
    advice: str | None = Field(description="what helps where the machine prevented a verdict; else null")
    arms: dict[str, ArmSummary] = Field(description="name of the arm as run -> its figures")
