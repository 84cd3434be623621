"""Silences, bursts, pauses, warnings and drafts, on small traces written by hand."""

import re
from collections.abc import Sequence

import numpy as np
import polars as pl
import pytest
import yaml

from harness.report.trace_tables import duration, identity_warning, milliseconds, percent, there
from harness.traces.draft import MAX_CLIENTS, MAX_RATE_PER_S, MIN_RATE_PER_S, draft_yaml
from harness.traces.figures import figures_of, hot_clients
from harness.traces.model import model_of, nearest_distribution
from harness.traces.presence import presence_of
from harness.traces.trace import COLUMNS, OPTIONAL, BrokenLines, Trace
from harness.traces.zipf import fit_zipf, shares, skew_with_top_share

START_NS = 1_795_514_400_000_000_000


def trace_of(at_s: Sequence[float], **columns: Sequence[object]) -> Trace:
    """Return a trace of requests at these times; client 1 and target 0 with 10 ms unless others are given."""
    count = len(at_s)
    rows = {
        "time_unix_ns": [START_NS + round(at * 1e9) for at in at_s],
        "client": [1] * count,
        "target": [0] * count,
        "status": [200] * count,
        "target_time_ns": [10_000_000] * count,
        "bytes_received": [0] * count,
        "bytes_sent": [0] * count,
        **columns,
    }
    kinds = {name: COLUMNS[name][0] for name in rows}
    table = pl.DataFrame(rows, schema=kinds).sort("time_unix_ns")
    targets = [f"t{number}" for number in range(1 + max(rows["target"]))]
    return Trace(table, targets, "ip", BrokenLines(), {})


def test_the_columns_of_a_trace_that_may_be_missing_come_last() -> None:
    assert set(OPTIONAL) < set(COLUMNS)


def in_turn(seconds: float, away: tuple[float, float], quiet: tuple[float, float] = (0, 0)) -> Trace:
    """Return two targets in turn, ten requests a second; target 1 is away and all are quiet for a while."""
    times = [at for at in np.arange(0, seconds, 0.1) if not quiet[0] <= at < quiet[1]]
    targets = [0 if away[0] <= at < away[1] else n % 2 for n, at in enumerate(times)]
    return trace_of(times, target=targets)


def test_a_target_that_goes_and_comes_back_has_a_silence() -> None:
    trace = in_turn(600, away=(200, 300))
    still, gone = presence_of(trace.table, trace.start_ns, 2)
    assert not still.silences
    ((start, end),) = gone.silences
    assert (start, end) == (pytest.approx(200, abs=0.2), pytest.approx(300, abs=0.2))
    assert gone.seconds == pytest.approx(500, abs=0.5)
    assert there(gone) == "1 silence"
    assert figures_of(trace).windows.present.tolist() == [2, 2, 2, 2, 1, 2, 2, 2, 2, 2]


def test_a_target_that_leaves_has_left() -> None:
    trace = in_turn(600, away=(200, 600))
    assert there(presence_of(trace.table, trace.start_ns, 2)[1]) == "to 200 s"


def test_a_quiet_night_is_no_absence() -> None:
    trace = in_turn(900, away=(0, 0), quiet=(200, 700))
    assert all(there(one) == "all" for one in presence_of(trace.table, trace.start_ns, 2))


def test_a_short_pause_is_no_absence() -> None:
    trace = in_turn(600, away=(200, 255))
    assert not presence_of(trace.table, trace.start_ns, 2)[1].silences


def test_bursts_have_a_dispersion_above_one_and_a_clock_has_none() -> None:
    burst = trace_of([second + n / 1000 for second in range(0, 100, 10) for n in range(20)])
    even = trace_of(np.arange(0, 100, 0.25).tolist())
    burstiness = model_of(burst, figures_of(burst)).burstiness
    assert burstiness.dispersion[1.0] > 10
    assert burstiness.gap_cv is not None
    assert burstiness.gap_cv > 3
    clock = model_of(even, figures_of(even)).burstiness
    assert clock.dispersion[1.0] == 0
    assert clock.gap_cv == pytest.approx(0, abs=1e-6)


def test_half_an_hour_of_silence_ends_a_session() -> None:
    trace = trace_of([0, 10, 1809, 3700, 3705], client=[1, 1, 1, 1, 2])
    lengths = model_of(trace, figures_of(trace)).sessions
    assert lengths is not None
    # Client 1 until 1809 s; client 1 again; client 2.
    assert (lengths.count, lengths.mean_requests) == (3, 5 / 3)
    assert lengths.seconds["max"] == 1809


def test_sessions_that_the_log_names_are_the_sessions() -> None:
    trace = trace_of([0, 1, 2, 3], client=[1, 1, 1, 1], session=[5, 6, 5, 6], target=[0, 1, 0, 1])
    sessions = figures_of(trace).sessions
    assert sessions is not None
    assert (sessions.count, sessions.breaks, sessions.top_requests) == (2, 0, 4)
    without = figures_of(trace_of([0, 1, 2, 3], target=[0, 1, 0, 1])).sessions
    assert without is not None
    assert (without.count, without.breaks, without.top_requests) == (1, 3, 2)


def test_failed_and_refused_requests() -> None:
    statuses = [200, 404, 500, 502, None, 101, 302]
    (target,) = figures_of(trace_of(range(7), status=statuses)).targets
    assert (target.failed, target.refused) == (3, 1)


@pytest.mark.parametrize(
    ("cv", "name"),
    [(0, "constant"), (0.4, "constant"), (0.9, "exponential"), (1.2, "lognormal"), (9, "lognormal")],
)
def test_the_nearest_distribution(cv: float, name: str) -> None:
    assert nearest_distribution(cv) == name


def test_two_laws_are_told_apart_by_the_distance() -> None:
    fit = fit_zipf(np.array([5000] + [20] * 500))
    assert fit is not None
    assert fit.quality == "poor"
    assert fit_zipf(np.array([7])) is None


def test_clients_that_sent_nothing_are_estimated() -> None:
    counts = np.random.default_rng(4).multinomial(20_000, shares(1.1, 2_000))
    seen = int((counts > 0).sum())
    fit = fit_zipf(counts)
    assert fit is not None
    assert seen < 1_700
    assert fit.clients == pytest.approx(2_000, rel=0.06)
    assert fit.skew == pytest.approx(1.1, abs=0.05)


@pytest.mark.parametrize("top", [0.5, 0.2, 0.05])
def test_the_skew_that_gives_the_busiest_client_its_share(top: float) -> None:
    assert shares(skew_with_top_share(top, 100), 100)[0] == pytest.approx(top, rel=1e-6)
    assert skew_with_top_share(0.001, 100) == 0


def test_hot_clients_of_few() -> None:
    hot = hot_clients(np.array([6, 3, 1]))
    assert hot is not None
    assert (hot.top_1, hot.top_10, hot.top_percent, hot.half) == (0.6, 1.0, 0.6, 1)
    assert hot_clients(np.array([], dtype=np.int64)) is None


@pytest.mark.parametrize(
    ("identity", "top", "clients", "words"),
    [
        ("ip", 0.2, 100, "Warning: .* NAT"),
        ("ip", 0.2, 8, "^$"),  # hardly more than an even share
        ("ip", 0.04, 1000, "^$"),
        ("ip+port", 0.2, 100, "one connection"),
        ("conn_trace_id", 0.2, 100, "one connection"),
        ("column:user", 0.2, 100, "^$"),
    ],
)
def test_the_warning_about_nat(identity: str, top: float, clients: int, words: str) -> None:
    assert re.search(words, identity_warning(identity, top, clients))


@pytest.mark.parametrize(("rate", "expected"), [(5_000, MAX_RATE_PER_S), (2, MIN_RATE_PER_S), (300, 300)])
def test_a_draft_is_scaled_to_what_one_machine_sends(rate: float, expected: float) -> None:
    count = 1_000
    trace = trace_of(
        [n / rate for n in range(count)],
        client=[n % 400 for n in range(count)],
        target=[n % 5 for n in range(count)],
    )
    figures = figures_of(trace)
    draft = yaml.safe_load(draft_yaml(figures, model_of(trace, figures)))
    work = draft["workload"]
    assert work["rate_per_s"] == pytest.approx(expected, rel=0.01)
    assert work["clients"] == MAX_CLIENTS
    assert draft["replicas"]["count"] == 5
    assert draft["replicas"]["service_time_ms"] == {"distribution": "constant", "mean": 10.0}
    # The busiest target is half busy or less.
    busy = work["rate_per_s"] / 5 * 0.010 / draft["replicas"]["slots"]
    assert busy <= 0.5


def test_words_for_figures() -> None:
    assert [duration(one) for one in (0.5, 59, 600, 3_725, 90_000)] == [
        *("0.5 s", "59 s", "10 min", "1 h 2 min", "1 d 1 h"),
    ]
    assert [percent(one) for one in (None, 0.123456, 0.00123456, 1, 0)] == [
        "–",
        "12.3 %",
        "0.12 %",
        "100 %",
        "0 %",
    ]
    assert [milliseconds(one) for one in (None, 1.5e6, 2.5e9)] == ["–", "1.5", "2,500"]
