"""Figures of sessions are the same in whatever order the rows of a cell come."""

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.analysis.sessions import session_outages, sessions_of
from tests.unit.thorough import examples

REQUESTS = st.lists(
    st.tuples(st.integers(0, 2), st.integers(0, 1), st.booleans(), st.integers(0, 1), st.integers(1, 50)),
    min_size=1,
    max_size=12,
)


@given(requests=REQUESTS, random=st.randoms())
@settings(max_examples=examples(25))
def test_the_order_of_the_rows_does_not_matter(requests, random):
    rows = pl.DataFrame(
        [
            {"client": client, "session": session, "request_id": number, "ok": ok, "replica": replica}
            | {"at_ns": number * 10, "latency_ns": latency_ns, "requests": 1}
            for number, (client, session, ok, replica, latency_ns) in enumerate(requests)
        ]
    )
    shuffled = rows[random.sample(range(rows.height), rows.height)]
    assert session_outages(shuffled, 1000).sort("at_ns").equals(session_outages(rows, 1000))
    one, other = (sessions_of(found, found, ["a", "b"], {}) for found in (rows, shuffled))
    assert one == other
