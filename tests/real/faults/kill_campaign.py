"""Kills the lab many times over, to see that each time it cleans up and says what happened.

    python -m tests.real.faults.kill_campaign SEED FIRST [LAST] [--record FILE] [--at-once 2] [--keep FOLDER]

Each case starts a short run and sends a signal to one of its processes at a random moment. kill_cases.py
draws the case; kill_checks.py says what must be true afterwards. Without LAST one case is repeated. With
--record each case becomes a line of JSON in FILE, and a case that FILE has already is not run again. So a
campaign can be interrupted and continued. The exit status is 1 if something was not as promised.
"""

import argparse
import json
import os
import signal
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.real.faults.kill_cases import draw_case
from tests.real.faults.kill_checks import findings_of
from tests.real.faults.struck_run import strike
from tests.real.lab_process import MARK

MAX_AT_ONCE = 2


def try_case(seed: int, number: int, folder: Path) -> dict[str, Any]:
    """Run one case in a new folder below `folder`; return the case, what happened, and the findings."""
    case = draw_case(seed, number)
    own = folder / f"{seed}-{number}"
    own.mkdir(parents=True)
    began_s = time.monotonic()
    struck = strike(case, own)
    findings = findings_of(case, struck, own)
    told = (own / "stderr").read_text(errors="replace").strip()
    took_s = round(time.monotonic() - began_s, 1)
    return {**asdict(case), **asdict(struck), "stderr": told, "took_s": took_s, "findings": findings}


def try_cases(seed: int, numbers: Iterable[int], at_once: int, folder: Path) -> Iterator[dict[str, Any]]:
    """Run the cases in folders below `folder`; yield the outcome of each. Call it in the main thread."""
    _let_runs_have_all_signals()
    with ThreadPoolExecutor(at_once) as pool:
        yield from pool.map(lambda number: try_case(seed, number, folder), numbers)


def _let_runs_have_all_signals() -> None:
    """Go on ignoring the signals that are ignored, as under nohup, but not in the processes to start."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, lambda *_: None)  # a handler is not inherited; SIG_IGN is


def counts(outcomes: list[dict[str, Any]]) -> str:
    """Return how many cases there were of each sort, as lines of text."""
    lines = [f"{len(outcomes)} cases, {sum(bool(each['findings']) for each in outcomes)} with findings"]
    for key in ("kind", "target", "signal", "at_stage", "status"):
        found = Counter(str(each[key]) for each in outcomes)
        lines.append(f"{key}: " + ", ".join(f"{name} {count}" for name, count in sorted(found.items())))
    return "\n".join(lines)


def recorded(record: Path, seed: int) -> list[dict[str, Any]]:
    """Return the outcomes of that seed in the file, which may not exist yet."""
    lines = record.read_text().splitlines() if record.exists() else []
    return [outcome for outcome in map(json.loads, lines) if outcome["seed"] == seed]


def main() -> int:
    """Carry out the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("seed", type=int)
    parser.add_argument("first", type=int)
    parser.add_argument("last", type=int, nargs="?")
    parser.add_argument("--record", type=Path)
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="leave the files of the cases there")
    parser.add_argument("--at-once", type=int, choices=range(1, MAX_AT_ONCE + 1), default=1)
    options = parser.parse_args()
    os.environ.setdefault(MARK, uuid.uuid4().hex)
    outcomes = recorded(options.record, options.seed) if options.record else []
    done = {outcome["number"] for outcome in outcomes}
    last = options.first if options.last is None else options.last
    numbers = [number for number in range(options.first, last + 1) if number not in done]
    with tempfile.TemporaryDirectory(prefix="kill-campaign-") as temporary:
        folder = options.keep or Path(temporary)
        for outcome in try_cases(options.seed, numbers, options.at_once, folder):
            outcomes.append(outcome)
            if options.record:
                with options.record.open("a") as file:
                    file.write(json.dumps(outcome) + "\n")
            if outcome["findings"] or options.last is None:
                print(json.dumps(outcome, indent=1), flush=True)
    print(counts(outcomes))
    return int(any(outcome["findings"] for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(main())
