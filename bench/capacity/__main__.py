"""`python -m bench.capacity` measures how much one core can carry.

It writes a CSV file with one row for each point.
It continues an existing file: it measures the missing points and repeats the disturbed ones.
"""

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

import polars as pl

from bench.capacity import nghttp2, parts
from bench.capacity.points import Point, planned_points, read_points

DEFAULT_OUT = Path(__file__).resolve().parents[2] / "results" / "capacity" / "points.csv"
MAX_OTHER_CORES = 0.25  # CPU that other processes may use; an idle machine itself uses less than half of that


def main() -> None:
    """Measure one point after another. Each is written to the file as soon as it is measured."""
    parser = argparse.ArgumentParser(prog="python -m bench.capacity", description=__doc__)
    parser.add_argument("--out", type=Path, default=DEFAULT_OUT, metavar="FILE", help="default %(default)s")
    parser.add_argument(
        "--rounds", type=int, default=3, metavar="N", help="measurements of each point (default %(default)s)"
    )
    parser.add_argument("--machine", default="", metavar="WORDS", help="more words about this machine")
    options = parser.parse_args()
    options.out.parent.mkdir(parents=True, exist_ok=True)
    origin = parts.origin(options.machine)
    measured = _measured(options.out, origin)
    planned = planned_points(options.rounds)
    if not nghttp2.installed():
        print("SKIPPED: parts alone; they need h2load and nghttpd (Debian package nghttp2)")
        planned = [point for point in planned if point.what == "lab"]
    todo = [point for point in planned if point not in measured]
    todo += [point for point in planned if point in measured and _disturbed(measured[point])]
    with tempfile.TemporaryDirectory() as scratch, parts.LocalTestbed(Path(scratch) / "logs") as testbed:
        for number, point in enumerate(todo):
            row = parts.measure(point, testbed, Path(scratch) / f"point-{number}") | origin
            print({name: value for name, value in row.items() if name not in origin}, flush=True)
            # Of two measurements, the one with less disturbance counts, whatever it measured.
            if point not in measured or row["other_cores"] < measured[point]["other_cores"]:
                measured[point] = row
                draft = options.out.with_suffix(".tmp")
                pl.DataFrame(list(measured.values()), infer_schema_length=None).write_csv(draft)
                draft.replace(options.out)
    disturbed = sum(map(_disturbed, measured.values()))
    print(
        f"{options.out}: {len(measured)} points. Disturbed: {disturbed}; the next call measures these again."
    )


def _measured(path: Path, origin: dict[str, str]) -> dict[Point, dict[str, Any]]:
    """Return the file's rows. Ends the program if they are of another machine or other versions."""
    rows = read_points(path).to_dicts() if path.exists() else []
    if any(row[name] != origin[name] for row in rows for name in ("machine", "versions")):
        sys.exit(f"{path} is of another machine or other versions: name another file with --out")
    return {Point(*(row[name] for name in Point._fields)): row for row in rows}


def _disturbed(row: dict[str, Any]) -> bool:
    return bool(row["other_cores"] > MAX_OTHER_CORES)


if __name__ == "__main__":
    main()
