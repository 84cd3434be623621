"""In a long run no process's memory grows with the number of requests. LB_LAB_SOAK_S=3600: one hour."""

import os
import statistics
import time
from pathlib import Path

import psutil
import pytest
from lab_process import Lab, StartLab, experiment_file

SOAK_S = float(os.environ.get("LB_LAB_SOAK_S", "40"))
RATE_PER_S = 300
MIB = 2**20
# The allowed growth of a process's memory in a third of the run. If the load process kept the rows of the
# requests in memory, it would grow several times as much.
ALLOWANCE_BYTES = 1 * MIB
# The harness keeps a sample of the machine every tenth of a second, as long as a cell lasts.
SAMPLES_PER_S, SAMPLE_BYTES = 10, 600
MIX = {"AddVideo": 2, "ListVideos": 1, "GetVideos": 1, "GetVideo": 1}
INTERVAL_S = 0.5


def own_bytes(process: psutil.Process) -> int:
    """Return the process's anonymous memory, which no file backs.

    Not its unique memory (USS): that has the pages of Envoy's program, 45 MiB, while no other Envoy runs, and
    has them no more while one does.
    """
    rollup = Path("/proc", str(process.pid), "smaps_rollup").read_text()
    kib = next(line.split()[1] for line in rollup.splitlines() if line.startswith("Anonymous:"))
    return int(kib) * 1024


def sample(lab: Lab, seconds: float) -> dict[str, list[int]]:
    """Return name -> samples of the process's own memory, one every half second."""
    names = ["envoy", "load", "replica-0", "replica-1", "replica-2"]
    processes = {"harness": lab.family()[0], **{name: lab.component(name) for name in names}}
    samples: dict[str, list[int]] = {name: [] for name in processes}
    end_s = time.monotonic() + seconds
    while time.monotonic() < end_s:
        for name, process in processes.items():
            samples[name].append(own_bytes(process))
        time.sleep(INTERVAL_S)
    return samples


def growth_bytes(values: list[int]) -> float:
    """Return by how much a third of the run lets the memory grow: four times the usual growth of a twelfth.

    What is kept for each request grows in every twelfth. When requests wait for a moment on a busy machine,
    Python takes a MiB or two from the system and keeps them. That changes only the twelfths that contain the
    moment, and hardly the median of all.
    """
    twelfth = len(values) // 12
    return 4 * statistics.median(
        after - before for before, after in zip(values, values[twelfth:], strict=False)
    )


# Calm: requests that wait in a queue take memory, more in each longer queue, and that memory is kept.
@pytest.mark.calm
@pytest.mark.timeout(SOAK_S + 240)
def test_memory_is_flat(start_lab: StartLab, tmp_path: Path) -> None:
    arms = {"arm": {"route": "envoy", "policy": "sticky"}}
    work = {"warm_up_s": 0.5, "duration_s": SOAK_S, "rate_per_s": RATE_PER_S, "clients": 12, "calls": MIX}
    lab = start_lab("run", experiment_file(tmp_path, arms=arms, workload=work), "--redo", 0)
    cell = lab.await_state("measure")
    samples = sample(lab, SOAK_S - 1)
    rows = (cell / "requests.csv").read_bytes().count(b"\n")
    assert rows > 0.5 * RATE_PER_S * (SOAK_S - 1)  # the rows are on disk, not in memory
    grown = {name: growth_bytes(values) for name, values in samples.items()}
    in_mib = {name: [round(value / MIB, 2) for value in values] for name, values in samples.items()}
    print({name: f"{size / MIB:+.2f} MiB" for name, size in grown.items()})
    grown["harness"] -= SAMPLES_PER_S * SAMPLE_BYTES * SOAK_S / 3
    assert {name: size for name, size in grown.items() if size > ALLOWANCE_BYTES} == {}, in_mib
    status, out, err = lab.end(120)
    assert status in (0, 3), out + err  # 3: the generator lagged on a busy machine
