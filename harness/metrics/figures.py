"""Figures for people: about four digits, and a unit where the metric's name does not say it."""

from harness.metrics.spread import Number

# The names of ratios, shares and indices say what they are.
SHOWN_UNITS = {
    *("ms", "bytes", "requests", "requests/s", "replicas", "sessions", "connections", "streams", "breaks"),
}


def show(value: Number, unit: str = "") -> str:
    """Return a figure as text: about four digits, and its unit unless it is a ratio."""
    if value is None:
        return "not measured"
    text = f"{value:,.0f}" if abs(value) >= 1000 or value == int(value) else f"{value:.4g}"
    if text in ("0", "1") and value != int(value):
        text = f"{value:.7g}"  # 0.99998 misses a bound of 1, and must not read as 1
    return f"{text} {unit}" if unit in SHOWN_UNITS else text
