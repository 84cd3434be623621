"""`epoch_unix_ns` of a cell puts its instants on the wall clock, where Envoy's access log has its own."""

import json
from pathlib import Path

import polars as pl
from lab_process import StartLab, experiment_file

CLOCKS_DIFFER_NS = 50_000  # by what the two clocks may drift apart in a run of some seconds


def test_envoy_begins_each_request_between_send_and_answer(tmp_path: Path, start_lab: StartLab) -> None:
    # A long plan takes long to count. The wall clock was once read only after that.
    lab = start_lab(
        "run", experiment_file(tmp_path, workload={"rate_per_s": 400, "duration_s": 2}), "--redo", 0
    )
    status, _, err = lab.end()
    assert status in (0, 3), err
    for arm in ("sticky", "round_robin"):
        epoch_unix_ns = json.loads((lab.cell(arm) / "cell.json").read_text())["epoch_unix_ns"]
        log = pl.read_parquet(lab.cell(arm) / "proxy.parquet", columns=["request_id", "start_unix_ns"])
        log = log.select("request_id", (pl.col("start_unix_ns") - epoch_unix_ns).alias("start_ns"))
        both = lab.rows(arm).join(log, on="request_id")
        assert both.height > 500
        before = both.select((pl.col("start_ns") - pl.col("sent_ns")).min()).item()
        after = both.select((pl.col("done_ns") - pl.col("start_ns")).min()).item()
        assert before >= -CLOCKS_DIFFER_NS
        assert after >= -CLOCKS_DIFFER_NS
