"""Writes the tables of fields in results/README.md: python -m harness.record.page > results/README.md.new"""

import re
import sys
from collections.abc import Iterator

from harness.paths import ROOT
from harness.record import cell_record, manifest, summary
from harness.record.event_log import LINES
from harness.record.record_file import SCHEMA, Record

README = ROOT / "results" / "README.md"
# `<!-- fields: Manifest -->`, a table, `<!-- end -->`: the table has the fields of that model.
_MARKED = re.compile(r"(<!-- fields: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
_FILES = (manifest.Manifest, cell_record.CellRecord, cell_record.MachineRecord, summary.Summary)

MODELS: dict[str, type[Record]] = {
    name: model
    for module in (manifest, cell_record, summary)
    for name, model in vars(module).items()
    if isinstance(model, type) and issubclass(model, Record) and model is not Record
}


def page(text: str) -> str:
    """Return the README `text` with its tables of fields as the models have them."""
    return _MARKED.sub(lambda match: f"{match[1]}{_table(match[2])}{match[3]}", text)


def _table(name: str) -> str:
    return "".join(f"{row}\n" for row in (_lines() if name == "Line" else _fields(MODELS[name])))


def _fields(model: type[Record]) -> Iterator[str]:
    yield "| field | what |\n|---|---|"
    if model in _FILES:
        yield f"| `schema` | {SCHEMA} |"
    for name in model.__annotations__:  # those of a base class have a table of their own
        field = model.model_fields[name]
        yield f"| {field.title or f'`{name}`'} | {field.description} |"


def _lines() -> Iterator[str]:
    yield "| `event` | what | other fields |\n|---|---|---|"
    for event, model in LINES.items():
        own = {name: field for name, field in model.model_fields.items() if name not in ("event", "t_ns")}
        others = "; ".join(f"`{name}`: {field.description}" for name, field in own.items())
        yield f"| `{event}` | {' '.join((model.__doc__ or '').split())} | {others} |"


if __name__ == "__main__":
    sys.stdout.write(page(README.read_text()))
