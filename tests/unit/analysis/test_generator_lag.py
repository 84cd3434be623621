"""Clients that wait for each answer fall behind their plan on purpose: their cell is valid all the same."""

import pytest

from harness.analysis.facts import collect_facts
from harness.analysis.validity import measure
from tests.unit.synthetic.handwritten_cell import MS, row, write_cell


def sent(request_id, planned_ms, sent_ms, done_ms):
    return row(
        request_id,
        "replica-0",
        planned_ns=planned_ms * MS,
        sent_ns=sent_ms * MS,
        done_ns=done_ms * MS,
    )


# Planned every 10 ms; the first takes 500 ms, so that the client is late with all others, by 1 ms of its own.
STALLED = [sent(0, 0, 0, 500), *(sent(n, 10 * n, 500 + 2 * n - 1, 500 + 2 * n) for n in range(1, 30))]


@pytest.mark.parametrize("waits", [True, False])
def test_only_what_is_the_clients_own_is_lag(tmp_path, waits):
    result = measure(collect_facts(write_cell(tmp_path, STALLED, awaits_answers=waits)))
    assert result.values["lag_ms.max"] == (1 if waits else 491)
    assert result.values["latency_ms.p50"] == pytest.approx(380)  # from the planned send, all the same
    assert any("lagged" in reason.text for reason in result.invalid_reasons) == (not waits)


def test_the_order_of_rows_and_other_clients_do_not_matter(tmp_path):
    other = [sent(10**9 + n, 10 * n, 10 * n + 3, 10 * n + 4) for n in range(30)]
    rows = [*reversed(STALLED), *other]
    assert measure(collect_facts(write_cell(tmp_path, rows, awaits_answers=True))).values["lag_ms.max"] == 3


def test_a_call_of_the_warm_up_is_waited_for_too(tmp_path):
    window = {"measure_start_ns": 10 * MS, "measure_end_ns": 400 * MS}
    facts = collect_facts(write_cell(tmp_path, STALLED, awaits_answers=True, **window))
    assert facts.lag_ns["max"] == MS
    assert facts.requests == 29


@pytest.mark.parametrize("waits", [True, False])
def test_what_was_not_sent_in_time_makes_a_cell_invalid_only_in_an_open_loop(tmp_path, waits):
    late = [sent(n, n, 2000 + n, 2001 + n) for n in range(30)]
    result = measure(collect_facts(write_cell(tmp_path, late, awaits_answers=waits)))
    assert result.values["achieved_rate_per_s"] == 0
    assert any("planned requests/s" in reason.text for reason in result.invalid_reasons) == (not waits)
