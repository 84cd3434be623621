"""`python -m bench` measures what the lab itself costs, and compares it with the budgets.

All ratios compare figures of one run on one machine. The load generator's tables go into docs/generator.md.
"""

import argparse
import statistics

from bench import generator, startup
from bench.generator_page import Found, ratios, write_page

FIRST_REQUEST_BUDGET_S = 1.5
CELL_BUDGET_S, RUN_BUDGET_S = 1.0, 4.0
# The lab's CPU time of a call / the tool's. In a closed loop: 0.8 of its calls for each CPU second.
CPU_BUDGETS = {
    ("ghz", 300): 1.0,
    ("ghz", 600): 1.0,
    ("ghz", 1200): 1.0,
    ("stock Locust", 600): 0.5,
    ("ghz", 0): 1.25,
}
LATE_BUDGET_MS = {"p50": 0.1, "p99": 2.0}  # at LATE_RATE_PER_S
LATE_RATE_PER_S = 600


def main() -> None:
    """Measure all costs and print one line for each budget."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="repetitions of each measurement (default 5)")
    rounds = parser.parse_args().rounds
    peers = generator.installed_peers()
    first_s = [startup.first_request_s() for _ in range(rounds)]
    overhead_s, cells = startup.overhead_s()
    found = generator.measure(peers, rounds)
    write_page(generator.PAGE, found, peers)
    print()
    _print_line("command to first measured request, s", first_s, FIRST_REQUEST_BUDGET_S)
    _print_line(
        f"sticky, {cells} cells: all time without load, s", [overhead_s], cells * CELL_BUDGET_S + RUN_BUDGET_S
    )
    _print_generator(found)


def _print_generator(found: list[Found]) -> None:
    for (peer, rate_per_s), budget in CPU_BUDGETS.items():
        what = f"at {rate_per_s:,}/s" if rate_per_s else "in a closed loop"
        values = ratios(found, peer, rate_per_s)
        _print_line(f"CPU of a recorded call / {peer}'s {what}", values, budget)
    own = [one.late_ms for one in found if (one.peer, one.rate_per_s) == ("lab", LATE_RATE_PER_S)]
    for name, budget in LATE_BUDGET_MS.items():
        what = f"sent late at {LATE_RATE_PER_S}/s, {name}, ms"
        _print_line(what, [late[name] for late in own], budget)


def _print_line(what: str, values: list[float], budget: float) -> None:
    """Print the median, the range, and whether the median is within the budget."""
    if not values:
        print(f"{what:<54}not measured (budget {budget:g})")
        return
    median = statistics.median(values)
    word = "within" if median <= budget else "OVER"
    print(f"{what:<54}{median:>7.2f}  ({min(values):.2f} to {max(values):.2f})  {word} {budget:g}")


if __name__ == "__main__":
    main()
