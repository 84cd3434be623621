"""Requests that waited for a free stream are found from the proxy's ledger alone."""

import heapq

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.analysis.stream_wait import stream_free

MS = 1_000_000
TRAVEL_NS = 10  # from the end of a stream until the next request is at the proxy


def table(rows):
    """request_id, connection, proxy_ns, proxied_ns."""
    columns = ("request_id", "connection", "proxy_ns", "proxied_ns")
    return pl.DataFrame(rows, schema=dict.fromkeys(columns, pl.Int64), orient="row")


def free_of(rows, limit):
    return dict(stream_free(table(rows), limit).iter_rows())


def test_a_connection_below_its_limit_lets_nobody_wait():
    assert free_of([(n, 1, n * MS, (n + 10) * MS) for n in range(20)], limit=11) == {}


def test_the_next_request_had_waited_for_the_end_of_one():
    """Two streams: request 2 begins when request 0 has ended, request 3 when request 1 has."""
    rows = [(0, 1, 0, 10 * MS), (1, 1, 1 * MS, 20 * MS), (2, 1, 11 * MS, 30 * MS), (3, 1, 21 * MS, 40 * MS)]
    assert free_of(rows, limit=2) == {2: 10 * MS, 3: 20 * MS}


def test_other_connections_do_not_matter():
    rows = [(0, 1, 0, 10 * MS), (1, 2, 1 * MS, 20 * MS), (2, 1, 11 * MS, 30 * MS)]
    assert free_of(rows, limit=2) == {}


def test_requests_of_unknown_connections_are_left_out():
    rows = [(0, None, 0, 10 * MS), (1, None, 1 * MS, 20 * MS), (2, None, 11 * MS, 30 * MS)]
    assert free_of(rows, limit=2) == {}


def test_a_stream_that_ends_as_another_begins_is_its_stream():
    assert free_of([(0, 1, 0, 10 * MS), (1, 1, 10 * MS, 20 * MS)], limit=1) == {1: 10 * MS}


@pytest.mark.parametrize("rows", [[], [(0, 1, 0, MS)]])
def test_few_requests_are_no_crowd(rows):
    assert free_of(rows, limit=2) == {}


@given(
    calls=st.lists(st.tuples(st.integers(0, 200), st.integers(1, 400)), min_size=1, max_size=60),
    limit=st.integers(1, 5),
)
def test_waits_of_a_client_with_few_streams_are_told(calls, limit):
    """A client sends at most `limit` requests at once, first come first served: a model says who waited."""
    ends: list[int] = []
    rows, waited = [], {}
    for number, (sent, length) in enumerate(sorted(calls)):
        sent_ns = sent * MS + number  # no two moments are the same
        begins_ns = sent_ns
        if len(ends) == limit:
            freed_ns = heapq.heappop(ends)
            if freed_ns > sent_ns:
                waited[number], begins_ns = freed_ns, freed_ns + TRAVEL_NS
        heapq.heappush(ends, begins_ns + length * MS + 3 * number + 1)
        rows.append((number, 1, begins_ns, begins_ns + length * MS + 3 * number + 1, sent_ns))
    sent_of = {row[0]: row[4] for row in rows}
    found = free_of([row[:4] for row in rows], limit)
    told = {number: at_ns for number, at_ns in found.items() if at_ns > sent_of[number]}
    assert told.keys() <= waited.keys()
    # Ends that come closer together than an answer and the next request travel are told as the first of them.
    for number, at_ns in waited.items():
        if at_ns - sent_of[number] > TRAVEL_NS:
            assert at_ns - TRAVEL_NS <= told[number] <= at_ns


@given(
    calls=st.lists(st.tuples(st.integers(1, 4), st.integers(0, 30), st.integers(1, 40)), max_size=60),
    limit=st.integers(1, 4),
)
def test_each_connection_is_counted_alone(calls, limit):
    rows = [(n, connection, sent, sent + length) for n, (connection, sent, length) in enumerate(calls)]
    alone = {}
    for connection in {row[1] for row in rows}:
        alone |= free_of([row for row in rows if row[1] == connection], limit)
    assert free_of(rows, limit) == alone


def test_times_too_far_apart_to_be_one_number_are_compared_all_the_same():
    far = 2**61
    rows = [(0, 9, 0, 10), (1, 9, 1, 20), (2, 9, 11, far), (3, 3, 21, 40)]
    assert free_of(rows, limit=2) == {2: 10}
