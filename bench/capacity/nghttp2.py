"""h2load and nghttpd (Debian package nghttp2) use far less CPU than the part that they call or answer."""

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import polars as pl
import psutil
from google.protobuf.message import Message

from bench.usage import Usage

SETTLE_S, MEASURED_S, PATIENCE_S = 0.5, 3.0, 30.0
DEPTH = 4  # calls in flight on a connection, as fast as possible
MAX_IN_FLIGHT = 100  # on a connection, at a rate; the lab's Envoy takes 128
HEADERS = ("content-type: application/grpc", "te: trailers", "x-lab-session: 0.0")
# Metadata that a replica sends. nghttpd can only add trailers; the lab's client reads those, too.
TRAILERS = ("grpc-status: 0", "x-lab-replica: replica-0", "x-lab-queue-ns: 0", "x-lab-service-ns: 0")


def installed() -> bool:
    """Return whether this machine has h2load and nghttpd."""
    return all(map(shutil.which, ("h2load", "nghttpd")))


def version() -> str:
    """Return the version as h2load gives it, for the record: "nghttp2/1.52.0"."""
    if not installed():
        return "no nghttp2"
    said = subprocess.run(["h2load", "--version"], capture_output=True, text=True, check=True)
    return said.stdout.split()[-1]


@contextmanager
def answerers(count: int, method: str, reply: Message, folder: Path) -> Iterator[dict[str, int]]:
    """Run several nghttpd that answer calls of one method. Yields address ("host:port") -> process id."""
    file = folder / "htdocs" / method
    file.parent.mkdir(parents=True)
    file.write_bytes(on_the_wire(reply))
    argv = ["setpriv", "--pdeathsig=KILL", "nghttpd", "--no-tls", "--address=127.0.0.1"]
    argv += [f"--htdocs={folder / 'htdocs'}", *(f"--trailer={trailer}" for trailer in TRAILERS)]
    with ExitStack() as stack:
        processes = []
        for _ in range(count):
            processes.append(stack.enter_context(subprocess.Popen([*argv, "0"])))  # the kernel picks the port
            stack.callback(processes[-1].kill)
        yield {_address(process): process.pid for process in processes}


def _address(server: subprocess.Popen[bytes]) -> str:
    """Wait until the server listens; return where, as "host:port"."""
    while not (listening := psutil.Process(server.pid).net_connections("tcp4")):
        if server.poll() is not None:
            raise RuntimeError(f"nghttpd ended with status {server.returncode}")
        time.sleep(0.02)
    return "{}:{}".format(*listening[0].laddr)


def call(
    url: str, request: Message, connections: int, rate_per_s: int, pids: dict[str, int], folder: Path
) -> dict[str, float]:
    """Call with h2load (rate_per_s 0: as fast as possible); return calls_per_s and what `pids` used.

    h2load sees HTTP statuses only. A gRPC call that fails has status 200: look for those in the ledgers.
    """
    body, log = folder / "request", folder / "h2load.log"
    body.write_bytes(on_the_wire(request))
    pace = [f"--rps={rate_per_s / connections}", f"-m{MAX_IN_FLIGHT}"] if rate_per_s else [f"-m{DEPTH}"]
    headers = [f"--header={header}" for header in HEADERS]
    argv = ["h2load", f"-c{connections}", f"-D{round((2 * SETTLE_S + MEASURED_S) * 1000)}ms", *pace, *headers]
    argv += [f"--data={body}", f"--log-file={log}", url]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as caller:
        usage = Usage(pids | {"caller": caller.pid})
        time.sleep(SETTLE_S)
        usage.sample()
        time.sleep(MEASURED_S)
        usage.sample()
        output, _ = caller.communicate(timeout=PATIENCE_S)
    if caller.returncode != 0 or " 0 failed, 0 errored" not in output or not log.stat().st_size:
        raise RuntimeError(f"h2load's calls to {url} failed: {output}")
    return {"calls_per_s": _calls_per_s(log, usage), **usage.columns()}


def _calls_per_s(log: Path, usage: Usage) -> float:
    """Return the rate of calls answered between the first and the last sample."""
    calls = pl.read_csv(log, separator="\t", has_header=False, new_columns=["start_us", "status", "took_us"])
    done_s = (calls["start_us"] + calls["took_us"]) / 1e6 - (time.time() - time.monotonic())
    in_window = done_s.is_between(usage.times_s[0], usage.times_s[-1])
    return round(calls.filter(in_window).height / usage.seconds, 1)


def on_the_wire(message: Message) -> bytes:
    """Return the message as gRPC sends it: a byte that says "not compressed", its length, the message."""
    body = message.SerializeToString()
    return b"\0" + len(body).to_bytes(4, "big") + body
