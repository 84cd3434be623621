"""Cells that are joined in parts: each request is in one part, and figures are those of the whole cell."""

from functools import partial
from itertools import chain

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.analysis import facts, joined, ledgers
from harness.analysis.generator_share import generator_share
from harness.analysis.joined import JoinedFigures, join_cell
from harness.analysis.ledger_join import stand_side_by_side
from harness.analysis.ledgers import reconcile
from harness.analysis.parts import collect_parts, parts_of
from harness.analysis.summary import summarise
from harness.record.ledger_files import store_ledgers
from harness.record.run_directory import read_run
from tests.unit.synthetic.handwritten_cell import REPLICAS, row, write_cell
from tests.unit.synthetic.synthetic_run import GOLDEN
from tests.unit.thorough import examples

IDS = st.lists(st.integers(0, 40), min_size=1, max_size=30)


@pytest.fixture
def small_parts(monkeypatch):
    """Cut every cell into parts of 200 requests."""
    for module in (facts, joined, ledgers):
        monkeypatch.setattr(module, "parts_of", partial(parts_of, max_requests=200))


def ids_of(ledger: pl.LazyFrame) -> list[int]:
    return ledger.select("request_id").collect()["request_id"].to_list()


@given(ids=IDS, at_replicas=IDS, size=st.integers(1, 10))
def test_every_row_is_in_one_part_whatever_the_order_and_the_duplicates(
    tmp_path_factory, ids, at_replicas, size
):
    folder = tmp_path_factory.mktemp("cell")
    rows = [row(number, "replica-0") for number in ids]
    cell = write_cell(folder, rows, replica=[(number, "replica-1") for number in at_replicas])
    parts = parts_of(cell, size)
    for ledger in ("requests", "replica_ledger", "proxy_ledger"):
        found = [ids_of(getattr(part, ledger)()) for part in parts]
        assert sorted(chain(*found)) == sorted(ids_of(getattr(cell, ledger)()))
        assert all(set(one).isdisjoint(other) for n, one in enumerate(found) for other in found[:n])


def test_parts_have_about_as_many_requests_as_wanted(tmp_path):
    cell = write_cell(tmp_path, [row(number, "replica-0") for number in range(20)])
    assert [len(ids_of(part.requests())) for part in parts_of(cell, 6)] == [6, 6, 6, 2]
    assert parts_of(cell, 20) == [cell]


def test_a_part_of_a_direct_route_has_no_proxy_either(tmp_path):
    rows = [row(number, "replica-0") for number in range(4)]
    assert [part.proxy_ledger() for part in parts_of(write_cell(tmp_path, rows, route="direct"), 2)] == [
        None
    ] * 2


@pytest.mark.whole_run
def test_the_summary_of_a_run_in_parts_is_that_of_the_whole_run(small_parts):
    run = read_run(GOLDEN)
    in_parts = summarise(run)
    with pytest.MonkeyPatch.context() as whole:
        for module in (facts, joined, ledgers):
            whole.setattr(module, "parts_of", lambda cell: [cell])
        assert summarise(run) == in_parts


@given(st.lists(st.lists(st.integers(-(2**63), 2**63 - 1) | st.integers(-200, 200) | st.none()), min_size=1))
def test_numbers_of_parts_have_few_bytes_and_lose_none(parts):
    rows = collect_parts(
        [pl.LazyFrame({"id": part, "ns": part}, schema={"id": pl.Int64, "ns": pl.Int64}) for part in parts],
        whole=["id"],
    )
    numbers = list(chain(*parts))
    assert rows["id"].to_list() == rows["ns"].to_list() == numbers
    assert rows["id"].dtype == pl.Int64
    if all(abs(number or 0) < 100 for number in numbers):
        assert rows["ns"].dtype == pl.Int8


def test_a_share_of_narrow_numbers_is_no_narrow_number():
    true, ns = [True] * 20, 2_000_000_000
    narrow = pl.DataFrame(
        {"in_window": true, "ok": true, "latency_ns": -ns, "latency_from_send_ns": -ns, "late_ns": 0}
    ).with_columns(generator_ns=pl.lit(ns))
    narrow = narrow.cast({pl.Int64: pl.Int32})
    wide = narrow.cast({pl.Int32: pl.Int64})
    assert generator_share(narrow) == generator_share(wide)


def side_by_side(cell):
    """How the ledgers agree by their joined rows, where they stand side by side."""
    return reconcile(cell, JoinedFigures.of(join_cell(cell)).agreement)


@pytest.mark.parametrize("attempts", [1, 2])
def test_ledgers_side_by_side_are_the_joined_ledgers(tmp_path, attempts):
    rows = [row(number, f"replica-{number % 2}", queue_ns=number) for number in range(9)]
    (tmp_path / "a").mkdir()
    cell = write_cell(tmp_path / "a", rows, max_attempts=attempts)
    (tmp_path / "b").mkdir()
    backwards = write_cell(tmp_path / "b", rows, max_attempts=attempts)
    store_ledgers(cell.folder, cell.record.replicas)
    assert stand_side_by_side(cell) == (attempts == 1)
    assert not stand_side_by_side(backwards)  # its replicas' ledgers stand one after the other
    one, other = (join_cell(each).table.collect().sort("request_id") for each in (cell, backwards))
    assert one.equals(other)
    assert reconcile(cell) == side_by_side(cell) == reconcile(backwards)


@pytest.mark.parametrize(
    "others",
    [
        {"replica": [(0, "replica-0")]},
        {"replica": [(0, "replica-0"), (1, "replica-0"), (2, "replica-0")]},
        {"replica": [(0, "replica-0"), (2, "replica-0")]},
        {"envoy": [(0, "127.0.0.1:4000"), (0, "127.0.0.1:4000")]},
        {"envoy": [(1, "127.0.0.1:4000"), (0, "127.0.0.1:4000")]},
        {"route": "direct", "replica": [(0, "replica-0")]},
    ],
    ids=["lacks one", "has one more", "has another", "has one twice", "in another order", "direct"],
)
def test_ledgers_with_other_requests_are_not_set_side_by_side(tmp_path, others):
    rows = [row(0, "replica-0"), row(1, "replica-0")]
    assert not stand_side_by_side(write_cell(tmp_path, rows, **others))


def test_a_request_that_is_twice_in_every_ledger_is_not_set_side_by_side(tmp_path):
    cell = write_cell(tmp_path, [row(0, "replica-0"), row(0, "replica-0")])
    assert not stand_side_by_side(cell)
    assert side_by_side(cell).disagree == 1


def test_another_replica_is_seen_where_the_ledgers_stand_side_by_side(tmp_path):
    rows = [row(number, "replica-0") for number in range(3)]
    cell = write_cell(tmp_path, rows, replica=[(0, "replica-0"), (1, "replica-1"), (2, "replica-0")])
    store_ledgers(cell.folder, cell.record.replicas)
    assert stand_side_by_side(cell)
    assert (side_by_side(cell).matched, side_by_side(cell).disagree) == (2, 1)


NAMES = st.sampled_from(["replica-0", "replica-1", "stranger", ""])
ADDRESSES = st.sampled_from([*REPLICAS.values(), "127.0.0.1:1", None])


@given(
    calls=st.lists(
        st.tuples(NAMES, st.sampled_from(list(REPLICAS)), ADDRESSES, st.booleans()), min_size=1, max_size=8
    ),
    incomplete=st.sampled_from([[], ["envoy"], ["replica-0"], ["envoy", "replica-1"]]),
    route=st.sampled_from(["envoy", "direct", "xds", "envoy-l4"]),
)
@settings(max_examples=examples(15))
def test_counts_by_place_are_counts_by_request(tmp_path_factory, calls, incomplete, route):
    rows = [row(n, name, code="OK" if ok else "UNAVAILABLE") for n, (name, _, _, ok) in enumerate(calls)]
    cell = write_cell(
        tmp_path_factory.mktemp("cell"),
        rows,
        route=route,
        envoy=[(number, address) for number, (_, _, address, _) in enumerate(calls)],
        replica=[(number, at) for number, (_, at, _, _) in enumerate(calls)],
        incomplete_ledgers=incomplete,
    )
    store_ledgers(cell.folder, cell.record.replicas)
    assert stand_side_by_side(cell)
    assert side_by_side(cell) == reconcile(cell)
