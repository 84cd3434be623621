"""All finished runs of one experiment over time: what was measured, on which machine, with which versions."""

from __future__ import annotations

import math
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.analysis.surprises import holder_of
from harness.errors import UserError, did_you_mean
from harness.metrics.registry import CAPACITY, METRICS
from harness.record.manifest import Manifest
from harness.record.record_file import read_record
from harness.record.stored_runs import StoredRun, stored_runs
from harness.record.summary import SUMMARY, EventSummary, Figure, Figures, Summary
from harness.report.finding import capacity_in_words, value_of
from harness.report.tables import figure, figure_of

DEFAULT_METRIC = "latency_ms.p99"  # where nothing is expected


@dataclass(frozen=True)
class PastRun:
    """One run. machine: its letter; versions: their number; see `History`."""

    run: StoredRun
    summary: Summary
    machine: str
    versions: int

    @property
    def where(self) -> str:
        """Machine and versions, as "A1"."""
        return f"{self.machine}{self.versions}"

    def arms(self, metric: str) -> list[str]:
        """Return the arms that may have the metric: the capacity is one of each arm of the file."""
        search = self.summary.search
        return list(search.arms if search is not None and metric == CAPACITY else self.summary.arms)

    def values(self, arm: str, metric: str) -> list[float]:
        """Return the metric in the repeats of an arm; of a capacity, the known ends of its bracket."""
        found: list[Figure] = []
        if metric == CAPACITY and self.summary.search is not None and arm in self.summary.search.arms:
            searched = self.summary.search.arms[arm]
            found = [searched.low, searched.high]
        elif arm in self.summary.arms:
            holders = (holder_of(one, metric) for one in self.summary.arms[arm].repeats)
            found = [_value(where, name) for where, name in holders if where is not None]
        return [value for value in found if value is not None and math.isfinite(value)]

    def median(self, arm: str, metric: str) -> Figure:
        """Return the arm's figure in summary.json: the median over its repeats; None: there is none."""
        if metric == CAPACITY:
            return value_of(self.summary, arm, metric) if arm in self.arms(metric) else None
        measured = self.summary.arms.get(arm)
        where, name = (None, "") if measured is None else holder_of(measured, metric)
        return None if where is None else _value(where, name)

    def figure(self, arm: str, metric: str) -> str:
        """Return the arm's figure for people; "" where it has none."""
        if arm not in self.arms(metric):
            return ""
        if metric == CAPACITY:
            return capacity_in_words(self.summary, arm)
        where, name = holder_of(self.summary.arms[arm], metric)
        if where is None:
            return ""
        return figure_of(where, name) if name in where.metrics else figure(_value(where, name))


@dataclass(frozen=True)
class History:
    """The runs of an experiment, the oldest first.

    machines: letter -> the machine in words. versions: number -> versions and commit in words; from the
    second on, what differs from the one before. left_out: runs that cannot be shown, and why, a line each.
    """

    experiment: str
    runs: Sequence[PastRun]
    machines: Mapping[str, str]
    versions: Mapping[int, str]
    left_out: Sequence[str]

    def arms(self, metric: str) -> list[str]:
        """Return all arms that may have the metric, those of the newest run first."""
        return list(dict.fromkeys(arm for past in reversed(self.runs) for arm in past.arms(metric)))


def history_of(results: Path, name: str) -> History:
    """Return the history of the experiment `name`. Raises UserError where there is no run to show."""
    left_out: list[str] = []
    machines: dict[str, str] = {}
    versions: list[dict[str, str]] = []
    runs = []
    for run in stored_runs(results, name, left_out):
        if run.changes:
            left_out.append(f"{run.path}: asks another question: {'; '.join(run.manifest.changes)}")
            continue
        try:
            summary = read_record(run.path / SUMMARY, Summary)
        except UserError as error:
            left_out.append(str(error))
            continue
        machine = machines.setdefault(_machine(run.manifest), _letters(len(machines)))
        known = _versions(run.manifest)
        if known not in versions:
            versions.append(known)
        runs.append(PastRun(run, summary, machine, versions.index(known) + 1))
    if not runs:
        why = f" ({left_out[0]})" if left_out else ""
        raise UserError(f"history: {results / name}: no finished run of {name} with its own question{why}")
    in_words = {letter: words for words, letter in machines.items()}
    return History(name, runs, in_words, dict(enumerate(_changes(versions), start=1)), left_out)


def metrics_to_show(history: History, asked: Sequence[str]) -> list[str]:
    """Return the metrics that the user asked for, or else those that the newest run has expectations of.

    Raises UserError for an unknown one.
    """
    for name in asked:
        if name not in METRICS:
            hint = did_you_mean(name, METRICS) or "; results/README.md of the lab lists them"
            raise UserError(f"--metric: {name[:80]!r} is no metric{hint}")
    expected = [finding.metric for finding in history.runs[-1].summary.expectations]
    return list(dict.fromkeys(asked or expected or [DEFAULT_METRIC]))


def _value(where: Figures | EventSummary, name: str) -> Figure:
    """Return a figure of summary.json; the metric `requests` is a count there."""
    if name == "requests" and isinstance(where, Figures):
        return where.requests
    return where.metrics.get(name)


def _letters(number: int) -> str:
    """Return A, B, ..., Z, AA, AB, ... for 0, 1, ..."""
    more, last = divmod(number, 26)
    return (_letters(more - 1) if more else "") + string.ascii_uppercase[last]


def _machine(manifest: Manifest) -> str:
    host = manifest.host
    cpus = "an unknown number of" if host.cpus is None else f"{host.cpus}"
    words = f"{host.system}, {host.machine}, {cpus} CPUs, {host.memory_bytes / 2**30:.1f} GiB"
    return words if manifest.testbed == "local" else f"{words}, testbed {manifest.testbed}"


def _versions(manifest: Manifest) -> dict[str, str]:
    return {**manifest.versions, "commit": (manifest.git_commit or "unknown")[:12]}


def _changes(versions: Sequence[dict[str, str]]) -> list[str]:
    """Return each set of versions in words; from the second on, what differs from the one before."""
    words = []
    for number, own in enumerate(versions):
        before = versions[number - 1] if number else {}
        changed = [f"{part} {version}" for part, version in own.items() if before.get(part) != version]
        gone = [f"no {part}" for part in before if part not in own]
        words.append(", ".join([*changed, *gone]))
    return words
