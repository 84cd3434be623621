"""`python -m bench.observe [LINES]`: what it costs to read an ALB's log and to compute its figures.

Writes a synthetic log, gzip, and observes it in a new process, so that the memory is that of observing alone.
The aim is 10 million lines in 30 s and 2 GB on two cores, so 3 s a million. The default is 1 million lines.
Prints seconds, CPU seconds and peak memory, and seconds and CPU seconds for each million lines.
"""

import argparse
import json
import multiprocessing
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

from docs.examples.alb_log import Traffic, write_log

MILLION = 1_000_000


def main() -> None:
    """Measure once, and print the figures as JSON."""
    parser = argparse.ArgumentParser(prog="python -m bench.observe", description=__doc__)
    parser.add_argument("lines", type=int, nargs="?", default=MILLION)
    parser.add_argument("--clients", type=int, default=20_000)
    parser.add_argument("--log", type=Path, help="observe this log instead of a synthetic one")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        path = options.log or Path(scratch) / "synthetic.log.gz"
        if options.log is None:
            # The synthetic addresses have room for 36,000 clients.
            write_log(path, Traffic(options.lines, 500.0, options.clients, 1.0, 12, "sticky"))
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            print(json.dumps(pool.apply(observe, (path,)), indent=1))


def observe(path: Path) -> dict[str, Any]:
    """Return the cost of each step, the imports left out of the times."""
    from harness.traces.figures import figures_of
    from harness.traces.model import model_of
    from harness.traces.read import ReadOptions, read_trace

    started, cpu = time.perf_counter(), time.process_time()
    steps: dict[str, float] = {}

    def step(name: str) -> None:
        steps[name] = round(time.perf_counter() - started - sum(steps.values()), 2)

    trace = read_trace([path], ReadOptions(key=b"0123456789abcdef"))
    step("read")
    figures = figures_of(trace)
    step("figures")
    model_of(trace, figures)
    step("model")
    seconds, cpu_s = time.perf_counter() - started, time.process_time() - cpu
    millions = trace.broken.lines / MILLION
    return {
        "lines": trace.broken.lines,
        "seconds": round(seconds, 2),
        "cpu_s": round(cpu_s, 2),
        "steps_s": steps,
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "seconds_per_million": round(seconds / millions, 2),
        "cpu_s_per_million": round(cpu_s / millions, 2),
    }


if __name__ == "__main__":
    main()
