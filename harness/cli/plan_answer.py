"""Prints the answer of `plan` at 80 columns: the fleet, a table of policies, what to do, what would help."""

import math
import textwrap
from collections.abc import Iterator

from rich.console import Console
from rich.text import Text

from harness.plan.advice import LABELS, MEANINGS, Plan, assumptions, changes, recommendation
from harness.plan.fleet_forecast import Answer, Band
from harness.plan.placements import RARE, heaviest_per_s
from harness.plan.question import FleetQuestion, duration

WIDTH = 80
BAD, GOOD = "bold red", "green"
BANDS = "(5-95 %)"
UNITS = (
    ("ms", 1.0, 1e3),
    ("s", 1e3, 1e5),
    ("min", 6e4, 6e6),
    ("h", 3.6e6, math.inf),
)  # and up to how many ms
LABEL = 12  # characters of a policy's label
_HEAD = (
    f"{'':{LABEL}} {'busiest / fair':>14} {'over-':>5} {'p50':>15} {'p99':>15} {'tar-':>5} {'carries':>7}",
    f"{'policy':{LABEL}} {BANDS:>14} {'load':>5} {BANDS:>15} {BANDS:>15} {'gets':>5} {'/s':>7}",
)


def print_answer(plan: Plan, console: Console) -> None:
    """Print the whole answer. Bad figures are in colour where the console has colours."""
    for line in _fleet(plan):
        _print(console, line)
    console.print()
    for line in _HEAD:
        _print(console, line, "bold")
    for rule, answer in plan.answers.items():
        _print(console, _row(LABELS[rule], answer), _style(plan, answer))
    console.print()
    for rule, meaning in MEANINGS.items():
        _paragraph(console, f"{LABELS[rule]:{LABEL}} ", f"{meaning}.", "dim")
    _section(console, "Recommendation", " ".join(recommendation(plan)))
    _print(console, "\nWhat would change it, if sessions are sticky", "bold")
    for label, text in changes(plan):
        _paragraph(console, f"{label:{LABEL}} ", text)
    _section(console, "Assumptions", " ".join(assumptions(plan.question)))


def _rates(own: FleetQuestion) -> str:
    if own.recorded is None:
        return f"skew {own.skew:g}"
    return f"{len(own.recorded.at_s):,} requests of a trace"


def _fleet(plan: Plan) -> Iterator[str]:
    own = plan.question
    yield (
        f"{own.clients:,} clients send {own.rate_per_s:,.5g} requests/s ({_rates(own)}); the busiest one "
        f"{heaviest_per_s(own):,.4g}/s."
    )
    yield (
        f"{own.targets:,} targets x {own.slots} slots, {duration(own.service_ms)} a request: "
        f"{own.target_per_s:,.4g}/s each. {own.utilisation:.0%} used if spread evenly."
    )
    by_default = "" if own.objective else " (10 service times; --slo names another)"
    yield f"Objective: {own.goal.in_words()}{by_default}."


def _row(label: str, answer: Answer) -> str:
    capacity = f"{'>' if answer.capacity_is_least else ''}{answer.capacity_per_s:,.0f}"
    targets = f">{answer.targets_tried:,}" if answer.targets is None else f"{answer.targets:,}"
    return (
        f"{label:{LABEL}} {_ratios(answer.busiest):>14} {answer.overload:>5.0%} "
        f"{_times(answer.p50_ms):>15} {_times(answer.p99_ms):>15} {targets:>5} {capacity:>7}"
    )


def _ratios(band: Band) -> str:
    return f"{band.median:.2f} ({band.low:.1f}-{band.high:.1f})"


def _times(band: Band) -> str:
    """Return a band of times with one unit, as "6.3 s (0.36-29)"."""
    unit, ms = next((unit, ms) for unit, ms, most in UNITS if band.median < most)
    style = ".0f" if unit == "ms" else ".2g"
    low, median, high = (format(value / ms, style) for value in (band.low, band.median, band.high))
    return f"{median} {unit} ({low}-{high})"


def _style(plan: Plan, answer: Answer) -> str:
    if answer.overload >= RARE or answer.goal_ms.median > plan.question.goal.at_most_ms:
        return BAD
    return GOOD if answer.goal_ms.high <= plan.question.goal.at_most_ms else ""


def _section(console: Console, heading: str, text: str) -> None:
    _print(console, f"\n{heading}", "bold")
    _paragraph(console, "", text)


def _paragraph(console: Console, first: str, text: str, style: str = "") -> None:
    for line in textwrap.wrap(text, WIDTH, initial_indent=first, subsequent_indent=" " * len(first)):
        _print(console, line, style)


def _print(console: Console, line: str, style: str = "") -> None:
    console.print(Text(line.rstrip(), style), soft_wrap=True)
