"""Writes the tables of fields in results/README.md: python -m harness.record.page > results/README.md.new"""

import re
import sys
from collections.abc import Iterator
from typing import get_args

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
# `<!-- fields: Manifest -->`, a table, `<!-- end -->`: the table stands for that model.
_MARKED = re.compile(r"(<!-- fields: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)

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


def page(text: str) -> str:
    """Return the README `text` with its tables of fields as the models have them."""
    return _MARKED.sub(lambda match: f"{match[1]}{_table(match[2])}{match[3]}", text)


def _table(name: str) -> str:
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


if __name__ == "__main__":
    sys.stdout.write(page(README.read_text()))
