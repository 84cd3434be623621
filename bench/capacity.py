"""`python -m bench.capacity`: what one core carries, measured point by point into a JSON file.

A file that is there already is continued: what it has is not measured again, unless others took much of the
machine meanwhile.
"""

import argparse
import json
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.capacity_cell import measure
from bench.capacity_points import CALM_CORES, Point, points
from harness.record.record_file import write_json
from harness.run.provenance import host, versions
from harness.testbed.local.testbed import LocalTestbed

SCHEMA = 1
DEFAULT_OUT = Path(__file__).resolve().parent.parent / "results" / "capacity" / "capacity.json"


def main() -> None:
    """Measure what the file lacks, then what was disturbed; keep each point as soon as it is there."""
    options = _options()
    options.out.parent.mkdir(parents=True, exist_ok=True)
    record = read_record(options.out)
    record["machine"] = options.machine or record["machine"]
    wanted = points(options.quick)
    todo = (_missing(record, wanted) + _disturbed(record, wanted))[: options.most]
    with tempfile.TemporaryDirectory() as scratch, LocalTestbed(Path(scratch) / "logs") as testbed:
        for number, point in enumerate(todo):
            measured = measure(point, testbed, Path(scratch) / f"point-{number}")
            _keep(record, point, measured)
            write_json(options.out, record)
            print(_line(measured), flush=True)
    missing, disturbed = len(_missing(record, wanted)), len(_disturbed(record, wanted))
    print(f"{options.out}: {missing} of {len(wanted)} points are missing, {disturbed} were disturbed")
    if missing or disturbed:
        print("The next call goes on with those.")


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
        return {
            "schema": SCHEMA,
            "machine": "",
            "host": host().model_dump(),
            "versions": versions(),
            "points": [],
        }
    record = dict(json.loads(path.read_text()))
    if record["host"] != host().model_dump() or record["versions"] != versions():
        sys.exit(f"{path} is of another machine or other versions: name another file with --out")
    return record


def _found(record: dict[str, Any], point: Point) -> dict[str, Any] | None:
    return next((one for one in record["points"] if asdict(point).items() <= one.items()), None)


def _missing(record: dict[str, Any], wanted: list[Point]) -> list[Point]:
    return [point for point in wanted if _found(record, point) is None]


def _disturbed(record: dict[str, Any], wanted: list[Point]) -> list[Point]:
    found = ((point, _found(record, point)) for point in wanted)
    return [point for point, one in found if one is not None and one["other_cores"] > CALM_CORES]


def _keep(record: dict[str, Any], point: Point, measured: dict[str, Any]) -> None:
    """In the place of an earlier try, if others were calmer now: never by what was found."""
    earlier = _found(record, point)
    if earlier is None:
        record["points"].append(measured)
    elif measured["other_cores"] < earlier["other_cores"]:
        earlier |= measured


def _line(measured: dict[str, Any]) -> str:
    where = f"{measured['what']:<8}{measured['route']:<7}{measured['rate_per_s']:>6}/s"
    size = f"{measured['clients']:>4} clients {measured['replicas']:>3} replicas"
    cores = ", ".join(f"{part} {cores:.3f}" for part, cores in measured["cores"].items())
    lag = f", lag p99 {measured['lag_p99_ms']:.1f} ms" if "lag_p99_ms" in measured else ""
    others = f", others {measured['other_cores']:.2f}"
    return f"{where} {size}: {measured['calls_per_s']:.0f}/s, cores: {cores}{others}{lag}"


if __name__ == "__main__":
    main()
