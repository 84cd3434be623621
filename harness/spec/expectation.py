"""The part `expect` of an experiment file: what is expected before it is measured."""

from pydantic import Field

from harness.fields import Bound, Model, Times
from harness.metrics.figures import SHOWN_UNITS
from harness.metrics.registry import METRICS


class Expectation(Model):
    """What is expected before it is measured: one metric of one arm, and exactly one bound."""

    arm: str = Field(description="the arm that is spoken of")
    metric: str = Field(description="the metric's dotted name; over repeats the median counts")
    at_most: Bound | None = Field(default=None, description="the metric is at most this, in its own unit")
    at_least: Bound | None = Field(default=None, description="the metric is at least this, in its own unit")
    at_most_times: Times | None = Field(
        default=None, description="the metric is at most this many times that of the arm `of`"
    )
    at_least_times: Times | None = Field(
        default=None, description="the metric is at least this many times that of the arm `of`"
    )
    of: str | None = Field(
        default=None, description="the arm compared with, for at_most_times, at_least_times"
    )

    @property
    def bound(self) -> tuple[float, bool]:
        """The bound, and whether the metric is to be at least that (else: at most)."""
        for least in (self.at_least, self.at_least_times):
            if least is not None:
                return least, True
        most = self.at_most if self.at_most is not None else self.at_most_times
        assert most is not None
        return most, False

    def in_words(self) -> str:
        """Return it as a sentence: "arm: metric at least 1.5 times that of other"."""
        bound, is_least = self.bound
        words = f"at {'least' if is_least else 'most'} {bound:g}"
        if self.of is not None:
            return f"{self.arm}: {self.metric} {words} times that of {self.of}"
        unit = METRICS[self.metric].unit
        return f"{self.arm}: {self.metric} {words}{f' {unit}' if unit in SHOWN_UNITS else ''}"
