"""The key `search` of an experiment file: the highest value of a factor at which a condition holds."""

from typing import Annotated, Literal

from pydantic import Field

from harness.fields import Bound, Model, worded
from harness.metrics.headlines import headline_of
from harness.metrics.metric import SHOWN_UNITS
from harness.metrics.registry import METRICS

MAX_CELLS = 20  # of one arm in one repeat
Within = Annotated[
    str, worded(r"^([1-9]|[1-4][0-9])(\.[0-9]{1,2})? ?%$", "a percentage from 1 % to less than 50 %, as 5 %")
]


class Condition(Model):
    """The condition: one metric of a cell, and exactly one bound."""

    metric: str = Field(description="the metric's dotted name, as latency_ms.p99")
    at_most: Bound | None = Field(default=None, description="it holds while the metric is at most this")
    at_least: Bound | None = Field(default=None, description="it holds while the metric is at least this")

    @property
    def bound(self) -> tuple[float, bool]:
        """The bound, and whether it is a minimum (otherwise: a maximum)."""
        if self.at_least is not None:
            return self.at_least, True
        assert self.at_most is not None
        return self.at_most, False

    def in_words(self) -> str:
        """Return the condition as "p99 latency at most 100 ms"."""
        bound, is_least = self.bound
        unit = METRICS[self.metric].unit
        words = f"{headline_of(self.metric)} at {'least' if is_least else 'most'} {bound:g}"
        return f"{words} {unit}" if unit in SHOWN_UNITS else words


class Search(Model):
    """The search: what is varied in each arm, until the condition does not hold any more."""

    factor: Literal["rate_per_s"] = Field(
        description="what is varied; rate_per_s: requests per second of all clients together"
    )
    condition: Condition = Field(alias="while", description="what is to hold")
    within: Within = Field(
        default="5 %",
        description="how far the highest value at which it held and the lowest at which it did not may be "
        "apart when the search ends (default 5 %)",
    )
    max_cells: int = Field(
        default=8,
        ge=2,
        le=MAX_CELLS,
        description="cells of one arm in one repeat, at most; the search then ends with what it has found "
        "(default 8)",
    )

    @property
    def within_share(self) -> float:
        """`within` as a share: "5 %" is 0.05."""
        return float(self.within.rstrip("% ")) / 100
