"""What is packed for the replay comes out again, within the quantum, in about ten bytes a request."""

import shutil

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.analysis.moments import Moments, moments_of
from harness.record.run_directory import read_run
from harness.report.page import build_report
from harness.report.replay import replay_of
from harness.report.replay_data import QUANTUM_NS, Packed, pack
from tests.unit.report.replay_unpacked import columns_in, unpacked
from tests.unit.synthetic.synthetic_run import GOLDEN

pytestmark = pytest.mark.whole_run

CLIENTS, METHODS, CODES = [7, 3, 0], ["AddVideo", "GetVideo"], ["OK", "UNAVAILABLE"]
SECOND = 10**9
A_STREAM = {"client": 7, "session": 0, "method": "GetVideo", "code": "OK"}
A_STREAM |= dict.fromkeys(("proxy_ns", "proxy_node", "toward"))

# Replicas and proxy may have clocks that are a little wrong: moments may come in any order.
near = st.integers(-2 * SECOND, 60 * SECOND)
span = st.integers(0, 10 * SECOND)
a_stay = st.tuples(st.integers(0, 300), near, span, span)
a_message = st.tuples(near, span)
a_request = st.fixed_dictionaries(
    {
        "client": st.sampled_from(CLIENTS),
        "session": st.integers(0, 200),
        "method": st.sampled_from(METHODS),
        "code": st.sampled_from(CODES),
        "sent_ns": st.integers(0, 60 * SECOND),
        "proxy_ns": st.none() | near,
        "proxy_node": st.none() | st.integers(0, 20),
        "toward": st.none() | st.integers(0, 300),
        "took_ns": span,
        "stays": st.lists(a_stay, max_size=3),
        "messages": st.lists(a_message, max_size=3),
    }
)


def moments_from(drawn):
    """Moments as `moments_of` returns them, and the same rows in their order."""
    requests = sorted(drawn, key=lambda one: one["sent_ns"])
    table = [
        {"request_id": number, "done_ns": one["sent_ns"] + one["took_ns"], **one}
        for number, one in enumerate(requests)
    ]
    stays = [
        {
            **{"request_id": number, "replica": replica, "arrived_ns": arrived},
            **{"started_ns": arrived + waited, "finished_ns": arrived + waited + served},
        }
        for number, one in enumerate(requests)
        for replica, arrived, waited, served in sorted(one["stays"], key=lambda stay: stay[1])
    ]
    messages = [
        {"request_id": number, "sent_ns": sent, "received_ns": sent + took}
        for number, one in enumerate(requests)
        for sent, took in one["messages"]
    ]
    text = dict.fromkeys(("method", "code"), pl.String)
    numbers = dict.fromkeys(("request_id", "sent_ns", "done_ns", "proxy_ns"), pl.Int64)
    small = dict.fromkeys(("client", "session", "proxy_node", "toward"), pl.Int32)
    schema = {**numbers, **small, **text}
    times = dict.fromkeys(("arrived_ns", "started_ns", "finished_ns"), pl.Int64)
    stay_schema = {"request_id": pl.Int64, "replica": pl.Int32, **times}
    message_schema = dict.fromkeys(("request_id", "sent_ns", "received_ns"), pl.Int64)
    moments = Moments(
        pl.DataFrame(table, schema=schema, infer_schema_length=None),
        pl.DataFrame(stays, schema=stay_schema),
        # Ledgers need not be in the order of sending: that is the packer's to find.
        pl.DataFrame(messages, schema=message_schema).sort("request_id", maintain_order=True),
    )
    return moments, table, stays, messages


def quanta(time_ns):
    return time_ns // QUANTUM_NS


@given(st.lists(a_request, max_size=20))
def test_every_moment_comes_out_rounded_down_to_its_quantum(drawn):
    moments, table, stays, messages = moments_from(drawn)
    found_requests, found_stays, found_messages = unpacked(pack(moments, CLIENTS, METHODS, CODES))
    assert found_stays == [
        {
            **{"request": one["request_id"], "replica": one["replica"]},
            **{name: quanta(one[f"{name}_ns"]) for name in ("arrived", "started", "finished")},
        }
        for one in stays
    ]
    assert found_messages == [
        {"request": one["request_id"], **{name: quanta(one[f"{name}_ns"]) for name in ("sent", "received")}}
        for one in messages
    ]
    for found, one in zip(found_requests, table, strict=True):
        assert (found["sent"], found["done"]) == (quanta(one["sent_ns"]), quanta(one["done_ns"]))
        assert CLIENTS[found["client"]] == one["client"]
        assert METHODS[found["method"]] == one["method"]
        assert CODES[found["code"]] == one["code"]
        assert found["session"] == one["session"]
        assert found["node"] == (-1 if one["proxy_node"] is None else one["proxy_node"])
        named = None if found["toward"] < 0 else found["toward"]
        assert named == (None if one["stays"] else one["toward"])


@given(st.lists(a_request, max_size=20))
def test_the_proxys_moment_is_kept_between_those_of_client_and_replica(drawn):
    moments, table, stays, _ = moments_from(drawn)
    arrivals = {}
    for one in stays:
        arrivals.setdefault(one["request_id"], quanta(one["arrived_ns"]))
    for number, found in enumerate(unpacked(pack(moments, CLIENTS, METHODS, CODES))[0]):
        if table[number]["proxy_ns"] is None:
            assert found["proxy"] == -1
            continue
        sent, latest = found["sent"], arrivals.get(number, found["done"])
        assert found["proxy"] == max(sent, min(latest, quanta(table[number]["proxy_ns"])))


@given(st.lists(a_request, min_size=1, max_size=20), st.integers(0, 600_000))
def test_counts_at_a_whole_quantum_are_those_of_the_ledgers(drawn, quantum):
    moments, _, stays, _ = moments_from(drawn)
    found = unpacked(pack(moments, CLIENTS, METHODS, CODES))[1]
    at_ns = quantum * QUANTUM_NS
    waiting = sum(one["arrived"] < quantum <= one["started"] for one in found)
    assert waiting == sum(one["arrived_ns"] < at_ns <= one["started_ns"] for one in stays)


def test_messages_stand_with_their_request_wherever_it_was_sent():
    """The ledger of messages is sorted by request id, the requests are sorted by the time of sending."""
    moments, *_ = moments_from(
        [
            {**A_STREAM, "sent_ns": 0, "took_ns": SECOND, "stays": [], "messages": [(0, 5 * QUANTUM_NS)]},
            {**A_STREAM, "sent_ns": 1, "took_ns": SECOND, "stays": [], "messages": [(9 * QUANTUM_NS, 0)]},
        ]
    )
    swapped = Moments(
        moments.requests.with_columns(-pl.col("request_id") + 1),
        moments.stays,
        moments.messages.with_columns(-pl.col("request_id") + 1).sort("request_id"),
    )
    found = unpacked(pack(swapped, CLIENTS, METHODS, CODES))[2]
    assert found == [
        {"request": 0, "sent": 0, "received": 5},
        {"request": 1, "sent": 9, "received": 9},
    ]


def test_a_request_takes_about_ten_bytes():
    """Of the page, that is with base64. The runs here are small: larger ones pack better."""
    for cell in read_run(GOLDEN).cells:
        moments = moments_of(cell)
        clients = sorted(set(moments.requests["client"]))
        methods = sorted(set(moments.requests["method"]))
        codes = sorted(set(moments.requests["code"]))
        packed = pack(moments, clients, methods, codes)
        assert packed.requests > 100
        rows = packed.requests + packed.messages
        assert len(packed.data) / rows < 12


def test_no_request_is_nothing():
    moments, *_ = moments_from([])
    packed = pack(moments, [], [], [])
    assert (packed.requests, packed.stays, packed.messages) == (0, 0, 0)
    assert unpacked(packed) == ([], [], [])


def test_an_unknown_client_is_an_error_of_the_caller():
    moments, *_ = moments_from([{**A_STREAM, "sent_ns": 0, "took_ns": 1, "stays": [], "messages": []}])
    with pytest.raises(pl.exceptions.InvalidOperationError):
        pack(moments, [1], METHODS, CODES)


@pytest.mark.parametrize("queue_ns", [-5 * SECOND, -(2**62), 2**62, None])
def test_a_damaged_ledger_is_packed_to_its_end(queue_ns, tmp_path):
    """Numbers in LEB128 are 0 at least: a negative one would never end."""
    run = shutil.copytree(GOLDEN, tmp_path / "run")
    path = run / "cells" / "sticky.1" / "replicas.parquet"
    pl.read_parquet(path).with_columns(pl.lit(queue_ns, pl.Int64).alias("queue_ns")).write_parquet(path)
    replay = replay_of(read_run(run))
    assert replay is not None
    for arm in replay.data["arms"]:
        packed = Packed(**{name: arm[name] for name in ("requests", "stays", "messages", "data")})
        assert len(columns_in(packed)["sent"]) == arm["requests"] > 0


def test_a_cell_that_contradicts_itself_is_not_replayed(tmp_path, without_plots):
    run = shutil.copytree(GOLDEN, tmp_path / "run")
    for repeat in (1, 2, 3):
        (run / "cells" / f"sticky.{repeat}" / "proxy.parquet").unlink()
    page = build_report(run)[0].read_text()
    assert "What happened, request by request" in page
    assert replay_of(read_run(run)).arms == ["sticky", "round_robin"]
    assert '"name":"sticky"' not in page
    assert '"name":"round_robin"' in page
