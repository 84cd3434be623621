"""The order that the harness leaves for the load process: one JSON file."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from lb.plan import Load, Phase, first_phase
from lb.settings import ClientSettings


@dataclass(frozen=True)
class LoadOrder:
    """All that the load needs to know. `web_port`: where Locust's UI listens on loopback, or None.

    `processes`: those that make the calls, on this machine; with more than one, or with `expect_workers`
    from elsewhere, the load process is their master. It listens for the latter on `master_bind_host` and
    `master_bind_port`, else on a free port of loopback. `last`: no other cell of the run follows.
    """

    load: Load
    settings: ClientSettings
    warm_up_s: float
    duration_s: float
    folder: Path
    web_port: int | None = None
    processes: int = 1
    expect_workers: int = 0
    master_bind_host: str = "127.0.0.1"
    master_bind_port: int = 5557
    last: bool = True

    @property
    def first_phase(self) -> Phase:
        """The phase in which the sessions open."""
        return first_phase(self.warm_up_s)

    @property
    def distributed(self) -> bool:
        """Whether a master conducts and others make the calls."""
        return self.processes > 1 or self.expect_workers > 0

    def write(self, path: Path) -> None:
        """Leave the order at `path`."""
        path.write_text(json.dumps(self.as_dict(), indent=1))

    @classmethod
    def read(cls, path: Path) -> "LoadOrder":
        """The order at `path`, as written by `write`."""
        return cls.of_dict(json.loads(path.read_text()))

    def as_dict(self) -> dict[str, Any]:
        """The order in what JSON and Locust's messages can carry."""
        return asdict(self) | {"folder": str(self.folder)}

    @classmethod
    def of_dict(cls, raw: dict[str, Any]) -> "LoadOrder":
        """The order of which `as_dict` made `raw`."""
        raw = dict(raw)
        return cls(
            load=Load(**raw.pop("load")),
            settings=ClientSettings(**raw.pop("settings")),
            folder=Path(raw.pop("folder")),
            **raw,
        )


LoadState = Literal["starting", "waiting", "warm_up", "measure", "done", "stopped", "failed"]


@dataclass(frozen=True)
class LoadStatus:
    """What the load process last said of itself. Instants are ns from the cell's epoch; 0 = not yet.

    `answered`: requests recorded so far. `error`: why the load failed; "" unless it did.
    """

    state: LoadState = "starting"
    measure_start_ns: int = 0
    measure_end_ns: int = 0
    answered: int = 0
    error: str = ""

    def write(self, folder: Path) -> None:
        """Leave the status in `folder`, whole or not at all."""
        path = folder / STATUS_FILE
        temporary = path.with_suffix(".tmp")
        temporary.write_text(json.dumps(asdict(self)))
        temporary.replace(path)

    @classmethod
    def read(cls, folder: Path) -> "LoadStatus":
        """Return what was last left in `folder`; "starting" where nothing was."""
        try:
            return cls(**json.loads((folder / STATUS_FILE).read_text()))
        except FileNotFoundError:
            return cls()


REQUESTS_FILE = "requests.csv"
MESSAGES_FILE = "messages.csv"
STATUS_FILE = "load-status.json"
WORKERS_FILE = "load-workers.json"  # who played which clients, and how that ended; with a master only
CHANNELS_FILE = "channels.json"  # what gRPC says of each client's channels, before the first call
AWAIT_WORKERS_S = 60.0  # until those that are expected from elsewhere have come
STOPPED_EARLY = 3  # exit status of a load process that was told to stop
