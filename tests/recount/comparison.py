"""Compares a recount with summary.json, figure by figure."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.recount.arms import recount_arm, recount_repeat
from tests.recount.findings import bounds_of, recount_measured
from tests.recount.placement import draw_placements
from tests.recount.run_files import RunFiles, read_run_files

RELATIVE = 1e-6
# Words and judgements, which are no figures of a measurement.
NOT_FIGURES = (
    "route",
    "policy",
    "base",
    "factor",
    "value",
    "repeats",
    "usage",
    "repeat",
    "status",
    "invalid_reasons",
)


@dataclass(frozen=True)
class Compared:
    """One figure: where it stands in summary.json, what the summary says, and what the recount says."""

    where: str
    told: Any
    recounted: Any
    agrees: bool

    def __str__(self) -> str:
        return f"{self.where}: {self.told} in summary.json, {self.recounted} recounted"


def recount_run(directory: Path) -> list[Compared]:
    """Recount every figure of a run and compare it with summary.json."""
    run = read_run_files(directory)
    found: list[Compared] = []
    repeats: dict[str, list[dict[str, Any]]] = {}
    for arm, told in run.summary["arms"].items():
        cells = run.cells[arm]
        repeats[arm] = [recount_repeat(cell) for cell in cells]
        for cell, repeat, own in zip(cells, told["repeats"], repeats[arm], strict=True):
            where = f"{arm}.{repeat['repeat']}"
            found += _compare(where, repeat, own)
            found += _compare_placements(where, repeat, draw_placements(cell))
        found += _compare(arm, told, recount_arm(repeats[arm]) | {"bounds": bounds_of(run, arm)})
        found += _compare_placements_of_arm(arm, told)
    found += _findings(run, repeats)
    found += _machines(run)
    return found


def _compare(where: str, told: Mapping[str, Any], own: Mapping[str, Any]) -> Iterator[Compared]:
    told_flat, own_flat = flat(told), flat(own)
    for name, value in told_flat.items():
        if name.split(".")[0] in (*NOT_FIGURES, "random_placement"):
            continue
        recounted = own_flat.get(name, "nothing")
        yield Compared(f"{where} {name}", value, recounted, same(value, recounted))
    for name in sorted(set(own_flat) - set(told_flat)):
        yield Compared(f"{where} {name}", "nothing", own_flat[name], agrees=False)


def _compare_placements(where: str, told: Mapping[str, Any], own: Any) -> Iterator[Compared]:
    for name, value in told["random_placement"].items():
        yield Compared(f"{where} random_placement.{name}", value, "own draws", own.agrees(name, value))


def _compare_placements_of_arm(arm: str, told: Mapping[str, Any]) -> Iterator[Compared]:
    for name, value in told["random_placement"].items():
        values = sorted(
            repeat["random_placement"][name]
            for repeat in told["repeats"]
            if repeat["random_placement"][name] is not None
        )
        middle = (values[(len(values) - 1) // 2] + values[len(values) // 2]) / 2 if values else None
        yield Compared(f"{arm} random_placement.{name}", value, middle, same(value, middle))


def _findings(run: RunFiles, repeats: Mapping[str, list[dict[str, Any]]]) -> Iterator[Compared]:
    possible = recount_measured(run, repeats)
    told = run.summary["expectations"]
    if len(possible) != len(told):
        yield Compared("number of expectations", len(told), len(possible), agrees=False)
    for finding, values in zip(told, possible, strict=False):
        agrees = any(same(finding["measured"], value) for value in values)
        yield Compared(f"measured: {finding['text']}", finding["measured"], values, agrees)


def _machines(run: RunFiles) -> Iterator[Compared]:
    """The summary has machine.json of each cell that has one, as it is, with its arm and repeat."""
    cells = [cell for arm in run.cells.values() for cell in arm if cell.machine]
    own = {(cell.record["arm"], cell.record["repeat"]): cell.machine for cell in cells}
    told = {(one["arm"], one["repeat"]): one for one in run.summary["machine"]}
    for key in sorted(own.keys() | told.keys()):
        of_file, of_summary = flat(own.get(key) or {}), flat(told.get(key) or {})
        for name in sorted((of_file.keys() | of_summary.keys()) - {"arm", "repeat", "schema"}):
            one, other = of_summary.get(name), of_file.get(name)
            yield Compared(f"machine {key[0]}.{key[1]} {name}", one, other, same(one, other))


def flat(tree: Any, prefix: str = "") -> dict[str, Any]:
    """Return the leaves of a tree by their path. An empty object or list is a leaf."""
    items: Any = tree.items() if isinstance(tree, Mapping) else enumerate(tree)
    leaves: dict[str, Any] = {}
    for name, value in items:
        if isinstance(value, Mapping | list) and value:
            leaves |= flat(value, f"{prefix}{name}.")
        elif not isinstance(value, Mapping | list):
            leaves[f"{prefix}{name}"] = value
    return leaves


def same(told: Any, recounted: Any) -> bool:
    """Return whether two figures agree: numbers within a millionth of the larger, everything else exactly."""
    numbers = [isinstance(one, int | float) and not isinstance(one, bool) for one in (told, recounted)]
    if all(numbers):
        return math.isclose(told, recounted, rel_tol=RELATIVE, abs_tol=1e-12)
    return type(told) is type(recounted) and bool(told == recounted)
