"""The name server of a proxy with several nodes names those that the fleet says."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dns.message
import dns.query

from harness.plan.cells import plan_cells
from harness.testbed.base import PROXY_NAME
from harness.testbed.cell_context import CellContext
from harness.testbed.local.fleet import LocalFleet
from tests.unit.events.kind_experiments import experiment


@contextmanager
def fleet_of(folder: Path, *events: dict[str, object]) -> Iterator[LocalFleet]:
    """A fleet of which nothing has been started; its proxy has two nodes if the events speak of nodes."""
    found = experiment(folder, list(events))
    context = CellContext(found, plan_cells(found)[0], folder, 0, None)
    fleet = LocalFleet(context, None)  # type: ignore[arg-type]  # no process is started
    try:
        yield fleet
    finally:
        fleet.close()


def named_hosts(fleet: LocalFleet) -> set[str]:
    assert fleet.live.name_server is not None
    host, _, port = fleet.live.name_server.rpartition(":")
    query = dns.message.make_query(PROXY_NAME, "A")
    answer = dns.query.udp(query, host, timeout=5, port=int(port)).answer
    return {str(record) for records in answer for record in records}


def test_the_nodes_that_run_are_named_and_all_where_none_does(tmp_path: Path) -> None:
    with fleet_of(tmp_path, {"at_s": 1.0, "do": "proxy_kill", "node": "envoy-0"}) as fleet:
        assert fleet.name_nodes(["envoy-1", "envoy-0"])
        assert named_hosts(fleet) == {"127.0.2.1", "127.0.2.2"}
        assert fleet.name_nodes(["envoy-1"])
        assert named_hosts(fleet) == {"127.0.2.2"}
        assert fleet.name_nodes([])
        assert named_hosts(fleet) == {"127.0.2.1", "127.0.2.2"}


def test_a_single_node_has_no_name(tmp_path: Path) -> None:
    with fleet_of(tmp_path) as fleet:
        assert not fleet.name_nodes(["envoy"])
        assert fleet.live.name_server is None
