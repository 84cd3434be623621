"""The key `rate_per_s` of an experiment file: a number, or a shape where the rate changes in the window.

Each shape is a line through points (seconds from the start of measuring, requests per second).
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from harness.fields import MAX_RATE_PER_S, Model, Rate
from lb.rate_curve import RateCurve

MAX_POINTS = 1000
LINES_PER_PERIOD = 64  # a sine through so many lines is off by at most 0.12 % of its amplitude
# The key by which a file names the shape of a rate.
SHAPE = "shape"
NUMBER = "number"  # pydantic's name of the branch without a shape

RateThen = Annotated[float, Field(ge=0, le=MAX_RATE_PER_S, allow_inf_nan=False)]
Seconds = Annotated[float, Field(ge=0, le=3600, allow_inf_nan=False)]
# [second, requests per second]. The schema's bounds are those of both.
Point = Annotated[list[RateThen], Field(min_length=2, max_length=2)]
Points = Annotated[list[Point], Field(min_length=1, max_length=MAX_POINTS)]
Line = tuple[float, float]


class Steps(Model):
    """A rate that changes at once, and then stays until the next change."""

    shape: Literal["steps"] = Field(description="the rate changes at once, and it stays until the next step")
    steps: Points = Field(
        description="[second, requests per second], from when on the rate is how much; the first at 0"
    )

    @field_validator("steps")
    @classmethod
    def _in_order(cls, steps: list[list[float]]) -> list[list[float]]:
        return _ascending(steps)

    @property
    def last_s(self) -> float:
        """When the rate changes last."""
        return self.steps[-1][0]

    def points(self, duration_s: float) -> list[Line]:  # noqa: ARG002 - other shapes need it
        """Return the line of the rate in the measured window."""
        ends = [at_s for at_s, _ in self.steps[1:]] + [math.inf]
        lines = [[(at_s, rate), (end_s, rate)] for (at_s, rate), end_s in zip(self.steps, ends, strict=True)]
        return [point for line in lines for point in line if point[0] < math.inf]

    @property
    def in_words(self) -> str:
        """The rate in words."""
        rates = [f"{rate:g}/s from {at_s:g} s" for at_s, rate in self.steps]
        return f"in steps: {_few(rates)}"


class Ramp(Model):
    """A rate that rises or falls evenly for as long as it is measured."""

    shape: Literal["ramp"] = Field(description="the rate changes evenly for as long as it is measured")
    start_per_s: RateThen = Field(description="rate at the start of measuring")
    end_per_s: RateThen = Field(description="rate at its end")

    @property
    def last_s(self) -> float:
        """When the rate changes last: it fits any window."""
        return 0.0

    def points(self, duration_s: float) -> list[Line]:
        """Return the line of the rate in the measured window."""
        return [(0.0, self.start_per_s), (duration_s, self.end_per_s)]

    @property
    def in_words(self) -> str:
        """The rate in words."""
        return f"evenly from {self.start_per_s:g}/s to {self.end_per_s:g}/s"


class Spike(Model):
    """A rate that is higher for a while: a crowd comes, and goes."""

    shape: Literal["spike"] = Field(description="the rate changes up and down again: a crowd comes, and goes")
    base_per_s: RateThen = Field(description="rate before and after")
    peak_per_s: RateThen = Field(description="rate of the peak")
    at_s: Seconds = Field(description="when it begins, seconds from the start of measuring")
    for_s: Annotated[float, Field(gt=0, le=3600, allow_inf_nan=False)] = Field(
        description="how long it lasts, rise and fall included, seconds"
    )
    rise_s: Seconds = Field(
        default=0.0, description="how long it rises, and in the end falls, evenly (default 0: at once)"
    )

    @model_validator(mode="after")
    def _has_room(self) -> "Spike":
        if 2 * self.rise_s > self.for_s:
            raise ValueError(
                f"rise_s {self.rise_s:g} is too long; expected at most half of for_s, {self.for_s / 2:g}"
            )
        return self

    @property
    def last_s(self) -> float:
        """When the rate changes last."""
        return self.at_s + self.for_s

    def points(self, duration_s: float) -> list[Line]:  # noqa: ARG002 - other shapes need it
        """Return the line of the rate in the measured window."""
        base, peak, begins_s, ends_s = self.base_per_s, self.peak_per_s, self.at_s, self.last_s
        top = [(begins_s + self.rise_s, peak), (ends_s - self.rise_s, peak)]
        return [(0.0, base), (begins_s, base), *top, (ends_s, base)]

    @property
    def in_words(self) -> str:
        """The rate in words."""
        return f"{self.base_per_s:g}/s, and {self.peak_per_s:g}/s from {self.at_s:g} s to {self.last_s:g} s"


class Sine(Model):
    """A rate that goes up and down, as over days."""

    shape: Literal["sine"] = Field(description="the rate changes as a wave, as over days")
    mean_per_s: Rate = Field(description="rate in the middle of the wave, where it begins to rise")
    amplitude_per_s: RateThen = Field(description="how far the rate rises above that, and falls below it")
    period_s: Annotated[float, Field(ge=1, le=3600, allow_inf_nan=False)] = Field(
        description="seconds from one peak to the next"
    )

    @model_validator(mode="after")
    def _is_never_below_zero(self) -> "Sine":
        if self.amplitude_per_s > self.mean_per_s:
            raise ValueError(
                f"amplitude_per_s {self.amplitude_per_s:g} is too large; expected at most mean_per_s, "
                f"{self.mean_per_s:g}"
            )
        return self

    @property
    def last_s(self) -> float:
        """When the rate changes last: it fits any window."""
        return 0.0

    def points(self, duration_s: float) -> list[Line]:
        """Return the line of the rate in the measured window: LINES_PER_PERIOD straight lines a period."""
        width_s = self.period_s / LINES_PER_PERIOD
        turns = (2 * math.pi * n / LINES_PER_PERIOD for n in range(math.ceil(duration_s / width_s) + 1))
        rates = (self.mean_per_s + self.amplitude_per_s * math.sin(turn) for turn in turns)
        return [(n * width_s, max(0.0, rate)) for n, rate in enumerate(rates)]

    @property
    def in_words(self) -> str:
        """The rate in words."""
        low, high = self.mean_per_s - self.amplitude_per_s, self.mean_per_s + self.amplitude_per_s
        return f"a wave from {low:g}/s to {high:g}/s, every {self.period_s:g} s"


class PointsOfRate(Model):
    """A rate through points, with straight lines between them; after the last one it stays."""

    shape: Literal["points"] = Field(description="the rate changes in straight lines through points")
    points_per_s: Points | None = Field(
        default=None, description="[second, requests per second]; the first at 0 (default: the file's)"
    )
    file: str | None = Field(
        default=None,
        min_length=1,
        max_length=1000,
        description="CSV file with a point on each line, `second,requests per second`; relative to this "
        "file's folder (default: none). A run stores its points",
    )

    @field_validator("points_per_s")
    @classmethod
    def _in_order(cls, points: list[list[float]] | None) -> list[list[float]] | None:
        return None if points is None else _ascending(points)

    @model_validator(mode="after")
    def _has_one(self) -> "PointsOfRate":
        if (self.points_per_s is None) == (self.file is None):
            given = "neither" if self.file is None else "both"
            raise ValueError(f"{given} of points_per_s and file given; expected exactly one")
        if self.file is not None:  # harness.spec.rate_file puts the points in the place of the name
            raise ValueError(f"file {self.file!r} was not read; expected points_per_s")
        return self

    @property
    def _known(self) -> list[list[float]]:
        assert self.points_per_s is not None  # see _has_one
        return self.points_per_s

    @property
    def last_s(self) -> float:
        """When the rate changes last."""
        return self._known[-1][0]

    def points(self, duration_s: float) -> list[Line]:  # noqa: ARG002 - other shapes need it
        """Return the line of the rate in the measured window."""
        return [(at_s, rate) for at_s, rate in self._known]

    @property
    def in_words(self) -> str:
        """The rate in words."""
        return f"a line through {_few([f'{rate:g}/s at {at_s:g} s' for at_s, rate in self._known])}"


def _ascending(points: list[list[float]]) -> list[list[float]]:
    times_s = [at_s for at_s, _ in points]
    if times_s[0] != 0:
        raise ValueError(f"the first point is at {times_s[0]:g} s; expected 0")
    for earlier_s, later_s in pairwise(times_s):
        if later_s <= earlier_s:
            raise ValueError(f"{later_s:g} s after {earlier_s:g} s; expected ascending seconds")
    return points


def _few(words: Sequence[str]) -> str:
    return ", ".join(words) if len(words) <= 4 else f"{', '.join(words[:3])} and {len(words) - 3} more"


SHAPES: dict[str, type[Model]] = {
    "steps": Steps,
    "ramp": Ramp,
    "spike": Spike,
    "sine": Sine,
    "points": PointsOfRate,
}
RateShape = Steps | Ramp | Spike | Sine | PointsOfRate


def _branch(value: Any) -> str | None:
    if isinstance(value, dict):
        return str(value.get(SHAPE))
    return str(value.shape) if isinstance(value, RateShape) else NUMBER


RateOverTime = Annotated[
    Annotated[Rate, Tag(NUMBER)]
    | Annotated[Steps, Tag("steps")]
    | Annotated[Ramp, Tag("ramp")]
    | Annotated[Spike, Tag("spike")]
    | Annotated[Sine, Tag("sine")]
    | Annotated[PointsOfRate, Tag("points")],
    Discriminator(_branch),
]


def mean_per_s(rate: float | RateShape, duration_s: float) -> float:
    """Return the mean rate over the measured window."""
    return rate if isinstance(rate, int | float) else _line(rate, duration_s).area(duration_s) / duration_s


def peak_per_s(rate: float | RateShape, duration_s: float) -> float:
    """Return the highest rate in the measured window."""
    if isinstance(rate, int | float):
        return rate
    line = _line(rate, duration_s)
    return max(line.factor(duration_s), *(value for at_s, value in line.points if at_s <= duration_s))


def first_per_s(rate: float | RateShape, duration_s: float) -> float:
    """Return the rate at the start of the measured window. The warm-up has it, too."""
    return rate if isinstance(rate, int | float) else _line(rate, duration_s).factor(0.0)


def curve_of(rate: float | RateShape, duration_s: float) -> RateCurve | None:
    """Return the rate over the measured window as a multiple of its mean; None where it does not change."""
    if isinstance(rate, int | float):
        return None
    mean, line = mean_per_s(rate, duration_s), _line(rate, duration_s)
    return RateCurve([(at_s, value / mean) for at_s, value in line.points])


def _line(rate: RateShape, duration_s: float) -> RateCurve:
    return RateCurve(rate.points(duration_s))


class Bursts(Model):
    """Bursts of requests of all clients: the rate switches between two values, as chance has it.

    It is a Markov-modulated Poisson process of two states: W. Fischer, K. Meier-Hellstern, The
    Markov-modulated Poisson process (MMPP) cookbook, Performance Evaluation 18, 1993.
    """

    factor: Annotated[float, Field(gt=1, le=1000, allow_inf_nan=False)] = Field(
        description="rate in a burst / rate between bursts; the mean rate stays what rate_per_s says"
    )
    mean_s: Annotated[float, Field(ge=0.05, le=600, allow_inf_nan=False)] = Field(
        description="mean length of a burst, seconds; lengths are exponential"
    )
    every_s: Annotated[float, Field(gt=0.05, le=3600, allow_inf_nan=False)] = Field(
        description="mean time from the start of a burst to the start of the next one, seconds"
    )

    @model_validator(mode="after")
    def _has_pauses(self) -> "Bursts":
        if self.mean_s >= self.every_s:
            raise ValueError(
                f"mean_s {self.mean_s:g} is too long; expected less than every_s, {self.every_s:g}"
            )
        return self

    @property
    def share(self) -> float:
        """The share of the time that is in bursts."""
        return self.mean_s / self.every_s

    @property
    def least(self) -> float:
        """The rate between bursts, as a multiple of the mean rate."""
        return 1 / (1 + self.share * (self.factor - 1))

    @property
    def most(self) -> float:
        """The rate in bursts, as a multiple of the mean rate."""
        return self.factor * self.least

    @property
    def in_words(self) -> str:
        """The bursts in words."""
        return (
            f"bursts of {self.mean_s:g} s every {self.every_s:g} s on average, {self.factor:g} times the "
            "rate between them"
        )


def changes_at_times(rate: float | RateShape | None) -> bool:
    """Return whether a rate changes at times that the file gives: such a window cannot be cut short."""
    return not isinstance(rate, int | float | Ramp | None)
