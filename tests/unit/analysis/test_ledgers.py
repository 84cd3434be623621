"""Every disagreement of three ledgers is found, and nothing else counts as one."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.analysis.ledgers import reconcile
from harness.metrics.facts import Ledgers
from tests.unit.synthetic.access_lines import access_line
from tests.unit.synthetic.handwritten_cell import REPLICAS, row, write_cell
from tests.unit.thorough import examples

ZERO, ONE = REPLICAS.values()
AGREED = {"replica-0": ZERO, "replica-1": ONE}
ROWS = [row(0, "replica-0"), row(1, "replica-1"), row(2, "replica-0")]
ENVOY = [(0, ZERO), (1, ONE), (2, ZERO)]
REPLICA = [(0, "replica-0"), (1, "replica-1"), (2, "replica-0")]


def test_ledgers_that_agree_reconcile(tmp_path):
    assert reconcile(write_cell(tmp_path, ROWS)) == Ledgers(3, 3, 3, 3, 0, 0, 0, 0, 0, envoy_bytes=3 * 42)
    assert reconcile(write_cell(tmp_path, ROWS)).reconciled


def test_a_direct_route_has_no_envoy_ledger(tmp_path):
    ledgers = reconcile(write_cell(tmp_path, ROWS, route="direct"))
    assert (ledgers.envoy, ledgers.matched, ledgers.reconciled) == (0, 3, True)


@pytest.mark.parametrize(
    ("what", "rows", "envoy", "replica", "kind"),
    [
        ("neither envoy nor a replica saw it", ROWS, ENVOY[1:], REPLICA[1:], "only_client"),
        ("the client lost its row, envoy kept it", ROWS[1:], ENVOY, REPLICA[1:], "only_envoy"),
        ("the client lost its row, the replica kept it", ROWS[1:], ENVOY[1:], REPLICA, "only_replica"),
        ("the client alone lost it", ROWS[1:], ENVOY, REPLICA, "disagree"),
        ("envoy lost it", ROWS, ENVOY[1:], REPLICA, "disagree"),
        ("the replica lost it", ROWS, ENVOY, REPLICA[1:], "disagree"),
        ("envoy sent it elsewhere", ROWS, [(0, ONE), *ENVOY[1:]], REPLICA, "disagree"),
        ("another replica has it", ROWS, ENVOY, [(0, "replica-1"), *REPLICA[1:]], "disagree"),
        ("envoy knows no upstream", ROWS, [(0, None), *ENVOY[1:]], REPLICA, "disagree"),
        ("envoy has a stranger's address", ROWS, [(0, "10.0.0.1:1"), *ENVOY[1:]], REPLICA, "disagree"),
        ("envoy logged it twice", ROWS, [ENVOY[0], *ENVOY], REPLICA, "disagree"),
        ("the replica served it twice", ROWS, ENVOY, [REPLICA[0], *REPLICA], "disagree"),
        ("the client wrote it twice", [ROWS[0], *ROWS], ENVOY, REPLICA, "disagree"),
        ("the client answered and gave up", [row(0, ""), *ROWS], ENVOY, REPLICA, "disagree"),
        ("a stranger answered", [row(0, "stranger"), *ROWS[1:]], ENVOY, REPLICA, "disagree"),
        (
            "a stranger answered, and envoy knows none",
            [row(0, "stranger"), *ROWS[1:]],
            [(0, "10.0.0.1:1"), *ENVOY[1:]],
            REPLICA,
            "disagree",
        ),
    ],
)
def test_a_disagreement_is_caught(tmp_path, what, rows, envoy, replica, kind):
    ledgers = reconcile(write_cell(tmp_path, rows, envoy=envoy, replica=replica))
    found = {
        name: getattr(ledgers, name) for name in ("only_client", "only_envoy", "only_replica", "disagree")
    }
    assert found == {name: int(name == kind) for name in found}, what
    assert ledgers.matched == 2
    assert not ledgers.reconciled


@pytest.mark.parametrize("envoy", [[], [(0, ZERO)], [(0, None)]])
@pytest.mark.parametrize("replica", [[], [(0, "replica-0")]])
def test_a_request_that_the_client_gave_up_may_be_anywhere(tmp_path, envoy, replica):
    rows = [row(0, "", code="DEADLINE_EXCEEDED"), *ROWS[1:]]
    cell = write_cell(tmp_path, rows, envoy=[*envoy, *ENVOY[1:]], replica=[*replica, *REPLICA[1:]])
    ledgers = reconcile(cell)
    assert (ledgers.unanswered, ledgers.matched, ledgers.reconciled) == (1, 2, True)


def test_calls_that_are_not_the_load_are_not_counted(tmp_path):
    cell = write_cell(tmp_path, ROWS, envoy=[(None, ZERO), *ENVOY], replica=[(-1, "replica-0"), *REPLICA])
    assert reconcile(cell) == Ledgers(3, 3, 3, 3, 0, 0, 0, 0, 0, envoy_bytes=3 * 42)


def test_a_missing_access_log_does_not_reconcile(tmp_path):
    cell = write_cell(tmp_path, ROWS)
    (tmp_path / "access.log").unlink()
    assert not reconcile(cell).reconciled


TRIED = [(0, "replica-1"), *REPLICA]  # request 0 was tried on replica-1 first


def test_attempts_are_rows_that_agree(tmp_path):
    ledgers = reconcile(write_cell(tmp_path, ROWS, replica=TRIED, max_attempts=2))
    assert (ledgers.matched, ledgers.replica, ledgers.client, ledgers.reconciled) == (3, 4, 3, True)


def test_attempts_of_a_client_through_envoy_are_rows_there_too(tmp_path):
    cell = write_cell(tmp_path, ROWS, envoy=[(0, ONE), *ENVOY], replica=TRIED, max_attempts=3)
    assert reconcile(cell).reconciled


def test_attempts_of_direct_calls_have_no_rows_of_envoy(tmp_path):
    assert reconcile(write_cell(tmp_path, ROWS, replica=TRIED, route="direct", max_attempts=2)).reconciled


@pytest.mark.parametrize(
    ("what", "rows", "envoy", "replica", "kind"),
    [
        ("more attempts than there may be", ROWS, ENVOY, [(0, "replica-1"), *TRIED], "disagree"),
        ("the one that is named has no row", ROWS, ENVOY, [(0, "replica-1"), *REPLICA[1:]], "disagree"),
        ("envoy never named it", ROWS, [(0, ONE), *ENVOY[1:]], TRIED, "disagree"),
        ("envoy has too many rows", ROWS, [(0, ONE), (0, ONE), *ENVOY], TRIED, "disagree"),
        ("envoy has no row", ROWS, ENVOY[1:], TRIED, "disagree"),
        ("no replica has a row", ROWS, ENVOY, REPLICA[1:], "disagree"),
        ("the client wrote it twice", [ROWS[0], *ROWS], ENVOY, TRIED, "disagree"),
        ("a stranger answered", [row(0, "stranger"), *ROWS[1:]], ENVOY, TRIED, "disagree"),
        ("neither envoy nor a replica saw it", ROWS, ENVOY[1:], REPLICA[1:], "only_client"),
        ("the client lost its row, the replicas kept theirs", ROWS[1:], ENVOY[1:], TRIED, "only_replica"),
    ],
)
def test_attempts_that_disagree_are_caught(tmp_path, what, rows, envoy, replica, kind):
    cell = write_cell(tmp_path, rows, envoy=envoy, replica=replica, max_attempts=2)
    ledgers = reconcile(cell)
    found = {
        name: getattr(ledgers, name) for name in ("only_client", "only_envoy", "only_replica", "disagree")
    }
    assert found == {name: int(name == kind) for name in found}, what
    assert ledgers.matched == 2


@pytest.mark.parametrize("max_attempts", [2, 3])
@pytest.mark.parametrize(
    "route",
    [
        {"route": "envoy"},
        {"route": "envoy", "incomplete_ledgers": ["envoy"]},
        {"route": "envoy", "missing_ledgers": {"envoy": "the proxy is not the lab's"}},
        {"route": "direct"},
        {"route": "envoy-l4"},
    ],
    ids=["envoy", "restarted envoy", "foreign proxy", "direct", "envoy-l4"],
)
@pytest.mark.parametrize("first_attempt", [[], [(0, "replica-1")]], ids=["no row at all", "only the first's"])
def test_a_retried_request_that_lacks_the_row_of_its_answer_is_caught(
    tmp_path, route, max_attempts, first_attempt
):
    cell = write_cell(
        tmp_path, ROWS, replica=[*first_attempt, *REPLICA[1:]], max_attempts=max_attempts, **route
    )
    if "missing_ledgers" in route:
        (tmp_path / "access.log").unlink()
    ledgers = reconcile(cell)
    assert (ledgers.matched, ledgers.reconciled) == (2, False)
    assert ledgers.only_client + ledgers.disagree == 1


def test_without_retries_no_second_attempt_is_allowed(tmp_path):
    assert reconcile(write_cell(tmp_path, ROWS, replica=TRIED)).disagree == 1


@given(
    st.lists(
        st.tuples(st.lists(st.sampled_from(list(REPLICAS)), min_size=1, max_size=4), st.booleans()),
        min_size=1,
        max_size=20,
    ),
    st.integers(2, 4),
)
@settings(max_examples=examples(25), suppress_health_check=[HealthCheck.too_slow])
def test_attempts_agree_with_a_plain_count(requests, most):
    """Each request was tried on these replicas in turn; the last one answered, or the client gave up."""
    rows = [row(n, tried[-1] if answered else "") for n, (tried, answered) in enumerate(requests)]
    replica = [(n, name) for n, (tried, _) in enumerate(requests) for name in tried]
    envoy = [(n, REPLICAS[tried[-1]]) for n, (tried, _) in enumerate(requests)]
    with tempfile.TemporaryDirectory() as folder:
        cell = write_cell(Path(folder), rows, envoy=envoy, replica=replica, max_attempts=most)
        ledgers = reconcile(cell)
    answered = [tried for tried, answered in requests if answered]
    assert ledgers.matched == sum(len(tried) <= most for tried in answered)
    assert ledgers.disagree == sum(len(tried) > most for tried in answered)
    assert ledgers.unanswered == len(requests) - len(answered)
    assert ledgers.replica == len(replica)


def test_a_log_of_connections_is_no_ledger(tmp_path):
    cell = write_cell(tmp_path, ROWS, route="envoy-l4")
    (tmp_path / "access.jsonl").write_text('{"start": "1", "upstream": "127.0.0.1:4000", "bytes_in": 9}\n')
    assert cell.proxy_ledger() is None
    ledgers = reconcile(cell)
    assert (ledgers.envoy, ledgers.matched, ledgers.reconciled, ledgers.envoy_bytes) == (0, 3, True, None)


def test_an_access_log_without_bytes_has_none(tmp_path):
    cell = write_cell(tmp_path, ROWS)
    rows = cell.proxy_ledger().drop("bytes_in", "bytes_out").collect().to_dicts()
    (tmp_path / "access.log").write_text("".join(access_line(**line) for line in rows))
    assert reconcile(cell).envoy_bytes is None
    assert reconcile(cell).reconciled
