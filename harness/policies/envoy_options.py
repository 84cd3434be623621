"""The options of the policies by which Envoy picks, and what their cookies and headers are called.

If an option has no default here, Envoy's own applies.
"""

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from lb import policies as client
from lb.policies import PolicyOptions

STICKY_HEADER = "x-lab-sticky"
STICKY_COOKIE, HASH_COOKIE, GROUP_COOKIE = "LABALB", "LABHASH", "LABTG"
SESSION_FILTER = "envoy.filters.http.stateful_session"
MAX_RING_POINTS = 8_388_608  # Envoy's own limit
MAX_TABLE_SLOTS = 5_000_011  # Envoy's own limit

GroupName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_]{1,40}$")]
SlowStart = Annotated[
    Annotated[float, Field(gt=0, le=3600)] | None,
    Field(
        description="seconds until a replica that joins or is healthy again gets its full share "
        "(default: at once)"
    ),
]


CookieLifeS = Annotated[int, Field(ge=1, le=604_800)]
KeepDraining = Annotated[
    bool,
    Field(description="a session stays on its replica while the replica drains, instead of moving at once"),
]


class RoundRobinOptions(PolicyOptions):
    """Options of round_robin."""

    slow_start_s: SlowStart = None


class LeastRequestOptions(PolicyOptions):
    """Options of least_request."""

    choices: int = Field(
        default=2, ge=2, le=100, description="number of replicas drawn at random; the least busy one is taken"
    )
    full_scan: bool = Field(default=False, description="look at all replicas instead of drawing some")
    slow_start_s: SlowStart = None

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if self.full_scan and "choices" in self.model_fields_set:
            raise ValueError("choices changes nothing where full_scan is true; leave one of them out")
        return self


class HashOptions(PolicyOptions):
    """Options of every policy that hashes a key of the request."""

    key: Literal["header", "cookie", "source_address"] = Field(
        default="header",
        description=f"what is hashed: the header x-lab-session (a session's name), the cookie {HASH_COOKIE} "
        "(Envoy sets it for 60 s if there is none), or the client's address",
    )
    bounded_load_percent: Annotated[int, Field(ge=100, le=100_000)] | None = Field(
        default=None,
        description="limit of a replica's requests in flight, in percent of the mean over the replicas; "
        "further requests go to the next replica (default: no limit)",
    )


class RingHashOptions(client.RingHashOptions, HashOptions):
    """Options of ring_hash."""

    min_ring_size: int = Field(
        default=1024,
        ge=1,
        le=MAX_RING_POINTS,
        description="minimum number of points on the ring, of all replicas together",
    )
    max_ring_size: int = Field(
        default=MAX_RING_POINTS, ge=1, le=MAX_RING_POINTS, description="maximum number of points on the ring"
    )


class MaglevOptions(HashOptions):
    """Options of maglev."""

    table_size: int = Field(
        default=65_537, ge=2, le=MAX_TABLE_SLOTS, description="number of slots of the table, a prime number"
    )

    @model_validator(mode="after")
    def _prime(self) -> Self:
        if not _is_prime(self.table_size):
            prime = next(number for number in range(self.table_size, 0, -1) if _is_prime(number))
            raise ValueError(
                f"table_size {self.table_size} is not a prime number; the next below it is {prime}"
            )
        return self


class StickyOptions(PolicyOptions):
    """Options of sticky."""

    by: Literal["cookie", "header"] = Field(
        default="cookie",
        description=f"what names the replica: the cookie {STICKY_COOKIE} or the header {STICKY_HEADER}",
    )
    strict: bool = Field(
        default=False,
        description="answer UNAVAILABLE when the session's replica is away, instead of picking another",
    )
    ttl_s: CookieLifeS = Field(
        default=86_400,
        description="how long the cookie is valid after it was set (by cookie only; default a day, as an "
        "ALB's)",
    )
    first_pick: Literal["round_robin", "random", "least_request"] = Field(
        default="round_robin", description="what picks a new session's replica"
    )
    keep_draining: KeepDraining = False

    @model_validator(mode="after")
    def _life_of_a_cookie(self) -> Self:
        if self.by == "header" and "ttl_s" in self.model_fields_set:
            raise ValueError(
                "ttl_s changes nothing where by is 'header', which does not expire; leave it out"
            )
        return self


class WeightedOptions(PolicyOptions):
    """Options of weighted."""

    weights: list[Annotated[int, Field(ge=1, le=1_000_000)]] = Field(
        min_length=1, description="one weight for each replica; the first is that of replica-0"
    )


class TargetGroup(PolicyOptions):
    """One target group: how many replicas, and its weight among the groups."""

    replicas: int = Field(ge=1, le=256, description="replicas in the group")
    weight: int = Field(ge=0, le=999, description="its share of the requests, over the sum of all weights")


class TargetGroupsOptions(PolicyOptions):
    """Options of target_groups."""

    groups: dict[GroupName, TargetGroup] = Field(
        min_length=1,
        max_length=5,
        description="name -> {replicas: how many, weight: 0 to 999}; the first group gets the first replicas",
    )
    sticky_by: Literal["none", "cookie", "header"] = Field(
        default="none",
        description=f"what keeps a session in its group: nothing, the cookie {GROUP_COOKIE} (for a day), "
        "or a hash of the header x-lab-session",
    )

    @model_validator(mode="after")
    def _some_weight(self) -> Self:
        confirm_some_weight("groups", self.groups)
        return self


def confirm_some_weight(option: str, groups: Mapping[str, TargetGroup]) -> None:
    """Raise ValueError if no group, of the option so called, has a weight."""
    if not any(group.weight for group in groups.values()):
        raise ValueError(f"{option}: all weights are 0; expected one above 0")


def dealt_problem(option: str, groups: Mapping[str, TargetGroup], replicas: int) -> str | None:
    """Return what is wrong if the groups of an option have not as many replicas as there are; else None."""
    dealt = sum(group.replicas for group in groups.values())
    if dealt == replicas:
        return None
    return f"{option}: {dealt} replicas in all; expected {replicas}, as many as there are"


def _is_prime(number: int) -> bool:
    return number > 1 and all(number % divisor for divisor in range(2, int(number**0.5) + 1))
