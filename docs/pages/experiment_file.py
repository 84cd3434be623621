"""Makes docs/experiment-file.md from the models of the experiment file."""

from collections.abc import Iterator

from pydantic import BaseModel

from docs.pages.policies import default_in_words
from harness.fields import STATED_DEFAULT
from harness.spec.arm import FACTORS, Retries
from harness.spec.experiment import Arm, Expectation, Experiment, Replicas, Workload
from harness.spec.model import ReplicaOverrides, Teaching, TraceSource
from harness.spec.problems import in_words, schema_at
from harness.spec.rate import Bursts, PointsOfRate, Ramp, Sine, Spike, Steps
from services.settings import Outage, ServiceTime, SessionCache

INTRODUCTION = """\
# The experiment file
This page lists every key that a file in `experiments/` may have. Editors complete and
check the keys with `experiments/schema.json`. `python run_experiment.py check FILE` shows the plan, or says
in one line what is wrong. Units are last in the names. Texts may have all characters except control and
bidirectional characters: a terminal would obey those instead of showing them.

`make schema` writes this page from the models that check the files.
"""

SWEEP = f"""\
A sweep puts one factor on the horizontal axis. `sweep: {{clients: [4, 12, 40]}}` makes three arms, `<arm>_4`,
`<arm>_12` and `<arm>_40`. Expectations use these names. A sweep can have these keys:
{", ".join(f"`{name}`" for name in FACTORS)}, and a policy's own numbers as `options.NAME`.

A key without effect is refused, with the reason. Examples: `cookie_jar: false` where no cookie is set,
`hedging` (gRPC's C-core ignores it), `timeout` in gRPC's method config (it does not work there; use
`deadline_ms`).
"""

SECTIONS: tuple[tuple[str, str, type[BaseModel], str], ...] = (
    ("The file", "", Experiment, ""),
    ("`teaching`", "", Teaching, ""),
    ("`replicas`", "", Replicas, ""),
    ("`replicas.service_time_ms`", "", ServiceTime, ""),
    ("`replicas.cache`", "Stickiness makes hits in the session cache likely.", SessionCache, ""),
    ("`replicas.outage`", "", Outage, ""),
    ("`replicas.different.replica-N`", "Settings of single replicas.", ReplicaOverrides, ""),
    ("`workload`", "", Workload, ""),
    (
        "`workload.rate_per_s` with `shape: steps`",
        "A rate that changes while it is measured. Each client keeps its share of the rate at all times. The "
        "shape moves requests in time. How many requests a client sends, and which, depends on the mean rate "
        "and the seed alone.",
        Steps,
        "",
    ),
    ("`workload.rate_per_s` with `shape: ramp`", "", Ramp, ""),
    ("`workload.rate_per_s` with `shape: spike`", "", Spike, ""),
    ("`workload.rate_per_s` with `shape: sine`", "", Sine, ""),
    ("`workload.rate_per_s` with `shape: points`", "", PointsOfRate, ""),
    (
        "`workload.bursts`",
        "The rate of all clients switches between two values (MMPP). When is drawn from the seed, for each "
        "repeat anew.",
        Bursts,
        "",
    ),
    ("`workload.trace`", "How to get a trace: [observe.md](observe.md).", TraceSource, ""),
    (
        "`arms.NAME`",
        "Policies and their options: [policies.md](policies.md). An arm's own value of a key of the workload "
        "applies to that arm only.",
        Arm,
        SWEEP,
    ),
    ("`arms.NAME.retries`", "", Retries, ""),
    ("`expect[]`", "Metrics: [results/README.md](../results/README.md).", Expectation, ""),
)


def experiment_file_page() -> str:
    """Return the text of docs/experiment-file.md."""
    return "\n".join(_lines())


def _lines() -> Iterator[str]:
    yield INTRODUCTION
    for title, before, model, after in SECTIONS:
        yield f"## {title}"
        if before:
            yield f"{before}\n"
        yield from _table(model)
        if after:
            yield after


def _table(model: type[BaseModel]) -> Iterator[str]:
    schema = model.model_json_schema()
    yield "| key | values | default | meaning |\n|---|---|---|---|"
    for name, field in schema["properties"].items():
        if (model, name) != (Experiment, "name"):
            values = in_words(schema_at(schema, (name,))).replace("'", "`")
            values = "a gRPC status" if "`DATA_LOSS`" in values else values
            meaning = STATED_DEFAULT.sub("", field["description"])
            yield f"| `{name}` | {values} | {default_in_words(field)} | {meaning} |"
    yield ""
