"""machine.json of a cell: what else the machine did while the cell was measured."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from harness.record.record_file import Record, read_record, write_record

MACHINE_FILE = "machine.json"


class CpuShares(Record):
    """Who had the machine for some seconds: shares of the CPU time of all its cores."""

    seconds: float = Field(description="how long")
    steal_share: float | None = Field(
        description="CPU time that went to other virtual machines while this one wanted it"
    )
    others_share: float | None = Field(
        description="CPU time of processes that are not the lab's, without interrupts"
    )
    lab_share: float | None = Field(
        description="CPU time of the lab's processes: harness, fork servers, load, replicas, Envoy"
    )
    pressure_share: float | None = Field(
        description="share of the time in which some process, the lab's included, waited for a core (PSI, "
        "`some`)"
    )


class MachineMoment(CpuShares):
    """A part of the measured window."""

    at_s: float = Field(description="when it began, seconds from the start of measuring")


class MachineRecord(CpuShares):
    """The machine in the measured window. `seconds` is what the samples cover."""

    cores: int = Field(description="CPU cores of the machine")
    samples: int = Field(description="how often it was looked at in the measured window")
    load_cores: float | None = Field(description="CPU cores that the load's processes had in the mean")
    running_mean: float | None = Field(description="processes that ran or waited for a core, in the mean")
    running_max: int | None = Field(description="processes that ran or waited for a core, at most")
    frequency_mhz: int | None = Field(description="mean of the cores")
    watch_late_ms_max: float | None = Field(
        description="how late at most the lab's own watch woke up: the machine, or the hypervisor, stood "
        "still"
    )
    worst: MachineMoment | None = Field(
        description="the half second in which others took most; null without samples"
    )
    taken: MachineMoment | None = Field(
        description="the longest stretch in which other processes and other virtual machines had half of the "
        "machine; null when there was none"
    )


def write_machine(folder: Path, machine: MachineRecord) -> None:
    """Write machine.json into a cell's folder."""
    write_record(folder / MACHINE_FILE, machine)


def read_machine(folder: Path) -> MachineRecord | None:
    """Return machine.json of a cell's folder; None where there is none, as of a run that was killed.

    Raises UserError naming the file when it has another schema or is damaged.
    """
    path = folder / MACHINE_FILE
    return read_record(path, MachineRecord) if path.exists() else None
