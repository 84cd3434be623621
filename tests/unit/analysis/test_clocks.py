"""The ledgers of a cell are put on one clock, as exactly as the clocks allow."""

import csv

from harness.analysis.clocks import MAX_MOVED_NS, PROXY_CLOCK_NS, SAME_CLOCK_NS, clocks_of
from harness.analysis.joined import join_cell
from harness.record.cell_record import LoadWorkerRecord
from harness.record.tables import REPLICA_COLUMNS
from tests.unit.synthetic.handwritten_cell import MS, REPLICAS, row, write_cell


def request(number, replica="replica-0", sent_ms=0, done_ms=10):
    at = 100 * number * MS
    times = {"planned_ns": at, "sent_ns": at + sent_ms * MS, "done_ns": at + done_ms * MS}
    return row(number, replica, **times, service_ns=4 * MS)


def shift(folder, name, ns):
    """The replica counts from a start of its own, `ns` after the cell's."""
    path = folder / f"{name}.csv"
    with path.open() as file:
        rows = list(csv.DictReader(file))
    for one in rows:
        for column in ("arrived_ns", "done_ns"):
            one[column] = str(int(one[column]) - ns)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(REPLICA_COLUMNS), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def worker(uncertainty_ns):
    return LoadWorkerRecord(
        name="w",
        host="h",
        clients=[0],
        rows=1,
        planned_requests=1,
        measured_requests=1,
        offset_ns=5,
        offset_uncertainty_ns=uncertainty_ns,
        ended="done",
        ended_ns=1,
    ).model_dump()


def test_on_one_machine_only_envoys_clock_is_less_exact(tmp_path):
    clocks = clocks_of(write_cell(tmp_path, [request(0)], epoch_unix_ns=7))
    assert (clocks.proxy_offset_ns, clocks.proxy_ns, clocks.replica_ns) == (-7, PROXY_CLOCK_NS, SAME_CLOCK_NS)
    assert clocks.replicas == {}


def test_what_is_not_exact_adds_to_what_is_allowed(tmp_path):
    info = {"wall_clock_moved_ns": 300, "load_workers": [worker(20), worker(4000)]}
    clocks = clocks_of(write_cell(tmp_path, [request(0)], **info))
    assert clocks.proxy_ns == PROXY_CLOCK_NS + 300 + 4000
    assert clocks.replica_ns == SAME_CLOCK_NS + 4000


def test_a_wall_clock_that_moved_far_is_of_no_use(tmp_path):
    for moved_ns, usable in ((MAX_MOVED_NS, True), (MAX_MOVED_NS + 1, False)):
        folder = tmp_path / str(moved_ns)
        folder.mkdir()
        clocks = clocks_of(write_cell(folder, [request(0)], wall_clock_moved_ns=moved_ns))
        assert (clocks.proxy_offset_ns is not None) is usable


def test_the_clocks_of_external_replicas_are_estimated_from_their_answers(tmp_path):
    """The tightest requests spend 1 ms on each way, so the middle is off by nothing and exact to 1 ms."""
    rows = [request(0, sent_ms=0, done_ms=5), request(1, "replica-1", done_ms=5), request(2, done_ms=50)]
    cell = write_cell(tmp_path, rows, route="direct", own_clocks=True)
    for name, ns in zip(REPLICAS, (3_000 * MS, -7 * MS), strict=True):
        shift(tmp_path, name, ns - MS // 2)  # arrival half a millisecond after the send
    clocks = clocks_of(cell)
    assert {name: clock.offset_ns for name, clock in clocks.replicas.items()} == {
        "replica-0": 3_000 * MS,
        "replica-1": -7 * MS,
    }
    assert {clock.uncertainty_ns for clock in clocks.replicas.values()} == {MS // 2}
    assert not any(clock.impossible for clock in clocks.replicas.values())
    joined = join_cell(cell).table.collect().sort("request_id")
    assert joined["arrived_ns"].to_list() == [MS // 2, 100 * MS + MS // 2, 200 * MS + MS // 2]


def test_a_replica_whose_times_fit_no_clock_is_found(tmp_path):
    rows = [request(0, done_ms=5), request(1, done_ms=5)]
    cell = write_cell(tmp_path, rows, route="direct", own_clocks=True)
    path = tmp_path / "replica-0.csv"
    head, first, second = path.read_text().splitlines()
    fields = second.split(",")
    for place in (3, 4):  # arrived_ns, done_ns
        fields[place] = str(int(fields[place]) - 50 * MS)
    path.write_text("\n".join([head, first, ",".join(fields)]) + "\n")
    assert clocks_of(cell).replicas["replica-0"].impossible


def test_without_ledgers_of_replicas_there_is_nothing_to_estimate(tmp_path):
    cell = write_cell(tmp_path, [request(0)], own_clocks=True, missing_ledgers={"replica": "none named"})
    for name in REPLICAS:
        (tmp_path / f"{name}.csv").unlink()
    assert clocks_of(cell).replicas == {}
    assert join_cell(cell).table.collect()["arrived_ns"].to_list() == [None]
