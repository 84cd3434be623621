"""Makes the tables of fields and metrics in results/README.md from the models and registries."""

import re
from collections.abc import Iterator, Mapping

from harness.analysis import run_tables
from harness.metrics.event_metrics import EVENT_METRICS, event_metric
from harness.metrics.registry import METRICS
from harness.record import cell_record, manifest, prediction, summary
from harness.record.event_log import LINES
from harness.record.joined_table import JOINED_COLUMNS, Column
from harness.record.record_file import SCHEMA, Record

# `<!-- fields: Manifest -->`, a table, `<!-- end -->`: the table is made from that model. In the same way
# `<!-- metrics: all -->` and `<!-- metrics: events -->` mark the tables that are made from the registries,
# `<!-- columns: joined -->` a table of columns.
_FILES = (
    manifest.Manifest,
    cell_record.CellRecord,
    cell_record.MachineRecord,
    summary.Summary,
    prediction.Prediction,
)
_MARKED = re.compile(r"(<!-- (fields|metrics|columns): (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)

MODELS: dict[str, type[Record]] = {
    name: model
    for module in (manifest, cell_record, summary, prediction)
    for name, model in vars(module).items()
    if isinstance(model, type) and issubclass(model, Record) and model is not Record
}
_COLUMNS = {
    "joined": JOINED_COLUMNS,
    "messages": run_tables.MESSAGES,
    "events": run_tables.EVENTS,
    "values": run_tables.METRIC_VALUES,
}
_METRICS_HEADER = "| metric | unit | meaning |\n|---|---|---|"


def results_readme(text: str) -> str:
    """Return the README `text` with its tables made anew from the models and the registries of metrics."""
    return _MARKED.sub(lambda match: f"{match[1]}{_table(match[2], match[3])}{match[4]}", text)


def _table(kind: str, name: str) -> str:
    if kind == "metrics":
        rows = {"all": _metrics, "events": _event_metrics}[name]()
    elif kind == "columns":
        rows = _columns(_COLUMNS[name])
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
    for event, model in LINES.items():
        own = {name: field for name, field in model.model_fields.items() if name not in ("event", "t_ns")}
        others = "; ".join(f"`{name}`: {field.description}" for name, field in own.items())
        yield f"| `{event}` | {' '.join((model.__doc__ or '').split())} | {others} |"


def _columns(columns: Mapping[str, Column]) -> Iterator[str]:
    yield "| column | type | what |\n|---|---|---|"
    for name, column in columns.items():
        yield f"| `{name}` | {column.kind} | {column.meaning} |"


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
