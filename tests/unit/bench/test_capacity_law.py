"""The law of growth and the tables of docs/capacity.md, from points whose law is known."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from bench.capacity.law import fit, residuals, uses
from bench.capacity.page import carried, filled, full, main, needed
from bench.capacity.points import planned_points, read_points
from harness.plan.capacity import Law

ROOT = Path(__file__).resolve().parents[3]
POINTS = ROOT / "bench" / "capacity" / "points.csv.gz"
TRUE = Law(idle_cores=0.05, call_us=100, client_us=20)


def use(*rows: tuple[float, int, float]) -> pl.DataFrame:
    """Rows of calls/s, clients and a factor by which the cores are above the law."""
    table = pl.DataFrame(rows, schema=["calls_per_s", "clients", "factor"], orient="row")
    return table.with_columns(cores=TRUE.cores(table["calls_per_s"], table["clients"]) * table["factor"])


def points(*rows: dict[str, Any]) -> pl.DataFrame:
    """Points with usual values where a row has none."""
    usual = {"what": "load", "route": "direct", "rate_per_s": 400, "clients": 24, "replicas": 1, "round": 1}
    usual |= {"sent_share": 1.0, "lag_p99_ms": 3.0, "failed": 0}
    usual |= {
        f"{kind}_{unit}": None for kind in ("load", "envoy", "replica") for unit in ("cores", "mib", "files")
    }
    full_rows = [usual | {"calls_per_s": float(row.get("rate_per_s", 400))} | row for row in rows]
    return pl.DataFrame(full_rows, infer_schema_length=None)


def test_the_law_that_made_the_points_is_found() -> None:
    found = use(*((rate, clients, 1.0) for rate in (100.0, 400.0, 1200.0) for clients in (6, 24, 384)))
    law = fit(found)
    assert law.idle_cores == pytest.approx(TRUE.idle_cores)
    assert law.call_us == pytest.approx(TRUE.call_us)
    assert law.client_us == pytest.approx(TRUE.client_us)
    assert residuals(law, found).to_list() == pytest.approx([0] * found.height, abs=1e-9)


def test_a_residual_is_relative_to_the_law() -> None:
    found = use((100, 6, 1.25), (5000, 6, 0.5))
    assert residuals(TRUE, found).to_list() == pytest.approx([0.25, -0.5])


def test_clients_that_do_not_vary_are_no_term_of_the_law() -> None:
    law = fit(use(*((rate, 24, 1.0) for rate in (100.0, 400.0, 1200.0))))
    assert law.client_us == 0
    assert law.idle_cores == pytest.approx(TRUE.idle_cores + 24 * TRUE.client_us / 1e6)


def test_a_small_rate_counts_as_much_as_a_large_one() -> None:
    found = use((100, 6, 1.2), (100, 6, 0.8), (10_000, 6, 1.2), (10_000, 6, 0.8), (1000, 600, 1.0))
    off = residuals(fit(found), found)
    assert off[0] == pytest.approx(-off[1], abs=0.02)
    assert off[2] == pytest.approx(-off[3], abs=0.02)


def test_a_point_counts_only_where_the_plan_was_kept() -> None:
    good = {"load_cores": 0.5}
    found = points(good, good | {"lag_p99_ms": 50.1}, good | {"sent_share": 0.98}, good | {"failed": 1})
    assert uses(found, "load", alone=True)["calls_per_s"].to_list() == [400]
    assert uses(found, "load", alone=False).is_empty()


def test_a_part_called_as_fast_as_possible_is_no_point_of_the_law() -> None:
    unknown = {"sent_share": None, "lag_p99_ms": None, "failed": None}  # no load process took part
    envoy = {"what": "envoy", "route": "envoy", "envoy_cores": 0.5, **unknown}
    found = points(envoy, envoy | {"rate_per_s": 0, "calls_per_s": 9000.0}, {"load_cores": 0.1})
    assert uses(found, "envoy", alone=True)["calls_per_s"].to_list() == [400]


def test_a_replica_has_its_share_of_a_cell_and_one_connection_of_envoy() -> None:
    cores = {"load_cores": 0.5, "replica_cores": 0.1}
    cell = {"what": "lab", "route": "envoy", "rate_per_s": 800, "replicas": 8, "clients": 96, **cores}
    found = points(cell, cell | {"route": "direct"})
    replica = uses(found, "replica", alone=False)
    assert replica["calls_per_s"].to_list() == [100, 100]
    assert replica["clients"].to_list() == [1, 96]
    # On the direct route a client of the load process has eight connections.
    assert uses(found, "load", alone=False)["clients"].to_list() == [96]


def test_a_load_process_carries_what_it_kept_in_every_round() -> None:
    ladder = [
        {"rate_per_s": rate, "round": number, "load_cores": rate / 5000}
        for rate in (800, 1600, 2400)
        for number in (1, 2, 3)
    ]
    ladder[5]["lag_p99_ms"] = 75.0  # one round of 1,600
    rounds, beyond = full(points(*ladder), "load")
    assert rounds["rate_per_s"].to_list() == [800] * 3
    assert beyond == "at 1,600/s: send lag p99 3 (3 to 75) ms at 0.32 cores"


def test_cores_for_a_rate_follow_from_full_processes() -> None:
    full_speed = {"rate_per_s": 0, "calls_per_s": 10_000.0}
    servers = [full_speed | {"what": kind, f"{kind}_cores": 1.0} for kind in ("envoy", "replica")]
    found = points({"rate_per_s": 5000, "load_cores": 1.0}, *servers)
    # 100,000/s at 70 %: 28.6 load processes, 14.3 of each server.
    assert list(needed(found))[1] == ("100,000", "20 / 29", "10 / 15", "10 / 15", "40 / 59")


def test_parts_that_were_not_measured_alone_have_no_rows() -> None:
    found = points({"what": "lab", "route": "envoy", "load_cores": 0.5})
    assert list(carried(found)) == []
    assert list(needed(found)) == []


def test_no_point_is_planned_twice_and_the_stored_points_are_the_planned_ones() -> None:
    planned = planned_points(3)
    assert len(set(planned)) == len(planned)
    stored = read_points(POINTS).select(planned[0]._fields).rows()
    assert sorted(stored) == sorted(planned)


def test_a_table_keeps_its_header_and_gets_new_rows() -> None:
    text = "a\n<!-- law -->\n| x | y |\n|---|---|\n| 1 | 2 |\n| 3 | 4 |\n\nb | c\n"
    assert (
        filled(text, "law", iter([("5", 6)])) == "a\n<!-- law -->\n| x | y |\n|---|---|\n| 5 | 6 |\n\nb | c\n"
    )


def test_the_page_and_its_plot_are_made_of_the_stored_points(tmp_path: Path) -> None:
    page = tmp_path / "capacity.md"
    page.write_text((ROOT / "docs" / "capacity.md").read_text())
    main(str(POINTS), str(page))
    command = "python -m bench.capacity.page bench/capacity/points.csv.gz docs/capacity.md"
    assert page.read_text() == (ROOT / "docs" / "capacity.md").read_text(), command
    assert (tmp_path / "images" / "capacity.png").read_bytes().startswith(b"\x89PNG")


def test_whole_cells_alone_make_a_page(tmp_path: Path) -> None:
    """A machine without h2load measures only these."""
    cells, page = tmp_path / "points.csv", tmp_path / "capacity.md"
    read_points(POINTS).filter(pl.col("what") == "lab").write_csv(cells)
    page.write_text((ROOT / "docs" / "capacity.md").read_text())
    main(str(cells), str(page))
    assert "| load process, in a cell | 90 to 1,600 |" in page.read_text()
    assert "| load process, alone" not in page.read_text()
