"""A fork server and its children: their names, their ends, and that none outlives the family."""

import resource
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from harness.errors import LabError
from harness.testbed.local.testbed import LocalTestbed
from harness.testbed.processes import ForkServers, LoadOnThisMachine, Process, ProcessFamily

REPLICA = ["--listen", "127.0.0.1:0", "--slots", "1", "--service-time", "constant:1", "--seed", "1"]


@pytest.fixture
def family(tmp_path: Path) -> Iterator[ProcessFamily]:
    family = ProcessFamily("services.replica", {}, tmp_path / "forkserver.log")
    yield family
    family.close()


def _start_replica(family: ProcessFamily, name: str, folder: Path) -> Process:
    """Start a replica and wait until it serves."""
    ready = folder / f"{name}.ready"
    args = ["--name", name, "--ready", str(ready), *REPLICA]
    process = family.spawn_module(name, "services.replica", args, folder / f"{name}.log")
    deadline_s = time.monotonic() + 20
    while not ready.exists():
        assert time.monotonic() < deadline_s
        time.sleep(0.01)
    return process


def test_a_forked_process_has_its_own_name(family: ProcessFamily, tmp_path: Path) -> None:
    assert psutil.Process(_start_replica(family, "replica-7", tmp_path).pid).name() == "replica-7"


def test_the_description_of_an_end_names_the_signal_and_the_log(
    family: ProcessFamily, tmp_path: Path
) -> None:
    replica = _start_replica(family, "replica-0", tmp_path)
    family.send_signal(replica, signal.SIGKILL)
    assert family.wait([replica], 5) == []
    expected = f"replica-0 was killed by SIGKILL (status -9); see {tmp_path / 'replica-0.log'}"
    assert replica.describe_end() == expected


def test_a_process_that_cannot_start_writes_the_reason_to_its_log(
    family: ProcessFamily, tmp_path: Path
) -> None:
    log = tmp_path / "bad.log"
    bad = family.spawn_module("bad", "services.replica", ["--slots", "none"], log)
    assert family.wait([bad], 20) == []
    assert bad.status == 2
    assert "--slots" in log.read_text()


def test_close_ends_all_processes_even_those_that_ignore_signals(tmp_path: Path) -> None:
    family = ProcessFamily("services.replica", {}, tmp_path / "forkserver.log")
    replica = _start_replica(family, "replica-0", tmp_path)
    stubborn = family.spawn_program(
        "stubborn", ["/bin/sh", "-c", "trap '' TERM INT HUP; while :; do :; done"], tmp_path / "stubborn.log"
    )
    family.close()
    assert not psutil.pid_exists(replica.pid)
    assert not psutil.pid_exists(stubborn.pid)


def test_processes_have_the_hard_limit_of_open_files(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard - 1, 512), hard))
    try:
        family = ProcessFamily("services.replica", {}, tmp_path / "forkserver.log")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    shell = family.spawn_program("shell", ["/bin/sh", "-c", "ulimit -n"], tmp_path / "shell.log")
    assert family.wait([shell], 20) == []
    family.close()
    assert (tmp_path / "shell.log").read_text().strip() == str(hard)


class ShortLoad(LoadOnThisMachine):
    """A load of this family that has nothing to do."""

    def __init__(self, family: ProcessFamily, folder: Path) -> None:
        self._load_family = family
        self._load = family.spawn_program("load", ["/bin/true"], folder / "load.log")


@pytest.mark.timeout(20)
def test_the_wait_for_a_load_ends_with_the_load(family: ProcessFamily, tmp_path: Path) -> None:
    load = ShortLoad(family, tmp_path)
    load.wait_for_load(3600.0)
    assert load.load_status() == 0


def test_kept_fork_servers_serve_the_next_run_and_write_to_its_log(tmp_path: Path) -> None:
    servers = ForkServers()
    try:
        logs = [tmp_path / "first.log", tmp_path / "second.log"]
        families = [servers.family("services.replica", {}, log) for log in logs]
        assert families[0] is families[1]
        shell = families[0].spawn_program("shell", ["/bin/true"], tmp_path / "shell.log")
        assert families[0].wait([shell], 20) == []  # so it has read what it was asked before
        assert Path(f"/proc/{families[0]._server.pid}/fd/2").readlink() == logs[1]
        families[0]._server.kill()
        families[0]._server.wait()
        another = servers.family("services.replica", {}, tmp_path / "third.log")
        assert another.alive
        assert another is not families[0]
    finally:
        servers.close()
    assert not another.alive


def test_a_run_that_fails_ends_the_kept_fork_servers_and_another_keeps_them(tmp_path: Path) -> None:
    servers = ForkServers()
    try:
        with LocalTestbed(tmp_path / "a", load=False, kept=servers) as testbed:
            family = testbed._servers
        assert family.alive
        with pytest.raises(LabError), LocalTestbed(tmp_path / "b", load=False, kept=servers) as testbed:
            assert testbed._servers is family
            left = family.spawn_program("left", ["/bin/sleep", "60"], tmp_path / "left.log")
            raise LabError("a part has died")
        assert not psutil.pid_exists(left.pid)
        with LocalTestbed(tmp_path / "c", load=False, kept=servers) as testbed:
            assert testbed._servers.alive
    finally:
        servers.close()
