"""`python -m bench` measures what the lab itself costs, and compares it with the budgets.

All ratios compare figures of one run on one machine. The load generator's tables go into docs/generator.md.
"""

import argparse
import statistics
from collections.abc import Iterator

from bench import generator, startup
from bench.capacity.page import filled
from bench.generator_page import Found, ratios, span, speed_ratios, write_page

FIRST_REQUEST_BUDGET_S = 1.0
VERDICT_BUDGET = 1.25  # command to verdict / seconds of load
CELL_BUDGET_S, RUN_BUDGET_S = 1.0, 4.0
WHOLE_RUNS = 3  # of `sticky`, each three quarters of a minute
# The lab's CPU time of a call / the tool's. In a closed loop: 0.8 of its calls.
CPU_BUDGETS = {
    ("ghz", 300): 1.0,
    ("ghz", 600): 1.0,
    ("ghz", 1200): 1.0,
    ("stock Locust", 300): 0.5,
    ("stock Locust", 600): 0.5,
    ("ghz", 0): 1.25,
}
LATE_BUDGET_MS = {"p50": 0.1, "p99": 2.0}  # at LATE_RATE_PER_S
LATE_RATE_PER_S = 600

Row = tuple[str, str, str, str]


def main() -> None:
    """Measure all costs. Print one line for each budget, and write it into the page, too."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="repetitions of each measurement (default 5)")
    rounds = parser.parse_args().rounds
    peers = generator.installed_peers()
    first_s = [(startup.first_request_s(), startup.first_request_s("--no-prediction")) for _ in range(rounds)]
    runs = [startup.run_cost() for _ in range(min(rounds, WHOLE_RUNS))]
    cells = min(run.cells for run in runs)
    found = generator.measure(peers, rounds)
    write_page(generator.PAGE, found, peers)
    rows = [
        _row("command to first measured request, s", [first for first, _ in first_s], FIRST_REQUEST_BUDGET_S),
        _row("the same with `--no-prediction`, s", [first for _, first in first_s], FIRST_REQUEST_BUDGET_S),
        _row(
            "`sticky`: command to verdict / seconds of load",
            [run.verdict_s / run.load_s for run in runs],
            VERDICT_BUDGET,
        ),
        _row(
            f"`sticky`, {cells} cells: all time without load, s",
            [run.total_s - run.load_s for run in runs],
            cells * CELL_BUDGET_S + RUN_BUDGET_S,
        ),
        *generator_budgets(found),
    ]
    print("", *(" | ".join(row) for row in rows), sep="\n")
    generator.PAGE.write_text(filled(generator.PAGE.read_text(), "budgets", iter(rows)))


def generator_budgets(found: list[Found]) -> Iterator[Row]:
    """Yield a row for each budget of the load generator: what, the figure, the budget, whether it is met."""
    for (peer, rate_per_s), budget in CPU_BUDGETS.items():
        what = f"at {rate_per_s:,}/s" if rate_per_s else "in a closed loop"
        yield _row(f"CPU time of a recorded call / {peer}'s, {what}", ratios(found, peer, rate_per_s), budget)
    yield _row(
        "ghz's calls/s / the lab's, in a closed loop", speed_ratios(found, "ghz"), CPU_BUDGETS["ghz", 0]
    )
    own = [one.late_ms for one in found if (one.peer, one.rate_per_s) == ("lab", LATE_RATE_PER_S)]
    for name, budget in LATE_BUDGET_MS.items():
        yield _row(f"sent late at {LATE_RATE_PER_S}/s, {name}, ms", [late[name] for late in own], budget)


def _row(what: str, values: list[float], budget: float) -> Row:
    if not values:
        return what, "not measured", f"{budget:g}", ""
    met = statistics.median(values) <= budget
    return what, span(values, ".2f"), f"{budget:g}", "met" if met else "**missed**"


if __name__ == "__main__":
    main()
