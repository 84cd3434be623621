"""Writes the tables of fields and metrics in results/README.md.

`python -m harness.record.page > results/README.md.new`
"""

import re
import sys
from collections.abc import Iterator
from typing import get_args

from harness.metrics.event_metrics import EVENT_METRICS, event_metric
from harness.metrics.registry import METRICS
from harness.paths import ROOT
from harness.record.cell_record import CellRecord, LoadWorkerRecord
from harness.record.event_log import Line
from harness.record.machine import CpuShares, MachineMoment, MachineRecord
from harness.record.manifest import DisturbedAttempt, Host, LoadProcesses, Manifest, PlannedCell
from harness.record.record_file import SCHEMA, Record
from harness.record.summary import (
    ArmSummary,
    CellMachine,
    DisturbedCell,
    EffectSeen,
    EventSummary,
    Figures,
    Finding,
    LedgerTotals,
    RepeatedCell,
    RepeatSummary,
    Summary,
    Usage,
)

README = ROOT / "results" / "README.md"
# `<!-- fields: Manifest -->`, a table, `<!-- end -->`: the table is made from that model. In the same way
# `<!-- metrics: all -->` and `<!-- metrics: events -->` mark the tables that are made from the registries.
_MARKED = re.compile(r"(<!-- (fields|metrics): (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)

MODELS: dict[str, type[Record]] = {
    model.__name__: model
    for model in (
        *(Manifest, Host, LoadProcesses, PlannedCell, DisturbedAttempt),
        *(CellRecord, LoadWorkerRecord, MachineRecord, CpuShares, MachineMoment),
        *(Summary, Finding, Figures, ArmSummary, RepeatSummary, LedgerTotals, Usage),
        *(EventSummary, EffectSeen, RepeatedCell, DisturbedCell, CellMachine),
    )
}
_FILES = (Manifest, CellRecord, MachineRecord, Summary)
_METRICS_HEADER = "| metric | unit | meaning |\n|---|---|---|"


def page(text: str) -> str:
    """Return the README `text` with its tables made anew from the models and the registries of metrics."""
    return _MARKED.sub(lambda match: f"{match[1]}{_table(match[2], match[3])}{match[4]}", text)


def _table(kind: str, name: str) -> str:
    if kind == "metrics":
        rows = {"all": _metrics, "events": _event_metrics}[name]()
    else:
        rows = _lines() if name == "Line" else _fields(MODELS[name])
    return "".join(f"{row}\n" for row in rows)


def _fields(model: type[Record]) -> Iterator[str]:
    yield "| field | what |\n|---|---|"
    if model in _FILES:
        yield f"| `schema` | {SCHEMA} |"
    for name in model.__annotations__:  # those of a base class have a table of their own
        field = model.model_fields[name]
        yield f"| {field.title or f'`{name}`'} | {field.description} |"


def _lines() -> Iterator[str]:
    yield "| `event` | what | other fields |\n|---|---|---|"
    for model in get_args(Line):
        own = {name: field for name, field in model.model_fields.items() if name not in ("event", "t_ns")}
        others = "; ".join(f"`{name}`: {field.description}" for name, field in own.items())
        what = " ".join((model.__doc__ or "").split())
        yield f"| `{model.model_fields['event'].default}` | {what} | {others} |"


def _metrics() -> Iterator[str]:
    """Rows of all metrics but those of single events, which have a table of their own."""
    yield _METRICS_HEADER
    for name, metric in METRICS.items():
        if event_metric(name) is None:
            yield f"| `{name}` | {metric.unit} | {metric.meaning} |"


def _event_metrics() -> Iterator[str]:
    yield _METRICS_HEADER
    for name, metric in EVENT_METRICS.items():
        yield f"| `event*.{name}` | {metric.unit} | {metric.meaning} |"


if __name__ == "__main__":
    sys.stdout.write(page(README.read_text()))
