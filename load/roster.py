"""The load's workers, as their master knows them and as the record keeps them."""

from dataclasses import dataclass, field
from typing import Any, Literal

from lb.plan import Phase, deal_clients, planned_requests
from load.clock_offset import ClockOffset
from load.order import LoadOrder
from load.readback import ClientChannels


@dataclass
class LoadWorker:
    """One process that makes calls. `key`: Locust's name of it.

    `planned`: requests planned for its clients in the measured window, None in a closed loop. `rows`: its
    request rows so far, `measured`: those of that window. `ready`: for which phase it waits, or plays.
    `ended`: "" while it plays; `ended_ns`: when it was seen to end, from the cell's epoch.
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
    ended: Literal["", "done", "stopped", "lost"] = ""
    ended_ns: int = 0

    @property
    def plays(self) -> bool:
        """Whether more is to be expected of it."""
        return not self.ended

    def record(self) -> dict[str, Any]:
        """What is recorded of it; see results/README.md."""
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

    def records_of_channels(self) -> list[dict[str, Any]]:
        """Its clients' channels, with its name: numbers of subchannels are a process's own."""
        return [channels | {"worker": self.name} for channels in self.channels]


def channels_as_dicts(channels: list[ClientChannels]) -> list[dict[str, Any]]:
    """In what a message can carry."""
    return [vars(client) for client in channels]


def deal(order: LoadOrder, workers: list[LoadWorker]) -> None:
    """Deal the order's clients to the workers.

    Clients that share connections are in one hand: processes cannot share any.
    """
    if order.settings.share_connections:
        hands = [list(range(order.load.clients)), *([] for _ in workers[1:])]
    else:
        hands = deal_clients(order.load, len(workers))
    for worker, clients in zip(workers, hands, strict=True):
        worker.clients = clients
        if order.load.rate_per_s is not None:
            worker.planned = planned_requests(order.load, order.warm_up_s, order.duration_s, clients)
