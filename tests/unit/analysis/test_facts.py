"""Facts of a cell, compared with counts by hand and by a simple second implementation."""

import itertools
import math
import tempfile
from collections import Counter, defaultdict
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.analysis.facts import collect_facts
from harness.analysis.statistics import percentiles
from harness.metrics.metric import MAX_WINDOWS, window_width_s
from harness.metrics.registry import METRICS
from tests.unit.synthetic.handwritten_cell import MS, message, row, write_cell
from tests.unit.thorough import examples


def metrics_of(facts):
    return {name: metric.compute(facts) for name, metric in METRICS.items()}


def test_counts_by_hand(tmp_path):
    rows = [
        row(0, "replica-0", planned_ns=0, sent_ns=1 * MS, done_ns=11 * MS, queue_ns=5 * MS),
        row(1, "replica-0", planned_ns=10 * MS, sent_ns=10 * MS, done_ns=30 * MS),
        row(2, "replica-1", planned_ns=20 * MS, sent_ns=24 * MS, done_ns=25 * MS, code="NOT_FOUND"),
        row(3, "replica-0", planned_ns=30 * MS, sent_ns=30 * MS, done_ns=31 * MS),
        row(4, "", planned_ns=40 * MS, sent_ns=40 * MS, done_ns=90 * MS, code="DEADLINE_EXCEEDED"),
        row(10**9, "replica-1", planned_ns=50 * MS, sent_ns=50 * MS, done_ns=52 * MS, session=1),
    ]
    facts = collect_facts(write_cell(tmp_path, rows))
    assert facts.replica_requests == {"replica-0": 3, "replica-1": 2}
    assert facts.client_requests == {0: [3, 1], 1: [0, 1]}
    assert facts.errors == {"NOT_FOUND": 1, "DEADLINE_EXCEEDED": 1}
    found = facts.sessions
    assert (found.count, found.requests, found.top_requests, found.breaks) == (2, 5, 4, 2)
    values = metrics_of(facts)
    assert values["requests"] == 6
    assert values["error_share"] == pytest.approx(1 / 3)
    assert values["affinity.purity"] == 0.8
    assert values["spread.max_over_mean"] == 1.2
    assert values["balance.max_off_fair_requests"] == 0.5
    assert values["balance.max_off_fair_per_client_requests"] == 1
    assert values["latency_ms.p50"] == 11  # of 1, 2, 11, 20 and two that failed
    assert values["latency_ms.max"] == math.inf
    assert values["ok_latency_ms.max"] == 20
    assert values["ok_latency_ms.p50"] is None  # of four requests
    assert values["latency_from_send_ms.p50"] == 10  # of 1, 2, 10, 20 and two that failed
    assert (values["lag_ms.max"], values["lag_ms.p50"]) == (4, 0)
    assert values["lag_ms.p99"] is values["latency_ms.p90"] is None  # of six requests
    assert values["queue_ms.max"] == 5
    assert (values["planned_rate_per_s"], values["achieved_rate_per_s"]) == (6, 6)


def test_only_the_measured_window_counts_and_replicas_without_requests_are_there(tmp_path):
    rows = [
        row(0, "replica-1", planned_ns=99 * MS, sent_ns=100 * MS),
        row(1, "replica-0", planned_ns=100 * MS, sent_ns=101 * MS),
        row(2, "replica-0", planned_ns=199 * MS, sent_ns=200 * MS),
        row(3, "replica-1", planned_ns=200 * MS, sent_ns=200 * MS),
    ]
    cell = write_cell(tmp_path, rows, measure_start_ns=100 * MS, measure_end_ns=200 * MS, planned_requests=2)
    facts = collect_facts(cell)
    assert facts.replica_requests == {"replica-0": 2, "replica-1": 0}
    assert (facts.planned_rate_per_s, facts.achieved_rate_per_s) == (20, 20)
    assert facts.ledgers.matched == 4
    assert metrics_of(facts)["spread.used_replicas"] == 1


def test_a_cell_without_requests_has_counts_and_no_metrics(tmp_path):
    values = metrics_of(collect_facts(write_cell(tmp_path, [])))
    assert values["requests"] == 0
    assert values["spread.max_over_mean"] is values["latency_ms.p99"] is values["affinity.purity"] is None


def test_a_closed_loop_plans_no_rate(tmp_path):
    facts = collect_facts(write_cell(tmp_path, [row(0, "replica-0")], planned_rate_per_s=None))
    assert facts.planned_rate_per_s is None


def test_a_break_is_not_counted_from_one_session_to_the_next(tmp_path):
    rows = [row(0, "replica-0"), row(1, "replica-1", session=1), row(10**9, "replica-0", session=1)]
    assert collect_facts(write_cell(tmp_path, rows)).sessions.breaks == 0


def test_time_windows_add_up(tmp_path):
    rows = [row(n, "replica-0", planned_ns=n * 100 * MS, queue_ns=n * MS) for n in range(10)]
    timeline = collect_facts(write_cell(tmp_path, rows)).replica_series
    assert timeline.width_s == 0.05
    assert timeline.requests.shape == (20, 2)
    assert timeline.requests[:, 0].tolist() == [1, 0] * 10
    assert timeline.queue_ns[2, 0] == MS


def test_every_unit_is_counted_on_its_own(tmp_path):
    rows = [
        row(0, "replica-0", connection="a", session=0, messages=1, service_ns=5 * MS),
        row(1, "replica-0", connection="d", session=1, messages=9, service_ns=1 * MS),
        row(2, "replica-1", connection="b", session=1, messages=2, service_ns=2 * MS),
        row(10**9, "replica-0", connection="c", messages=1, service_ns=2 * MS),
        row(10**9 + 1, "", connection="", messages=0, service_ns=0, code="UNAVAILABLE"),
        row(2 * 10**9, "", connection="", messages=0, service_ns=0, code="UNAVAILABLE"),
    ]
    facts = collect_facts(write_cell(tmp_path, rows))
    assert facts.units == {
        "connections": [3, 1],
        "sessions": [3, 1],
        "messages": [11, 2],
        "busy_time": [8 * MS, 2 * MS],
    }
    values = metrics_of(facts)
    assert values["connections.count"] == 4
    assert values["connections.max_over_mean"] == 1.5
    assert values["sessions.max_over_mean"] == 1.5
    assert values["messages.max_over_mean"] == pytest.approx(22 / 13)
    assert values["busy_time.max_over_mean"] == 1.6
    assert values["busy_time.effective_replicas"] == pytest.approx(100 / 68)
    assert values["per_client.replicas"] == 1.5  # both, and one; the third client got no answer
    assert values["spread.used_replicas"] == 2
    assert (values["share.replica-0"], values["share.replica-1"], values["share.replica-2"]) == (
        0.75,
        0.25,
        None,
    )


def test_outcomes_are_counted_by_hand(tmp_path):
    rows = [
        row(0, "replica-0", cache="hit"),
        row(1, "replica-0", cache="hit"),
        row(2, "replica-1", cache="miss"),
        row(3, "replica-1", code="UNAVAILABLE"),
        row(4, "", code="DEADLINE_EXCEEDED"),
    ]
    replica = [(0, "replica-0"), (0, "replica-1"), *((n, f"replica-{n > 1:d}") for n in range(1, 4))]
    values = metrics_of(collect_facts(write_cell(tmp_path, rows, replica=replica, max_attempts=2)))
    assert values["cache.hit_share"] == pytest.approx(2 / 3)
    assert values["errors.UNAVAILABLE"] == values["errors.DEADLINE_EXCEEDED"] == 0.2
    assert values["errors.INTERNAL"] == values["errors.CANCELLED"] == 0
    assert values["goodput_per_s"] == 3  # in one second
    assert values["attempts.per_request"] == 1
    assert values["bytes.per_request"] == 4 * 42 / 5  # four of five went through Envoy


def test_without_caches_streams_groups_and_envoy_their_metrics_are_not_defined(tmp_path):
    values = metrics_of(collect_facts(write_cell(tmp_path, [row(0, "replica-0")], route="direct")))
    for name in ("cache.hit_share", "stream.purity", "affinity.group_purity", "bytes.per_request"):
        assert values[name] is None, name
    assert values["stream.count"] == 0
    assert values["message_latency_ms.p99"] is None


def test_streams_are_pure_when_all_messages_name_one_replica(tmp_path):
    rows = [row(n, "replica-0", method="GetVideo", messages=3) for n in range(3)]
    rows.append(row(3, "replica-0", planned_ns=2000 * MS))  # planned after the window
    messages = [
        *(message(0, "replica-0", number, received_ns=(4 + number) * MS) for number in range(3)),
        *(message(1, f"replica-{number % 2}", number) for number in range(3)),
        message(3, "replica-1", received_ns=900 * MS),
    ]
    facts = collect_facts(write_cell(tmp_path, rows, messages=messages))
    assert (facts.streams.count, facts.streams.pure) == (2, 1)
    values = metrics_of(facts)
    assert values["stream.purity"] == 0.5
    assert values["message_latency_ms.max"] == 6
    assert values["message_latency_ms.p50"] == 2  # of 2, 2, 2, 4, 5, 6


def test_group_purity_is_of_groups_not_of_replicas(tmp_path):
    rows = [row(0, "replica-0"), row(1, "replica-1"), row(10**9, "replica-0"), row(10**9 + 1, "replica-0")]
    groups = {"replica-0": "blue", "replica-1": "blue"}
    one = metrics_of(collect_facts(write_cell(tmp_path, rows, groups=groups)))
    assert (one["affinity.group_purity"], one["affinity.purity"]) == (1, 0.75)
    two = metrics_of(collect_facts(write_cell(tmp_path, rows, groups={**groups, "replica-1": "green"})))
    assert two["affinity.group_purity"] == 0.75


def test_a_session_seen_on_two_connections_counts_once(tmp_path):
    rows = [row(0, "replica-0", connection="a"), row(1, "replica-0", connection="b"), row(2, "replica-1")]
    facts = collect_facts(write_cell(tmp_path, rows))
    assert facts.units["sessions"] == [1, 1]
    assert (facts.sessions.count, facts.sessions.top_requests) == (1, 2)


CALLS = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 1), st.sampled_from(["replica-0", "replica-1", ""])),
    min_size=1,
    max_size=30,
)


@settings(max_examples=examples(25), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(CALLS, st.randoms())
def test_affinity_agrees_with_a_plain_count_whatever_the_order_of_rows(calls, random):
    rows = [
        row(client * 10**9 + place, replica, session=session)
        for place, (client, session, replica) in enumerate(calls)
    ]
    sessions = defaultdict(list)
    for client, session, replica in calls:
        if replica:
            sessions[client, session].append(replica)
    top = sum(max(Counter(session).values()) for session in sessions.values())
    breaks = sum(a != b for session in sessions.values() for a, b in itertools.pairwise(session))
    with tempfile.TemporaryDirectory() as folder:
        facts = collect_facts(write_cell(Path(folder), random.sample(rows, len(rows))))
    found = facts.sessions
    found = facts.sessions
    assert (found.count, found.top_requests, found.breaks) == (len(sessions), top, breaks)
    purity = METRICS["affinity.purity"].compute(facts)
    assert purity is None or 0 < purity <= 1
    assert facts.ledgers.reconciled


@given(st.lists(st.integers(0, 2**40), min_size=1, max_size=300))
def test_percentiles_are_nearest_ranks(values):
    found = percentiles(pl.Series(values, dtype=pl.Int64))
    for name, rank in (("p50", 50), ("p99", 99), ("max", 100)):
        least = min(v for v in values if 100 * sum(w <= v for w in values) >= rank * len(values))
        assert found[name] == least


@given(st.floats(0.01, 3600))
def test_windows_are_few_and_round(duration_s):
    width_s = window_width_s(duration_s)
    assert duration_s / width_s <= MAX_WINDOWS * (1 + 1e-6)
    assert f"{width_s:.0e}"[0] in "125"
