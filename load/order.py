"""The order that the harness leaves for the load process: one JSON file."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from lb.plan import Load, Phase, first_phase
from lb.settings import ClientSettings


@dataclass(frozen=True)
class LoadOrder:
    """All that one load process needs to know. `web_port`: where Locust's UI listens on loopback, or None."""

    load: Load
    settings: ClientSettings
    warm_up_s: float
    duration_s: float
    folder: Path
    web_port: int | None = None

    @property
    def first_phase(self) -> Phase:
        """The phase in which the sessions open."""
        return first_phase(self.warm_up_s)

    def write(self, path: Path) -> None:
        """Leave the order at `path`."""
        path.write_text(json.dumps(asdict(self) | {"folder": str(self.folder)}, indent=1))

    @classmethod
    def read(cls, path: Path) -> "LoadOrder":
        """The order at `path`, as written by `write`."""
        raw = json.loads(path.read_text())
        return cls(
            load=Load(**raw.pop("load")),
            settings=ClientSettings(**raw.pop("settings")),
            folder=Path(raw.pop("folder")),
            **raw,
        )


REQUESTS_FILE = "requests.csv"
MESSAGES_FILE = "messages.csv"
STATUS_FILE = "load-status.json"
CHANNELS_FILE = "channels.json"  # what gRPC says of each client's channels, before the first call
STOPPED_EARLY = 3  # exit status of a load process that was told to stop
