"""A load worker that was lost makes its cell invalid, for that and nothing else."""

import pytest

from harness.analysis.facts import collect_facts
from harness.analysis.ledgers import reconcile
from harness.analysis.validity import measure
from lb.rows import REQUEST_IDS_PER_CLIENT
from tests.unit.analysis.test_ledgers import ENVOY, REPLICA, ROWS, ZERO
from tests.unit.synthetic.handwritten_cell import MS, row, write_cell

WORKER = {
    **{"name": "load-worker-1", "host": "127.0.0.1", "clients": [1], "rows": 8},
    **{"planned_requests": 9, "measured_requests": 6, "offset_ns": 0, "offset_uncertainty_ns": 0},
}
UNHEARD = REQUEST_IDS_PER_CLIENT  # the first request of client 1


def lost(**more):
    return WORKER | {"ended": "lost", "ended_ns": 400 * MS} | more


@pytest.mark.parametrize(
    ("envoy", "replica"),
    [
        ([*ENVOY, (UNHEARD, ZERO)], [*REPLICA, (UNHEARD, "replica-0")]),
        ([*ENVOY, (UNHEARD, ZERO)], REPLICA),
        (ENVOY, [*REPLICA, (UNHEARD, "replica-0")]),
    ],
    ids=["both", "envoy", "replica"],
)
def test_what_the_lost_worker_sent_is_no_disagreement(tmp_path, envoy, replica):
    common = {"envoy": envoy, "replica": replica}
    ledgers = reconcile(write_cell(tmp_path, ROWS, **common, load_workers=[lost()]))
    assert (ledgers.matched, ledgers.reconciled) == (3, True)
    assert (ledgers.envoy, ledgers.replica) == (len(envoy), len(replica))
    for other in (lost(clients=[2]), lost(ended="done"), lost(ended="stopped")):
        assert not reconcile(write_cell(tmp_path, ROWS, **common, load_workers=[other])).reconciled


def test_what_it_told_of_is_held_against_the_other_ledgers(tmp_path):
    rows = [*ROWS, row(UNHEARD, "replica-1")]
    cell = write_cell(tmp_path, rows, envoy=[*ENVOY, (UNHEARD, ZERO)], load_workers=[lost()])
    assert reconcile(cell).disagree == 1


@pytest.mark.parametrize(
    ("worker", "told"),
    [
        (lost(), "was lost 0.3 s into measuring: 3 of its 9 planned requests are missing"),
        (lost(ended_ns=MS), "was lost before measuring: 3 of its 9 planned requests are missing"),
        (lost(planned_requests=None), "0.3 s into measuring: the later requests of its clients are missing"),
    ],
)
def test_the_reason_says_when_and_how_many(tmp_path, worker, told):
    begun = {"planned_ns": 100 * MS, "sent_ns": 101 * MS, "done_ns": 102 * MS}
    rows = [row(0, "replica-0", **begun)]
    common = {"measure_start_ns": 100 * MS, "planned_rate_per_s": None}
    cell = write_cell(tmp_path, rows, load_workers=[worker], **common)
    (reason,) = measure(collect_facts(cell)).invalid_reasons
    assert reason.text.startswith("load worker load-worker-1 was lost ")
    assert told in reason.text


def test_workers_that_played_to_the_end_are_no_reason(tmp_path):
    workers = [lost(ended="done"), lost(ended="stopped")]
    cell = write_cell(tmp_path, ROWS, load_workers=workers, planned_rate_per_s=None)
    assert measure(collect_facts(cell)).invalid_reasons == ()
