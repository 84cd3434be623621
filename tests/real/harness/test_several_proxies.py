"""A proxy of several nodes in a whole run: ledgers, records and confirmation name each node."""

import json
import time
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from lab_process import StartLab, experiment_file

from harness.errors import LabError
from harness.events.context import Endpoint
from harness.plan.cells import plan_cells
from harness.proxy.admin import EnvoyAdmin
from harness.proxy.render import EnvoyFiles, write_endpoints
from harness.run.confirm import confirm_cell, confirm_node
from harness.spec.experiment import load_experiment
from harness.testbed.local.testbed import LocalTestbed

NODES = ["envoy-0", "envoy-1", "envoy-2"]
THREE: dict[str, Any] = {"route": "envoy", "policy": "round_robin", "proxies": 3}


def zones_in(node: EnvoyAdmin) -> set[str]:
    """Return the zones of the endpoints that a node of the proxy has."""
    return {place.zone for place in node.endpoint_places().values()}


@pytest.mark.calm
def test_every_ledger_and_record_names_the_nodes(start_lab: StartLab, tmp_path: Path) -> None:
    arms = {"stay": THREE, "spread": THREE | {"proxy_use": "spread"}}
    path = experiment_file(tmp_path, arms=arms, workload={"clients": 12})
    lab = start_lab("run", path)
    status, out, err = lab.end()
    assert status == 0, out + err
    summary = json.loads((lab.run / "summary.json").read_text())
    assert summary["invalid_reasons"] == []  # no rule about what ledgers say of a request is broken
    for arm, nodes_of_client in (("stay", 1), ("spread", 3)):
        folder = lab.cell(arm)
        record = json.loads((folder / "cell.json").read_text())
        assert list(record["proxies"]) == NODES
        assert len({address.rpartition(":")[0] for address in record["proxies"].values()}) == 3
        assert summary["arms"][arm]["ledgers"]["reconciled"]
        assert {"envoy-0", "envoy-1", "envoy-2", "load"} <= summary["arms"][arm]["usage"].keys()
        joined = pl.read_parquet(lab.run / "joined" / f"{arm}.1.parquet")
        assert set(joined["proxy_node"]) <= set(NODES)
        of_clients = joined.group_by("client").agg(
            pl.col("proxy_node").n_unique(), pl.col("proxy_connection").n_unique()
        )
        # A client has one connection for each node that it uses, and no two clients share one.
        assert set(of_clients["proxy_node"]) == set(of_clients["proxy_connection"]) == {nodes_of_client}
        assert joined["proxy_connection"].n_unique() == 12 * nodes_of_client
        replicas = joined.group_by("proxy_node", "replica").len().group_by("proxy_node")
        off = replicas.agg((pl.col("len").max() - pl.col("len").min()).alias("off"))["off"].max()
        assert off <= 1, "each node takes turns"
        for node in NODES:
            assert {"envoy.yaml", "config_dump.json", "clusters.after.json"} <= {
                file.name for file in (folder / node).iterdir()
            }
            assert (folder / "logs" / f"{node}.log").exists()
    spread = pl.read_parquet(lab.cell("spread") / "proxy.parquet")["proxy"].value_counts()
    assert spread["count"].max() - spread["count"].min() <= 12, "each client takes the nodes in turn"


def test_a_node_with_replicas_of_another_zone_is_refused(tmp_path: Path) -> None:
    zoned = THREE | {"proxies": 2, "zones": {"a": 1, "b": 2}, "cross_zone": False}
    experiment = load_experiment(str(experiment_file(tmp_path, arms={"arm": zoned})))
    plan = plan_cells(experiment)[0]
    with LocalTestbed(tmp_path / "logs", load=False) as testbed:
        live = testbed.start_cell(experiment, plan, tmp_path, time.monotonic_ns())
        confirm_cell(experiment, plan, live)
        zones = [zones_in(live.admins[node]) for node in ("envoy-0", "envoy-1")]
        assert zones == [{"a"}, {"b"}]
        files = EnvoyFiles.of_cell(tmp_path, plan.arm, "envoy-0")
        endpoints = {name: Endpoint(address) for name, address in live.replicas.items()}
        renamed = plan.arm.model_copy(update={"zones": {"c": 1, "b": 2}})
        everything = plan.arm.model_copy(update={"cross_zone": True})
        for arm, wrong in ((renamed, "endpoints' zones"), (everything, "endpoints")):
            write_endpoints(files, endpoints, arm, "envoy-0")
            count = 1 if arm is renamed else 3
            while len(live.admins["envoy-0"].endpoint_health()) != count or (
                zones_in(live.admins["envoy-0"]) == {"a"}
            ):
                time.sleep(0.01)
            with pytest.raises(LabError, match=rf"^envoy-0: .* is not as planned: {wrong}: planned"):
                confirm_cell(experiment, plan, live)


def test_a_node_with_other_endpoints_is_refused_by_its_name(tmp_path: Path) -> None:
    experiment = load_experiment(str(experiment_file(tmp_path, arms={"arm": THREE})))
    plan = plan_cells(experiment)[0]
    with LocalTestbed(tmp_path / "logs", load=False) as testbed:
        live = testbed.start_cell(experiment, plan, tmp_path, time.monotonic_ns())
        confirm_cell(experiment, plan, live)
        fewer = {name: Endpoint(address) for name, address in list(live.replicas.items())[1:]}
        write_endpoints(EnvoyFiles.of_cell(tmp_path, plan.arm, "envoy-1"), fewer, plan.arm)
        while len(live.admins["envoy-1"].endpoint_health()) == 3:
            time.sleep(0.01)
        with pytest.raises(LabError, match=r"^envoy-1: .* is not as planned: endpoints: planned"):
            confirm_cell(experiment, plan, live)
        testbed.fleet.kill("envoy-2")
        del live.admins["envoy-2"]
        with pytest.raises(LabError, match="planned through Envoy, but 2 of 3 nodes run"):
            confirm_cell(experiment, plan, live)


def test_a_node_that_is_added_is_confirmed_and_the_others_hear_of_it(tmp_path: Path) -> None:
    arm = THREE | {"zones": {"a": 1, "b": 1, "c": 1}, "cross_zone": "zone_aware"}
    events = [{"at_s": 0.3, "do": "proxy_add"}]
    experiment = load_experiment(str(experiment_file(tmp_path, arms={"arm": arm}, events=events)))
    plan = plan_cells(experiment)[0]
    with LocalTestbed(tmp_path / "logs", load=False) as testbed:
        live = testbed.start_cell(experiment, plan, tmp_path, time.monotonic_ns())
        confirm_cell(experiment, plan, live)
        fleet, first = testbed.fleet, live.admins["envoy-0"]
        node = fleet.start_new_proxy()
        while not (fleet.proxy_ready(node) and live.admins[node].live()):
            time.sleep(0.01)
        endpoints = {name: Endpoint(address) for name, address in live.replicas.items()}
        confirm_node(plan, live, node, endpoints)
        with pytest.raises(LabError, match=r"^envoy-3: .* is not as planned: endpoints: planned"):
            confirm_node(plan, live, node, dict(list(endpoints.items())[1:]))
        assert sorted(first.zones_of_nodes().values()) == ["a", "b", "c"]
        with pytest.raises(LabError, match=r"^envoy-0: .* is not as planned: the nodes' zones: planned"):
            confirm_node(plan, live, "envoy-0", endpoints)
        for nodes, zones in ((live.admins, ["a", "a", "b", "c"]), ([node, "envoy-1"], ["a", "b"])):
            fleet.name_nodes(nodes)
            while sorted(first.zones_of_nodes().values()) != zones:
                time.sleep(0.01)
