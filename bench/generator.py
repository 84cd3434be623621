"""`python -m bench.generator` compares the lab's load process with other load generators.

All call the same Envoy, one after another, at the same rates. Envoy's access log counts a tool's calls. They
are counted in the window in which its CPU time is taken, when the tool has warmed up. Tools that are not
installed are skipped; with --build Go builds some of them.
"""

import argparse
import io
import itertools
import json
import os
import subprocess
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import polars as pl

from bench.generator_page import Found, write_page
from bench.peers import PEERS, ROOT, SENT_FILE, Ask, Peer, build, lab_in
from bench.usage import Usage
from harness.plan.cells import plan_cells
from harness.record.access_log import ACCESS_LOG, scan_access_log
from harness.spec.experiment import load_experiment
from harness.testbed.base import LiveCell
from harness.testbed.local.testbed import LocalTestbed
from load.order import REQUESTS_FILE

RATES_PER_S = (300, 600, 1200, 0)
PAGE = ROOT / "docs" / "generator.md"
WARM_UP_S, MEASURED_S, MARGIN_S = 1.0, 3.0, 0.7
PATIENCE_S, POLL_S = 20.0, 0.02
FLUSH_S = 0.4  # Envoy writes its access log every 0.1 s
ONE_CORE = ["taskset", "--cpu-list", "0"]


class Bench:
    """One testbed with Envoy, which the tools call one after another. `live`: what they call."""

    def __init__(self, live: LiveCell, folder: Path) -> None:
        self._live, self._folder = live, folder
        self._runs = 0

    def measure(self, peer: Peer, rate_per_s: int) -> Found:
        """Run a tool once. `rate_per_s`: 0: one call at a time on each connection, on one core."""
        self._runs += 1
        folder = self._folder / f"run-{self._runs}"
        folder.mkdir()
        seconds = WARM_UP_S + MEASURED_S + MARGIN_S
        ask = Ask(self._live.target, rate_per_s, seconds, f"{os.getpid()}-{self._runs}", folder)
        with (self._live.folder / ACCESS_LOG).open("rb") as access_log:
            access_log.seek(0, io.SEEK_END)
            usage = _run(peer, ask, access_log, self._live.pids)
            time.sleep(FLUSH_S)
            calls = scan_access_log(access_log.read()).collect()
        start_s, end_s = usage.times_s
        # Envoy reads the wall clock, the lab the monotonic one.
        at_s = pl.col("start_unix_ns") / 1e9 - (time.time() - time.monotonic())
        calls = calls.with_columns(at_s.alias("at_s")).filter(pl.col("at_s").is_between(start_s, end_s))
        late_ms = _late_ms(folder, start_s, end_s, calls)
        calls = calls.filter(pl.col("grpc") == "OK")
        if not calls.height:
            raise RuntimeError(f"{peer.name}: no call succeeded; its output is in {folder}")
        used, count = usage.columns(), calls.height
        cpu_us = used["caller_cores"] * usage.seconds / count * 1e6
        rate = count / usage.seconds
        return Found(peer.name, rate_per_s, rate, cpu_us, late_ms, used["other_cores"])


def _run(peer: Peer, ask: Ask, access_log: io.BufferedReader, pids: dict[str, int]) -> Usage:
    """Run the tool to its end. Return what it and `pids` used in the window after its warm-up."""
    program = [str(peer.path()), *peer.argv(ask)]
    environment = {name: value for name, value in os.environ.items() if name != "LOCUST_SKIP_MONKEY_PATCH"}
    with ExitStack() as closing:
        output = closing.enter_context((ask.folder / "output.txt").open("w+"))
        process = subprocess.Popen(
            program if ask.rate_per_s else [*ONE_CORE, *program],
            cwd=peer.folder,
            env=environment | {"PYTHONPATH": str(peer.folder)},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        closing.callback(process.wait)
        closing.callback(process.kill)
        deadline_s = time.monotonic() + PATIENCE_S
        while not access_log.peek(1) and process.poll() is None and time.monotonic() < deadline_s:
            time.sleep(POLL_S)
        usage: Usage | None = None
        if process.poll() is None:
            usage = Usage({"caller": process.pid, **pids})
            for pause_s in (WARM_UP_S, MEASURED_S):
                time.sleep(pause_s)
                usage.sample()
        status = process.wait(PATIENCE_S)
        if status or usage is None or len(usage.times_s) < 2:
            output.seek(0)
            raise RuntimeError(f"{peer.name} ended early or with status {status}:\n{output.read()[-2000:]}")
    return usage


def _late_ms(folder: Path, start_s: float, end_s: float, calls: pl.DataFrame) -> dict[str, float]:
    """Return percentiles (ms) of how late calls were sent, as far as the tool records it.

    `p50`, `p99`: as the tool recorded it. `envoy_p50`, `envoy_p99`: from the planned time until Envoy had the
    request, by Envoy's clock.
    """
    found: dict[str, float] = {}
    if (sent := folder / SENT_FILE).exists():
        late_ns = pl.Series([late for at, late in json.loads(sent.read_text()) if at > WARM_UP_S * 1e9])
        found = _percentiles("", late_ns / 1e6)
    if (rows := folder / REQUESTS_FILE).exists():
        # The lab counts from the monotonic clock's zero here.
        planned_s = pl.col("planned_ns") / 1e9
        own = pl.read_csv(rows).filter(planned_s.is_between(start_s, end_s))
        seen = own.join(calls.select("request_id", "at_s"), on="request_id")
        found = _percentiles("", own.select(pl.col("sent_ns") - pl.col("ready_ns")).to_series() / 1e6)
        ready_s = pl.col("ready_ns") / 1e9
        found |= _percentiles("envoy_", seen.select((pl.col("at_s") - ready_s) * 1e3).to_series())
    return found


def _percentiles(prefix: str, values: pl.Series) -> dict[str, float]:
    pairs = {name: values.quantile(share) for name, share in (("p50", 0.5), ("p99", 0.99))}
    return {prefix + name: value for name, value in pairs.items() if value is not None}


def measure(peers: list[Peer], rounds: int, rates_per_s: tuple[int, ...] = RATES_PER_S) -> list[Found]:
    """Measure all tools `rounds` times at each rate. The order of the tools changes from round to round."""
    experiment = load_experiment(str(ROOT / "bench" / "generator.yaml"))
    plan = plan_cells(experiment)[0]
    found: list[Found] = []
    with (
        tempfile.TemporaryDirectory() as scratch,
        LocalTestbed(Path(scratch) / "logs", load=False) as testbed,
    ):
        folder = Path(scratch)
        live = testbed.start_cell(experiment, plan, folder, time.monotonic_ns())
        bench = Bench(live, folder)
        for number, rate_per_s in itertools.product(range(rounds), rates_per_s):
            first = number % len(peers)
            for peer in [*peers[first:], *peers[:first]]:
                found.append(bench.measure(peer, rate_per_s))
                print(found[-1].line(), flush=True)
    return found


def installed_peers(build_missing: bool = False, before: Path | None = None) -> list[Peer]:
    """Return the tools that can run here, and print which cannot. `before`: another checkout of the lab."""
    if build_missing:
        build(PEERS)
    for peer in PEERS:
        if peer.path() is None:
            how = f"; --build: go install {peer.go}" if peer.go else ""
            print(f"SKIPPED: {peer.name}; it is not installed{how}")
    found = [peer for peer in PEERS if peer.path() is not None]
    return [found[0], lab_in(before), *found[1:]] if before else found


def main() -> None:
    """Measure, print, and write the page."""
    parser = argparse.ArgumentParser(prog="python -m bench.generator", description=__doc__)
    add = parser.add_argument
    add("--rounds", type=int, default=5, help="measurements of each tool at each rate (default 5)")
    add("--build", action="store_true", help="let Go build the missing tools into build/")
    add("--before", type=Path, metavar="FOLDER", help="compare with the lab in another checkout, too")
    add("--only", action="append", metavar="NAME", help="only this tool; may be given several times")
    add("--rates", type=int, nargs="+", default=RATES_PER_S, metavar="N", help="calls/s; 0: a closed loop")
    add("--page", type=Path, metavar="FILE", help="write the tables into this page")
    options = parser.parse_args()
    peers = installed_peers(options.build, options.before)
    peers = [peer for peer in peers if not options.only or peer.name in options.only]
    found = measure(peers, options.rounds, tuple(options.rates))
    write_page(options.page, found, peers)


if __name__ == "__main__":
    main()
