"""Compares the lab's load process with stock Locust users on gevent: CPU a call, and lateness of sending."""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, replace
from pathlib import Path

from bench.load_run import run_load
from harness.plan.cells import CellPlan, plan_cells
from harness.spec.experiment import load_experiment
from harness.testbed.base import LiveCell
from harness.testbed.local.testbed import LocalTestbed
from lb.plan import Load
from lb.settings import ClientSettings
from load.order import LoadOrder

ROOT = Path(__file__).resolve().parent.parent
SECONDS = 5.0
LAG_SHARE = 0.99


class Generators:
    """One testbed (4 replicas, Envoy). The two generators call it one after the other."""

    def __init__(self, testbed: LocalTestbed, live: LiveCell, plan: CellPlan, folder: Path) -> None:
        self._testbed, self._live, self._plan, self._folder = testbed, live, plan, folder
        self._runs = 0

    def lab(self, load: Load, cookies: bool = False) -> dict[str, float]:
        """Run the lab's load process. Return cpu_us (for each recorded call) and lag_ms (p99)."""
        self._runs += 1
        folder = self._folder / f"lab-{self._runs}"
        (folder / "logs").mkdir(parents=True)
        settings = ClientSettings(
            self._live.target, None, cookies, True, 3, 10.0, time.monotonic_ns(), f"bench-{self._runs}"
        )
        found = run_load(self._testbed, LoadOrder(load, settings, 1.0, SECONDS, folder), {})
        cpu_us = found["load_cores"] / found["calls_per_s"] * 1e6
        return {"cpu_us": cpu_us, "lag_ms": found["lag_p99_ms"]}

    def stock(self, load: Load, loop: str) -> dict[str, float]:
        """Run the stock users with `loop` "closed" or "open". Return the same two figures."""
        path = self._folder / "stock-load.json"
        path.write_text(json.dumps(asdict(load)))
        argv = [sys.executable, "-m", "bench.stock_locust", self._live.target, str(path), str(SECONDS), loop]
        environment = {key: value for key, value in os.environ.items() if key != "LOCUST_SKIP_MONKEY_PATCH"}
        done = subprocess.run(
            argv, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False
        )
        if done.returncode:
            raise RuntimeError(done.stderr)
        result = json.loads(done.stdout)
        if result["failures"]:
            raise RuntimeError(f"{result['failures']} of the stock users' calls failed")
        lags_ns = sorted(result["lags_ns"]) or [0]
        return {
            "cpu_us": result["cpu_s"] / result["calls"] * 1e6,
            "lag_ms": lags_ns[int(len(lags_ns) * LAG_SHARE)] / 1e6,
        }


def measure(rounds: int) -> dict[str, list[float]]:
    """Return ratios lab / stock, one for each round.

    They are: CPU for each call at 600/s, without and with a cookie jar, and lag p99 at 1,200/s.
    """
    ratios: dict[str, list[float]] = {"cpu": [], "cpu with a cookie jar": [], "lag": []}
    experiment = load_experiment(str(ROOT / "bench" / "generator.yaml"))
    plan = plan_cells(experiment)[0]
    with tempfile.TemporaryDirectory() as folder, LocalTestbed(Path(folder) / "logs") as testbed:
        live = testbed.start_cell(experiment, plan, Path(folder), time.monotonic_ns())
        generators = Generators(testbed, live, plan, Path(folder))
        for number in range(rounds):
            _round(generators, replace(plan.load, repeat=number), ratios)
    return ratios


def _round(generators: Generators, load: Load, ratios: dict[str, list[float]]) -> None:
    stock = generators.stock(load, "closed")
    lab, jar = generators.lab(load), generators.lab(load, cookies=True)
    print(
        f"  CPU a call at {load.rate_per_s:g}/s: lab {lab['cpu_us']:.0f} us, with a cookie jar "
        f"{jar['cpu_us']:.0f} us, stock {stock['cpu_us']:.0f} us"
    )
    ratios["cpu"].append(lab["cpu_us"] / stock["cpu_us"])
    ratios["cpu with a cookie jar"].append(jar["cpu_us"] / stock["cpu_us"])
    fast = replace(load, rate_per_s=1200.0)
    stock, lab = generators.stock(fast, "open"), generators.lab(fast)
    print(f"  send lag p99 at 1,200/s: lab {lab['lag_ms']:.2f} ms, gevent {stock['lag_ms']:.2f} ms")
    ratios["lag"].append(lab["lag_ms"] / stock["lag_ms"])


if __name__ == "__main__":
    for name, values in measure(3).items():
        print(f"{name}: median ratio {statistics.median(values):.2f}")
