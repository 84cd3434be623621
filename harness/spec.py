"""The experiment file: what it may say, and how it is read.

An Experiment is always valid: types and ranges are in the fields, what only shows in the whole (an arm
that cannot be, an expectation about nothing) is in spec_checks.py. Units stand last in the names.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from harness.errors import UserError, did_you_mean
from harness.spec_checks import problems_of
from harness.spec_overrides import apply_overrides, overriding_option
from harness.spec_problems import WHOLE, Problem, first_problem
from harness.spec_yaml import Tree, dump_tree, read_tree

EXPERIMENTS = Path(__file__).resolve().parent.parent / "experiments"

Route = Literal["envoy", "direct"]
Method = Literal["AddVideo", "ListVideos", "GetVideos", "GetVideo"]


def _worded(pattern: str, words: str, max_length: int | None = None) -> Any:
    """A constraint on text that also says, to editors and in errors, what is expected."""
    return Field(
        pattern=pattern, max_length=max_length, json_schema_extra={"patternErrorMessage": f"expected {words}"}
    )


FileName = Annotated[
    str, _worded(r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,79}$", "a name of A-Z a-z 0-9 _ . -, at most 80")
]
Text = Annotated[str, _worded(r"\S", "some text, at most 20000 characters", max_length=20_000)]
Line = Annotated[
    str, _worded(r"^[^\r\n]*\S[^\r\n]*$", "one line of text, at most 300 characters", max_length=300)
]
ArmName = Annotated[str, Field(pattern=r"^[a-z0-9_]{1,40}$")]
Bound = Annotated[float, Field(allow_inf_nan=False)]
Factor = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Weight = Annotated[float, Field(gt=0, le=1_000_000, allow_inf_nan=False)]


class Model(BaseModel):
    """Strict: a quoted number is no number, an unknown key is a mistake."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class ServiceTime(Model):
    """How long one request occupies one slot of a replica."""

    distribution: Literal["constant", "exponential", "lognormal"] = Field(
        description="shape of the service time; drawn anew for every request from a seeded generator"
    )
    mean: float = Field(gt=0, le=60_000, allow_inf_nan=False, description="mean service time, milliseconds")
    burn_cpu: bool = Field(
        default=False, description="burn CPU for the service time instead of sleeping (default false)"
    )


class Replicas(Model):
    """The servers that are balanced; all alike at the start."""

    count: int = Field(ge=1, le=256, description="number of replicas")
    slots: int = Field(
        ge=1,
        le=10_000,
        description="requests that one replica works on at once; the rest wait in line (FIFO)",
    )
    service_time_ms: ServiceTime = Field(description="service time of one request, milliseconds")


class Workload(Model):
    """Who sends what, how fast and for how long. Exactly one of rate_per_s and think_time_ms is given."""

    clients: int = Field(
        ge=1, le=10_000, description="number of clients, each with its own connection and cookie jar"
    )
    rate_per_s: float | None = Field(
        default=None,
        gt=0,
        le=100_000,
        allow_inf_nan=False,
        description="requests per second of all clients together, sent at planned (Poisson) times "
        "whatever the answers do: open loop",
    )
    think_time_ms: float | None = Field(
        default=None,
        ge=0,
        le=3_600_000,
        allow_inf_nan=False,
        description="milliseconds that a client waits after an answer before its next request: closed loop",
    )
    skew: float = Field(
        default=0.0,
        ge=0,
        le=10,
        allow_inf_nan=False,
        description="Zipf exponent of the clients' rates: client k sends in proportion to 1/k^skew; "
        "0 (default): all alike",
    )
    calls: dict[Method, Weight] = Field(min_length=1, description="relative weights of the RPCs in the mix")
    messages_per_stream: int = Field(
        default=3, ge=1, le=10_000, description="messages in one streaming call (default 3)"
    )
    warm_up_s: float = Field(
        default=1.0,
        ge=0,
        le=600,
        allow_inf_nan=False,
        description="seconds of load before the measured window (default 1)",
    )
    duration_s: float = Field(
        gt=0, le=3600, allow_inf_nan=False, description="seconds that one cell is measured"
    )
    deadline_ms: float = Field(
        default=10_000.0,
        gt=0,
        le=3_600_000,
        allow_inf_nan=False,
        description="deadline of one call (default 10000)",
    )


class Arm(Model):
    """One way to balance: a route and a policy. The arms of an experiment best differ in one thing."""

    route: Route = Field(
        description="envoy: through the proxy, which picks the replica; direct: the client picks it"
    )
    policy: str = Field(
        description="how the replica is picked; which policies there are depends on the route"
    )
    cookie_jar: bool = Field(
        default=True,
        description="whether clients send the proxy's cookies back (default true); "
        "false is only for policies that set a cookie",
    )
    await_first_answer: bool = Field(
        default=True,
        description="whether a session's first call is answered before its next is sent (default true)",
    )


class Expectation(Model):
    """What is expected before it is measured: one metric of one arm, and exactly one bound."""

    arm: str = Field(description="the arm that is spoken of")
    metric: str = Field(description="the metric's dotted name; over repeats the median counts")
    at_most: Bound | None = Field(default=None, description="the metric is at most this, in its own unit")
    at_least: Bound | None = Field(default=None, description="the metric is at least this, in its own unit")
    at_most_times: Factor | None = Field(
        default=None, description="the metric is at most this many times that of the arm `of`"
    )
    at_least_times: Factor | None = Field(
        default=None, description="the metric is at least this many times that of the arm `of`"
    )
    of: str | None = Field(
        default=None, description="the arm compared with, for at_most_times, at_least_times"
    )


class Experiment(Model):
    """One question: replicas, a workload, arms, expectations. One YAML file in experiments/."""

    name: FileName = Field(description="the file's name without its ending; not a key of the file")
    title: Line = Field(description="what the experiment shows, one line")
    question: Line = Field(description="the question that it answers, one line")
    lesson: Text = Field(description="what to look at and what it means; paragraphs of plain text")
    replicas: Replicas = Field(description="the servers that are balanced")
    workload: Workload = Field(description="who sends what, how fast, for how long")
    arms: dict[ArmName, Arm] = Field(
        min_length=1, max_length=16, description="the ways to balance, by name (a-z, 0-9, _)"
    )
    repeats: int = Field(
        default=3, ge=1, le=100, description="cells per arm, each with fresh parts (default 3)"
    )
    seed: int = Field(
        default=1,
        ge=0,
        le=2**31 - 1,
        description="seed of arrivals, service times and the order of cells (default 1)",
    )
    expect: list[Expectation] = Field(
        default=[], max_length=100, description="what is expected before it is measured"
    )

    @model_validator(mode="after")
    def _hangs_together(self) -> Self:
        for problem in problems_of(self):
            raise PydanticCustomError(
                WHOLE, "{message}", {"message": problem.message, "paths": problem.paths}
            )
        return self


def load_experiment(
    name_or_path: str, overrides: Mapping[str, object] | None = None, *, name: str | None = None
) -> Experiment:
    """The experiment of that name in experiments/, or of that file anywhere (a path has a / or .yaml).

    `overrides`: dotted field name -> value, as {"workload.rate_per_s": 300}; validated like the file.
    `name`: the experiment's name where it is not the file's.
    Raises UserError: one line that names file, line, field, value and what was expected.
    """
    path = find_experiment(name_or_path)
    label = str(path) if _is_path(name_or_path) else f"experiments/{path.name}"
    tree = read_tree(path, label)
    return _validated(tree, label, name if name is not None else path.stem, overrides or {})


def find_experiment(name_or_path: str) -> Path:
    """The file of an experiment; a file that is named by its path is not looked at. Raises UserError."""
    if _is_path(name_or_path):
        return Path(name_or_path)
    known = experiment_names()
    if name_or_path in known:
        return EXPERIMENTS / f"{name_or_path}.yaml"
    shown = name_or_path if len(name_or_path) <= 80 else name_or_path[:77] + "..."
    hint = did_you_mean(name_or_path, known) or f"; there are: {', '.join(known)}"
    raise UserError(f"no experiment is called {shown!r}{hint}")


def experiment_names() -> list[str]:
    """The names of the experiments that come with the lab, sorted."""
    return sorted(path.stem for path in EXPERIMENTS.glob("*.yaml"))


def experiment_yaml(experiment: Experiment) -> str:
    """The experiment as a file that loads again equal (its name apart: that is the file's)."""
    return dump_tree(experiment.model_dump(exclude={"name"}, exclude_none=True))


def _is_path(name_or_path: str) -> bool:
    return "/" in name_or_path or name_or_path.endswith((".yaml", ".yml"))


def _validated(tree: Tree, label: str, name: str, overrides: Mapping[str, object]) -> Experiment:
    if "name" in tree.value:
        raise UserError(
            f"{label}:{tree.line(('name',))}: unknown key 'name'; an experiment is called as its file is"
        )
    apply_overrides(tree.value, overrides)
    try:
        return Experiment.model_validate({"name": name, **tree.value})
    except ValidationError as error:
        problem = first_problem(error, Experiment.model_json_schema(), tree)
        raise UserError(_told(problem, tree, label, overrides)) from None


def _told(problem: Problem, tree: Tree, label: str, overrides: Mapping[str, object]) -> str:
    option = overriding_option(problem.paths, overrides)
    where = option if option is not None else f"{label}:{tree.line(problem.paths[0])}"
    return f"{where}: {problem.message}"
