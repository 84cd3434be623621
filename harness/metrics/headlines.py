"""Names, figures and sentences of metrics for people, from the registry."""

from __future__ import annotations

import math
from collections.abc import Iterable

from harness.metrics.metric import SHOWN_UNITS, Number
from harness.metrics.registry import METRICS

DIGITS, MOST_DIGITS = 3, 17


def headline_of(metric: str) -> str:
    """Return the metric's name for people, "p99 latency"; without one its dotted name in words."""
    return METRICS[metric].headline or metric.replace(".", " ").replace("_", " ")


def clause_of(metric: str, figure: str) -> str:
    """Return what the figure says of an arm: "the p99 latency was 80 ms"."""
    return (METRICS[metric].clause or f"the {headline_of(metric)} was {{}}").format(figure)


def figure_in_words(metric: str, value: Number, bounds: Iterable[float] = ()) -> str:
    """Return a figure with its unit, about three digits, and as many as tell it from each of `bounds`.

    A share is a percentage: 0.416 is "41.6 %". What is counted is singular where it is one: "1 request".
    """
    unit = METRICS[metric].unit
    if value is None or math.isinf(value):
        return "not measured" if value is None else "more than any answer took"
    scale = 100 if unit == "share" else 1
    text = digits_of(scale * value, [scale * bound for bound in (1, *bounds)] if scale > 1 else bounds)
    if unit == "share":
        return f"{text} %"
    if unit not in SHOWN_UNITS:
        return text
    return f"{text} {unit.removesuffix('s') if text == '1' and unit != 'ms' else unit}"


def digits_of(value: float, bounds: Iterable[float] = ()) -> str:
    """Return a number with three digits, and with more where it would read like 0, 1 or one of `bounds`."""
    others = [bound for bound in (0, 1, *bounds) if bound != value]
    for digits in range(DIGITS, MOST_DIGITS):
        text = _text(value, digits)
        if float(text.replace(",", "")) not in others:
            break
    return text


def _text(value: float, digits: int) -> str:
    return f"{value:,.0f}" if abs(value) >= 10**digits else f"{float(f'{value:.{digits}g}'):,.{digits}g}"
