"""The options of the policies behind Envoy, validated. Defaults are Envoy's own where nothing is said."""

from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from lb.policies import PolicyOptions, WeightedRoundRobinOptions

STICKY_HEADER = "x-lab-sticky"
MAX_RING_POINTS = 8_388_608  # Envoy's own limit
MAX_TABLE_SLOTS = 5_000_011  # Envoy's own limit

HashKey = Literal["header", "cookie", "source_address"]
GroupName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_]{1,40}$")]
BoundedLoad = Annotated[int, Field(ge=100, le=100_000)]

KEY: HashKey = Field(
    default="header",
    description="what is hashed: the header x-lab-session (a session's name), the cookie LABHASH (made by "
    "Envoy where there is none, for 60 s), or the client's address",
)
BOUNDED_LOAD = Field(
    default=None,
    description="a replica with more than this share of the mean of requests under way passes requests on "
    "to the next (default: no bound)",
)

SlowStart = Annotated[float, Field(gt=0, le=3600, allow_inf_nan=False)] | None
SLOW_START: SlowStart = Field(
    default=None,
    description="seconds in which a replica that joins or is healthy again comes to its full share "
    "(default: at once)",
)


class EnvoyOptions(PolicyOptions):
    """What every policy behind Envoy can be asked; by itself the options of one that has none."""

    @property
    def sets_cookie(self) -> bool:
        """Whether Envoy answers with a cookie that clients are to send back."""
        return False

    @property
    def echo_header(self) -> str | None:
        """A header that Envoy answers with and that clients are to send back."""
        return None


class RoundRobinOptions(EnvoyOptions):
    """Options of round_robin."""

    slow_start_s: SlowStart = SLOW_START


class LeastRequestOptions(EnvoyOptions):
    """Options of least_request."""

    choices: int = Field(
        default=2, ge=2, le=100, description="replicas drawn at random, of which the least busy one is taken"
    )
    full_scan: bool = Field(default=False, description="look at all replicas instead of drawing some")
    slow_start_s: SlowStart = SLOW_START

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if self.full_scan and "choices" in self.model_fields_set:
            raise ValueError("choices changes nothing where full_scan is true; leave one of them out")
        return self


class HashOptions(EnvoyOptions):
    """Options of every policy that hashes a key of the request."""

    key: HashKey = KEY
    bounded_load_percent: BoundedLoad | None = BOUNDED_LOAD

    @property
    def sets_cookie(self) -> bool:
        return self.key == "cookie"


class RingHashOptions(HashOptions):
    """Options of ring_hash."""

    min_ring_size: int = Field(
        default=1024, ge=1, le=MAX_RING_POINTS, description="points on the ring, all replicas together"
    )
    max_ring_size: int = Field(
        default=MAX_RING_POINTS, ge=1, le=MAX_RING_POINTS, description="points on the ring, at most"
    )

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.min_ring_size > self.max_ring_size:
            raise ValueError(
                f"min_ring_size {self.min_ring_size} is above max_ring_size {self.max_ring_size}; "
                "expected at most that"
            )
        return self


class MaglevOptions(HashOptions):
    """Options of maglev."""

    table_size: int = Field(
        default=65_537, ge=2, le=MAX_TABLE_SLOTS, description="slots of the table, a prime number"
    )

    @model_validator(mode="after")
    def _prime(self) -> Self:
        if not _is_prime(self.table_size):
            prime = next(number for number in range(self.table_size, 0, -1) if _is_prime(number))
            raise ValueError(f"table_size {self.table_size} is no prime number; the next below it is {prime}")
        return self


class StickyOptions(EnvoyOptions):
    """Options of sticky."""

    by: Literal["cookie", "header"] = Field(
        default="cookie",
        description=f"what names the replica: the cookie LABALB or the header {STICKY_HEADER}",
    )
    strict: bool = Field(
        default=False,
        description="answer UNAVAILABLE when the session's replica is away, instead of picking another",
    )
    ttl_s: int = Field(
        default=86_400,
        ge=1,
        le=604_800,
        description="life of the cookie from when it was set (by cookie only; default a day, an ALB's)",
    )
    first_pick: Literal["round_robin", "random", "least_request"] = Field(
        default="round_robin", description="what picks a new session's replica"
    )
    keep_draining: bool = Field(
        default=False,
        description="a session stays on its replica while that drains, instead of moving at once",
    )

    @model_validator(mode="after")
    def _life_of_a_cookie(self) -> Self:
        if self.by == "header" and "ttl_s" in self.model_fields_set:
            raise ValueError("ttl_s changes nothing where by is 'header', which holds for ever; leave it out")
        return self

    @property
    def sets_cookie(self) -> bool:
        return self.by == "cookie"

    @property
    def echo_header(self) -> str | None:
        return STICKY_HEADER if self.by == "header" else None


class WeightedOptions(EnvoyOptions):
    """Options of weighted."""

    weights: list[Annotated[int, Field(ge=1, le=1_000_000)]] = Field(
        min_length=1, description="one weight a replica, in order; replica-0's is the first"
    )


class TargetGroup(PolicyOptions):
    """One target group: how many replicas, and its weight among the groups."""

    replicas: int = Field(ge=1, le=256, description="replicas in the group")
    weight: int = Field(ge=0, le=999, description="its share of the requests, over the sum of all weights")


class TargetGroupsOptions(EnvoyOptions):
    """Options of target_groups."""

    groups: dict[GroupName, TargetGroup] = Field(
        min_length=1,
        max_length=5,
        description="name -> {replicas: how many, weight: 0 to 999}; replicas are dealt out in order",
    )
    sticky_by: Literal["none", "cookie", "header"] = Field(
        default="none",
        description="what keeps a session in its group: nothing, the cookie LABTG (for a day), "
        "or a hash of the header x-lab-session",
    )

    @model_validator(mode="after")
    def _some_weight(self) -> Self:
        if not any(group.weight for group in self.groups.values()):
            raise ValueError("groups: all weights are 0; expected one above 0")
        return self

    @property
    def sets_cookie(self) -> bool:
        return self.sticky_by == "cookie"


class ClientSideWeightedOptions(EnvoyOptions, WeightedRoundRobinOptions):
    """Options of client_side_weighted_round_robin: those of gRPC's weighted_round_robin."""


def _is_prime(number: int) -> bool:
    return number > 1 and all(number % divisor for divisor in range(2, int(number**0.5) + 1))
