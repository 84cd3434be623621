"""The load order: the JSON file in which the harness tells the load process what to do."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from lb.plan import Load, Phase, first_phase
from lb.rate_curve import RateCurve
from lb.settings import ClientSettings


@dataclass(frozen=True)
class LoadOrder:
    """Everything that the load process must know to load one cell.

    `folder`: where it writes its files. `web_port`: port of Locust's web page on loopback; None: no page.
    `title`: says on that page what is measured.
    `processes`: processes on this machine that make the calls. With more than one, or with `expect_workers`
    workers from elsewhere, the load process is their master and makes no calls. For workers from elsewhere it
    listens on `master_bind_host`:`master_bind_port`, otherwise on a free port of loopback. `secret_file`: has
    the secret that they must know; None: it is in the environment (load.secret). `last`: no other cell of the
    run follows. `locustfile`: the Locust file whose users make the load, `load.clients` of them,
    started at `spawn_rate` per second (None: at once); None: the load engine makes it.
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
    secret_file: Path | None = None
    last: bool = True
    title: str = ""
    locustfile: Path | None = None
    spawn_rate: float | None = None

    @property
    def first_phase(self) -> Phase:
        """The phase in which the sessions open."""
        return first_phase(self.warm_up_s)

    @property
    def distributed(self) -> bool:
        """Whether the load process is a master and its workers make the calls."""
        return self.processes > 1 or self.expect_workers > 0

    @property
    def no_call(self) -> str:
        """What is wrong with a Locust file whose users make no call in the measured window, in words."""
        return f"{self.locustfile}: its users made no call in {self.duration_s:g} s"

    def write(self, path: Path) -> None:
        """Write the order to `path` as JSON."""
        path.write_text(json.dumps(self.as_dict(), indent=1))

    @classmethod
    def read(cls, path: Path) -> "LoadOrder":
        """Return the order that `write` wrote to `path`."""
        return cls.from_dict(json.loads(path.read_text()))

    def as_dict(self) -> dict[str, Any]:
        """Return the order as a dict that JSON and Locust's messages can carry."""
        paths = {name: getattr(self, name) for name in _PATHS}
        texts = {name: None if path is None else str(path) for name, path in paths.items()}
        return asdict(self) | texts

    @classmethod
    def from_dict(cls, raw: dict[str, Any]) -> "LoadOrder":
        """Return the order that `as_dict` turned into `raw`."""
        raw = dict(raw)
        load = dict(raw.pop("load"))
        curve = load.pop("curve")
        return cls(
            load=Load(**load, curve=None if curve is None else RateCurve(**curve)),
            settings=ClientSettings(**raw.pop("settings")),
            **(raw | {name: None if raw[name] is None else Path(raw[name]) for name in _PATHS}),
        )


_PATHS = ("folder", "secret_file", "locustfile")  # fields of a LoadOrder

# Files that the load process writes.
LoadState = Literal["starting", "waiting", "warm_up", "measure", "done", "stopped", "failed"]


@dataclass(frozen=True)
class LoadStatus:
    """The load's state. Instants are in nanoseconds from the cell's epoch; 0 means not yet.

    `answered`: requests recorded so far. `error`: why the load failed; "" unless it did.
    """

    state: LoadState = "starting"
    measure_start_ns: int = 0
    measure_end_ns: int = 0
    answered: int = 0
    error: str = ""

    def write(self, folder: Path) -> None:
        """Write the status to `folder`: readers see all of it or the previous one."""
        path = folder / STATUS_FILE
        temporary = path.with_suffix(".tmp")
        temporary.write_text(json.dumps(asdict(self)))
        temporary.replace(path)

    @classmethod
    def read(cls, folder: Path) -> "LoadStatus":
        """Return the status last written to `folder`, or "starting" if there is none."""
        try:
            return cls(**json.loads((folder / STATUS_FILE).read_text()))
        except FileNotFoundError:
            return cls()


REQUESTS_FILE = "requests.csv"
MESSAGES_FILE = "messages.csv"
STATUS_FILE = "load-status.json"
WORKERS_FILE = "load-workers.json"  # each worker with its clients and how it ended; written by a master only
FAILURES_FILE = "failures.json"  # how failed requests ended: code, message, number of calls
CHANNELS_FILE = "channels.json"  # the channels of each client as gRPC reports them, before the first call
LOCAL_WORKERS_TIMEOUT_S = 30.0  # until the workers of this machine have joined
EXPECTED_WORKERS_TIMEOUT_S = 60.0  # until the workers from elsewhere have joined
STOPPED_EARLY = 3  # exit status of a load process that was told to stop
