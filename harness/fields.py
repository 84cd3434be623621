"""The field types of an experiment file that several models use, and the models' base class."""

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from services.settings import Code as Code
from services.settings import Method as Method
from services.settings import SlowFactor as SlowFactor

Route = Literal["envoy", "envoy-l4", "direct", "xds"]
PROXIED: tuple[Route, ...] = ("envoy", "envoy-l4")  # routes that have a proxy
PROXY = "envoy"  # the name of the proxy; of several nodes, each has a number behind it
Status = Literal["completed", "interrupted", "failed"]  # how a run, or a cell of it, ended
# What took the machine while a cell was measured.
DisturbanceCause = Literal["processes", "hypervisor", "lab", "load", "stopped", "asleep", "unknown"]


def proxy_names(nodes: int) -> list[str]:
    """Return the names of a proxy's nodes: "envoy" alone, or envoy-0, envoy-1, ..."""
    return [PROXY] if nodes == 1 else [f"{PROXY}-{number}" for number in range(nodes)]


def is_proxy(part: str) -> bool:
    """Return whether a part of a cell is the proxy, or one of its nodes."""
    return part == PROXY or part.startswith(f"{PROXY}-")


def node_number(node: str) -> int:
    """Return the number of a node of the proxy: 0 of the only one."""
    return 0 if node == PROXY else int(node.rpartition("-")[2])


def replica_number(replica: str) -> int:
    """Return the number in a replica's name: 3 of replica-3."""
    return int(replica.rpartition("-")[2])


def connection_prefix(node: str) -> str:
    """Return what stands before a connection's number where several nodes number their connections."""
    return "" if node == PROXY else f"{node_number(node)}/"


def worded(pattern: str, words: str, max_length: int | None = None) -> Any:
    """Return a constraint on text. Editors and error messages show `words` as what is expected."""
    return Field(
        pattern=pattern, max_length=max_length, json_schema_extra={"patternErrorMessage": f"expected {words}"}
    )


FileName = Annotated[
    str, worded(r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,79}$", "a name of A-Z a-z 0-9 _ . -, at most 80")
]
Text = Annotated[str, worded(r"\S", "some text, at most 20000 characters", max_length=20_000)]
Line = Annotated[
    str, worded(r"^[^\r\n]*\S[^\r\n]*$", "one line of text, at most 300 characters", max_length=300)
]
ArmName = Annotated[str, Field(pattern=r"^[a-z0-9_]{1,40}$")]
ReplicaName = Annotated[str, Field(pattern=r"^replica-(0|[1-9][0-9]{0,2})$")]
Bound = Annotated[float, Field(allow_inf_nan=False)]
Times = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Weight = Annotated[float, Field(gt=0, le=1_000_000, allow_inf_nan=False)]
Clients = Annotated[int, Field(ge=1, le=10_000)]
MAX_RATE_PER_S = 100_000
Rate = Annotated[float, Field(gt=0, le=MAX_RATE_PER_S, allow_inf_nan=False)]
Skew = Annotated[float, Field(ge=0, le=10, allow_inf_nan=False)]
Calls = Annotated[dict[Method, Weight], Field(min_length=1)]
Messages = Annotated[int, Field(ge=1, le=10_000)]
Gap = Annotated[int, Field(ge=0, le=600_000)]  # whole milliseconds, as the proto has it
Milliseconds = Annotated[float, Field(ge=0, le=3_600_000, allow_inf_nan=False)]
Deadline = Annotated[float, Field(gt=0, le=3_600_000, allow_inf_nan=False)]
Lifetime = Annotated[float, Field(ge=0.05, le=86_400, allow_inf_nan=False)]
# Of passive health checks, by Envoy as well as by gRPC's clients.
LookInterval = Annotated[int, Field(ge=10, le=300_000)]  # milliseconds
EjectionTime = Annotated[
    int,
    Field(
        ge=10,
        le=3_600_000,
        description="duration of the first ejection; each further one is longer (default 30000)",
    ),
]
EjectedPercent = Annotated[int, Field(ge=0, le=100)]


# What a description says of its default. Pages have a column for the default.
STATED_DEFAULT = re.compile(r" \(default[^()]*\)")


class Model(BaseModel):
    """Base class of the models. It refuses unknown keys, and numbers in quotes."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, serialize_by_alias=True, defer_build=True
    )
