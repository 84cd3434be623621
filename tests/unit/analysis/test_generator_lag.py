"""The generator's lag: sent minus ready. A client that waits for an answer on purpose is not late."""

import pytest

from harness.analysis.facts import collect_facts
from harness.analysis.validity import measure
from tests.unit.synthetic.handwritten_cell import MS, row, write_cell


def sent(request_id, planned_ms, ready_ms, sent_ms, done_ms):
    return row(
        request_id,
        "replica-0",
        planned_ns=planned_ms * MS,
        ready_ns=ready_ms * MS,
        sent_ns=sent_ms * MS,
        done_ns=done_ms * MS,
    )


def stalled(waits):
    """Planned every 10 ms; the first takes 500 ms. Clients that wait for it are 1 ms late of their own."""
    others = range(1, 30)
    ready_ms = {n: 498 + 2 * n if waits else 10 * n for n in others}
    return [
        sent(0, 0, 0, 0, 500),
        *(sent(n, 10 * n, ready_ms[n], 499 + 2 * n, 500 + 2 * n) for n in others),
    ]


@pytest.mark.parametrize("waits", [True, False])
def test_only_what_is_the_generators_own_is_lag(tmp_path, waits):
    result = measure(collect_facts(write_cell(tmp_path, stalled(waits), awaits_answers=waits)))
    assert result.values["lag_ms.max"] == (1 if waits else 491)
    assert result.values["latency_ms.p50"] == pytest.approx(380)  # from the planned send, all the same
    assert any("lagged" in reason.text for reason in result.invalid_reasons) == (not waits)


@pytest.mark.parametrize(
    ("cause", "taker"),
    [
        ("processes", "other processes"),
        ("hypervisor", "other virtual machines"),
        ("lab", "the lab's own processes"),
        ("load", None),
        ("unknown", None),
        (None, None),
    ],
)
def test_what_took_the_machine_took_it_from_proxy_and_replicas_too(tmp_path, cause, taker):
    """Once, beside a browser, round robin had a p99 latency of 1,322 ms. The lag was 331 ms of that."""
    result = measure(collect_facts(write_cell(tmp_path, stalled(False), disturbed_by=cause)))
    (reason,) = [one for one in result.invalid_reasons if "lagged" in one.text]
    assert result.can_tell("latency_ms.p50") == (taker is None)
    assert result.can_tell("spread.max_over_mean")
    if taker is None:
        assert reason.in_words.startswith("usable for counts only, and for durations less its lag, because")
    else:
        assert reason.in_words.startswith("usable for counts only, because")
        assert reason.text.endswith(f"(at most 50 ms) while {taker} took the machine")


def test_waiting_for_a_sessions_first_answer_is_no_lag(tmp_path):
    """Every session's first answer takes 150 ms; what was planned meanwhile is sent 1 ms after it."""
    rows = []
    for session in range(5):
        start = 200 * session
        rows.append(sent(10 * session, start, start, start, start + 150))
        rows += [
            sent(10 * session + n, start + 10 * n, start + 150, start + 151, start + 160)
            for n in range(1, 10)
        ]
    result = measure(collect_facts(write_cell(tmp_path, rows)))
    assert (result.values["lag_ms.p50"], result.values["lag_ms.max"]) == (1, 1)
    assert not any("lagged" in reason.text for reason in result.invalid_reasons)


def test_requests_of_the_warm_up_have_no_part_in_it(tmp_path):
    window = {"measure_start_ns": 10 * MS, "measure_end_ns": 400 * MS}
    early = sent(30, 5, 5, 300, 301)
    facts = collect_facts(write_cell(tmp_path, [early, *stalled(True)], awaits_answers=True, **window))
    assert facts.lag_ns["max"] == MS
    assert facts.requests == 29


@pytest.mark.parametrize("waits", [True, False])
def test_what_was_not_sent_in_time_makes_a_cell_invalid_only_in_an_open_loop(tmp_path, waits):
    late = [sent(n, n, n, 2000 + n, 2001 + n) for n in range(30)]
    result = measure(collect_facts(write_cell(tmp_path, late, awaits_answers=waits)))
    assert result.values["achieved_rate_per_s"] == 0
    assert any("planned requests/s" in reason.text for reason in result.invalid_reasons) == (not waits)
