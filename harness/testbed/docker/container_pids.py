"""Which processes of this machine the containers are."""

from collections.abc import Iterable
from pathlib import Path

from harness.testbed.docker.container import ENGINE_ERRORS, Part


def host_pids(parts: Iterable[Part], proc: Path = Path("/proc")) -> dict[str, int]:
    """Return part -> process id of each container that runs; empty where one of them cannot be found here.

    The engine tells ids of its own machine. The lab may see other processes under the same ids, as from
    within a container: only one whose control group names the container is taken for it.
    """
    found: dict[str, int] = {}
    for part in parts:
        try:
            part.container.reload()
            pid = int(part.container.attrs["State"]["Pid"])
            groups = (proc / str(pid) / "cgroup").read_text() if pid else ""
        except (*ENGINE_ERRORS, OSError):
            return {}
        if pid and str(part.container.id) not in groups:
            return {}
        if pid:
            found[part.name] = pid
    return found
