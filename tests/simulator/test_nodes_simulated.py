"""Several nodes of a proxy in the simulator: turns and requests in flight are each node's own."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

import tests.simulator.kernels  # noqa: F401
from harness.analysis.summary import summarise
from harness.cli.main import main
from harness.record.run_directory import read_run
from simulator.simulation import simulate
from simulator.system import Policy
from tests.simulator.loads import MS, fleet, poisson
from tests.unit.synthetic.forger import Forger

CALLS = 4_000
STAYS = {"deadline_ns": 10**12}


@pytest.mark.parametrize("spread", [False, True])
@pytest.mark.parametrize("rule", ["round_robin", "full_scan"])
def test_each_node_is_even_and_knows_nothing_of_the_others(rule: str, spread: bool) -> None:
    """No call ends, so a full scan deals them out as evenly as turns do."""
    calls = poisson(CALLS, 1e6, 0.0, clients=40, work_ns=np.full(CALLS, 10**13))
    policy = Policy("proxy", rule)  # type: ignore[arg-type]
    found = simulate(fleet(5, policy, slots=10_000, nodes=3, spread=spread, **STAYS), calls)
    counts = np.zeros((3, 5), int)
    np.add.at(counts, (found.node[found.attempts.call], found.attempts.replica), 1)
    assert (counts.sum(axis=1) > 0).all()
    assert (counts.max(axis=1) - counts.min(axis=1) <= 1).all()  # exact
    if spread:
        assert (found.node == calls.channel % 3).all()
    nodes_of_channels = {(channel, node) for channel, node in zip(calls.channel, found.node, strict=True)}
    assert len(nodes_of_channels) == 40, "a connection stays with its node"


@pytest.mark.parametrize("rule", ["round_robin", "random", "least_request", "full_scan"])
def test_a_node_sends_to_its_own_zone_alone(rule: str) -> None:
    """One replica in one zone, three in the other, and nodes that have half of the calls each."""
    calls = poisson(CALLS, 1e6, 0.0, clients=40, work_ns=np.full(CALLS, 10**13))
    policy = Policy("proxy", rule)  # type: ignore[arg-type]
    zones = (0, 1, 1, 1)
    found = simulate(fleet(4, policy, slots=10_000, nodes=2, spread=True, zones=zones, **STAYS), calls)
    counts = np.zeros((2, 4), int)
    np.add.at(counts, (found.node[found.attempts.call], found.attempts.replica), 1)
    assert (counts[0, 1:] == 0).all()
    assert counts[1, 0] == 0
    assert counts.sum() == CALLS
    if rule in ("round_robin", "full_scan"):
        assert counts[1, 1:].max() - counts[1, 1:].min() <= 1


def test_least_request_of_many_nodes_waits_nearly_as_long_as_a_random_pick() -> None:
    """68 % busy. One node joins the shortest queue; each of very many sees no requests but its own."""
    calls = poisson(60_000, 68 * 8, 0.0, clients=4000, work_ns=np.full(60_000, 10 * MS), seed=3)
    mean_ms = {}
    for name, rule, nodes in (("one", "full_scan", 1), ("many", "full_scan", 4000), ("random", "random", 1)):
        policy = Policy("proxy", rule)  # type: ignore[arg-type]
        found = simulate(fleet(8, policy, nodes=nodes, spread=True, **STAYS), calls)
        mean_ms[name] = found.queue_ns[2000:].mean() / MS
    # M/D/1 waits load / 2 / (1 - load) service times (Pollaczek-Khinchine): 0.68 / 2 / 0.32 x 10 ms.
    assert mean_ms["random"] == pytest.approx(10.6, rel=0.15)
    assert mean_ms["many"] == pytest.approx(mean_ms["random"], rel=0.15)
    assert mean_ms["one"] < mean_ms["many"] / 4


def test_a_ledger_that_names_another_node_contradicts_the_clients(tmp_path: Path) -> None:
    words = ["many_balancers", "--testbed", "simulated", "--results", str(tmp_path), "-q", "--quick"]
    assert main([*words, "--no-plots"]) in (0, 3)
    path = (tmp_path / "many_balancers" / "latest").resolve()
    assert summarise(read_run(path)).invalid_reasons == []
    forger = Forger(path, "least_3.1")
    forger.rows("proxy", pl.col("proxy") == "envoy-2", proxy=pl.lit("envoy-1"))
    forger.seal()
    (reason, *_) = summarise(read_run(path)).invalid_reasons
    assert "came over another connection than the client was told" in reason
