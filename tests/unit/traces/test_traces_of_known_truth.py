"""Figures and models of synthetic logs, whose truth is counted from the generator's requests themselves."""

import dataclasses
from collections import Counter, defaultdict
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from docs.examples.alb_log import Request, Traffic, requests_of, write_log
from harness.metrics.metric import max_over_mean
from harness.traces.figures import TraceFigures, figures_of
from harness.traces.model import WorkloadModel, model_of
from harness.traces.read import ReadOptions, read_trace
from harness.traces.trace import Trace

UNIFORM = Traffic(requests=9_000, rate_per_s=30, clients=90, targets=4, slow=3.0)
STICKY = Traffic(requests=9_000, rate_per_s=30, clients=150, targets=4, skew=1.1, policy="sticky", seed=2)
LATE = Traffic(requests=9_000, rate_per_s=30, clients=90, targets=4, late_s=120, seed=3)
KNOWN = {"uniform": UNIFORM, "sticky": STICKY, "late": LATE}


@dataclasses.dataclass(frozen=True)
class Seen:
    requests: list[Request]
    trace: Trace
    figures: TraceFigures
    model: WorkloadModel

    def target(self, number: int):
        return next(one for one in self.figures.targets if one.name == f"192.0.2.{10 + number}:8080")


@pytest.fixture(scope="module", params=KNOWN)
def seen(request, tmp_path_factory) -> Seen:
    return _seen(KNOWN[request.param], tmp_path_factory.mktemp("logs") / "a.log.gz")


@pytest.fixture(scope="module")
def of(tmp_path_factory):
    folder = tmp_path_factory.mktemp("of")
    return {name: _seen(traffic, folder / f"{name}.log") for name, traffic in KNOWN.items()}


def _seen(traffic: Traffic, path: Path) -> Seen:
    write_log(path, traffic)
    trace = read_trace([path], ReadOptions(key=b"0123456789abcdef", keep_targets=True))
    figures = figures_of(trace)
    return Seen(list(requests_of(traffic)), trace, figures, model_of(trace, figures))


def test_every_request_counts_once_at_its_target(seen: Seen) -> None:
    assert seen.figures.requests == len(seen.requests)
    assert seen.trace.broken.broken == 0
    for number, count in Counter(one.target for one in seen.requests).items():
        assert seen.target(number).requests == count
    counts = list(Counter(one.target for one in seen.requests).values())
    assert seen.figures.max_over_mean == pytest.approx(max_over_mean(counts))
    assert [one.requests for one in seen.figures.targets] == sorted(counts, reverse=True)


def test_requests_of_each_target_and_minute(seen: Seen) -> None:
    start_s = min(round(one.at_s, 3) for one in seen.requests)
    # As an ALB writes arrivals: whole milliseconds.
    expected = Counter(
        (int((round(one.at_s * 1000) - round(start_s * 1000)) // 60_000), f"192.0.2.{10 + one.target}:8080")
        for one in seen.requests
    )
    found = {
        (window, seen.trace.targets[target]): count
        for window, target, count in seen.figures.windows.by_target.iter_rows()
    }
    assert found == expected


def test_busiest_over_fair_of_each_minute_is_the_labs_metric(seen: Seen) -> None:
    windows = seen.figures.windows
    by_window = defaultdict(list)
    for window, _, count in windows.by_target.iter_rows():
        by_window[window].append(count)
    for number, present, value in zip(
        by_window, windows.present.tolist(), windows.busiest_over_fair.tolist(), strict=True
    ):
        counts = by_window[number] + [0] * (present - len(by_window[number]))
        if not np.isnan(value):
            assert value == pytest.approx(max_over_mean(counts))


def test_purity_and_breaks_of_sessions(seen: Seen) -> None:
    answers = defaultdict(list)
    for one in seen.requests:
        answers[one.client].append(one.target)
    top = sum(max(Counter(targets).values()) for targets in answers.values())
    breaks = sum(a != b for targets in answers.values() for a, b in pairwise(targets))
    sessions = seen.figures.sessions
    assert sessions is not None
    assert sessions.count == len(answers)
    assert seen.figures.purity == pytest.approx(top / len(seen.requests))
    # Arrivals within one millisecond may change places.
    assert abs(sessions.breaks - breaks) <= 0.002 * len(seen.requests)


def test_share_of_hot_clients(seen: Seen) -> None:
    counts = sorted(Counter(one.client for one in seen.requests).values(), reverse=True)
    hot, total = seen.figures.hot, len(seen.requests)
    assert hot is not None
    assert (hot.clients, hot.top_1) == (len(counts), counts[0] / total)
    assert hot.top_10 == pytest.approx(sum(counts[:10]) / total)
    assert sum(counts[: hot.half]) >= total / 2 > sum(counts[: hot.half - 1])


def test_errors_and_times_of_each_target(seen: Seen) -> None:
    for number in range(4):
        own = [one for one in seen.requests if one.target == number]
        target = seen.target(number)
        assert target.failed == sum(one.status >= 500 for one in own)
        times_ms = np.array([float(f"{one.target_s:.3f}") * 1000 for one in own])
        assert target.mean_ns == pytest.approx(times_ms.mean() * 1e6)
        assert target.time_ns["p50"] == pytest.approx(np.quantile(times_ms, 0.5, method="inverted_cdf") * 1e6)
        assert target.in_flight == pytest.approx(
            len(own) / target.presence.seconds * times_ms.mean() / 1000, rel=1e-6
        )


def test_the_target_that_joins_late_is_the_only_one(of: dict[str, Seen]) -> None:
    late = of["late"]
    joined = [number for number in range(4) if late.target(number).presence.late]
    assert joined == [3]
    first_s = min(one.at_s for one in late.requests if one.target == 3) - late.requests[0].at_s
    assert late.target(3).presence.first_s == pytest.approx(first_s, abs=0.002)
    assert not any(one.presence.left or one.presence.silences for one in late.figures.targets)
    assert late.figures.windows.present.tolist()[:2] == [3, 3]
    assert set(late.figures.windows.present.tolist()[2:-1]) == {4}
    for name in ("uniform", "sticky"):
        assert not any(one.presence.late or one.presence.left for one in of[name].figures.targets)


@pytest.mark.parametrize("name", KNOWN)
def test_the_skew_is_found(of: dict[str, Seen], name: str) -> None:
    fit = of[name].model.skew
    assert fit is not None
    assert fit.skew == pytest.approx(KNOWN[name].skew, abs=0.05)
    assert fit.quality == "good"
    assert fit.clients == pytest.approx(KNOWN[name].clients, rel=0.05)


@pytest.mark.parametrize("name", KNOWN)
def test_poisson_arrivals_are_not_bursty(of: dict[str, Seen], name: str) -> None:
    burstiness = of[name].model.burstiness
    assert burstiness.gap_cv == pytest.approx(1, abs=0.05)
    assert burstiness.dispersion[1.0] == pytest.approx(1, abs=0.35)  # 300 windows: standard error 0.08
    assert of[name].model.rate_per_s == pytest.approx(30, rel=0.05)


def test_service_times_and_the_slow_target(of: dict[str, Seen]) -> None:
    model = of["uniform"].model
    assert model.distribution == "exponential"
    assert model.service_ms == pytest.approx(20, rel=0.1)
    assert list(model.slow) == ["192.0.2.10:8080"]
    assert model.slow["192.0.2.10:8080"] == pytest.approx(3, rel=0.15)
    assert not of["sticky"].model.slow


def test_sessions_are_as_long_as_the_clients_stay(of: dict[str, Seen]) -> None:
    sticky = of["sticky"]
    lengths = sticky.model.sessions
    counts = Counter(one.client for one in sticky.requests)
    assert lengths is not None
    assert lengths.count == len(counts)  # five minutes: no pause is long enough to end one
    assert lengths.mean_requests == pytest.approx(len(sticky.requests) / len(counts))
