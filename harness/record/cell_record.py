"""cell.json and machine.json: one cell as planned and measured, and what else the machine did meanwhile."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from harness.fields import DisturbanceCause, Route, Status, is_proxy
from harness.record.record_file import Record, is_empty, read_record, there_is, write_record

CELL_FILE = "cell.json"
MACHINE_FILE = "machine.json"

Party = Literal["envoy", "replica"]
HARNESS, MACHINE = "the harness", "this machine"  # in Interruption.part


class LoadWorkerRecord(Record):
    """One of several processes that made the calls of a cell."""

    name: str = Field(description="name of the worker")
    host: str = Field(description="address of its machine, as the master saw it")
    clients: list[int] = Field(description="the clients whose calls it made")
    rows: int = Field(description="requests recorded in all")
    planned_requests: int | None = Field(description="planned in the measured window; null in a closed loop")
    measured_requests: int = Field(description="requests recorded in the measured window")
    offset_ns: int = Field(description="its clock to the master's, already allowed for in its rows")
    offset_uncertainty_ns: int = Field(description="by how much that may be wrong")
    ended: Literal["done", "stopped", "lost"] = Field(description="`done`, `stopped` with the cell or `lost`")
    ended_ns: int = Field(description="when it ended")


class FailureRecord(Record):
    """Requests that failed in the same way."""

    code: str = Field(description="gRPC code")
    message: str = Field(description="what gRPC, the proxy or the replica said of it; cut to 500 characters")
    calls: int = Field(description="requests that ended so, warm-up included")


def _nothing(value: str | None) -> bool:
    return value is None


def _false(value: bool) -> bool:
    return not value


class CellRecord(Record):
    """What is known of one cell, apart from its ledgers and events."""

    arm: str = Field(description="name of the arm")
    repeat: int = Field(description="which repeat of the arm, from 1")
    order: int = Field(description="place of the cell in the order of the run, from 0")
    route: Route = Field(description="`envoy`, `envoy-l4`, `direct` or `xds`")
    policy: str = Field(description="how requests were balanced")
    status: Status = Field(default="interrupted", description="`completed`, `interrupted` or `failed`")
    replicas: dict[str, str] = Field(
        default={}, description="name -> `host:port`, empty if unknown; also replicas that joined later"
    )
    initial_replicas: list[str] = Field(description="names of the replicas that were there at the start")
    groups: dict[str, str] = Field(default={}, description="replica -> target group (policy `target_groups`)")
    proxy_workers: int = Field(description="worker threads of Envoy, of each node")
    proxies: dict[str, str] = Field(
        default={},
        exclude_if=is_empty,
        description="name -> `host:port` of several proxy nodes, also of those that joined later; empty if "
        "simulated; left out of one",
    )
    zones: dict[str, str] = Field(
        default={},
        exclude_if=is_empty,
        description="proxy node or replica -> its zone (`zones` of the arm); left out without zones",
    )
    max_attempts: int = Field(default=1, description="attempts of one request at most; 1 without retries")
    awaits_answers: bool = Field(default=False, description="whether the arm has `await_each_answer`")
    planned_requests: int = Field(description="requests planned in the measured window; 0 in a closed loop")
    messages_per_stream: int = Field(description="messages that each stream was to have")
    planned_rate_per_s: float | None = Field(description="planned requests/s; null in a closed loop")
    own_tasks: bool = Field(
        default=False,
        exclude_if=_false,
        description="whether the tasks of a Locust file made the calls, so that nothing of them was planned; "
        "left out where they did not",
    )
    planned_rates_per_s: list[float] = Field(
        default=[],
        exclude_if=is_empty,
        description="planned requests/s in each step of the measured window, which has up to 80 steps of "
        "..., 0.1, 0.2, 0.5, 1, ... s; left out where the rate does not change",
    )
    measure_start_ns: int = Field(default=0, description="start of the measured window; 0 if never reached")
    measure_end_ns: int = Field(default=0, description="end of the measured window; 0 if never reached")
    epoch_unix_ns: int = Field(
        description="the wall clock at the cell's start; Envoy's ledger has the wall clock's times"
    )
    wall_clock_moved_ns: int = Field(
        default=0, description="by how much at most the wall clock left the monotonic clock's course"
    )
    own_clocks: bool = Field(
        default=False,
        description="testbed `external`: the replicas' times count from a start of their own, each",
    )
    incomplete_ledgers: list[str] = Field(
        default=[],
        description="killed replicas, and proxy nodes that were killed or restarted: last rows may be lost",
    )
    missing_ledgers: dict[Party, str] = Field(
        default={}, description="testbed `external`: unreadable ledgers (`envoy`, `replica`) -> reason"
    )
    trace_prefix: str | None = Field(
        default=None,
        exclude_if=_nothing,
        description="testbed `external`: begins the ids of this cell's requests in the log of the load "
        "balancer (`X-Amzn-Trace-Id`, `x-request-id`); left out where none were sent",
    )
    service: str | None = Field(
        default=None,
        exclude_if=_nothing,
        description="testbed `external`: the method of a service that is not the lab's. Its replicas tell no "
        "queue, service time or number in flight; those columns are 0. Left out for the lab's own service",
    )
    replica_from: str | None = Field(
        default=None,
        exclude_if=_nothing,
        description="with `service`: how it is known who answered, as in the experiment",
    )
    load_workers: list[LoadWorkerRecord] = Field(
        default=[], description="processes that made the calls; empty for a single one without a master"
    )
    failures: list[FailureRecord] = Field(
        default=[],
        description="the most frequent ways in which requests failed, at most 5, most frequent first",
    )
    attempt: int = Field(default=1, description="which attempt at the cell this is, from 1")
    disturbed: str | None = Field(
        default=None,
        description="how the machine disturbed this attempt, in a sentence, or null. The last attempt, in "
        "`cells/`, counts all the same",
    )
    disturbed_by: DisturbanceCause | None = Field(
        default=None,
        description="who took the machine then: `processes` (others on it), `hypervisor` (other virtual "
        "machines), `lab` (the lab's own processes all the time: too much load for this machine), `load` "
        "(each load process a core all the time), `stopped` (somebody stopped a part of the lab), `asleep` "
        "(the machine slept or was paused), `unknown`; null when `disturbed` is",
    )

    @property
    def window_ns(self) -> int:
        """Length of the measured window."""
        return self.measure_end_ns - self.measure_start_ns

    @property
    def incomplete_replicas(self) -> frozenset[str]:
        """Replicas whose last rows may be lost."""
        return frozenset(name for name in self.incomplete_ledgers if not is_proxy(name))

    @property
    def incomplete_proxy(self) -> bool:
        """Whether rows of Envoy's ledger may be lost."""
        return any(map(is_proxy, self.incomplete_ledgers))

    @property
    def lost_clients(self) -> frozenset[int]:
        """Clients whose load worker was lost: they sent requests that the clients' ledger lacks."""
        lost = (worker for worker in self.load_workers if worker.ended == "lost")
        return frozenset(client for worker in lost for client in worker.clients)


class CpuShares(Record):
    """Who had the machine for some seconds: shares of the CPU time of all its cores."""

    seconds: float = Field(description="how long")
    steal_share: float | None = Field(description="CPU time of other virtual machines while this one waited")
    others_share: float | None = Field(description="CPU time of all other processes, without interrupts")
    lab_share: float | None = Field(description="CPU time of harness, fork servers, load, replicas, Envoy")
    pressure_share: float | None = Field(description="time in which a process waited for a core (PSI `some`)")


class MachineMoment(CpuShares):
    """A part of the measured window."""

    at_s: float = Field(description="when it began, seconds from the start of measuring")


class Interruption(Record):
    """A time in which a part of the lab or the machine stood still, although no event did that."""

    part: str = Field(description="`replica-N`, `envoy`, `load`, ..., `the harness` or `this machine`")
    how: Literal["stopped", "asleep", "stood still"] = Field(
        description="`stopped`: by a signal; `asleep`: the machine; `stood still`: nothing ran, as in a "
        "virtual machine or a container that is paused"
    )
    at_s: float = Field(description="when it began, seconds from the start of measuring")
    seconds: float = Field(description="how long it lasted")


class MachineRecord(CpuShares):
    """The machine in the measured window. `seconds` is what the samples cover."""

    cores: int = Field(description="CPU cores of the machine")
    samples: int = Field(description="how often it was looked at in the measured window")
    load_cores: float | None = Field(description="CPU cores that the load's processes had in the mean")
    running_mean: float | None = Field(description="processes that ran or waited for a core, in the mean")
    running_max: int | None = Field(description="processes that ran or waited for a core, at most")
    frequency_mhz: int | None = Field(description="mean of the cores")
    watch_late_ms_max: float | None = Field(
        description="the longest delay of the lab's watch: the machine or its hypervisor stood still"
    )
    worst: MachineMoment | None = Field(description="half second in which others took most; null: no samples")
    taken: MachineMoment | None = Field(
        description="longest stretch in which others had half of the machine; null if there was none"
    )
    interruptions: list[Interruption] = Field(
        default=[], description="what stood still meanwhile, although no event of the experiment did that"
    )


def write_machine(folder: Path, machine: MachineRecord) -> None:
    """Write machine.json into a cell's folder."""
    write_record(folder / MACHINE_FILE, machine)


def read_machine(folder: Path) -> MachineRecord | None:
    """Return machine.json of a cell's folder; None where there is none, as of a run that was killed.

    Raises UserError naming the file when it has another schema or is damaged.
    """
    path = folder / MACHINE_FILE
    return read_record(path, MachineRecord) if there_is(path) else None
