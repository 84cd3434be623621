"""Starts a real Envoy process with the configuration of one arm."""

import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from harness.events.context import Endpoint
from harness.fields import PROXY, proxy_names
from harness.proxy.admin import EnvoyAdmin
from harness.proxy.render import (
    ANY_ADDRESS,
    EnvoyFiles,
    envoy_program,
    render,
    write_endpoints,
    write_nodes,
)
from harness.proxy.tls import TlsFiles
from harness.spec.arm import Arm

READY_S = 20


@dataclass
class EnvoyProcess:
    """An Envoy that was started with `files`."""

    process: subprocess.Popen[bytes]
    files: EnvoyFiles
    admin: EnvoyAdmin

    def await_true(self, done: Callable[[], bool]) -> None:
        """Wait until `done()`; fail if Envoy ends first."""
        _await(self.process, done)

    def stop(self) -> None:
        self.process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(10)
        self.process.kill()
        self.process.wait()


def arm_of(route: str, policy: str, options: Mapping[str, object] | None = None, **settings: object) -> Arm:
    return Arm.model_validate({"route": route, "policy": policy, "options": dict(options or {}), **settings})


def endpoints_of(addresses: Mapping[str, str]) -> dict[str, Endpoint]:
    return {name: Endpoint(address) for name, address in addresses.items()}


def nodes_of(arm: Arm) -> dict[str, str]:
    """Return addresses of the proxy's nodes as Envoy is told them. Nobody calls a node there."""
    return {node: f"127.0.0.1:{port}" for port, node in enumerate(proxy_names(arm.proxies), start=1)}


def start_envoy_process(
    folder: Path,
    arm: Arm,
    addresses: Mapping[str, str],
    tls: TlsFiles | None = None,
    listen: str = ANY_ADDRESS,
    node: str = PROXY,
) -> EnvoyProcess:
    """Start a node of `arm` with replicas (name -> "host:port"); return when its admin interface answers."""
    files = EnvoyFiles(folder / "envoy", folder / "access.log")
    files.folder.mkdir(parents=True, exist_ok=True)
    files.admin_address.unlink(missing_ok=True)
    write_endpoints(files, endpoints_of(addresses), arm, node)
    write_nodes(files, nodes_of(arm), arm)
    files.config.write_text(render(arm, files, tls, listen, node=node))
    command = [
        *(envoy_program(), "--config-path", str(files.config), "--disable-hot-restart"),
        *("--admin-address-path", str(files.admin_address), "--concurrency", str(arm.proxy_workers)),
        *("--file-flush-interval-msec", "50"),
    ]
    with (folder / "envoy.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        _await(process, lambda: files.admin_address.exists() and bool(files.admin_address.read_text()))
    except BaseException:
        process.kill()
        process.wait()
        raise
    return EnvoyProcess(
        process, files, EnvoyAdmin(files.admin_address.read_text().strip(), folder / "envoy.log")
    )


def _await(process: subprocess.Popen[bytes], done: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + READY_S
    while not done():
        assert process.poll() is None, "Envoy has ended"
        assert time.monotonic() < deadline_s, "Envoy is not ready"
        time.sleep(0.01)
