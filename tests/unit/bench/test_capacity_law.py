"""The law of growth and the figures of docs/capacity.md, from points that are known."""

import json
from pathlib import Path
from typing import Any

import pytest

from bench.capacity_figures import cores_needed, full_load, full_server
from bench.capacity_law import Law, Use, fit, residuals, uses
from bench.capacity_page import page
from bench.capacity_points import points

ROOT = Path(__file__).resolve().parents[3]
TRUE = Law(idle_cores=0.05, us_per_call=100, us_per_client=20)


def use(calls_per_s: float, clients: int, factor: float = 1.0) -> Use:
    return Use(calls_per_s, clients, TRUE.cores(calls_per_s, clients) * factor)


def point(what: str, rate_per_s: int, number: int = 1, **more: Any) -> dict[str, Any]:
    fine = {"sent_share": 1.0, "lag_p99_ms": 3.0, "failed": 0} if what in ("lab", "load") else {}
    at = {"what": what, "route": "direct", "rate_per_s": rate_per_s, "clients": 24, "replicas": 1}
    return at | {"round": number, "calls_per_s": float(rate_per_s), "cores": {}} | fine | more


def test_the_law_that_made_the_points_is_found() -> None:
    found = [use(rate, clients) for rate in (100, 400, 1200) for clients in (6, 24, 384)]
    law = fit(found)
    assert law.idle_cores == pytest.approx(TRUE.idle_cores)
    assert law.us_per_call == pytest.approx(TRUE.us_per_call)
    assert law.us_per_client == pytest.approx(TRUE.us_per_client)
    assert residuals(law, found) == pytest.approx([0] * len(found), abs=1e-9)


def test_a_residual_is_relative_to_the_law() -> None:
    assert residuals(TRUE, [use(100, 6, factor=1.25), use(5000, 6, factor=0.5)]) == pytest.approx(
        [0.25, -0.5]
    )


def test_clients_that_do_not_vary_are_no_term_of_the_law() -> None:
    law = fit([use(rate, 24) for rate in (100, 400, 1200)])
    assert law.us_per_client == 0
    assert law.idle_cores == pytest.approx(TRUE.idle_cores + 24 * TRUE.us_per_client / 1e6)


def test_a_small_rate_counts_as_much_as_a_large_one() -> None:
    found = [use(100, 6, 1.2), use(100, 6, 0.8), use(10_000, 6, 1.2), use(10_000, 6, 0.8), use(1000, 600)]
    off = residuals(fit(found), found)
    assert off[0] == pytest.approx(-off[1], abs=0.02)
    assert off[2] == pytest.approx(-off[3], abs=0.02)


def test_a_point_counts_only_where_the_plan_was_kept() -> None:
    cores = {"load": 0.5}
    good = point("load", 400, cores=cores)
    late, few = (good | change for change in ({"lag_p99_ms": 50.1}, {"sent_share": 0.98}))
    points = [good, late, few, good | {"failed": 1}]
    assert [use.calls_per_s for use in uses(points, "load", alone=True)] == [400]
    assert uses(points, "load", alone=False) == []


def test_a_replica_has_its_share_of_a_cell_and_a_connection_of_envoy() -> None:
    cores = {"load": 0.5, "envoy": 0.3, "replica": 0.1}
    cell = point("lab", 800, route="envoy", replicas=8, clients=96, cores=cores)
    (behind_envoy,) = uses([cell], "replica", alone=False)
    assert (behind_envoy.calls_per_s, behind_envoy.clients, behind_envoy.cores) == (100, 1, 0.1)
    (called,) = uses([cell | {"route": "direct"}], "replica", alone=False)
    assert called.clients == 96
    assert uses([cell | {"route": "direct"}], "load", alone=False) == []  # eight connections a client


def test_a_load_process_carries_what_it_kept_in_every_round() -> None:
    ladder = [
        point("load", rate, number, cores={"load": rate / 5000})
        for rate in (800, 1600, 2400)
        for number in (1, 2, 3)
    ]
    ladder[5] |= {"lag_p99_ms": 75.0}  # one round of 1600
    full = full_load(ladder)
    assert full.calls_per_s.middle == 800
    assert full.beyond == "at 1,600/s: send lag p99 3 ms (3 to 75) at 0.32 cores"


def test_a_server_carries_what_it_answered_at_full_speed() -> None:
    rounds = [
        point("envoy", 0, number, calls_per_s=rate, cores={"envoy": 1.0})
        for number, rate in enumerate((9000.0, 12000.0, 10000.0))
    ]
    full = full_server([*rounds, point("envoy", 4000, cores={"envoy": 0.5})], "envoy")
    assert (full.calls_per_s.middle, full.calls_per_s.least, full.calls_per_s.most) == (10000, 9000, 12000)
    assert cores_needed(100_000, full) == (10, 15)  # 14.3 at 70 %


def test_no_point_is_measured_twice() -> None:
    assert len(set(points(quick=False))) == len(points(quick=False))
    assert set(points(quick=True)) < set(points(quick=False))


def test_a_quick_look_takes_every_ladder_to_its_end() -> None:
    assert {point.what for point in points(quick=True) if point.rate_per_s == 0} == {"envoy", "replica"}


def test_the_page_is_made_of_the_stored_points() -> None:
    record = json.loads((ROOT / "bench" / "capacity.json").read_text())
    assert (ROOT / "docs" / "capacity.md").read_text() == page(record), (
        "python -m bench.capacity_page bench/capacity.json > docs/capacity.md"
    )
