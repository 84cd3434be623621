"""`python -m bench.capacity`: what one core carries, measured point by point into a JSON file.

A file that is there already is continued: what it has is not measured again.
"""

import argparse
import json
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.capacity_cell import measure
from bench.capacity_points import Point, points
from bench.capacity_usage import others_cores
from harness.provenance import host, versions
from harness.record import write_json
from harness.testbed.local import LocalTestbed

SCHEMA = 1
CALM_CORES = 0.25  # what others may take; the machine's own housekeeping is below half of that
MOST_TRIES = 3
LOOK_S, PATIENCE_S = 0.5, 20.0
DEFAULT_OUT = Path(__file__).resolve().parent.parent / "results" / "capacity" / "capacity.json"


def main() -> None:
    """Measure the points that the file lacks, and append each as soon as it is there."""
    options = _options()
    options.out.parent.mkdir(parents=True, exist_ok=True)
    record = read_record(options.out)
    record["machine"] = options.machine or record["machine"]
    lacking = [point for point in points(options.quick) if not _has(record, point)][: options.most]
    with tempfile.TemporaryDirectory() as scratch, LocalTestbed(Path(scratch) / "logs") as testbed:
        for number, point in enumerate(lacking):
            measured = _calmest(point, testbed, Path(scratch) / f"point-{number}")
            record["points"].append(measured)
            write_json(options.out, record)
            print(_line(measured), flush=True)
    left = len([point for point in points(options.quick) if not _has(record, point)])
    print(f"{options.out}: {len(record['points'])} points, {left} still to measure")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.capacity", description=__doc__)
    parser.add_argument("--out", type=Path, default=DEFAULT_OUT, metavar="FILE", help="default %(default)s")
    parser.add_argument("--quick", action="store_true", help="one round of every other point: a look")
    parser.add_argument("--most", type=int, metavar="N", help="stop after N points; the next call goes on")
    parser.add_argument("--machine", metavar="WORDS", help="what to know of this machine, for the page")
    return parser.parse_args()


def read_record(path: Path) -> dict[str, Any]:
    """What the file has so far. Ends the program where that is not of this machine and these versions."""
    if not path.exists():
        return {"schema": SCHEMA, "machine": "", "host": host(), "versions": versions(), "points": []}
    record = dict(json.loads(path.read_text()))
    if record["host"] != host() or record["versions"] != versions():
        sys.exit(f"{path} is of another machine or other versions: name another file with --out")
    return record


def _has(record: dict[str, Any], point: Point) -> bool:
    return any(asdict(point).items() <= measured.items() for measured in record["points"])


def _calmest(point: Point, testbed: LocalTestbed, folder: Path) -> dict[str, Any]:
    """The point, measured again while others take the machine; of those the one with the least of it."""
    tries = []
    for number in range(MOST_TRIES):
        deadline_s = time.monotonic() + PATIENCE_S
        while others_cores(LOOK_S) > CALM_CORES and time.monotonic() < deadline_s:
            pass
        tries.append(measure(point, testbed, folder / str(number)))
        if tries[-1]["other_cores"] <= CALM_CORES:
            break
    return min(tries, key=lambda measured: float(measured["other_cores"]))


def _line(measured: dict[str, Any]) -> str:
    where = f"{measured['what']:<8}{measured['route']:<7}{measured['rate_per_s']:>6}/s"
    size = f"{measured['clients']:>4} clients {measured['replicas']:>3} replicas"
    cores = ", ".join(f"{part} {cores:.3f}" for part, cores in measured["cores"].items())
    lag = f", lag p99 {measured['lag_p99_ms']:.1f} ms" if "lag_p99_ms" in measured else ""
    others = f", others {measured['other_cores']:.2f}"
    return f"{where} {size}: {measured['calls_per_s']:.0f}/s, cores: {cores}{others}{lag}"


if __name__ == "__main__":
    main()
