"""The standalone proxy with real replicas: clear text and TLS on one port, and its end."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import grpc
import psutil
import pytest
from lab_process import ROOT
from replica_process import StartReplica
from tls_calls import make_all_four_calls

TIMEOUT_S = 20


@pytest.fixture
def listen() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


@pytest.fixture
def proxy(listen: str, start_replica: StartReplica, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Starts the standalone proxy in front of one replica."""
    command = [
        *(sys.executable, "-m", "harness.proxy.standalone", "--experiment", "sticky"),
        *("--replicas", start_replica().address, "--listen", listen),
    ]
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env=os.environ | {"TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    yield process
    process.kill()
    with suppress(subprocess.TimeoutExpired):  # an Envoy that outlives it keeps the streams open
        process.communicate(timeout=2)


def printed(proxy: subprocess.Popen[str], pattern: str) -> str:
    """Read lines until one matches `pattern`, and return the pattern's group."""
    assert proxy.stdout is not None
    for line in proxy.stdout:
        if found := re.search(pattern, line):
            return found.group(1)
    raise AssertionError(proxy.communicate(timeout=TIMEOUT_S))


def test_it_accepts_clear_text_and_tls_until_sigterm(proxy: subprocess.Popen[str], listen: str) -> None:
    assert printed(proxy, r"Envoy on (\S+),") == listen
    authority = Path(printed(proxy, "authority: (.*)"))
    await_calls(listen)
    make_all_four_calls(listen, authority, "over-tls")
    proxy.send_signal(signal.SIGTERM)
    _, err = proxy.communicate(timeout=TIMEOUT_S)
    assert proxy.returncode == 0, err
    assert not authority.parent.parent.exists()


def envoy_of(proxy: subprocess.Popen[str]) -> psutil.Process:
    """Return the proxy's Envoy. The guard of its temporary folder is a child, too."""
    (envoy,) = (child for child in psutil.Process(proxy.pid).children() if child.name() == "envoy")
    return envoy


def test_envoy_does_not_outlive_a_killed_proxy(proxy: subprocess.Popen[str], listen: str) -> None:
    printed(proxy, "(authority)")
    await_calls(listen)
    envoy = envoy_of(proxy)
    proxy.kill()
    envoy.wait(5)


def test_it_fails_when_envoy_ends(proxy: subprocess.Popen[str]) -> None:
    printed(proxy, "(authority)")
    envoy = envoy_of(proxy)
    envoy.kill()
    _, err = proxy.communicate(timeout=TIMEOUT_S)
    assert proxy.returncode == 4
    assert err.endswith("error: Envoy ended (status -9); see its output above\n")


def await_calls(address: str) -> None:
    """Wait until calls succeed."""
    for number in range(100):
        try:
            make_all_four_calls(address, None, f"first-{number}")
        except grpc.RpcError:
            time.sleep(0.1)
        else:
            return
    raise AssertionError(f"{address} accepts no calls")
