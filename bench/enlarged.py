"""Writes a run whose one cell is many times as large as a real one, with ledgers that agree."""

import json
import shutil
from pathlib import Path

import polars as pl

from harness.record.access_log import ACCESS_LOG, PROXY_COLUMNS, SEPARATOR
from harness.record.cell_record import CELL_FILE
from harness.record.ledger_files import replica_csv
from harness.record.manifest import MANIFEST
from harness.record.record_file import write_record, write_text
from harness.record.run_directory import Cell, read_run
from harness.record.seals import EXPERIMENT_FILE, file_hash
from harness.record.tables import REPLICA_COLUMNS
from harness.spec.experiment import experiment_yaml, load_experiment
from lb.rows import REQUEST_COLUMNS, REQUEST_IDS_PER_CLIENT

CELL = "cells/round_robin.1"
GROUPS = 5  # times as many clients; the rest are later requests of the same clients
CONNECTIONS = 1_000  # more than a real cell has
COUNTERS = "envoy/clusters.after.json"

_GROUP, _LATER = pl.col("copy") % GROUPS, pl.col("copy") // GROUPS
# Copies whose times end with the same digits would be smaller on disk than real rows, and sooner read.
_EARLIER_NS = (pl.col("copy") * 7_919) % 100_003


def write_enlarged(real: Path, requests: int, run_dir: Path) -> None:
    """Write the run `run_dir`: a cell of about that many requests, with ledgers as the parts write them.

    real: a run of bench/generator.yaml. Every GROUPS-th copy of a request is of the same client, and later by
    the measured window; so the clients' plans have no gaps. The cell is not sealed.
    """
    run = read_run(real)
    (cell,) = run.cells
    record, work = cell.record, run.experiment.workload
    assert isinstance(work.rate_per_s, int | float)  # the rate does not change
    assert record.planned_rate_per_s is not None
    later = max(1, round(requests / (record.planned_requests * GROUPS)))
    shutil.copytree(
        real, run_dir, ignore=shutil.ignore_patterns("*.parquet", "*.html", "plots", "joined", "*.svg")
    )
    _write_ledgers(cell, later, run_dir / CELL)
    grown = {
        "workload.clients": work.clients * GROUPS,
        "workload.rate_per_s": work.rate_per_s * GROUPS,
        "workload.duration_s": work.duration_s * later,
    }
    write_text(
        run_dir / EXPERIMENT_FILE, experiment_yaml(load_experiment(str(real / EXPERIMENT_FILE), grown))
    )
    run.manifest.experiment_seal = file_hash(run_dir / EXPERIMENT_FILE)
    write_record(run_dir / MANIFEST, run.manifest)
    planned = {
        "measure_end_ns": record.measure_start_ns + later * record.window_ns,
        "planned_requests": record.planned_requests * GROUPS * later,
        "planned_rate_per_s": record.planned_rate_per_s * GROUPS,
    }
    write_record(run_dir / CELL / CELL_FILE, record.model_copy(update=planned))


def _write_ledgers(cell: Cell, later: int, folder: Path) -> None:
    requests, proxy, replicas = cell.requests(), cell.proxy_ledger(), cell.replica_ledger()
    assert proxy is not None
    assert replicas is not None
    copies = pl.LazyFrame({"copy": range(GROUPS * later)})
    measured = pl.col("planned_ns") >= cell.record.measure_start_ns
    plans = requests.select(
        "request_id", "client", measured=measured, plan=measured.sum().over("client").cast(pl.Int64)
    )
    clients = requests.select(pl.col("client").max() + 1).collect().item()

    def enlarged(ledger: pl.LazyFrame, moments: tuple[str, ...]) -> pl.LazyFrame:
        """Return every row of the warm-up GROUPS times, and every other row of all copies."""
        rows = ledger.drop("client", strict=False).join(plans, on="request_id", maintain_order="left")
        number = pl.col("request_id") % REQUEST_IDS_PER_CLIENT + _LATER * pl.col("plan")
        client = pl.col("client") + _GROUP * clients
        # Also durations differ from call to call.
        durations = [
            pl.max_horizontal(pl.col(name) - _EARLIER_NS, 0)
            for name in rows.collect_schema().names()
            if name == "service_ns"
        ]
        return (
            copies.join(rows, how="cross", maintain_order="left_right")
            .filter(pl.col("measured") | (_LATER == 0))
            .with_columns(
                (client.cast(pl.Int64) * REQUEST_IDS_PER_CLIENT + number).alias("request_id"),
                client.alias("client"),
                pl.col(*moments)
                + pl.when(_LATER > 0).then(_LATER * cell.record.window_ns - _EARLIER_NS).otherwise(0),
                *durations,
            )
        )

    connection = pl.col("connection").cast(pl.Int32) + _GROUP * CONNECTIONS
    of_client = enlarged(requests, ("planned_ns", "ready_ns", "sent_ns", "done_ns"))
    of_client.with_columns(connection).select(*REQUEST_COLUMNS).sink_csv(folder / "requests.csv")
    at_replicas = enlarged(replicas, ("arrived_ns", "done_ns"))
    for name in cell.record.replicas:
        at_replicas.filter(replica=name).select(*REPLICA_COLUMNS).sink_csv(replica_csv(folder, name))
    logged = enlarged(proxy, ("start_unix_ns",)).with_columns(connection).select(*PROXY_COLUMNS)
    logged.sink_csv(folder / ACCESS_LOG, include_header=False, separator=SEPARATOR, quote_style="never")
    _count_again(cell, of_client, folder / COUNTERS)


def _count_again(cell: Cell, requests: pl.LazyFrame, path: Path) -> None:
    """Write Envoy's counters of requests to each replica as they would be."""
    found = requests.group_by("replica").len().collect()
    addresses = {cell.record.replicas[name]: count for name, count in found.iter_rows() if name}
    before = json.loads(path.with_name("clusters.before.json").read_text())
    for host in (host for cluster in before["cluster_statuses"] for host in cluster.get("host_statuses", ())):
        at = host["address"]["socket_address"]
        for one in host["stats"]:
            if one["name"] == "rq_total":
                one["value"] = int(one.get("value", 0)) + addresses.pop(
                    f"{at['address']}:{at['port_value']}", 0
                )
    path.write_text(json.dumps(before))
