"""The settings of a replica, each declared once: type, bounds, default and meaning.

The keys are those of `replicas` in an experiment file. These models check experiment files. A replica starts
with one of their documents, which is JSON, and shows the document in force.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_core.core_schema import ValidationInfo

# What a gRPC server or proxy may answer instead of OK.
Code = Literal[
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
]
Method = Literal["AddVideo", "ListVideos", "GetVideos", "GetVideo"]
Distribution = Literal["constant", "exponential", "lognormal", "pareto"]
Server = Literal["asyncio", "threads", "threads_own_health"]
Share = Annotated[float, Field(ge=0, le=1)]
SlowFactor = Annotated[float, Field(ge=0, le=1000, allow_inf_nan=False)]
LoadReport = Literal["measured"] | Annotated[float, Field(gt=0, le=10)]

ASYNCIO_ONLY = ("outage", "cache", "orca", "shedding")


class SettingsModel(BaseModel):
    """Exactly the fields named, each of its own type, no infinity and no NaN. Raises ValidationError."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class DearRequests(SettingsModel):
    """Some requests cost far more than the others."""

    by: Literal["request", "client"] = Field(
        default="request",
        description="what makes a request dear. request (default): requests are drawn one by one; client: "
        "clients are dear, and all of their requests are",
    )
    share: float = Field(
        gt=0,
        le=0.99,
        description="share of the requests that are dear, or of the clients; of every 1 / share clients one "
        "is dear, which one follows from their numbers alone",
    )
    factor: float = Field(gt=1, le=1000, description="mean service time of dear requests / of the others")


class ServiceTime(SettingsModel):
    """How long one request occupies one slot of a replica."""

    distribution: Distribution = Field(
        description="shape of the service time; each request draws its own, which is the same in every arm; "
        "pareto: very few requests are very long, the longest 1000 times the shortest (shape 1.5)"
    )
    mean: float = Field(
        ge=0, le=60_000, description="mean service time, milliseconds; 0: requests take no time"
    )
    methods: dict[Method, Annotated[float, Field(ge=0, le=60_000)]] = Field(
        default={},
        description="mean service time of single methods, milliseconds, as {ListVideos: 40}; of GetVideo it "
        "is that of each message (default: all have the same `mean`)",
    )
    dear: DearRequests | None = Field(
        default=None,
        description="requests that cost more than the others: `mean` (or that of the method) is the mean of "
        "all, `distribution` that of either kind (default: none)",
    )
    burn_cpu: bool = Field(
        default=False, description="burn CPU for the service time instead of sleeping (default false)"
    )


class Outage(SettingsModel):
    """A replica that goes away and comes back again and again, like a server in a crash loop."""

    every_s: float = Field(ge=0.1, le=3600, description="seconds from one outage to the next")
    for_ms: float = Field(
        gt=0,
        le=60_000,
        description="how long an outage lasts, milliseconds: no port, no connections; less than every_s",
    )

    @field_validator("for_ms")
    @classmethod
    def _ends_before_the_next(cls, for_ms: float, info: ValidationInfo) -> float:
        every_ms = info.data.get("every_s", float("inf")) * 1000
        if for_ms >= every_ms:
            raise ValueError(f"{for_ms:g} is too long; expected less than every_s, which is {every_ms:g} ms")
        return for_ms


class SessionCache(SettingsModel):
    """What a replica remembers of its sessions, and what that saves."""

    sessions: int = Field(
        ge=1,
        le=1_000_000,
        description="number of sessions that one replica remembers; it forgets the least recently used one",
    )
    hit_factor: float = Field(
        ge=0,
        le=1,
        description="service time of a request whose session is remembered / of any other request",
    )


class Shedding(SettingsModel):
    """Which calls a replica refuses when they arrive. At least one of the two is set."""

    max_queue: int | None = Field(
        default=None,
        ge=0,
        le=1_000_000,
        description="calls that may wait for a slot of a replica; it refuses one more (default: any number)",
    )
    deadline_aware: bool = Field(
        default=False,
        description="whether a replica refuses a call whose deadline would pass before its answer is ready, "
        "by the number of calls before it and the recent service times (default false)",
    )

    @model_validator(mode="after")
    def _refuses_something(self) -> Self:
        if self.max_queue is None and not self.deadline_aware:
            raise ValueError("it would refuse nothing; expected max_queue, or deadline_aware: true")
        return self


class WorkSettings(SettingsModel):
    """How a replica works on calls: the settings that an experiment file may have."""

    slots: int = Field(
        ge=1,
        le=10_000,
        description="requests that one replica works on at once; the others wait in its queue (FIFO)",
    )
    service_time_ms: ServiceTime = Field(description="service time of one request, milliseconds")
    slow_factor: SlowFactor = Field(default=1.0, description="multiplies every service time (default 1)")
    slow_share: Share = Field(
        default=1.0, description="share of the calls that slow_factor applies to (default 1: all)"
    )
    fail_share: Share = Field(
        default=0.0, description="share of the calls that fail at once, before response headers (default 0)"
    )
    fail_code: Code = Field(
        default="UNAVAILABLE", description="gRPC status of the failed calls (default UNAVAILABLE)"
    )
    outage: Outage | None = Field(
        default=None, description="how often the replicas go away, and for how long (default: never)"
    )
    cache: SessionCache | None = Field(
        default=None, description="a cache that remembers sessions (default: no cache)"
    )
    orca: LoadReport | None = Field(
        default=None,
        description="ORCA load reports in trailing metadata: measured, or a fixed CPU utilisation; "
        "none (default): no reports",
    )


class ReplicaSettings(WorkSettings):
    """All settings of one replica: how it works on calls, and what an arm or an event adds."""

    fail_after_headers: bool = Field(
        default=False, description="failures follow response headers (default false)"
    )
    fail_after_work: bool = Field(
        default=False, description="failures take a slot and a service time first (default false)"
    )
    max_connection_age_ms: int | None = Field(
        default=None,
        ge=1,
        le=86_400_000,
        description="age at which connections are closed; their calls may finish (default: never)",
    )
    shedding: Shedding | None = Field(
        default=None,
        description="load shedding: the calls that replicas refuse on arrival, with RESOURCE_EXHAUSTED "
        "(default: none)",
    )
    server: Server = Field(
        default="asyncio",
        description="asyncio (default); threads: one thread for each slot, and health checks wait in the "
        "queue with "
        "the calls; threads_own_health: the same, but health checks have a thread of their own",
    )

    @field_validator("server")
    @classmethod
    def _can_do_all_that(cls, server: Server, info: ValidationInfo) -> Server:
        for name in ASYNCIO_ONLY if server != "asyncio" else ():
            if info.data.get(name) is not None:
                raise ValueError(f"'{server}' has no {name}; expected 'asyncio', or replicas without it")
        return server

    def to_json(self) -> str:
        """Return the document: every setting, as JSON on one line."""
        return self.model_dump_json()


# Settings that are mappings themselves.
NESTED: dict[str | int, type[SettingsModel]] = {
    "service_time_ms": ServiceTime,
    "outage": Outage,
    "cache": SessionCache,
    "shedding": Shedding,
}


def problem_of(error: ValidationError) -> str:
    """Return what is wrong with a settings document, in one line: setting, value, what is expected."""
    details = error.errors(include_url=False)
    first = details[0]
    place = _place(first["loc"])
    if first["type"] == "value_error":
        return f"{place}: {first['ctx']['error']}"
    if first["type"] == "extra_forbidden":
        return f"{place} is not a setting of a replica"
    if first["type"] == "missing":
        return f"{place} is missing"
    expected = [_expected(detail) for detail in details if _place(detail["loc"]) == place]
    return f"{place} is {first['input']!r}, expected {' or '.join(dict.fromkeys(expected))}"


def _place(loc: tuple[int | str, ...]) -> str:
    """Return where a setting stands, without the type that pydantic names for one of several types."""
    depth = 2 if loc and loc[0] in NESTED else 1
    return ".".join(str(part) for part in loc[:depth])


def _expected(detail: Any) -> str:
    return str(detail["msg"]).removeprefix("Input should be ")
