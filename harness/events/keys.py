"""The keys that an event of an experiment file may have: their types and bounds.

Each kind of event declares which keys it takes and what they mean.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from harness.fields import Code, Model, ReplicaName, SlowFactor

FleetShare = Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)]
Target = Literal["any", "most_loaded", "all"] | ReplicaName | FleetShare
MIN_AT_S = 0.2
MAX_EVENTS = 50
DEFAULT_DELAY_S = 1.0


class EventKeys(Model):
    """One change at a planned time."""

    at_s: float = Field(
        ge=MIN_AT_S, le=3600, allow_inf_nan=False, description="seconds from the start of measuring"
    )
    do: str
    target: Target | None = Field(
        default=None,
        description="a replica's name; any (drawn by the seed); most_loaded (has had most calls, asked when "
        "it happens); all; or a share of the fleet, as 0.5 (the first ones)",
    )
    for_s: float | None = Field(
        default=None,
        gt=0,
        le=3600,
        allow_inf_nan=False,
        description="seconds after which the opposite happens, as an event of its own (default: never)",
    )
    # From here on: the keys of single kinds.
    factor: SlowFactor | None = None
    share: FleetShare | None = None
    code: Code | None = None
    after_headers: bool = False
    after_work: bool = False
    delay_s: float | None = Field(default=None, ge=0, le=3600, allow_inf_nan=False)
    weight: int | None = Field(default=None, ge=1, le=1000)
    cores: float | None = Field(default=None, ge=0.01, le=64, allow_inf_nan=False)
    count: int | None = Field(default=None, ge=1, le=32)
    node: str | None = None

    @property
    def delay_or_default_s(self) -> float:
        """The delay in force."""
        return DEFAULT_DELAY_S if self.delay_s is None else self.delay_s


OWN_KEYS = tuple(key for key in EventKeys.model_fields if key not in ("at_s", "do", "target", "for_s"))


@dataclass(frozen=True)
class PlannedEvent:
    """One event of a cell's timeline."""

    number: int  # from 1, in the order of time
    place: int  # where in the file's list it stands, or the event that it ends
    event: EventKeys
    undoes: int | None = None  # number of the event that this one ends; it has the same targets

    @property
    def at_s(self) -> float:
        """Seconds from the start of measuring."""
        return self.event.at_s
