"""Rows lost in a kill are not a disagreement of the ledgers; any other difference is."""

import pytest

from harness.analysis.ledgers import reconcile
from tests.unit.analysis.test_ledgers import ENVOY, REPLICA, ROWS, TRIED, ZERO
from tests.unit.synthetic.handwritten_cell import row, write_cell

BROKEN = [row(0, "replica-0", code="UNAVAILABLE"), *ROWS[1:]]


def wrong(ledgers):
    return {
        name: count
        for name in ("only_client", "only_envoy", "only_replica", "disagree")
        if (count := getattr(ledgers, name))
    }


@pytest.mark.parametrize("route", ["envoy", "direct"])
def test_a_killed_replica_needs_no_row_of_a_call_that_broke(tmp_path, route):
    cell = write_cell(
        tmp_path, BROKEN, envoy=ENVOY, replica=REPLICA[1:], route=route, incomplete_ledgers=["replica-0"]
    )
    ledgers = reconcile(cell)
    assert (ledgers.matched, ledgers.unanswered, wrong(ledgers)) == (2, 1, {})


@pytest.mark.parametrize(
    ("what", "rows", "incomplete"),
    [
        ("what ended with OK was written down before", ROWS, ["replica-0"]),
        ("another one was killed", BROKEN, ["replica-1"]),
        ("nobody was killed", BROKEN, []),
    ],
)
def test_otherwise_it_does(tmp_path, what, rows, incomplete):
    cell = write_cell(tmp_path, rows, envoy=ENVOY, replica=REPLICA[1:], incomplete_ledgers=incomplete)
    assert wrong(reconcile(cell)) == {"disagree": 1}, what


def test_a_killed_replica_may_have_had_time_for_its_row(tmp_path):
    ledgers = reconcile(
        write_cell(tmp_path, BROKEN, envoy=ENVOY, replica=REPLICA, incomplete_ledgers=["replica-0"])
    )
    assert (ledgers.unanswered, wrong(ledgers)) == (1, {})


@pytest.mark.parametrize("max_attempts", [1, 2])
def test_an_envoy_that_was_restarted_may_lack_rows(tmp_path, max_attempts):
    replica = REPLICA if max_attempts == 1 else TRIED
    common = {"envoy": ENVOY[1:], "replica": replica, "max_attempts": max_attempts}
    assert wrong(reconcile(write_cell(tmp_path, ROWS, **common, incomplete_ledgers=["envoy"]))) == {}
    assert wrong(reconcile(write_cell(tmp_path, ROWS, **common))) == {"disagree": 1}


@pytest.mark.parametrize("max_attempts", [1, 2])
def test_the_rows_that_it_has_still_count(tmp_path, max_attempts):
    common = {"max_attempts": max_attempts, "incomplete_ledgers": ["envoy"]}
    twice = write_cell(tmp_path, ROWS, envoy=[ENVOY[0], ENVOY[0], *ENVOY], **common)
    assert wrong(reconcile(twice)) == {"disagree": 1}
    lost = write_cell(tmp_path, ROWS, envoy=ENVOY[1:], replica=REPLICA[1:], **common)
    assert wrong(reconcile(lost)) == {"only_client": 1}
    unknown = write_cell(tmp_path, ROWS[1:], replica=REPLICA[1:], envoy=ENVOY, **common)
    assert wrong(reconcile(unknown)) == {"only_envoy": 1}


def test_a_restarted_envoy_that_names_another_replica_disagrees(tmp_path):
    elsewhere = [(1, ZERO), *ENVOY[2:]]
    cell = write_cell(tmp_path, ROWS, envoy=elsewhere, incomplete_ledgers=["envoy"])
    assert wrong(reconcile(cell)) == {"disagree": 1}


def test_a_restarted_envoy_adds_no_rows_to_a_direct_route(tmp_path):
    cell = write_cell(tmp_path, ROWS, route="direct", incomplete_ledgers=["envoy"])
    assert wrong(reconcile(cell)) == {}
