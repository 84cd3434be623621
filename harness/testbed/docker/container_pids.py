"""Which processes of this machine the containers are."""

from collections.abc import Iterable
from pathlib import Path

from harness.testbed.docker.container import ENGINE_ERRORS, CellContainer


def host_pids(containers: Iterable[CellContainer], proc: Path = Path("/proc")) -> dict[str, int]:
    """Return name -> process id of each container that runs; empty where one of them cannot be found here.

    The engine knows ids of its own machine. The lab may see other processes under the same ids, as from
    within a container: only one whose control group names the container is taken for it.
    """
    found: dict[str, int] = {}
    for one in containers:
        try:
            one.container.reload()
            pid = int(one.container.attrs["State"]["Pid"])
            groups = (proc / str(pid) / "cgroup").read_text() if pid else ""
        except (*ENGINE_ERRORS, OSError):
            return {}
        if pid and str(one.container.id) not in groups:
            return {}
        if pid:
            found[one.name] = pid
    return found
