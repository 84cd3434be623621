"""How many examples tests try: few while you work, all of them in `make test`."""

import os

THOROUGH = os.environ.get("LB_LAB_THOROUGH", "0") != "0"


def examples(number: int) -> int:
    """Return how many examples of a property are tried: `number`, or a sixth of it while you work."""
    return number if THOROUGH else max(10, number // 6)
