"""The moments of requests: from which ledger each comes, and of which requests."""

import polars as pl
import pytest

from harness.analysis.moments import moments_of
from harness.errors import UserError
from harness.record.access_log import log_name
from harness.record.run_directory import read_run
from harness.record.tables import REPLICA_COLUMNS
from tests.unit.synthetic.access_lines import access_line
from tests.unit.synthetic.handwritten_cell import MS, REPLICAS, message, row, write_cell
from tests.unit.synthetic.synthetic_run import GOLDEN

START = 5 * MS  # of measuring, after the cell's start
EPOCH = 1_700_000_000 * 10**9


def at(ms, replica="replica-0", number=0, **more):
    """A request that was sent `ms` into the measured window and answered 10 ms later."""
    times = {"planned_ns": START + ms * MS, "sent_ns": START + ms * MS, "done_ns": START + (ms + 10) * MS}
    return row(number, replica, **times, **more)


def stay(request_id, arrived_ms, queue_ms=2, service_ms=3, method="AddVideo", code="OK"):
    """A row of a replica's ledger: a call that ends half a millisecond after its service."""
    arrived = START + arrived_ms * MS
    done = arrived + (queue_ms + service_ms) * MS + MS // 2
    return f"{request_id},{method},p,{arrived},{done},{queue_ms * MS},{service_ms * MS},1,1,{code}\n"


def cell_of(tmp_path, rows, stays=(), proxy=(), **info):
    """stays: rows of replica-0's ledger. proxy: (request id, ms into the window, address)."""
    window = {"measure_start_ns": START, "measure_end_ns": START + 1000 * MS, "epoch_unix_ns": EPOCH}
    cell = write_cell(tmp_path, rows, replica=[], **{**window, **info})
    (tmp_path / "replica-0.csv").write_text(",".join(REPLICA_COLUMNS) + "\n" + "".join(stays))
    log = [
        access_line(request_id=number, start_unix_ns=EPOCH + START + ms * MS, upstream=address)
        for number, ms, address in proxy
    ]
    (tmp_path / "access.log").write_text("".join(log))
    return cell


def test_a_request_has_the_moments_of_all_three_ledgers(tmp_path):
    cell = cell_of(tmp_path, [at(0, session=3)], [stay(0, 4)], [(0, 1, REPLICAS["replica-0"])])
    moments = moments_of(cell)
    assert moments.requests.to_dicts() == [
        {
            **{"request_id": 0, "client": 0, "session": 3, "method": "AddVideo", "code": "OK", "toward": 0},
            **{"sent_ns": 0, "done_ns": 10 * MS, "proxy_ns": pytest.approx(MS, abs=300), "proxy_node": None},
        }
    ]
    assert moments.stays.to_dicts() == [
        {"request_id": 0, "replica": 0, "arrived_ns": 4 * MS, "started_ns": 6 * MS, "finished_ns": 9 * MS}
    ]
    assert moments.messages.is_empty()


def test_a_stream_is_open_from_its_arrival_to_its_end(tmp_path):
    rows = [at(0, method="GetVideo")]
    messages = [message(0, "replica-0", 1, sent_ns=START + 4 * MS), message(0, "replica-0", sent_ns=START)]
    cell = cell_of(tmp_path, rows, [stay(0, 1, method="GetVideo")], messages=messages)
    moments = moments_of(cell)
    (only,) = moments.stays.to_dicts()
    assert (only["arrived_ns"], only["started_ns"], only["finished_ns"]) == (MS, MS, 6.5 * MS)
    assert moments.messages["sent_ns"].to_list() == [0, 4 * MS]


def test_every_attempt_is_a_stay_in_the_order_of_arrival(tmp_path):
    stays = [stay(0, 6), stay(0, 1, code="UNAVAILABLE")]
    moments = moments_of(cell_of(tmp_path, [at(0)], stays))
    assert moments.stays["arrived_ns"].to_list() == [MS, 6 * MS]


def test_only_requests_of_the_measured_window_count(tmp_path):
    rows = [at(-1), at(0, number=1), at(999, number=2), at(1000, number=3)]
    moments = moments_of(cell_of(tmp_path, rows, [stay(0, 0), stay(1, 1)]))
    assert moments.requests["request_id"].to_list() == [1, 2]
    assert moments.stays["request_id"].to_list() == [1]


def test_a_part_of_the_time_has_the_requests_that_were_under_way_then(tmp_path):
    # 0 is over before; 1 still waits for its answer; the replica still works on 2; 3 comes after.
    rows = [at(0), at(95, number=1), at(80, number=2), at(200, number=3)]
    cell = cell_of(tmp_path, rows, [stay(0, 1), stay(1, 96), stay(2, 81, queue_ms=30)])
    moments = moments_of(cell, 100 * MS, 200 * MS)
    assert moments.requests["request_id"].to_list() == [2, 1]
    assert moments.stays["request_id"].to_list() == [1, 2]


def test_without_an_answer_the_proxy_says_where_a_request_went(tmp_path):
    rows = [at(0, "", code="UNAVAILABLE"), at(1, "", number=1, code="UNAVAILABLE")]
    moments = moments_of(cell_of(tmp_path, rows, proxy=[(0, 1, REPLICAS["replica-1"]), (1, 2, "10.0.0.1:1")]))
    assert moments.requests["toward"].to_list() == [1, None]


def test_of_a_clients_retries_the_first_reached_the_proxy_first(tmp_path):
    proxy = [(0, 5, REPLICAS["replica-1"]), (0, 2, REPLICAS["replica-0"])]
    moments = moments_of(cell_of(tmp_path, [at(0, "")], proxy=proxy))
    (only,) = moments.requests.to_dicts()
    assert only["proxy_ns"] == pytest.approx(2 * MS, abs=300)
    assert only["toward"] == 1


def test_a_request_is_that_of_the_node_that_had_it_last(tmp_path):
    nodes = dict.fromkeys(("envoy-0", "envoy-1", "envoy-2"), "")
    cell = cell_of(tmp_path, [at(0), at(1, number=1), at(2, number=2)], proxies=nodes)
    had = {"envoy-0": [(0, 1)], "envoy-1": [(1, 5)], "envoy-2": [(0, 4), (1, 2)]}
    for node, rows in had.items():
        lines = [access_line(request_id=number, start_unix_ns=EPOCH + START + ms * MS) for number, ms in rows]
        (tmp_path / log_name(node)).write_text("".join(lines))
    # Nobody has the third: a node that was killed loses its last rows.
    assert moments_of(cell).requests["proxy_node"].to_list() == [2, 1, None]


def test_replicas_with_clocks_of_their_own_are_put_on_the_clients_clock(tmp_path):
    """The clock was estimated from send and answer: it is within the difference that is left between them."""
    offset_ms = 90
    cell = cell_of(tmp_path, [at(0)], [stay(0, 4 + offset_ms)], own_clocks=True)
    (only,) = moments_of(cell).stays.to_dicts()
    assert only["arrived_ns"] == pytest.approx(4 * MS, abs=5 * MS)
    assert only["finished_ns"] - only["arrived_ns"] == 5 * MS


@pytest.mark.parametrize("route", ["direct", "envoy-l4"])
def test_no_proxy_saw_the_request_where_none_lists_requests(tmp_path, route):
    cell = cell_of(tmp_path, [at(0)], [stay(0, 4)], [(0, 1, REPLICAS["replica-0"])], route=route)
    assert moments_of(cell).requests["proxy_ns"].to_list() == [None]


def test_a_damaged_ledger_is_named(tmp_path):
    cell = cell_of(tmp_path, [at(0)])
    (tmp_path / "replica-0.csv").write_text(",".join(REPLICA_COLUMNS) + "\nnot,a,row\n")
    with pytest.raises(UserError, match=str(tmp_path)):
        moments_of(cell)


def test_all_of_a_run_is_there(runs):
    for cell in read_run(GOLDEN).cells:
        moments = moments_of(cell)
        window = cell.requests().filter(
            pl.col("planned_ns").is_between(
                cell.record.measure_start_ns, cell.record.measure_end_ns, closed="left"
            )
        )
        assert moments.requests.height == window.select(pl.len()).collect().item()
        assert moments.requests["proxy_ns"].null_count() == 0
        assert set(moments.stays["request_id"]) == set(moments.requests["request_id"])
