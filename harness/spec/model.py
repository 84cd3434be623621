"""The keys of an experiment file: the file itself, `replicas`, `workload`, `teaching` and `expect`.

arm.py has the keys of an arm. checks.py checks what the keys must satisfy together. services/settings.py
declares the settings of one replica; this module adds the keys about all replicas."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field, WithJsonSchema, create_model, model_serializer

from harness.events.keys import MAX_EVENTS
from harness.events.schedule import Event
from harness.fields import (
    STATED_DEFAULT,
    ArmName,
    Bound,
    Calls,
    Clients,
    Deadline,
    FileName,
    Gap,
    Line,
    Messages,
    Milliseconds,
    Model,
    ReplicaName,
    Skew,
    Text,
    Times,
)
from harness.metrics.metric import SHOWN_UNITS
from harness.metrics.registry import METRICS
from harness.spec.arm import OWN_WORKLOAD, Arm, Variant, variants_of
from harness.spec.heads import Chapter
from harness.spec.own_service import OwnService
from harness.spec.rate import Bursts, RateOverTime, first_per_s, mean_per_s, peak_per_s
from harness.spec.search import Search
from lb.settings import MAX_PAYLOAD_BYTES
from services.settings import ReplicaSettings, SettingsModel, WorkSettings


class Expectation(Model):
    """One expectation: one metric of one arm, and exactly one bound."""

    arm: str = Field(description="name of the arm")
    metric: str = Field(description="the metric's dotted name; the median over the repeats counts")
    at_most: Bound | None = Field(default=None, description="the metric is at most this, in its own unit")
    at_least: Bound | None = Field(default=None, description="the metric is at least this, in its own unit")
    at_most_times: Times | None = Field(
        default=None, description="the metric is at most this many times that of the arm `of`"
    )
    at_least_times: Times | None = Field(
        default=None, description="the metric is at least this many times that of the arm `of`"
    )
    of: str | None = Field(
        default=None, description="the arm to compare with, for at_most_times and at_least_times"
    )

    @property
    def bound(self) -> tuple[float, bool]:
        """The bound, and whether it is a minimum (otherwise: a maximum)."""
        for minimum in (self.at_least, self.at_least_times):
            if minimum is not None:
                return minimum, True
        maximum = self.at_most if self.at_most is not None else self.at_most_times
        assert maximum is not None
        return maximum, False

    def in_words(self) -> str:
        """Return the expectation in words: "arm: metric at least 1.5 times that of other"."""
        bound, is_minimum = self.bound
        words = f"at {'least' if is_minimum else 'most'} {bound:g}"
        if self.of is not None:
            return f"{self.arm}: {self.metric} {words} times that of {self.of}"
        unit = METRICS[self.metric].unit
        return f"{self.arm}: {self.metric} {words}{f' {unit}' if unit in SHOWN_UNITS else ''}"


# The settings that one replica may have of its own.
OVERRIDABLE = ("slots", "slow_factor", "slow_share", "fail_share", "fail_code", "orca")


def _overrides() -> type[SettingsModel]:
    """Return a model of the overridable settings: none is required, and none has a default of its own."""
    fields: dict[str, Any] = {}
    for name in OVERRIDABLE:
        field = WorkSettings.model_fields[name]
        meaning = STATED_DEFAULT.sub("", str(field.description))
        fields[name] = (field.rebuild_annotation() | None, Field(default=None, description=meaning))
    return create_model("Overrides", __base__=SettingsModel, **fields)


class ReplicaOverrides(_overrides()):  # type: ignore[misc]  # derived, so mypy does not know its fields
    """The settings in which one replica differs from the others."""


class Count(SettingsModel):
    """The number of replicas. A base class of its own makes it the first key in the schema and the docs."""

    count: int = Field(ge=1, le=256, description="number of replicas")


class Replicas(WorkSettings, Count):
    """The servers."""

    different: dict[ReplicaName, ReplicaOverrides] = Field(
        default={},
        max_length=256,
        description="settings of single replicas, by name (replica-0 is the first)",
    )

    @property
    def names(self) -> list[str]:
        """replica-0, replica-1, ..."""
        return [f"replica-{number}" for number in range(self.count)]

    def work_of(self, name: str) -> WorkSettings:
        """Return the work settings of one replica: those of all replicas, with its overrides."""
        return WorkSettings.model_validate(self._document(name))

    def settings_of(self, name: str, arm: Arm) -> ReplicaSettings:
        """Return all settings that one replica is started with in an arm.

        Raises pydantic's ValidationError for a setting that the arm's kind of server does not support.
        """
        of_arm = {
            "server": arm.server,
            "shedding": arm.shedding,
            "max_connection_age_ms": arm.replica_connection_age_ms,
        }
        return ReplicaSettings.model_validate(self._document(name) | of_arm)

    def _document(self, name: str) -> dict[str, Any]:
        own = self.different.get(name)
        overrides: dict[str, Any] = {} if own is None else own.model_dump(exclude_none=True)
        return self.model_dump(include=set(WorkSettings.model_fields)) | overrides


class Teaching(Model):
    """The experiment as a lesson: its chapter, what to read in its report, an exercise and its answer."""

    chapter: Chapter = Field(description="chapter of docs/lessons.md that the experiment belongs to")
    after: FileName | None = Field(
        default=None, description="name of the experiment that should be read before this one (default: none)"
    )
    heading: Line = Field(description="heading of the lesson, one line")
    read: Text = Field(description="what to read in the report and what it shows (Markdown)")
    exercise: Text = Field(description="one thing to change, and a question about it (Markdown)")
    answer: Text | None = Field(
        default=None, description="what the exercise showed when it was measured (Markdown; default: nothing)"
    )


def _trace_or_numbers(schema: dict[str, Any]) -> None:
    """Say in the JSON schema that a file with a trace or a Locust file leaves out what that gives."""
    # docs/pages/schema.py says who needs `calls`: that hangs on a key beside `workload`.
    usual = [name for name in schema["required"] if name != "calls"]
    schema["required"] = []
    of_locust = {"if": {"required": ["locustfile"]}, "then": {"required": ["users", "duration_s"]}}
    schema |= {"if": {"required": ["trace"]}, "else": {**of_locust, "else": {"required": usual}}}


class TraceSource(Model):
    """A recorded trace to play: when each of its clients sent a request."""

    file: str = Field(
        min_length=1,
        max_length=1000,
        description="a Parquet file that `observe --save-trace` has written; relative to this file's folder",
    )
    window: list[Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]] = Field(
        min_length=2,
        max_length=2,
        description="[from, to]: the part to measure, in seconds after the trace's first request. The "
        "warm-up plays what comes before",
    )
    speed: float = Field(
        default=1.0,
        gt=0,
        le=1000,
        allow_inf_nan=False,
        description="seconds of the trace in one second: 0.1 plays it ten times slower (default 1)",
    )
    service_times: Literal["drawn", "recorded"] = Field(
        default="drawn",
        description="`recorded`: each request takes the time that its target took then, its queue there "
        "included; replicas.service_time_ms is left out. `drawn`: as replicas.service_time_ms says (default "
        "drawn)",
    )
    sha256: str | None = Field(
        default=None,
        pattern=r"^[0-9a-f]{64}$",
        description="hash of the file; another file is refused (default: any file)",
    )

    @property
    def edges(self) -> tuple[float, float]:
        """The window, seconds after the trace's first request."""
        return float(self.window[0]), float(self.window[1])

    @property
    def seconds(self) -> float:
        """How long the window takes when it is played."""
        return (self.edges[1] - self.edges[0]) / self.speed


class Workload(Model):
    """The load: clients, calls, rate and time. Exactly one of rate_per_s and think_time_ms is given.

    With a trace, the file leaves out what the trace gives: clients, rate_per_s and duration_s. They are
    filled in when the file is read (harness.spec.traced_workload).
    """

    model_config = ConfigDict(json_schema_extra=_trace_or_numbers)

    trace: TraceSource | None = Field(
        default=None,
        description="recorded arrivals of recorded clients (default: none). The trace then gives clients, "
        "rate_per_s and duration_s, which are left out",
    )
    locustfile: str | None = Field(
        default=None,
        min_length=1,
        max_length=1000,
        description="a Locust file of your own (docs/locust.md): its users' tasks are the load, a closed "
        "loop; relative to this file's folder (default: none). `users` and the tasks then give what is "
        "left out: clients, rate_per_s, think_time_ms, skew, calls and the keys of messages",
    )
    users: Clients | None = Field(default=None, description="with `locustfile`: number of Locust's users")
    spawn_rate: float | None = Field(
        default=None,
        gt=0,
        le=10_000,
        allow_inf_nan=False,
        description="with `locustfile`: users that start per second, before the warm-up "
        "(default: all at once)",
    )
    clients: Clients = Field(description="number of clients, each with its own connection and cookie jar")
    rate_per_s: RateOverTime | None = Field(
        default=None,
        description="requests per second of all clients together, sent at planned (Poisson) times "
        "whether or not earlier answers have come: open loop. A number, or a mapping with `shape` where it "
        "changes while it is measured: then the warm-up has the rate of the start",
    )
    bursts: Bursts | None = Field(
        default=None,
        description="times at which all clients send more, as often and long as chance has it (default: "
        "none)",
    )
    think_time_ms: Milliseconds | None = Field(
        default=None,
        description="time from an answer to the client's next request: closed loop",
    )
    skew: Skew = Field(
        default=0.0,
        description="Zipf exponent of the clients' rates: client k sends in proportion to 1/k^skew; "
        "0 (default): all send the same rate",
    )
    calls: Calls = Field(description="relative weights of the RPCs in the mix")
    messages_per_stream: Messages = Field(default=3, description="messages in one streaming call (default 3)")
    message_gap_ms: Gap = Field(
        default=0,
        description="time between the planned messages of a stream: message k is planned k gaps after the "
        "stream's start (default 0: at once; GetVideo sends the next message when it has the answer)",
    )
    payload_bytes: int = Field(
        default=0,
        ge=0,
        le=MAX_PAYLOAD_BYTES,
        description="size of additional text in each AddVideo (default 0)",
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
    deadline_ms: Deadline = Field(default=10_000.0, description="deadline of one call (default 10000)")

    @property
    def mean_rate_per_s(self) -> float | None:
        """Mean rate of the measured window; None in a closed loop. Bursts do not change it, but by chance."""
        return None if self.rate_per_s is None else mean_per_s(self.rate_per_s, self.duration_s)

    @property
    def peak_rate_per_s(self) -> float | None:
        """The highest rate of the measured window, that of bursts included; None in a closed loop."""
        if self.rate_per_s is None:
            return None
        most = 1.0 if self.bursts is None else self.bursts.most
        return most * peak_per_s(self.rate_per_s, self.duration_s)

    @property
    def first_rate_per_s(self) -> float | None:
        """Rate of the warm-up, that of the start of measuring; None in a closed loop."""
        return None if self.rate_per_s is None else first_per_s(self.rate_per_s, self.duration_s)

    @property
    def changes(self) -> bool:
        """Whether the rate changes while it is measured, as planned."""
        return self.bursts is not None or not isinstance(self.rate_per_s, int | float | None)

    @property
    def changes_in_words(self) -> str:
        """How the rate changes while it is measured; "" where it does not."""
        shape = [] if isinstance(self.rate_per_s, int | float | None) else [self.rate_per_s.in_words]
        return "; ".join([*shape, *([self.bursts.in_words] if self.bursts else [])])


MAX_REPEATS = 100


class RepeatRange(Model):
    """How many repeats an experiment makes: `min`, and more until all is decided or there are `max`."""

    min: int = Field(ge=1, le=MAX_REPEATS)
    max: int = Field(ge=1, le=MAX_REPEATS)

    @property
    def in_words(self) -> str:
        """Return "3", or "3 to 9"."""
        return str(self.min) if self.min == self.max else f"{self.min} to {self.max}"

    @model_serializer
    def _as_written(self) -> int | dict[str, int]:
        return self.min if self.min == self.max else {"min": self.min, "max": self.max}


def _number_as_range(value: object) -> object:
    return {"min": value, "max": value} if isinstance(value, int) else value


_NUMBER_OF_REPEATS = {"type": "integer", "minimum": 1, "maximum": MAX_REPEATS}
Repeats = Annotated[
    RepeatRange,
    BeforeValidator(_number_as_range),
    WithJsonSchema(
        {
            "anyOf": [
                _NUMBER_OF_REPEATS,
                {
                    "type": "object",
                    "properties": {"min": _NUMBER_OF_REPEATS, "max": _NUMBER_OF_REPEATS},
                    "required": ["min", "max"],
                    "additionalProperties": False,
                    "patternErrorMessage": "expected a mapping {min, max}",
                },
            ]
        }
    ),
]


class ExperimentModel(Model):
    """The keys of an experiment file. Each is valid by itself; an `Experiment` is also valid as a whole."""

    name: FileName = Field(description="the file's name without its ending; the file has no such key")
    title: Line = Field(description="what the experiment shows, one line")
    question: Line = Field(description="the question that it answers, one line")
    lesson: Text = Field(description="what to look at and what it means, in paragraphs of plain text")
    teaching: Teaching | None = Field(
        default=None, description="the experiment as a lesson (default: it is no lesson)"
    )
    replicas: Replicas = Field(description="the servers")
    service: OwnService | None = Field(
        default=None,
        description="your own gRPC service, called with `--testbed external` (default: the lab's). "
        "`replicas` then has `count` alone, and `workload` no calls",
    )
    workload: Workload = Field(description="the load: clients, calls, rate and time")
    arms: dict[ArmName, Arm] = Field(
        min_length=1, max_length=16, description="the ways to balance, by name (a-z, 0-9, _)"
    )
    events: list[Event] = Field(
        default=[], max_length=MAX_EVENTS, description="what changes while a cell is measured"
    )
    search: Search | None = Field(
        default=None,
        description="the highest value at which a condition holds is looked for in each arm (default: no "
        "search)",
    )
    repeats: Repeats = Field(
        default=RepeatRange(min=3, max=9),
        description="cells per arm, each with new processes. A number; or `{min: 3, max: 9}`: at least "
        "three, and more until every expectation is decided or there are nine (default {min: 3, max: 9})",
    )
    seed: int = Field(
        default=1,
        ge=0,
        le=2**31 - 1,
        description="seed of arrivals, service times and the order of cells (default 1)",
    )
    expect: list[Expectation] = Field(
        default=[], max_length=100, description="what is expected, written before the measurement"
    )

    @property
    def variants(self) -> dict[str, Variant]:
        """The arms as they are run, by name. An arm that sweeps a factor becomes one arm for each value."""
        return variants_of(self.arms)

    def workload_of(self, arm: Arm) -> Workload:
        """Return the workload of an arm: the experiment's, with the keys that the arm has of its own."""
        own = {field: value for field in OWN_WORKLOAD if (value := getattr(arm, field)) is not None}
        if self.service is not None:
            own["calls"] = {self.service.method_name: 1.0}
        return self.workload.model_copy(update=own)

    def events_of(self, arm: Arm) -> list[Event]:
        """Return the events of an arm: its own, or the experiment's."""
        return self.events if arm.events is None else arm.events
