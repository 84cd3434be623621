"""Every way in which three ledgers can disagree is caught, and nothing else is called a disagreement."""

import pytest

from harness.ledgers import Ledgers, reconcile
from tests.unit.right.tiny import REPLICAS, row, write_cell

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
    (tmp_path / "access.jsonl").unlink()
    assert not reconcile(cell).reconciled
