"""Makes synthetic run directories: quickly, and the same every time.

`python -m tests.unit.synthetic.synthetic_run` writes the golden run again.
"""

import re
import shutil
import tempfile
from pathlib import Path

from harness.plan.cells import load_of
from harness.plan.rate_path import planned_rates
from harness.record.cell_record import CellRecord
from harness.record.manifest import MANIFEST, Host, Manifest, PlannedCell
from harness.record.record_file import write_record
from harness.record.run_directory import RunWriter, read_run
from harness.spec.arm import Variant
from harness.spec.experiment import Experiment, load_experiment
from harness.spec.zones import zones_of
from tests.unit.synthetic.synthetic_cell import InventedCell

GOLDEN = Path(__file__).parent.parent / "golden" / "good"

EXPERIMENT = """\
title: Sticky sessions overload a replica
question: A few clients send many requests. Where do they go when the balancer is sticky?
lesson: |
  A busy client drags all of its requests to one replica.

  Look at the share of the busiest replica.
replicas: {count: 4, slots: 1, service_time_ms: {distribution: exponential, mean: 8}}
workload:
  clients: 12
  rate_per_s: 600
  skew: 1.0
  calls: {AddVideo: 3, ListVideos: 1}
  warm_up_s: 0.2
  duration_s: 1
arms:
  sticky: {route: envoy, policy: sticky}
  round_robin: {route: envoy, policy: round_robin}
repeats: 3
expect:
  - {arm: round_robin, metric: spread.max_over_mean, at_most: 1.02}
  - {arm: sticky, metric: affinity.purity, at_least: 1.0}
  - {arm: sticky, metric: spread.max_over_mean, at_least: 1.4}
  - {arm: sticky, metric: latency_ms.p90, at_least_times: 12, of: round_robin}
"""


def synthesise_run(
    results: Path, experiment_yaml: str = EXPERIMENT, *, requests: int = 400, name: str = "sticky"
) -> Path:
    """Write a completed run of the experiment below `results` and return its directory.

    `requests`: planned in the window of each cell, about so many, whatever the experiment's rate.
    """
    duration_s = _read(experiment_yaml, name).workload.duration_s
    rate = f"rate_per_s: {requests / duration_s:g}"
    experiment_yaml = re.sub(r"\brate_per_s: \d+", rate, experiment_yaml, count=1)
    experiment = _read(experiment_yaml, name)
    order = [(n, arm) for n in range(1, experiment.repeats.min + 1) for arm in experiment.variants.values()]
    manifest = Manifest(
        experiment=name,
        seed=1,
        versions={"lb-lab": "0.3.0", "envoy": "1.40.0", "grpcio": "1.85.1"},
        host=Host(system="Linux", machine="x86_64", cpus=2, memory_bytes=2**33),
        git_commit=None,
        cells=[PlannedCell(arm=arm.name, repeat=repeat, attempts=1) for repeat, arm in order],
    )
    writer = RunWriter.create(results, manifest, experiment_yaml)
    for place, (repeat, arm) in enumerate(order):
        folder = writer.cell(arm.name, repeat)
        writer.write_cell(folder, _synthesise_cell(folder, experiment, arm, repeat, place))
        writer.seal_cell(place)
    writer.finish("completed")
    writer.link_latest()
    return writer.path


def _read(experiment_yaml: str, name: str) -> Experiment:
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        file.write(experiment_yaml)
        file.flush()
        return load_experiment(file.name, name=name)


def _synthesise_cell(
    folder: Path, experiment: Experiment, variant: Variant, repeat: int, order: int
) -> CellRecord:
    arm, work = variant.arm, experiment.workload_of(variant.arm)
    load = load_of(work, experiment.seed, repeat)
    epoch_unix_ns = 1_790_000_000_000_000_000 + order * 60_000_000_000
    cell = InventedCell(
        experiment, arm, work, load, seed=f"{variant.name}.{repeat}", epoch_unix_ns=epoch_unix_ns
    )
    planned = cell.write(folder)
    return CellRecord(
        arm=variant.name,
        repeat=repeat,
        order=order,
        route=arm.route,
        policy=arm.policy,
        status="completed",
        replicas=cell.replicas,
        initial_replicas=cell.events.first,
        groups=cell.groups,
        proxies=dict.fromkeys(cell.several_nodes, ""),
        zones=zones_of(arm, cell.several_nodes, cell.replicas),
        proxy_workers=arm.proxy_workers,
        max_attempts=arm.retries.attempts if arm.retries else 1,
        awaits_answers=arm.await_each_answer,
        planned_requests=planned,
        messages_per_stream=experiment.workload.messages_per_stream,
        planned_rate_per_s=load.rate_per_s,
        planned_rates_per_s=planned_rates(load, work.duration_s),
        measure_start_ns=cell.start_ns,
        measure_end_ns=cell.end_ns,
        epoch_unix_ns=epoch_unix_ns,
        incomplete_ledgers=sorted(cell.events.killed),
    )


def write_golden(golden: Path) -> None:
    """Replace the golden run by a new synthetic run, with fixed names and times."""
    from harness.report.page import build_report

    shutil.rmtree(golden, ignore_errors=True)
    synthetic = synthesise_run(golden.parent / "new", requests=400)
    shutil.move(synthetic, golden)
    shutil.rmtree(golden.parent / "new")
    manifest = read_run(golden).manifest
    manifest.run = "20260101T000000Z-0000aa"
    manifest.started_utc, manifest.finished_utc = "2026-01-01T00:00:00Z", "2026-01-01T00:00:09Z"
    write_record(golden / MANIFEST, manifest)
    build_report(golden)
    for derived in ("plots", "joined"):
        shutil.rmtree(golden / derived)
    (golden / "report.html").unlink()


if __name__ == "__main__":
    write_golden(GOLDEN)
