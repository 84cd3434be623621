"""Nodes of a proxy are killed under load, started again and added: who loses calls, who uses which node."""

import json
from pathlib import Path
from typing import Any

import polars as pl
from lab_process import StartLab, experiment_file

from tests.recount.comparison import recount_run

ARM: dict[str, Any] = {
    **{"route": "envoy", "policy": "round_robin", "proxies": 3, "zones": {"a": 1, "b": 1, "c": 1}},
    # Otherwise gRPC would ask the name server at most every 30 s.
    "dns_interval_ms": 50,
    "tls": "rsa",
}
CLIENTS = 60  # that none of them goes from envoy-0 to envoy-1: less than once in ten thousand runs
EVENTS = [
    {"at_s": 0.8, "do": "proxy_kill", "node": "envoy-1", "for_s": 0.8},
    {"at_s": 1.0, "do": "proxy_add"},
    {"at_s": 2.6, "do": "proxy_kill", "node": "envoy-0"},
]


JOINS = ("process ready", "Envoy: as planned", "name server: named")


def test_only_calls_under_way_through_a_killed_node_fail(start_lab: StartLab, tmp_path: Path) -> None:
    path = experiment_file(
        tmp_path,
        arms={"arm": ARM},
        replicas={"slots": 32, "service_time_ms": {"distribution": "constant", "mean": 100}},
        workload={"clients": CLIENTS, "rate_per_s": 300, "duration_s": 4.0},
        events=EVENTS,
    )
    lab = start_lab("run", path)
    status, out, err = lab.end()
    assert status in (0, 3), out + err  # 3: a generator that lagged on a busy machine
    summary = json.loads((lab.run / "summary.json").read_text())
    assert summary["arms"]["arm"]["ledgers"]["reconciled"], summary["arms"]["arm"]["ledgers"]
    assert [str(one) for one in recount_run(lab.run) if not one.agrees] == []
    record = json.loads((lab.cell("arm") / "cell.json").read_text())
    assert record["incomplete_ledgers"] == ["envoy-0", "envoy-1"]
    assert set(record["proxies"]) == {"envoy-0", "envoy-1", "envoy-2", "envoy-3"}
    assert record["zones"]["envoy-3"] == "a"
    stored = {path.name for path in (lab.cell("arm") / "envoy-3").iterdir()}
    assert {"config_dump.json", "clusters.before.json", "clusters.after.json"} <= stored
    lines = [json.loads(line) for line in (lab.cell("arm") / "events.jsonl").read_text().splitlines()]
    seen = [(one["number"], one["target"], one["seen"]) for one in lines if one["event"] == "took_effect"]
    assert sorted(seen, key=lambda one: one[0]) == [
        *((1, "envoy-1", what) for what in ("process ended", "name server: not named")),
        *((2, "envoy-3", what) for what in JOINS),
        *((3, "envoy-1", what) for what in JOINS),
        *((4, "envoy-0", what) for what in ("process ended", "name server: not named")),
    ]

    rows = pl.read_parquet(lab.run / "joined" / "arm.1.parquet").sort("sent_ns")
    asked = {line["number"]: line["t_ns"] for line in lines if line["event"] == "asked"}
    orphans, went_to = nodes_after_death(rows, "envoy-1", asked[1], asked[4])
    assert went_to <= {"envoy-0", "envoy-2", "envoy-3"}
    # A node that is added gets nothing from clients whose connections last.
    of_new = rows.filter(pl.col("proxy_node") == "envoy-3", pl.col("sent_ns") < asked[4])
    assert set(of_new["client"]) <= orphans
    _, went_to = nodes_after_death(rows, "envoy-0", asked[4], record["measure_end_ns"])
    assert rows.filter(pl.col("code") != "OK").height > 0
    # Clients go to the node that came back, and to the new one, when they ask for the name again: here, when
    # envoy-0 has died.
    assert went_to == {"envoy-1", "envoy-2", "envoy-3"}


def nodes_after_death(
    rows: pl.DataFrame, node: str, killed_ns: int, until_ns: int
) -> tuple[set[int], set[str]]:
    """Check that only the node's clients lose calls; return these, and the nodes to which they went."""
    known = rows.filter(pl.col("sent_ns") < killed_ns, pl.col("proxy_node").is_not_null())
    last = known.group_by("client").agg(pl.col("proxy_node").last())
    orphans = set(last.filter(pl.col("proxy_node") == node)["client"])
    after = rows.filter(pl.col("done_ns").is_between(killed_ns, until_ns))
    failed = after.filter(pl.col("code") != "OK")
    assert set(failed["code"]) <= {"UNAVAILABLE"}
    assert set(failed["client"]) <= orphans, "clients of other nodes lose nothing"
    noticed = failed.group_by("client").agg(pl.col("done_ns").min().alias("noticed_ns"))
    late = after.join(noticed, on="client").filter(pl.col("sent_ns") > pl.col("noticed_ns"))
    assert set(late["code"]) <= {"OK"}, "a client that has noticed loses nothing more"
    # Envoy writes its log every 100 ms. What it had not written is lost, of this node only.
    unlogged = rows.filter(
        pl.col("code") == "OK",
        pl.col("proxy_node").is_null(),
        pl.col("done_ns").is_between(killed_ns - 500_000_000, killed_ns),
    )
    assert set(unlogged["client"]) <= orphans
    answered = late.filter(pl.col("sent_ns") < until_ns - 500_000_000)
    return orphans, set(answered["proxy_node"])
