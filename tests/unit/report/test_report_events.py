"""Events in summary, report and on the terminal."""

from io import StringIO
from statistics import median

import pytest
from rich.console import Console

from harness.analysis.summary import summarise
from harness.metrics.metric import show
from harness.record.run_directory import read_run
from harness.report.event_tables import changes_table, event_tables
from harness.report.page import render_report
from harness.report.tables import ABSENT
from harness.report.terminal import print_summary

pytestmark = pytest.mark.whole_run


@pytest.fixture(scope="module")
def killed(summaries):
    return summaries["killed"]


def test_an_arm_lists_its_events_with_medians_and_each_repeat_its_own(killed):
    arm = killed.arms["sticky"]
    kill, start = arm.events
    assert (kill.number, kill.do, kill.targets) == (1, "kill", ["replica-1"])
    assert (start.undoes, kill.undoes, kill.details) == (1, None, {"for_s": 0.3})
    repeats = [repeat.events[0] for repeat in arm.repeats]
    assert len(repeats) == 2
    gaps_ms = [one.metrics["longest_gap_ms"] for one in repeats]
    assert kill.metrics["longest_gap_ms"] == pytest.approx(median(gaps_ms))
    assert kill.errors["UNAVAILABLE"] == sum(one.errors["UNAVAILABLE"] for one in repeats)
    assert sum(kill.errors.values()) == 2 * kill.metrics["failed_requests"]
    assert "effects" not in kill.model_dump()
    assert repeats[0].model_dump()["effects"][0]["seen"] == "process ended"
    assert killed.arms["calm"].events == []
    assert "event1" not in arm.model_dump()


def test_there_is_a_table_for_each_event(killed):
    first, second = event_tables(killed.arms)
    assert [row[0] for row in first.rows] == ["sticky", "round_robin", "grows"]
    assert [row[0] for row in second.rows] == ["sticky", "round_robin"]
    assert first.head[1] == "what"
    assert "what" not in second.head, "what is the same in all arms is told once"
    assert "Event 2. Start replica-1 at " in second.caption
    assert first.rows[0][1].startswith("kill replica-1 at 0.3")
    assert first.rows[2][1].startswith("add replica-4 at 0.5")
    column = first.head.index("had to")
    needed = killed.arms["sticky"].events[0].metrics["needed_moves"]
    assert first.rows[0][column] == show(needed) != "0"
    assert first.rows[1][column] == ABSENT  # its sessions were never pinned
    assert "fair share after, ms" in first.head


def test_the_whole_window_has_a_table(killed):
    rows = {row[0]: row for row in changes_table(killed.arms).rows}
    assert rows["sticky"][4] == "3"
    assert rows["calm"][4] == ABSENT


def test_a_page_without_events_has_no_word_of_them(runs):
    run = read_run(runs["golden"])
    assert "While things changed" not in render_report(run, summarise(run), {})
    eventful = read_run(runs["killed"])
    assert "While things changed" in render_report(eventful, summarise(eventful), {})


def printed(summary, width):
    out = StringIO()
    print_summary(summary, Console(file=out, width=width))
    return out.getvalue()


@pytest.mark.parametrize("width", [60, 110, 300])
def test_the_terminal_has_a_part_for_each_arm_with_events_and_cuts_nothing(killed, width):
    lines = printed(killed, width).splitlines()
    first = next(place for place, line in enumerate(lines) if line.startswith("   sticky "))
    last = next(place for place, line in enumerate(lines) if line.startswith(killed.verdict))
    parts = lines[first:last]
    assert [line.split()[0] for line in parts if line[3] != " "] == ["sticky", "round_robin", "grows"]
    assert all(len(line) <= width for line in parts)
    words = " ".join(" ".join(parts).split())
    assert "…" not in words
    needed = killed.arms["sticky"].events[0].metrics["needed_moves"]
    assert f"({show(needed)} had to); start replica-1: " in words
    assert "moved" not in words.split("round_robin")[1]


def test_a_replica_that_joined_in_one_arm_is_absent_in_the_others(killed):
    out = StringIO()
    print_summary(killed, Console(file=out, width=110))
    (line,) = [line for line in out.getvalue().splitlines() if "replica-4 " in line and "failed" not in line]
    assert line.count(ABSENT) == 3
