"""What the replay shows at any moment is what the ledgers say of it. Polars counts them, independently."""

import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from harness.record.run_directory import Cell, read_run
from tests.browser.report_page import OpenReport, Reports

QUANTUM_NS = 100_000
MOMENTS = 5


def measured(cell: Cell) -> pl.DataFrame:
    """The requests planned in the measured window."""
    record = cell.record
    planned = pl.col("planned_ns").is_between(record.measure_start_ns, record.measure_end_ns, closed="left")
    return cell.requests().filter(planned).collect()


def stays_at(cell: Cell, replica: str, requests: pl.DataFrame) -> pl.DataFrame:
    """The rows of a replica's ledger for these requests."""
    ledger = cell.replica_ledger().filter(pl.col("replica") == replica).collect()
    return ledger.join(requests.select("request_id"), on="request_id", how="semi")


def between(begin: pl.Expr, end: pl.Expr, at_ns: int) -> pl.Expr:
    return (begin < at_ns) & (end >= at_ns)


def expected(cell: Cell, quanta: int) -> dict[str, dict[str, int]]:
    """The counts at a moment, as the page's table has them: "all" or replica -> name -> count."""
    at_ns = cell.record.measure_start_ns + quanta * QUANTUM_NS
    requests = measured(cell)
    sent, done = pl.col("sent_ns"), pl.col("done_ns")
    counts = {}
    for replica in cell.record.replicas:
        rows = stays_at(cell, replica, requests)
        unary, stream = (
            rows.filter(pl.col("method") == "AddVideo"),
            rows.filter(pl.col("method") != "AddVideo"),
        )
        arrived, started = pl.col("arrived_ns"), pl.col("arrived_ns") + pl.col("queue_ns")
        counts[replica] = {
            "requests": rows.filter(arrived < at_ns).height,
            "waiting": unary.filter(between(arrived, started, at_ns)).height,
            "in service": unary.filter(between(started, started + pl.col("service_ns"), at_ns)).height,
            "streams open": stream.filter(between(arrived, done, at_ns)).height,
        }
    names = ("requests", "waiting", "in service", "streams open")
    counts["all"] = {name: sum(one[name] for one in counts.values()) for name in names}
    counts["all"] |= {
        "sent": requests.filter(sent < at_ns).height,
        "under way": requests.filter(between(sent, done, at_ns)).height,
        "failed": requests.filter(done < at_ns, pl.col("code") != "OK").height,
    }
    return counts


def moments(cells: Iterable[Cell], end: int) -> list[int]:
    """Moments to look at: beginning, end, some at random, some right at and after arrivals and starts."""
    draw = random.Random(3)
    found = [0, end, *(draw.randrange(end) for _ in range(MOMENTS))]
    for cell in cells:
        ended = (pl.col("arrived_ns") + pl.col("queue_ns")).alias("started_ns")
        rows = cell.replica_ledger().select("arrived_ns", ended)
        for times in rows.collect().sample(2, seed=3).rows():
            found += [(time - cell.record.measure_start_ns) // QUANTUM_NS for time in times]
    return sorted({time + more for time in found for more in (0, 1) if 0 <= time + more <= end})


def compare(page: Any, run_dir: Path, shown: list[str]) -> None:
    """Scrub to random moments, and compare the figures and the drawing with the ledgers."""
    run = read_run(run_dir)
    cells = {arm: run.cells_of(arm)[0] for arm in shown}
    end = int(page.part("time").get_attribute("max"))
    for quanta in moments(cells.values(), end):
        page.scrub(quanta)
        figures = page.figures()
        for side, (arm, cell) in enumerate(cells.items()):
            counts = expected(cell, quanta)
            assert {name: figures[arm, name] for name in counts} == counts, (arm, quanta)
            assert page.drawn(side) == {
                "waiting": counts["all"]["waiting"],
                "serving": counts["all"]["in service"],
            }, (arm, quanta)


def test_a_real_run(sticky_run: Path, open_report: OpenReport) -> None:
    compare(open_report(sticky_run / "report.html"), sticky_run, ["sticky", "round_robin"])


@pytest.mark.parametrize(
    ("story", "shown"),
    [
        ("golden", ["sticky", "round_robin"]),  # streams among the calls
        ("crowded", ["a" * 40, "no_cookie_jar_but_with_awaited_first_ans"]),  # 20 replicas, 40 clients
        ("killed", ["sticky", "round_robin"]),  # events and errors
        ("twelve", ["settings_of_the_client_0", "settings_of_the_client_1"]),
    ],
)
def test_synthetic_runs(story: str, shown: list[str], reports: Reports, open_report: OpenReport) -> None:
    compare(open_report(reports[story]), reports[story].parent, shown)


def test_other_arms_can_be_chosen(reports: Reports, open_report: OpenReport) -> None:
    """Direct, layer 4, and retries: an attempt of its own for each row of the replicas' ledgers."""
    page = open_report(reports["killed"])
    page.part("arm-1").select_option("grows")
    page.await_arm("grows")
    compare(page, reports["killed"].parent, ["sticky", "grows"])
    page = open_report(reports["crowded"])
    page.part("arm-0").select_option("round_robin")
    page.await_arm("round robin")
    compare(page, reports["crowded"].parent, ["round_robin", "no_cookie_jar_but_with_awaited_first_ans"])
    page = open_report(reports["twelve"])
    page.part("arm-0").select_option("settings_of_the_client_7")
    page.await_arm("settings of the client 7")
    compare(page, reports["twelve"].parent, ["settings_of_the_client_7", "settings_of_the_client_1"])
