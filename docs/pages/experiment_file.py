"""Makes docs/experiment-file.md from the models of the experiment file."""

from collections.abc import Iterator

from pydantic import BaseModel

from docs.pages.policies import default_in_words
from harness.fields import STATED_DEFAULT
from harness.spec.arm import FACTORS, AdaptiveConcurrency, AdmissionControl, Hedging, Retries, Subsetting
from harness.spec.experiment import Arm, Expectation, Experiment, Replicas, Workload
from harness.spec.model import ReplicaOverrides, Teaching, TraceSource
from harness.spec.problems import in_words, schema_at
from harness.spec.rate import Bursts, PointsOfRate, Ramp, Sine, Spike, Steps
from harness.spec.search import Condition, Search
from services.settings import DearRequests, Outage, ServiceTime, SessionCache, Shedding

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
`timeout` in gRPC's method config (it does not work there; use `deadline_ms`).
"""

SEARCH = """\
An experiment with `search` has no fixed rate. Each repeat looks for the capacity of each arm: the highest
rate at which the condition holds.

```yaml
search: {factor: rate_per_s, while: {metric: latency_ms.p99, at_most: 100}, within: 5 %}
```

- **Where it begins.** The simulator predicts the capacity. The first two cells lie on both sides of it. A
  later repeat begins where the repeat before has ended. If nothing is predicted, the search begins at the
  workload's `rate_per_s`.
- **How it goes on.** In growing steps, until the condition has held at one rate and failed at a higher one.
  Then it bisects between them, on a log scale. The arms take turns, one cell each.
- **What it takes for granted.** Above some rate the condition fails. If cells contradict that, the report
  says so.
- **Which cells count.** A disturbed cell is measured again, as in any run. It is not judged if it stays
  disturbed, if it has too few requests for the metric, or if the generator's own lag decides. The search
  then narrows the gaps below and above its rate.
- **What comes out.** The metric `capacity_per_s` of each arm, with a bracket. The bracket goes from the
  highest rate at which the condition held to the lowest at which it did not. An expectation is decided if
  both ends of the brackets, over all repeats, say the same. No other metric can be expected, because nobody
  knows the cells before.
"""

SECTIONS: tuple[tuple[str, str, type[BaseModel], str], ...] = (
    ("The file", "", Experiment, ""),
    ("`teaching`", "", Teaching, ""),
    ("`replicas`", "", Replicas, ""),
    ("`replicas.service_time_ms`", "", ServiceTime, ""),
    (
        "`replicas.service_time_ms.dear`",
        "The same requests are dear in every arm. The simulator has them, too; the planner's forecast leaves "
        "them out, and says so.",
        DearRequests,
        "",
    ),
    (
        "`replicas.cache`",
        "Stickiness makes hits in the session cache likely. The cache has a session once a request of it has "
        "been served to the end. So requests that begin before that miss as well, and a request that is "
        "given up leaves nothing.",
        SessionCache,
        "",
    ),
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
    (
        "`arms.NAME.hedging`",
        "gRPC's C-core ignores a hedging policy, so the lab's clients make the attempts: lb/hedging.py. Each "
        "has a channel for every replica and takes them in turn. *In ALB terms:* none.",
        Hedging,
        "",
    ),
    (
        "`arms.NAME.subsetting`",
        'Both ways are those of "Site Reliability Engineering" (O\'Reilly 2016), chapter 20: lb/subsets.py. '
        "A replica that joins later is in no subset. *In ALB terms:* none, the balancer's nodes connect to "
        "all targets.",
        Subsetting,
        "",
    ),
    (
        "`arms.NAME.shedding`",
        "At least one of the two is given. An answer RESOURCE_EXHAUSTED has no response headers: clients and "
        "proxies may try it again (`retries.on`). Outlier detection does not count it. A stream is refused "
        "when it begins, or not at all. *In ALB terms:* none, the target does it.",
        Shedding,
        "",
    ),
    (
        "`arms.NAME.adaptive_concurrency`",
        "Envoy's gradient controller. It measures the minimum latency with few requests in flight. Then it "
        "raises its limit while the median latency is near that minimum, and lowers it otherwise. It refuses "
        "more requests with UNAVAILABLE. The first measurement begins with the warm-up. *In ALB terms:* "
        "none.",
        AdaptiveConcurrency,
        "",
    ),
    (
        "`arms.NAME.admission_control`",
        'Client-side throttling, as chapter 21 of "Site Reliability Engineering" (O\'Reilly 2016) has it, '
        "in the proxy. With n requests in the window, of which k succeeded, it refuses a share of "
        "((n - k / success) / (n + 1)) ^ (1 / aggression) with UNAVAILABLE. UNAVAILABLE, "
        "RESOURCE_EXHAUSTED, DEADLINE_EXCEEDED, INTERNAL, ABORTED and DATA_LOSS count as failures. "
        "*In ALB terms:* none.",
        AdmissionControl,
        "",
    ),
    ("`search`", "", Search, SEARCH),
    ("`search.while`", "Exactly one of the bounds is given.", Condition, ""),
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
