"""A real run contradicts nothing, and a forged one does."""

import shutil
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from lab_process import StartLab, experiment_file

from harness.analysis.summary import facts_of
from harness.record.run_directory import read_run
from tests.unit.synthetic.forger import DONE, ID, SENT, Forger

ARMS = {
    "proxy": {"route": "envoy", "policy": "round_robin"},
    "client": {"route": "direct", "policy": "round_robin"},
}
WORK = {"duration_s": 1.0, "warm_up_s": 0.3, "rate_per_s": 150, "calls": {"AddVideo": 3, "GetVideo": 1}}


def slowest(forger: Forger) -> list[int]:
    rows = forger.read("requests").sort(DONE - SENT)
    return rows["request_id"].tail(rows.height // 25).to_list()


def foreign(forger: Forger) -> None:
    more = forger.read("replicas").head(1).with_columns(request_id=pl.lit(-1, pl.Int64))
    forger.table("replicas", lambda rows: pl.concat([rows, *[more] * 5000]))


def move(forger: Forger) -> None:
    """Every third request of replica-0 was replica-1's, as all three ledgers tell."""
    some, address = ID % 3 == 0, forger.record()["replicas"]
    for stem in ("requests", "replicas", "messages"):
        forger.rows(stem, some & (pl.col("replica") == "replica-0"), replica="replica-1")
    at_first = pl.col("upstream") == address["replica-0"]
    forger.rows("proxy", some & at_first, upstream=address["replica-1"])


FORGERIES: dict[str, Callable[[Forger], object]] = {
    "all codes UNAVAILABLE": lambda f: f.rows("requests", code="UNAVAILABLE"),
    "ends before sends": lambda f: f.rows("requests", done_ns=SENT - 1),
    "latencies cut by 90 %": lambda f: f.rows("requests", done_ns=SENT + (DONE - SENT) // 10),
    "OK without a replica": lambda f: f.rows("requests", ID % 7 == 0, replica=""),
    "replica codes INTERNAL": lambda f: f.rows("replicas", code="INTERNAL"),
    "Envoy 503 with 7 attempts": lambda f: f.rows("proxy", http=503, attempts=7),
    "5,000 foreign calls": foreign,
    "the slowest 4 % removed": lambda f: f.keep(~ID.is_in(slowest(f))),
    "repeat 2 is a copy of repeat 1": lambda f: f.copy(f.first, f.first.replace(".1", ".2")),
    "Envoy 5 ms late": lambda f: f.rows("proxy", start_unix_ns=pl.col("start_unix_ns") + 5_000_000),
    "another replica in all ledgers": move,
}
# Of these only the proxy knows.
PROXIED = ("Envoy 503 with 7 attempts", "Envoy 5 ms late", "another replica in all ledgers")


def contradictions(run: Path, arms: Collection[str] = tuple(ARMS)) -> dict[str, tuple[str, ...]]:
    """Return "<arm>.<repeat>" -> what its record contradicts, for the cells of these arms."""
    stored = read_run(run)
    cells = [cell for cell in stored.cells if cell.record.arm in arms]
    facts = facts_of(replace(stored, cells=cells))
    return {f"{arm}.{cell.repeat}": cell.contradictions for arm, found in facts.items() for cell in found}


@pytest.mark.timeout(300)
def test_forgeries_of_a_real_run_are_noticed(start_lab: StartLab, tmp_path: Path) -> None:
    lab = start_lab("run", experiment_file(tmp_path, arms=ARMS, workload=WORK, repeats=2), "--redo", 0)
    status, out, err = lab.end(200)
    assert status in (0, 3), out + err  # 3: the generator lagged on a busy machine
    assert contradictions(lab.run) == dict.fromkeys(("proxy.1", "proxy.2", "client.1", "client.2"), ())
    joined = pl.read_parquet(lab.run / "joined" / "proxy.1.parquet")
    stages = pl.sum_horizontal(pl.col("^stage_.*_ns$"))
    assert joined.select((stages == pl.col("done_ns") - pl.col("planned_ns")).all()).item()

    unnoticed = []
    for arm in ARMS:
        for name, forge in FORGERIES.items():
            if arm == "client" and name in PROXIED:
                continue
            forger = Forger(shutil.copytree(lab.run, tmp_path / "forged"), f"{arm}.1")
            forge(forger)
            forger.seal()
            found = contradictions(forger.run, [arm])
            if not (found[f"{arm}.1"] or found[f"{arm}.2"]):
                unnoticed.append((arm, name))
            shutil.rmtree(forger.run)
    assert unnoticed == []
