"""`python -m bench` measures what the lab itself costs, and compares it with the budgets.

All ratios compare figures of one run on one machine.
"""

import argparse
import statistics

from bench import generator, startup

FIRST_REQUEST_BUDGET_S = 1.5
CELL_BUDGET_S, RUN_BUDGET_S = 1.0, 4.0
CPU_BUDGET, LAG_BUDGET = 0.75, 0.5


def main() -> None:
    """Measure all costs and print one line for each budget."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="repetitions of each measurement (default 3)")
    rounds = parser.parse_args().rounds
    first_s = [startup.first_request_s() for _ in range(rounds)]
    overhead_s, cells = startup.overhead_s()
    ratios = generator.measure(rounds)
    print()
    _print_line("command to first measured request, s", first_s, FIRST_REQUEST_BUDGET_S)
    _print_line(
        f"sticky, {cells} cells: all time without load, s", [overhead_s], cells * CELL_BUDGET_S + RUN_BUDGET_S
    )
    _print_line("client CPU a recorded call / stock gevent user", ratios["cpu"], CPU_BUDGET)
    _print_line("the same with a cookie jar", ratios["cpu with a cookie jar"], CPU_BUDGET)
    _print_line("send lag p99 at 1,200/s / the same plan on gevent", ratios["lag"], LAG_BUDGET)


def _print_line(what: str, values: list[float], budget: float) -> None:
    """Print the median, the range, and whether the median is within the budget."""
    median = statistics.median(values)
    word = "within" if median <= budget else "OVER"
    print(f"{what:<54}{median:>7.2f}  ({min(values):.2f} to {max(values):.2f})  {word} {budget:g}")


if __name__ == "__main__":
    main()
