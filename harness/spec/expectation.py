"""The key `expect` of an experiment file: expectations, written before the measurement."""

from pydantic import Field

from harness.fields import Bound, Model, Times
from harness.metrics.figures import SHOWN_UNITS
from harness.metrics.registry import METRICS


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
