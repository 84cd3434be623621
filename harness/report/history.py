"""All finished runs of one experiment over time: what was measured, on which machine, with which versions."""

from __future__ import annotations

import math
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from harness.errors import UserError, did_you_mean
from harness.metrics.metric import Number
from harness.metrics.registry import METRICS
from harness.record.manifest import Manifest
from harness.record.record_file import read_record
from harness.record.stored_runs import StoredRun, stored_runs
from harness.record.summary import SUMMARY, Summary

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

    def values(self, arm: str, metric: str) -> list[float]:
        """Return the metric in the repeats of an arm where it is known."""
        measured = self.summary.arms.get(arm)
        found = [] if measured is None else [one.metrics.get(metric) for one in measured.repeats]
        return [value for value in found if value is not None and math.isfinite(value)]

    def median(self, arm: str, metric: str) -> Number:
        """Return the arm's figure in summary.json: the median over its repeats; None: there is none."""
        measured = self.summary.arms.get(arm)
        return None if measured is None else measured.metrics.get(metric)


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

    @cached_property
    def arms(self) -> list[str]:
        """All arms, those of the newest run first."""
        return list(dict.fromkeys(arm for past in reversed(self.runs) for arm in past.summary.arms))


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
