"""How much the tests try of what has no end: little while you work, all of it in `make test`."""

import os

THOROUGH = "LB_LAB_THOROUGH" in os.environ


def examples(number: int) -> int:
    """Return how many examples of a property are tried: `number` of them, or a sixth while you work."""
    return number if THOROUGH else max(10, number // 6)
