"""The questions that a learner answers before anything is shown, each with what was measured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from harness.analysis.moments import UNARY
from harness.metrics.metric import show
from harness.record.summary import ArmSummary
from harness.site.run_facts import RunFacts
from harness.site.sufferers import TIMES_USUAL, Sufferers, sufferers_of

MAX_BARS = 5  # replicas with a bar of their own; the others have one together
LOG_FROM_MS, LOG_DECADES = 1, 5  # the scale of waiting times: 1 ms to 100 s
PLACES = ("Busiest replica", "2nd", "3rd", "4th", "5th")


@dataclass(frozen=True)
class Bar:
    """The share of one replica, or of several. percent: of the answered requests, as it was measured.

    Over repeats it is a median, so the percentages of all bars need not add up to 100.
    """

    label: str
    replicas: int
    percent: float


@dataclass(frozen=True)
class Mark:
    """A figure of one arm to be placed on a scale. at_least: it is known only what it is at least."""

    arm: str
    value: float
    text: str
    at_least: bool = False


@dataclass(frozen=True)
class Scale:
    """Figures to be placed on one scale: `log` in ms, or `percent`."""

    name: str
    question: str
    kind: Literal["log", "percent"]
    marks: Sequence[Mark]


@dataclass(frozen=True)
class Option:
    """One answer to choose."""

    value: str
    text: str


@dataclass(frozen=True)
class Choices:
    """A question with answers to choose from. answer: the right one's value; measured: it in words."""

    question: str
    options: Sequence[Option]
    answer: str
    measured: str

    @property
    def right(self) -> str:
        """The right answer in words."""
        return next(option.text for option in self.options if option.value == self.answer)


@dataclass(frozen=True)
class Prediction:
    """All that a learner predicts of one run. bars_arm: whose bars they are. word: how the run knows."""

    bars_arm: str
    bars: Sequence[Bar]
    scales: Sequence[Scale]
    choices: Choices | None
    word: Literal["measured", "computed"] = "measured"

    @property
    def data(self) -> Mapping[str, Any]:
        """What the page's script needs, as JSON."""
        return {
            "word": self.word,
            "bars": [bar.percent for bar in self.bars],
            "scales": {
                scale.name: [{"arm": in_words(mark.arm), **_without_arm(mark)} for mark in scale.marks]
                for scale in self.scales
            },
            "choice": self.choices and {"answer": self.choices.answer, "measured": self.choices.measured},
        }


def _without_arm(mark: Mark) -> dict[str, Any]:
    return {"value": mark.value, "text": mark.text, "at_least": mark.at_least}


def in_words(arm: str) -> str:
    """Return the name of an arm for people."""
    return arm.replace("_", " ")


def prediction_of(facts: RunFacts) -> Prediction | None:
    """Return what can be predicted of a run; None where no request was answered."""
    answered = [(name, arm) for name, arm in facts.compared if arm.share_by_rank]
    if not answered:
        return None
    # The arm that is the least even has most to guess.
    name, arm = max(answered, key=lambda pair: pair[1].share_by_rank[0])
    scales = [scale for scale in (_waits(facts.compared), _errors(facts)) if scale is not None]
    word: Literal["measured", "computed"] = "computed" if facts.stored.simulated else "measured"
    return Prediction(name, list(_bars(arm.share_by_rank)), scales, _who_suffers(facts, name), word)


def _bars(shares: Sequence[float]) -> Iterator[Bar]:
    single = len(shares) if len(shares) <= MAX_BARS else MAX_BARS - 1
    for label, share in zip(PLACES, shares[:single], strict=False):
        yield Bar(label, 1, round(100 * share, 1))
    if rest := shares[single:]:
        yield Bar(f"The {len(rest)} others together", len(rest), round(100 * sum(rest), 1))


def _waits(arms: Sequence[tuple[str, ArmSummary]]) -> Scale | None:
    """Return the scale for p99; None where an arm has no p99."""
    marks = []
    for name, arm in arms:
        lower = arm.at_least.get("latency_ms.p99")
        value = arm.metrics["latency_ms.p99"] if lower is None else lower
        if value is None:
            return None
        marks.append(Mark(name, value, time_in_words(value), lower is not None))
    question = "How long do the slowest of the requests take? Place p99: 99 of 100 requests are faster."
    return Scale("p99", question, "log", marks)


def _errors(facts: RunFacts) -> Scale | None:
    """Return the scale for failed requests; None where nothing that makes requests fail is planned."""
    experiment = facts.run.experiment
    arms = experiment.arms.values()
    # A deadline of an arm's own is there to be missed; that of the workload is only a safeguard.
    if not any(arm.deadline_ms is not None or experiment.events_of(arm) for arm in arms):
        return None
    marks = []
    for name, arm in facts.compared:
        percent = 100 * (arm.metrics["error_share"] or 0)
        marks.append(Mark(name, percent, f"{show(round(percent, 2))} %"))
    return Scale("errors", "How many of 100 requests fail?", "percent", marks)


def time_in_words(milliseconds: float) -> str:
    """Return a time with two or three digits, in ms or s."""
    if milliseconds >= 1000:
        return f"{milliseconds / 1000:.3g} s"
    return f"{milliseconds:.3g} ms" if milliseconds >= 1 else f"{milliseconds:.2f} ms"


def _who_suffers(facts: RunFacts, arm: str) -> Choices | None:
    """Return the question of who suffers; None where clients are too few, or where calls are streams."""
    if set(facts.run.experiment.workload.calls) != {UNARY}:
        return None
    base = next((name for name, _ in facts.compared if name != arm), arm)
    found = sufferers_of(facts.run, arm, base)
    if found is None:
        return None
    of_base = "of the same arm" if base == arm else f"under {in_words(base)}"
    question = (
        f"Who suffers under {in_words(arm)}? Here a client suffers if one in ten of its requests takes more "
        f"than {TIMES_USUAL} times as long as for a typical client {of_base}."
    )
    skewed = facts.run.experiment.workload_of(facts.run.experiment.variants[arm].arm).skew > 0
    options = [
        Option("nobody", "Nobody: all clients wait about as long as usual"),
        Option("busiest", "Only those that send most" if skewed else "Only those that happen to send most"),
        Option("some", "Some clients, and not only those that send most"),
        Option("most", "Most of the clients"),
    ]
    return Choices(question, options, found.who, _measured_in_words(found))


def _measured_in_words(found: Sufferers) -> str:
    usual = time_in_words(found.usual_ms)
    text = f"In repeat {found.repeat}, {found.suffering} of {found.clients} clients suffered. "
    if found.suffering and found.suffering < found.clients:
        text += f"The client that sends most was {'one' if found.busiest_suffers else 'not one'} of them. "
    return f"{text}For a typical client, one request in ten takes more than {usual}."
