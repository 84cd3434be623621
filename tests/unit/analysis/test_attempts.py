"""Attempts from the replicas' ledgers: those that answered, those that were tried again, those given up."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from harness.analysis.clocks import clocks_of
from harness.analysis.facts import collect_facts
from harness.analysis.ledger_join import join_ledgers
from harness.metrics.facts import CellFacts
from harness.metrics.registry import METRICS
from harness.record.tables import REPLICA_COLUMNS
from tests.unit.synthetic.handwritten_cell import MS, row, write_cell


def attempt(
    request_id: int, queue_ms: int = 0, in_flight: int = 1, code: str = "OK", service_ns: int = 1
) -> str:
    """One line of a replica's ledger."""
    return f"{request_id},AddVideo,p,0,1,{queue_ms * MS},{service_ns},{in_flight},1,{code}\n"


def facts_of(
    folder: Path, rows: Sequence[dict[str, Any]], ledgers: dict[str, list[str]], **info: Any
) -> CellFacts:
    cell = write_cell(folder, rows, **{"max_attempts": 3, **info})
    for name, lines in ledgers.items():
        (folder / f"{name}.csv").write_text(",".join(REPLICA_COLUMNS) + "\n" + "".join(lines))
    return collect_facts(cell)


def values_of(facts: CellFacts) -> dict[str, Any]:
    return {name: metric.compute(facts) for name, metric in METRICS.items()}


def test_shares_of_attempts_by_hand(tmp_path: Path) -> None:
    """Replica-0 failed two of three attempts: it answered one request of three, and saw three of five."""
    rows = [row(0, "replica-1"), row(1, "replica-1"), row(2, "replica-0")]
    failed = [attempt(0, code="UNAVAILABLE"), attempt(1, code="UNAVAILABLE"), attempt(2)]
    facts = facts_of(tmp_path, rows, {"replica-0": failed, "replica-1": [attempt(0), attempt(1)]})
    assert facts.replica_attempts == {"replica-0": 3, "replica-1": 2}
    values = values_of(facts)
    assert values["share.replica-0"] == pytest.approx(1 / 3)
    assert values["attempt_share.replica-0"] == pytest.approx(3 / 5)
    assert values["attempt_share.replica-1"] == pytest.approx(2 / 5)
    assert values["attempt_share.replica-2"] is None
    assert values["attempts.max_over_mean"] == pytest.approx(6 / 5)
    assert values["spread.max_over_mean"] == pytest.approx(4 / 3)


@pytest.mark.parametrize("max_attempts", [1, 3])
def test_requests_that_were_given_up_are_in_the_queue(tmp_path: Path, max_attempts: int) -> None:
    given_up = {"code": "DEADLINE_EXCEEDED", "queue_ns": 0, "in_flight": 0}
    rows = [row(n, "replica-0" if n < 3 else "", **(given_up if n >= 3 else {})) for n in range(8)]
    ledger = [
        *(attempt(n, 5) for n in range(3)),
        *(attempt(n, 480, 2, "DEADLINE_EXCEEDED") for n in range(3, 7)),
        attempt(7, 494, 3, "CANCELLED"),
    ]
    values = values_of(facts_of(tmp_path, rows, {"replica-0": ledger}, max_attempts=max_attempts))
    assert values["queue_ms.max"] == 494
    assert values["queue_ms.p50"] == 480
    assert values["in_flight.max"] == 3


def test_only_attempts_of_the_measured_windows_requests_count(tmp_path: Path) -> None:
    """Not those of the warm-up, and not calls that the lab did not make."""
    rows = [row(0, "replica-0", planned_ns=0), row(1, "replica-0", planned_ns=600 * MS)]
    ledger = [attempt(0, 90), attempt(1, 5), attempt(-1, 800)]
    facts = facts_of(tmp_path, rows, {"replica-0": ledger}, measure_start_ns=500 * MS)
    assert facts.replica_attempts == {"replica-0": 1, "replica-1": 0}
    assert values_of(facts)["queue_ms.max"] == 5
    series = facts.replica_series
    assert series.queue_ns[series.starts_s.searchsorted(0.1, side="right") - 1, 0] == 5 * MS


def test_where_nothing_failed_and_nothing_is_tried_again_answers_say_the_same(tmp_path: Path) -> None:
    rows = [row(n, f"replica-{n % 2}", queue_ns=n * MS, in_flight=n) for n in range(9)]
    ledgers = {f"replica-{k}": [attempt(n, n, n) for n in range(9) if n % 2 == k] for k in range(2)}
    (tmp_path / "once").mkdir()
    (tmp_path / "again").mkdir()
    once = facts_of(tmp_path / "once", rows, ledgers, max_attempts=1)
    again = facts_of(tmp_path / "again", rows, ledgers)
    assert once.replica_attempts == again.replica_attempts == {"replica-0": 5, "replica-1": 4}
    assert (once.queue_ns, once.in_flight) == (again.queue_ns, again.in_flight)


def test_without_the_replicas_ledgers_answers_tell_of_the_queue(tmp_path: Path) -> None:
    rows = [row(0, "replica-0", queue_ns=5 * MS, in_flight=2), row(1, "", code="UNAVAILABLE")]
    facts = facts_of(tmp_path, rows, {}, missing_ledgers={"replica": "not the lab's"})
    assert facts.replica_attempts is None
    values = values_of(facts)
    assert (values["queue_ms.max"], values["in_flight.max"]) == (5, 2)
    assert values["attempts.max_over_mean"] is values["attempt_share.replica-0"] is None


@pytest.mark.parametrize("max_attempts", [1, 3])
def test_work_that_nobody_had_an_answer_of_is_wasted(tmp_path: Path, max_attempts: int) -> None:
    """Of 100: 10 of the attempt before the good one, 20 of a call that was given up, 30 of a lost answer."""
    ends = [("replica-1", "OK"), ("", "DEADLINE_EXCEEDED"), ("", "UNAVAILABLE")]
    rows = [row(n, replica, code=code, planned_ns=600 * MS) for n, (replica, code) in enumerate(ends)]
    rows.append(row(3, "replica-1", planned_ns=0))  # of the warm-up
    ledgers = {
        "replica-0": [attempt(0, code="UNAVAILABLE", service_ns=10), attempt(2, service_ns=30)],
        "replica-1": [attempt(0, service_ns=40), attempt(1, code="DEADLINE_EXCEEDED", service_ns=20)],
    }
    ledgers["replica-1"] += [attempt(3, service_ns=5000), attempt(-1, service_ns=7000)]
    facts = facts_of(tmp_path, rows, ledgers, max_attempts=max_attempts, measure_start_ns=500 * MS)
    assert values_of(facts)["attempts.wasted_share"] == pytest.approx(0.6)


@pytest.mark.parametrize("max_attempts", [1, 3])
def test_no_work_is_wasted_where_all_had_their_answer(tmp_path: Path, max_attempts: int) -> None:
    ledgers = {"replica-0": [attempt(0), attempt(1)]}
    facts = facts_of(tmp_path, [row(n, "replica-0") for n in (0, 1)], ledgers, max_attempts=max_attempts)
    assert values_of(facts)["attempts.wasted_share"] == 0


def test_wasted_work_is_not_known_without_ledgers_or_work(tmp_path: Path) -> None:
    rows = [row(0, "", code="UNAVAILABLE")]
    for name, ledgers, missing in (("a", {}, {"replica": "not the lab's"}), ("b", {"replica-0": []}, {})):
        (tmp_path / name).mkdir()
        facts = facts_of(tmp_path / name, rows, ledgers, missing_ledgers=missing)  # type: ignore[arg-type]
        assert values_of(facts)["attempts.wasted_share"] is None


@pytest.mark.parametrize(("first", "second"), [("CANCELLED", "OK"), ("OK", "CANCELLED"), ("OK", "OK")])
@pytest.mark.parametrize("winner", [0, 1])
def test_of_hedged_attempts_the_one_that_answered_is_joined(
    tmp_path: Path, first: str, second: str, winner: int
) -> None:
    """Replica-0 has the request from 10 to 90 ms, replica-1 from 50 to 60 ms: both are under way together."""
    names = ["replica-0", "replica-1"]
    cell = write_cell(tmp_path, [row(0, names[winner])], route="direct", max_attempts=2)
    for name, code, arrived_ms, done_ms in ((names[0], first, 10, 90), (names[1], second, 50, 60)):
        line = f"0,AddVideo,p,{arrived_ms * MS},{done_ms * MS},0,{MS},1,1,{code}\n"
        (tmp_path / f"{name}.csv").write_text(",".join(REPLICA_COLUMNS) + "\n" + line)
    (found,) = join_ledgers(cell, clocks_of(cell), side_by_side=False).collect().to_dicts()
    assert found["answered_by"] == names[winner]
    assert found["replica_code"] == [first, second][winner]
    assert (found["replica_rows"], found["first_arrived_ns"]) == (2, 10 * MS)
    # The winner waited for the other attempt until it arrived itself, and the first one for nobody.
    assert found["earlier_ended_ns"] == (50 * MS if winner else None)
    assert found["earlier_codes"] == ([first] if winner else [])
