"""manifest.json: what ran, when, on what, and how it ended."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from typing import TypedDict

from pydantic import Field

from harness.fields import Status
from harness.record.record_file import Record, is_absent, is_empty

MANIFEST = "manifest.json"
# The note of a run on the testbed `simulated`.
SIMULATED = "simulated: nothing was started or measured, every figure is computed (docs/simulator.md)"


def utc_now() -> str:
    """Return the time in UTC, ISO 8601, in whole seconds."""
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def new_run_name() -> str:
    """Return a name that no other run has: the time in UTC and some random digits."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"


class Host(Record):
    """The machine of a run, without its name."""

    system: str = Field(description="operating system and its release")
    machine: str = Field(description="kind of processor")
    cpus: int | None = Field(description="number of CPUs; null where the system does not say")
    memory_bytes: int = Field(description="main memory")


class LoadProcesses(Record):
    """Who made the calls of a run."""

    processes: int = Field(description="processes that made calls on this machine")
    expect_workers: int = Field(description="load workers that were expected from other machines")


class DisturbedAttempt(Record):
    """An attempt at a cell that the machine disturbed, so that the cell was measured again."""

    attempt: int = Field(description="which attempt at the cell it was, from 1")
    reason: str = Field(description="why the machine has spoilt it, in a sentence")
    folder: str = Field(description="where it is kept, below the run's directory")


class SearchedValue(Record):
    """Which value of a search a cell is about."""

    arm: str = Field(description="name of the arm in the experiment")
    value: float = Field(gt=0, le=100_000, description="value of the factor that the search varies")


class PlannedCell(Record):
    """One arm x one repeat of the plan."""

    arm: str = Field(description="name of the arm")
    repeat: int = Field(description="which repeat of the arm, from 1")
    searched: SearchedValue | None = Field(
        default=None, exclude_if=is_absent, description="of a search: what the cell is about; else left out"
    )
    attempts: int = Field(default=0, description="how often it was measured to its end; 0: not yet")
    disturbed: list[DisturbedAttempt] = Field(default=[], description="earlier attempts that were disturbed")
    seals: dict[str, str] = Field(
        default={}, description="file in the cell's folder -> its SHA-256 hash when the cell had ended"
    )


class ExternalFields(TypedDict, total=False):
    """The fields of a manifest that only the testbeds `external` and `simulated` fill."""

    testbed_options: list[str]
    notes: list[str]
    not_judged: list[str]


class Manifest(Record):
    """What is known of a whole run. Its status is "interrupted" until the run has ended."""

    experiment: str = Field(description="name of the experiment")
    run: str = Field(default_factory=new_run_name, description="name of the directory")
    status: Status = Field(
        default="interrupted", description="`completed`, `interrupted` (also: killed) or `failed` (`error`)"
    )
    started_utc: str = Field(default_factory=utc_now, description="ISO 8601")
    finished_utc: str | None = Field(default=None, description="ISO 8601; null when the run was killed")
    error: str | None = Field(default=None, description="why the run failed, or null")
    seed: int = Field(description="of arrivals, service times and the order of cells")
    versions: dict[str, str] = Field(
        description="part -> version; testbed `docker`: also its engine, and a digest of the image's sources"
    )
    host: Host = Field(description="the machine, without its name")
    git_commit: str | None = Field(description="commit of the lab; `-dirty`: files differ; null: no clone")
    testbed: str = Field(default="local", description="`local`, `docker`, `external` or `simulated`")
    testbed_options: list[str] = Field(default=[], description="testbed `external`: words of its options")
    notes: list[str] = Field(
        default=[],
        description="testbeds `external`, `simulated`: what was left out or not confirmed; with a Locust "
        "file: what a closed loop cannot show",
    )
    not_judged: list[str] = Field(default=[], description="expectations about arms that were not run")
    load: LoadProcesses = Field(
        default=LoadProcesses(processes=1, expect_workers=0), description="who made the calls"
    )
    overrides: dict[str, int | float] = Field(default={}, description="field -> value on the command line")
    changes: list[str] = Field(
        default=[],
        exclude_if=is_empty,
        description="overrides that change the question, in words: the expectations were written for other "
        "settings, and are not judged; left out where there are none",
    )
    experiment_seal: str | None = Field(default=None, description="SHA-256 hash of experiment.yaml")
    prediction_seal: str | None = Field(
        default=None,
        exclude_if=is_absent,
        description="SHA-256 hash of prediction.json when it was made; left out where there is none",
    )
    redo: int = Field(default=0, description="how often at most a disturbed cell was repeated (`--redo`)")
    cells: list[PlannedCell] = Field(description="the cells in the order in which they were run")
