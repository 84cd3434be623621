"""Tables of where requests went: ranks that no sum over the repeats evens out, and names."""

import shutil
from dataclasses import replace
from io import StringIO
from pathlib import Path

import polars as pl
import pytest
from rich.console import Console

from harness.analysis.summary import facts_of, summarise
from harness.record.run_directory import read_run
from harness.record.summary import Summary
from harness.report.event_tables import event_tables
from harness.report.share_tables import names_table, ordinal, percent, where_table
from harness.report.tables import Table, figure, latency_table
from harness.report.terminal import print_summary
from tests.unit.synthetic import stories
from tests.unit.synthetic.synthetic_run import GOLDEN, synthesise_run

pytestmark = pytest.mark.whole_run


def column(table: Table, heading: str) -> list[str]:
    """Return what stands below a heading, row by row."""
    place = list(table.head).index(heading)
    return [row[place] for row in table.rows]


def printed(summary: Summary, width: int = 80) -> list[str]:
    out = StringIO()
    print_summary(summary, Console(file=out, width=width))
    return out.getvalue().splitlines()


@pytest.fixture(scope="module")
def turning() -> Summary:
    """The golden run, as if the heavy client had been on another replica in each repeat."""
    run = read_run(GOLDEN)
    facts = facts_of(run)
    for turn, cell in enumerate(facts["sticky"]):
        counts = [50, 30, 20, 20]
        counts = counts[-turn:] + counts[:-turn]
        of_replica = dict(zip(cell.replica_requests, counts, strict=True))
        facts["sticky"][turn] = replace(cell, replica_requests=of_replica)
    return summarise(run, facts)


def test_no_sum_over_the_repeats_evens_out_what_each_repeat_shows(turning: Summary) -> None:
    """Summed up by name, 100, 100, 90 and 70, busiest / fair would be 1.111. In each repeat it is 1.667."""
    table = where_table(turning)
    assert list(table.head[1:6]) == ["busiest", "2nd", "3rd", "4th", "busiest / fair"]
    assert list(table.rows[0][1:6]) == ["41.7%", "25.0%", "16.7%", "16.7%", "1.667"]
    assert "replica-0" not in " ".join(printed(turning))


def test_by_name_the_range_over_the_repeats_tells_that_chance_decides(turning: Summary) -> None:
    table = names_table(turning)
    assert table is not None
    assert column(table, "replica-0")[0] == "16.7 (16.7 to 41.7)"
    assert column(table, "replica-3")[0] == "16.7 (16.7 to 25.0)"
    assert column(table, "replica-0")[1] == "24.9 (24.9 to 25.0)"


def test_replicas_that_the_experiment_tells_apart_have_names_and_the_busiest(
    summaries: dict[str, Summary],
) -> None:
    table = where_table(summaries["killed"])
    assert list(table.head[1:7]) == [*(f"replica-{n}" for n in range(5)), "busiest"]
    sticky = summaries["killed"].arms["sticky"]
    assert column(table, "replica-1")[0] == percent(sticky.metrics["share.replica-1"])
    assert column(table, "busiest")[0] == percent(sticky.share_by_rank[0])


def test_attempts_have_a_row_of_their_own_where_requests_are_tried_again(
    summaries: dict[str, Summary],
) -> None:
    summary = summaries["twelve"]
    table = names_table(summary)
    assert table is not None
    rows = {row[0]: list(row[1:]) for row in table.rows}
    tried, once = "settings_of_the_client_7", "settings_of_the_client_1"
    assert f"{once}: attempts" not in rows
    arm = summary.arms[tried]
    for place in range(4):
        assert (
            rows[f"{tried}: attempts"][place] == f"{100 * arm.metrics[f'attempt_share.replica-{place}']:.1f}"
        )
    assert rows[f"{tried}: attempts"] != rows[tried]
    assert column(where_table(summary), "attempts, busiest / fair")[7] != ""
    assert "attempts" not in where_table(summaries["killed"]).head


def test_a_table_by_name_that_would_say_nothing_new_is_left_out(summaries: dict[str, Summary]) -> None:
    assert names_table(summaries["lonely"]) is None  # one replica
    assert names_table(summaries["crowded"]) is None  # twenty
    assert names_table(summaries["stormy"]) is None  # one repeat, by name already


def test_a_replica_may_have_any_name(tmp_path: Path) -> None:
    """Replicas that are not the lab's call themselves as they like; a damaged ledger names anybody."""
    run = shutil.copytree(GOLDEN, tmp_path / "run")
    path = run / "cells" / "sticky.1" / "requests.parquet"
    rows = pl.read_parquet(path)
    other = pl.when(pl.int_range(pl.len()) % 5 == 0).then(pl.lit("video-a"))
    rows.with_columns(other.otherwise("replica").alias("replica")).write_parquet(path)
    summary = summarise(read_run(run))
    for differ in (False, True):
        table = where_table(summary.model_copy(update={"replicas_differ": differ}))
        assert ("video-a" in table.head) == differ
        assert len({len(row) for row in [table.head, *table.rows]}) == 1


def test_an_arm_of_which_nothing_was_answered_has_dashes(turning: Summary) -> None:
    facts = facts_of(read_run(GOLDEN))
    facts["sticky"] = [
        replace(cell, replica_requests=dict.fromkeys(cell.replica_requests, 0)) for cell in facts["sticky"]
    ]
    summary = summarise(read_run(GOLDEN), facts)
    assert column(where_table(summary), "busiest")[0] == "–"


@pytest.mark.parametrize(
    ("rank", "word"), [(1, "1st"), (2, "2nd"), (3, "3rd"), (4, "4th"), (11, "11th"), (22, "22nd")]
)
def test_ordinals(rank: int, word: str) -> None:
    assert ordinal(rank) == word


def test_shares_read_alike_only_where_they_are() -> None:
    assert [percent(share) for share in (None, 0, 0.25, 0.41573, 0.0004)] == [
        "–",
        "0%",
        "25.0%",
        "41.6%",
        "0.0%",
    ]


@pytest.fixture(scope="module")
def failing(tmp_path_factory: pytest.TempPathFactory) -> Summary:
    """One arm in which half of the requests fail, and one in which hardly any does."""
    arms = {"bad": "route: envoy, policy: random", "good": "route: envoy, policy: round_robin"}
    text = stories.experiment(arms, replicas=", fail_share: 0.5")
    return summarise(read_run(synthesise_run(tmp_path_factory.mktemp("failing"), text, requests=700)))


def test_a_percentile_on_failed_requests_is_at_least_something(failing: Summary) -> None:
    arm = failing.arms["bad"]
    table = latency_table(failing.arms)
    rows = {row[0]: list(row[1:]) for row in table.rows}
    p99 = rows["bad, from the planned send"][3]
    assert p99.startswith("≥ ")
    assert not rows["bad, from the planned send, OK alone"][3].startswith("≥")
    assert "counts as longer than any answer" in table.caption
    written = arm.model_dump(mode="json")
    assert written["latency_ms"]["p99"] is None
    assert f"≥ {written['at_least']['latency_ms.p99']:.4g}" == p99
    assert written["ok_latency_ms"]["p99"] > 0


@pytest.mark.parametrize("width", [80, 200])
def test_the_terminal_tells_latency_of_all_and_of_ok_alone(failing: Summary, width: int) -> None:
    lines = printed(failing, width)
    (of_all,) = [line for line in lines if "p99 ms  " in line or "p99 ms │" in line]
    assert "≥ " in of_all
    (of_ok,) = [line for line in lines if "p99 ms, OK" in line]
    assert "≥ " not in of_ok
    assert max(map(len, lines)) <= width


def test_where_nothing_failed_one_latency_is_enough(summaries: dict[str, Summary]) -> None:
    summary = summaries["golden"].model_copy(deep=True)
    for arm in summary.arms.values():
        arm.errors = {}
    assert "OK alone" not in " ".join(row[0] for row in latency_table(summary.arms).rows)
    assert not [line for line in printed(summary) if "ms, OK" in line]


@pytest.mark.parametrize(
    ("share", "bounds", "shown"),
    [
        (0.24, [0.24], "24.0%"),
        (0.23998, [0.24], "23.998%"),
        (0.24004, [0.24, 0.3], "24.004%"),
        (0.2496, [0.24], "25.0%"),
        (0.25 - 1e-15, [0.25], "25.000000000000%"),  # as many digits as there may be
    ],
)
def test_a_share_is_told_from_its_bound(share: float, bounds: list[float], shown: str) -> None:
    assert percent(share, bounds) == shown


def test_a_figure_of_a_table_is_told_from_what_is_expected_of_it(summaries: dict[str, Summary]) -> None:
    """Two arms print 1.02, and one of them is refuted: at most 1.02."""
    summary = summaries["golden"].model_copy(deep=True)
    assert summary.arms["round_robin"].bounds == {"spread.max_over_mean": [1.02]}
    assert summary.arms["sticky"].bounds == {"affinity.purity": [1.0], "spread.max_over_mean": [1.4]}
    for arm, value in (("sticky", 1.02), ("round_robin", 1.02004)):
        summary.arms[arm].bounds = {"spread.max_over_mean": [1.02]}
        summary.arms[arm].metrics["spread.max_over_mean"] = value
    assert column(where_table(summary), "busiest / fair") == ["1.02", "1.02004"]
    assert figure(1.02004) == "1.02"
    assert [figure(value, [1.02, 7]) for value in (1.02, 1.0199, 1.02004, 1.5)] == [
        *("1.02", "1.0199", "1.02004", "1.5")
    ]


def test_a_figure_of_an_event_as_well(summaries: dict[str, Summary]) -> None:
    summary = summaries["killed"].model_copy(deep=True)
    for arm in ("sticky", "round_robin"):
        summary.arms[arm].bounds = {"event1.goodput_per_s": [100.0]}
    summary.arms["sticky"].events[0].metrics["goodput_per_s"] = 99.998
    summary.arms["round_robin"].events[0].metrics["goodput_per_s"] = 100.0
    table = next(event_tables(summary.arms))
    assert column(table, "goodput, requests/s")[:2] == ["99.998", "100"]
