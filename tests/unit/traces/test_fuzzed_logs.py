"""Any bytes are a log or one error in one line: no traceback, no hang, no harm.

LB_LAB_FUZZED_LOGS sets the number of examples: 10,000 take some minutes.
"""

import os
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from docs.examples.alb_log import Traffic, line_of, requests_of
from harness.errors import UserError
from harness.record.run_directory import read_run
from harness.report.trace_tables import (
    balance_lines,
    change_lines,
    client_lines,
    headline,
    model_lines,
    read_lines,
    session_lines,
    status_line,
    targets_table,
)
from harness.traces.draft import draft_yaml
from harness.traces.figures import client_counts, figures_of
from harness.traces.log_format import FORMATS
from harness.traces.model import model_of
from harness.traces.presence import presence_of
from harness.traces.proxy_ledger import join_proxy_log
from harness.traces.read import ReadOptions, read_trace
from harness.traces.zipf import MAX_SKEW, fit_zipf
from tests.unit.synthetic.foreign_log import as_external
from tests.unit.synthetic.synthetic_run import GOLDEN
from tests.unit.thorough import examples

EXAMPLES = int(os.environ.get("LB_LAB_FUZZED_LOGS", examples(120)))
ALB = [line_of(one).encode() for one in requests_of(Traffic(requests=12, clients=4, targets=3))]
ENVOY = (
    b'[2016-04-15T20:17:00.310Z] "POST /api/v1/locations HTTP/2" 204 - 154 0 226 100 "10.0.35.28" "nsq2http" '
    b'"cc21d9b0-cf5c-432b-8c7e-98aeb7988cd2" "locations" "tcp://10.0.2.1:80"\n'
)
JSON = (
    b'{"start_time":"2026-11-24T10:00:00Z","response_code":200,"duration":1.5,"upstream_host":"10.0.0.1"}\n'
)
CSV_LINES = [b"t,c,x,s,d\n", b"1717000000,10.0.0.1:1,a,200,5\n", b'1717000000123,"b",c,503,-1\n']
COLUMNS = {"time": "t", "client": "c", "target": "x", "status": "s", "target_time_ms": "d"}
PIECES = [
    b'"',
    b"\\",
    b" ",
    b"-",
    b"\n",
    b"\r",
    b"\x00",
    b"\xff",
    b"\x1b[2J",
    b"=1+1",
    b"<b>",
    b"9" * 30,
    b"nan",
    b"-1",
]
PIECES += [
    b"1e308",
    b"inf",
    b"9999-12-31T23:59:59.999999Z",
    b"1970-01-01T00:00:00.000000Z",
    b",",
    b"{",
    b"[[[[",
]

line = st.sampled_from([*ALB, ENVOY, JSON, *CSV_LINES])
cut = st.tuples(st.floats(0, 1), st.floats(0, 1), st.sampled_from(PIECES) | st.binary(max_size=6))


@st.composite
def logs(draw: st.DrawFn) -> bytes:
    """Lines of all formats, with pieces of them replaced by others."""
    whole = b"".join(draw(st.lists(line, max_size=12)))
    for first, second, piece in draw(st.lists(cut, max_size=5)):
        start, end = sorted((int(first * len(whole)), int(second * len(whole))))
        end = min(end, start + 40)
        whole = whole[:start] + piece + whole[end:]
    return whole


@settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))
@given(
    data=logs() | st.binary(max_size=200),
    kind=st.sampled_from([None, *FORMATS]),
    identity=st.sampled_from(["ip", "ip+port", "conn_trace_id", "column:c"]),
    max_broken=st.sampled_from([0.0, 0.5, 1.0]),
    keep=st.booleans(),
)
def test_any_bytes_are_a_log_or_one_error(
    tmp_path_factory, data: bytes, kind, identity: str, max_broken: float, keep: bool
) -> None:
    path = Path(tmp_path_factory.getbasetemp()) / "fuzzed.log"
    path.write_bytes(data)
    columns = COLUMNS if kind in ("csv", "parquet") or identity == "column:c" else None
    options = ReadOptions(
        key=b"k" * 16, identity=identity, log_format=kind, columns=columns, max_broken=max_broken,
        keep_paths=keep, keep_targets=keep,
    )  # fmt: skip
    try:
        trace = read_trace([path], options)
    except UserError as error:
        assert "\n" not in str(error)
        return
    figures = figures_of(trace)
    model = model_of(trace, figures)
    assert sum(target.requests for target in figures.targets) + figures.unrouted == figures.requests
    assert figures.requests + trace.broken.broken <= trace.broken.lines + 1
    assert figures.max_over_mean is None or 1 <= figures.max_over_mean <= len(figures.targets)
    assert figures.purity is None or 0 < figures.purity <= 1
    texts = [headline(figures), *read_lines(trace), status_line(figures), *change_lines(figures)]
    texts += [*balance_lines(figures), *session_lines(trace, figures), *client_lines(trace, figures)]
    texts += [*model_lines(model), *targets_table(figures).head, draft_yaml(figures, model)]
    assert all(texts)


@given(st.lists(st.integers(1, 500), min_size=2, max_size=60))
@settings(max_examples=examples(60))
def test_a_fit_exists_for_any_counts(counts: list[int]) -> None:
    fit = fit_zipf(np.array(counts))
    assert fit is not None
    assert 0 <= fit.skew <= MAX_SKEW
    assert fit.clients >= len(counts)
    assert 0 <= fit.distance <= 1
    again = fit_zipf(np.array(counts[::-1]))
    assert again == fit  # the order of the clients does not matter


@given(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 3)), min_size=1, max_size=80))
@settings(max_examples=examples(60))
def test_presence_has_every_request_in_it(requests: list[tuple[int, int]]) -> None:
    ordered = sorted(requests)
    table = pl.DataFrame(
        {"time_unix_ns": [at * 10**9 for at, _ in ordered], "target": [target for _, target in ordered]},
        schema={"time_unix_ns": pl.Int64, "target": pl.UInt32},
    )
    presences = presence_of(table, ordered[0][0] * 10**9, 4)
    for at, target in ordered:
        at_s = at - ordered[0][0]
        assert any(start <= at_s <= end for start, end in presences[target].intervals)
    for presence in presences:
        assert 0 <= presence.seconds <= 400


def test_counts_of_clients_come_sorted() -> None:
    table = pl.DataFrame({"client": [3, 3, 1, None, 3]}, schema={"client": pl.UInt64})
    assert client_counts(table).tolist() == [3, 1]


LEDGER = (
    b'{"start_time":"2026-09-21T14:13:21.000Z","response_code":200,"duration":1,"upstream_host":"10.0.0.1:1",'
    b'"request_id":"6ab1c2d0-3f2a-4b5c-0000-0000000003e9","path":"/a/B"}\n'
)


@pytest.fixture(scope="module")
def external_run(tmp_path_factory) -> Path:
    run = tmp_path_factory.mktemp("external") / "run"
    shutil.copytree(GOLDEN, run)
    as_external(run)
    return run


@settings(max_examples=max(20, EXAMPLES // 4), suppress_health_check=list(HealthCheck))
@given(data=logs() | st.binary(max_size=200), cuts=st.lists(cut, max_size=4), named=st.booleans())
def test_any_bytes_joined_with_a_run_are_one_error(
    external_run: Path, data: bytes, cuts, named: bool
) -> None:
    """No cell has enough of its requests in them, so nothing is written."""
    ledger = LEDGER
    for first, second, piece in cuts:
        start, end = sorted((int(first * len(ledger)), int(second * len(ledger))))
        ledger = ledger[:start] + piece + ledger[end:]
    path = external_run.parent / "fuzzed.log"
    path.write_bytes(ledger + data)
    columns = {"time": "start_time", "request_id": "path", "duration_s": "duration", "target": "b.c"}
    with pytest.raises(UserError) as error:
        join_proxy_log(read_run(external_run), [path], columns if named else None)
    assert "\n" not in str(error.value)
    assert not (external_run / "proxy-log").exists()
