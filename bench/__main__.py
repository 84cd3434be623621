"""`python -m bench`: what the lab costs, as ratios and sums measured in this one run, beside the budgets."""

import argparse
import statistics

from bench import generator, startup

FIRST_REQUEST_BUDGET_S = 1.5
CELL_BUDGET_S, RUN_BUDGET_S = 1.0, 4.0
CPU_BUDGET, LAG_BUDGET = 0.75, 0.5


def main() -> None:
    """Measure everything and print one line a budget."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="repetitions of each measurement (default 3)")
    rounds = parser.parse_args().rounds
    first_s = [startup.first_request_s() for _ in range(rounds)]
    besides_s, cells = startup.besides_load_s()
    ratios = generator.measure(rounds)
    print()
    _tell("command to first measured request, s", first_s, FIRST_REQUEST_BUDGET_S)
    _tell(
        f"sticky, {cells} cells: all that is not load, s", [besides_s], cells * CELL_BUDGET_S + RUN_BUDGET_S
    )
    _tell("client CPU a recorded call / stock gevent user", ratios["cpu"], CPU_BUDGET)
    _tell("the same with a cookie jar", ratios["cpu with a cookie jar"], CPU_BUDGET)
    _tell("send lag p99 at 1,200/s / the same plan on gevent", ratios["lag"], LAG_BUDGET)


def _tell(what: str, values: list[float], budget: float) -> None:
    middle = statistics.median(values)
    word = "within" if middle <= budget else "OVER"
    print(f"{what:<54}{middle:>7.2f}  ({min(values):.2f} to {max(values):.2f})  {word} {budget:g}")


if __name__ == "__main__":
    main()
