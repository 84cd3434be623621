"""The what-if's simulator in a real browser, against simulator/fast.py: the same picks, the same times."""

from collections import Counter
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tests.simulator.kernels  # noqa: F401
from harness.report.assets import module_script
from harness.report.what_if import POLICIES
from harness.testbed.simulated.predict import bands_of
from simulator.fast import DISTRIBUTIONS, RULES, Draws, FastMachine, Fleet
from simulator.histogram import new_counts
from tests.unit.thorough import examples

ASKED_FOR = ("Requests", "Machine", "aliasTables", "answerOf", "POLICIES", "SplitMix", "sliderValues")
# log, exp and cos may differ in the last bit between a browser and Python.
ROUNDING = 1e-12
HISTOGRAM = 0.006  # how far a quantile of simulator/histogram.py may be wrong
FLEET = Fleet(clients=40, replicas=5, requests=2000, rate_per_s=800, mean_service_s=0.01, slots=2, skew=0.8)
# As the page's settings are called.
SETTINGS = {"clients": 12, "rate_per_s": 600, "skew": 1.0, "replicas": 4, "slots": 2, "service_ms": 10}
WARM_UP_S, WINDOW_S = 0.5, 2.0
LOAD = {"warm_up_s": WARM_UP_S, "duration_s": WINDOW_S, "distribution": "exponential", "added_ms": 3.0}


@pytest.fixture(scope="module")
def scripts(browser: Any) -> Any:
    """A page without a what-if, in which the names of its simulator are there for the asking."""
    context = browser.new_context()
    page = context.new_page()
    text = module_script("whatif_panel.js").text
    page.add_script_tag(content=f"{text}\nObject.assign(window, {{{', '.join(ASKED_FOR)}}});", type="module")
    page.evaluate("() => new Promise(resolve => setTimeout(resolve))")
    page.evaluate(
        "() => { window.drawn = (fleet, count) => {"
        "  const requests = new Requests(fleet, aliasTables(fleet.clients, fleet.skew));"
        "  return Array.from({length: count}, () => {"
        "    requests.next(); return [requests.at, requests.client, requests.service]; }); };"
        "window.served = (fleet, rows) => {"
        "  const machine = new Machine(fleet);"
        "  return rows.map(row => {"
        "    const end = machine.serve(...row); return [machine.replica, end]; }); }; }"
    )
    yield page
    context.close()


def as_json(fleet: Fleet) -> dict[str, Any]:
    """The fleet as the page's simulator wants it."""
    return {
        **{name: getattr(fleet, name) for name in ("clients", "replicas", "slots", "skew", "rule", "sticky")},
        **{"rate": fleet.rate_per_s, "mean": fleet.mean_service_s, "seed": fleet.seed},
        "distribution": fleet.distribution,
    }


def drawn(fleet: Fleet, count: int) -> tuple[Any, Any, Any]:
    """Arrival, client and service time of the first requests."""
    at_s, client, service_s = Draws(fleet).next(count)
    return at_s.copy(), client.copy(), service_s.copy()


def served(fleet: Fleet, at_s: Any, client: Any, service_s: Any) -> tuple[list[int], list[float]]:
    """Replica and end of each request: what each one changes in the machine's state."""
    machine = FastMachine(fleet)
    replicas, ends = [], []
    for number in range(len(at_s)):
        one = slice(number, number + 1)
        requests, free_s = machine.outcome().replica_requests.copy(), machine._free_s.copy()
        machine.serve(at_s[one], client[one], service_s[one])
        (replica,) = np.flatnonzero(machine.outcome().replica_requests - requests)
        (end_s,) = (Counter(machine._free_s[replica].tolist()) - Counter(free_s[replica].tolist())).elements()
        replicas.append(int(replica))
        ends.append(float(end_s))
    return replicas, ends


@settings(max_examples=examples(60), deadline=None)
@given(
    clients=st.integers(1, 300),
    replicas=st.integers(1, 12),
    slots=st.integers(1, 9),
    skew=st.sampled_from([0.0, 0.5, 1.0, 2.0]),
    rate=st.sampled_from([7.0, 400.0, 9000.0]),
    rule=st.sampled_from(sorted(RULES)),
    sticky=st.booleans(),
    distribution=st.sampled_from(DISTRIBUTIONS),
    seed=st.integers(0, 2**53 - 2),
)
def test_a_fleet_has_the_same_requests_picks_and_times(scripts: Any, rate: float, **own: Any) -> None:
    fleet = Fleet(requests=150, rate_per_s=rate, mean_service_s=0.01, **own)
    at_s, client, service_s = drawn(fleet, 150)
    rows = scripts.evaluate("fleet => drawn(fleet, 150)", as_json(fleet))
    assert [row[1] for row in rows] == client.tolist()
    np.testing.assert_allclose([row[0] for row in rows], at_s, rtol=ROUNDING)
    np.testing.assert_allclose([row[2] for row in rows], service_s, rtol=ROUNDING)
    replicas, ends = served(fleet, at_s, client, service_s)
    found = scripts.evaluate("([fleet, rows]) => served(fleet, rows)", [as_json(fleet), rows])
    assert [pick for pick, _ in found] == replicas
    np.testing.assert_allclose([end for _, end in found], ends, rtol=ROUNDING)


@pytest.mark.parametrize("sticky", [False, True])
@pytest.mark.parametrize("rule", sorted(RULES))
def test_the_same_requests_give_exactly_the_same_times(scripts: Any, rule: Any, sticky: bool) -> None:
    """Serving needs no logarithm: what is drawn in Python ends at the same moment, to the last bit."""
    fleet = replace(FLEET, rule=rule, sticky=sticky)
    at_s, client, service_s = drawn(fleet, fleet.requests)
    rows = np.column_stack([at_s, client, service_s]).tolist()
    found = scripts.evaluate("([fleet, rows]) => served(fleet, rows)", [as_json(fleet), rows])
    replicas, ends = served(fleet, at_s, client, service_s)
    assert [pick for pick, _ in found] == replicas
    assert [end for _, end in found] == ends
    assert len(set(replicas)) == fleet.replicas


@pytest.mark.parametrize("policy", sorted(POLICIES))
def test_the_answer_is_the_band_of_the_simulations(scripts: Any, policy: str) -> None:
    answer = scripts.evaluate(
        "([settings, load]) => answerOf(settings, load)", [{**SETTINGS, "policy": policy}, LOAD]
    )
    how = scripts.evaluate("policy => POLICIES[policy]", policy)
    fleet = Fleet(12, 4, 1, 600, 0.01, slots=2, skew=1.0, rule=how["rule"], sticky=how["sticky"])
    cells = [simulated_alone(replace(fleet, seed=2 * number)) for number in range(answer["simulations"])]
    assert len(cells) == 39
    bands = bands_of([cell for cell, _ in cells])
    for name, within in (("max_over_mean", 1e-9), ("p50_ms", HISTOGRAM), ("p99_ms", HISTOGRAM)):
        for end in ("low", "median", "high"):
            assert answer[name][end] == pytest.approx(getattr(bands[name], end), rel=within), (name, end)
    per_second = np.array([counts for _, counts in cells]) / WINDOW_S
    assert [band["median"] for band in answer["ranks"]] == np.median(per_second, axis=0).tolist()
    assert answer["overloaded"] == pytest.approx(np.mean(per_second[:, 0] > 200))
    assert answer["capacity_per_s"] == 200


def simulated_alone(fleet: Fleet) -> tuple[dict[str, float], Any]:
    """The figures of one simulation after its warm-up, and how many requests the busiest replica got, ..."""
    at_s, client, service_s = drawn(fleet, 2000)
    machine, edges = FastMachine(fleet), np.searchsorted(at_s, [0, WARM_UP_S, WARM_UP_S + WINDOW_S])
    for start, end in pairwise(edges):
        before = machine.outcome().replica_requests.copy()
        machine._latencies = new_counts()
        machine.serve(at_s[start:end], client[start:end], service_s[start:end])
    counts = np.sort(machine.outcome().replica_requests - before)[::-1]
    p50, p99 = (1000 * machine.outcome().latency_s(share) + LOAD["added_ms"] for share in (0.5, 0.99))
    return {"max_over_mean": float(counts[0] / counts.mean()), "p50_ms": p50, "p99_ms": p99}, counts


def test_a_load_of_many_requests_is_cut_and_one_of_few_is_longer(scripts: Any) -> None:
    ask = "([settings, load]) => answerOf(settings, load)"
    settings_of = {**SETTINGS, "policy": "round_robin"}
    many = scripts.evaluate(ask, [{**settings_of, "rate_per_s": 100_000}, LOAD])
    assert many["simulations"] == 19
    assert many["window_s"] < WINDOW_S
    few = scripts.evaluate(ask, [{**settings_of, "rate_per_s": 10}, LOAD])
    assert few["window_s"] == pytest.approx(16)
    assert few["max_over_mean"]["high"] < 1.2


def test_a_slider_has_the_runs_own_values(scripts: Any) -> None:
    values = scripts.evaluate("() => sliderValues('rate_per_s', [333, 600])")
    assert values == sorted(set(values))
    assert {333, 600, 10, 10_000} <= set(values)
    for name in ("clients", "replicas", "slots"):
        whole = scripts.evaluate("name => sliderValues(name, [7])", name)
        assert all(value == int(value) for value in whole)
        assert list(range(1, 13)) == whole[:12]
