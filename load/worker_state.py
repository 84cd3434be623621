"""What the master knows of each worker, and which worker runs which clients."""

from dataclasses import dataclass, field
from typing import Any, Literal

from lb.plan import Phase, planned_requests, split_clients
from load.clock_offset import ClockOffset
from load.order import LoadOrder

Ended = Literal["", "done", "stopped", "lost"]


@dataclass
class WorkerState:
    """The state of one worker, a process that makes calls. `key`: Locust's id of it.

    `clients`: numbers of the clients that it runs. `planned`: requests that are planned for them in the
    measured window; None in a closed loop. `rows`: request rows that have arrived; `measured`: how many of
    them belong to that window. `ready`: the phase for which it is waiting or that it runs. `channels`: see
    ClientChannels. `ended`: "" while it works; `ended_ns`: when its end was noticed, from the cell's epoch.
    """

    name: str
    key: str
    host: str
    offset: ClockOffset
    clients: list[int] = field(default_factory=list)
    planned: int | None = None
    rows: int = 0
    measured: int = 0
    ready: Phase | None = None
    channels: list[dict[str, Any]] = field(default_factory=list)
    ended: Ended = ""
    ended_ns: int = 0

    @property
    def active(self) -> bool:
        """Whether the worker has not ended."""
        return not self.ended

    def record(self) -> dict[str, Any]:
        """Return the worker's entry in the workers file: results/README.md."""
        return {
            "name": self.name,
            "host": self.host,
            "clients": self.clients,
            "rows": self.rows,
            "planned_requests": self.planned,
            "measured_requests": self.measured,
            "offset_ns": self.offset.offset_ns,
            "offset_uncertainty_ns": self.offset.uncertainty_ns,
            "ended": self.ended or "lost",
            "ended_ns": self.ended_ns,
        }

    def channel_records(self) -> list[dict[str, Any]]:
        """Return its clients' channels with its name: subchannel numbers are unique within a process only."""
        return [channels | {"worker": self.name} for channels in self.channels]


def assign_clients(order: LoadOrder, workers: list[WorkerState]) -> None:
    """Assign the order's clients to the workers, and count the requests planned for each worker.

    Clients that share connections all go to the first worker: processes cannot share a connection.
    """
    if order.settings.share_connections:
        shares = [list(range(order.load.clients)), *([] for _ in workers[1:])]
    else:
        shares = split_clients(order.load, len(workers))
    for worker, clients in zip(workers, shares, strict=True):
        worker.clients = clients
        if order.load.rate_per_s is not None:
            worker.planned = planned_requests(order.load, order.warm_up_s, order.duration_s, clients)
