"""`python -m bench.disturbed`: what becomes of verdicts when other processes take the machine now and then.

Each experiment runs at its default length, first on the machine as it is, then while busy processes take all
cores for 0.5 to 1.5 s, every 8 to 20 s at random (`--lasting`: a third of the time). One line of JSON a run.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
EXPERIMENTS = (
    *("sticky", "round_robin", "no_cookie_jar", "pick_first", "l4_vs_l7"),
    *("canary", "hash_keys", "slow_replica", "sticky_vs_cache", "streams"),
)
BUSY = "import sys, time\nend = time.monotonic() + float(sys.argv[1])\nwhile time.monotonic() < end: pass"
WEIGHT = "-10"  # of the busy processes' session, where Linux shares CPU time by sessions (autogroups)
MOST_S = 1200.0  # one run

Times = tuple[float, float]  # shortest and longest, in seconds
SHORT: tuple[Times, Times] = ((8.0, 20.0), (0.5, 1.5))  # pauses, disturbances
LASTING: tuple[Times, Times] = ((1.0, 3.0), (0.5, 1.5))


@contextmanager
def disturbances(pauses_s: Times, lengths_s: Times, seed: int) -> Iterator[list[float]]:
    """Take all cores now and then, until the block ends. The list has the length (s) of each disturbance."""
    rng, over, lengths = random.Random(seed), threading.Event(), list[float]()

    def disturb() -> None:
        while not over.wait(rng.uniform(*pauses_s)):
            lengths.append(rng.uniform(*lengths_s))
            _take_all_cores(lengths[-1])

    thread = threading.Thread(target=disturb)
    thread.start()
    try:
        yield lengths
    finally:
        over.set()
        thread.join()


def _take_all_cores(seconds: float) -> None:
    words = [sys.executable, "-S", "-c", BUSY, f"{seconds}"]
    busy = [subprocess.Popen(words, start_new_session=True) for _ in range(os.cpu_count() or 1)]
    for process in busy:
        with suppress(OSError):  # no autogroups, or not allowed
            Path(f"/proc/{process.pid}/autogroup").write_text(WEIGHT)
    for process in busy:
        process.wait()


def run(name: str, results: Path) -> dict[str, object]:
    """Run one experiment at its default length; return verdict, duration and how many cells were repeated."""
    argv = [sys.executable, str(ROOT / "run_experiment.py"), name, "--quiet", "--results", str(results)]
    started_s = time.monotonic()
    done = subprocess.run(argv, capture_output=True, text=True, timeout=MOST_S, check=False)
    seconds = time.monotonic() - started_s
    summary = json.loads((results / name / "latest" / "summary.json").read_text())
    findings = summary["expectations"]
    return {
        "experiment": name,
        "verdict": summary["verdict"],
        "status": done.returncode,
        "seconds": round(seconds, 1),
        "cells": len(summary["machine"]),
        "repeated": len(summary["repeated_cells"]),
        "undecided": [
            f"{one['text']}: {one['figures']}" for one in findings if one["verdict"] == "inconclusive"
        ],
        "refuted": [f"{one['text']}: {one['figures']}" for one in findings if one["verdict"] == "refuted"],
        "invalid": summary["invalid_reasons"],
    }


def main() -> None:
    """Run the experiments; print one line of JSON a run, and the totals."""
    parser = argparse.ArgumentParser(prog="python -m bench.disturbed", description=__doc__)
    parser.add_argument("--rounds", type=int, default=2, help="disturbed runs of each experiment (default 2)")
    parser.add_argument("--calm", type=int, default=1, help="runs without disturbances before (default 1)")
    parser.add_argument("--lasting", action="store_true", help="take the cores a third of the time")
    parser.add_argument("experiments", nargs="*", default=EXPERIMENTS)
    options = parser.parse_args()
    pauses_s, lengths_s = LASTING if options.lasting else SHORT
    verdicts = {"calm": Counter[str](), "disturbed": Counter[str]()}
    with tempfile.TemporaryDirectory() as folder:
        for name in options.experiments:
            for number in range(options.calm + options.rounds):
                kind = "calm" if number < options.calm else "disturbed"
                results = Path(folder) / f"{kind}{number}"
                if kind == "calm":
                    found = run(name, results)
                else:
                    with disturbances(pauses_s, lengths_s, number) as lengths:
                        found = run(name, results)
                    found["disturbances"] = len(lengths)
                verdicts[kind][str(found["verdict"])] += 1
                print(json.dumps({"kind": kind, **found}), flush=True)
    print(json.dumps({kind: dict(counts) for kind, counts in verdicts.items()}))


if __name__ == "__main__":
    main()
