"""A search on real parts: the cells that were measured say what the search says of them."""

import json
import math
from pathlib import Path

import numpy as np
from lab_process import StartLab, experiment_file

BOUND_MS, WITHIN, MOST = 150, 0.4, 3


def test_the_bracket_is_that_of_the_cells(start_lab: StartLab, tmp_path: Path) -> None:
    """Two replicas serve 200/s together. Below that p90 is short; above it a queue grows."""
    path = experiment_file(
        tmp_path,
        replicas={"count": 2, "slots": 1, "service_time_ms": {"distribution": "constant", "mean": 10}},
        workload={"rate_per_s": 200, "duration_s": 1, "deadline_ms": 5000},
        arms={"turns": {"route": "direct", "policy": "round_robin"}},
        search={
            "factor": "rate_per_s",
            "while": {"metric": "latency_ms.p90", "at_most": BOUND_MS},
            "within": f"{WITHIN:.0%}",
            "max_cells": MOST,
        },
    )
    lab = start_lab("run", path, "--redo", 0)
    status, out, err = lab.end()
    assert status in (0, 3), out + err
    found = json.loads((lab.run / "summary.json").read_text())["search"]["arms"]["turns"]
    (search,) = found["repeats"]
    cells = search["cells"]
    assert 2 <= len(cells) <= MOST
    # It began at the workload's rate, because nothing was predicted.
    manifest = json.loads((lab.run / "manifest.json").read_text())
    assert manifest["cells"][0]["searched"]["value"] == float(f"{200 / math.sqrt(1.5):.3g}")
    for cell in cells:
        rows = lab.rows(cell["arm"])
        start_ns = json.loads((lab.cell(cell["arm"]) / "cell.json").read_text())["measure_start_ns"]
        measured = rows.filter(rows["planned_ns"] >= start_ns)
        latency_ms = (measured["done_ns"] - measured["planned_ns"]).to_numpy() / 1e6
        assert abs(len(latency_ms) - cell["value"]) < 6 * math.sqrt(cell["value"])
        if cell["held"] is not None:
            assert cell["held"] == (np.quantile(latency_ms, 0.9, method="inverted_cdf") <= BOUND_MS)
    assert any(cell["held"] is not None for cell in cells), cells
    held = [cell["value"] for cell in cells if cell["held"]]
    failed = [cell["value"] for cell in cells if cell["held"] is False]
    assert search["low"] == max((one for one in held if one < min(failed, default=math.inf)), default=None)
    assert search["high"] == min((one for one in failed if one > max(held, default=0)), default=None)
    if held and failed:
        assert f"the capacity was {math.sqrt(search['low'] * search['high']):.0f} requests/s" in out
