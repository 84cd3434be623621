"""The replay of a run: which arms, which part of the time, what is said of it, and that it harms no page."""

import json
import re
import shutil
from html.parser import HTMLParser

import pytest

from harness.analysis.moments import moments_of
from harness.record.access_log import NODE
from harness.record.run_directory import read_run
from harness.report import replay as replay_module
from harness.report.replay import replay_of
from harness.report.replay_data import QUANTUM_NS, Packed
from tests.unit.report.replay_unpacked import unpacked
from tests.unit.synthetic import stories
from tests.unit.synthetic.handwritten_cell import MS, asked, endpoint, took_effect, write_events
from tests.unit.synthetic.synthetic_run import GOLDEN, synthesise_run

pytestmark = pytest.mark.whole_run

ARMS = {
    "one": "route: envoy, policy: random",
    "two": "route: envoy, policy: sticky",
    "three": "route: direct, policy: round_robin",
}


def packed_of(arm):
    return Packed(**{name: arm[name] for name in ("requests", "stays", "messages", "data")})


def arm_of(replay, name):
    return next(arm for arm in replay.data["arms"] if arm["name"] == name)


@pytest.fixture
def golden(tmp_path):
    """A copy of the golden run, to be changed."""
    return shutil.copytree(GOLDEN, tmp_path / "run")


def test_all_requests_of_the_first_repeat_are_there():
    run = read_run(GOLDEN)
    replay = replay_of(run)
    assert replay.arms == ["sticky", "round_robin"]
    for name in replay.arms:
        arm, cell = arm_of(replay, name), run.cells_of(name)[0]
        assert (arm["repeat"], arm["route"]) == (1, "envoy")
        assert arm["requests"] == cell.record.planned_requests
        requests, stays, _ = unpacked(packed_of(arm))
        last = max([one["done"] for one in requests] + [one["finished"] for one in stays])
        assert arm["end"] == last + 1
    assert replay.data["load_end"] == cell.record.window_ns // QUANTUM_NS
    assert "repeat 1 of" in replay.note
    assert "every request of the measured window" in replay.note


def test_clients_are_numbered_by_their_requests():
    replay = replay_of(read_run(GOLDEN))
    counts = [0] * len(replay.data["clients"])
    for arm in replay.data["arms"]:
        for one in unpacked(packed_of(arm))[0]:
            counts[one["client"]] += 1
    assert counts == sorted(counts, reverse=True)
    assert counts[0] > 2 * counts[-1]


@pytest.mark.parametrize(
    ("expect", "shown"),
    [
        ("[]", ["one", "two"]),
        ("[{arm: three, metric: spread.cv, at_most: 1}]", ["one", "three"]),
        (
            "[{arm: one, metric: spread.cv, at_most: 1}, "
            "{arm: three, metric: spread.cv, at_most_times: 9, of: two}]",
            ["two", "three"],
        ),
        (
            "[{arm: three, metric: spread.cv, at_most: 1}, {arm: two, metric: spread.cv, at_most: 1}]",
            ["two", "three"],
        ),
    ],
)
def test_the_arms_that_the_expectations_compare_are_shown_first(tmp_path, expect, shown):
    run = synthesise_run(tmp_path, stories.experiment(ARMS, expect=expect), requests=20)
    replay = replay_of(read_run(run))
    assert replay.data["shown"] == shown
    assert replay.arms == list(ARMS)


def test_one_arm_is_shown_alone(tmp_path):
    replay = replay_of(read_run(synthesise_run(tmp_path, stories.LONELY, requests=20)))
    assert replay.data["shown"] == ["only"]
    assert "arms" not in replay.intro


def test_nothing_is_shown_where_nothing_was_recorded(golden):
    manifest = json.loads((golden / "manifest.json").read_text())
    (golden / "manifest.json").write_text(json.dumps(manifest | {"status": "interrupted"}))
    shutil.rmtree(golden / "cells")
    assert replay_of(read_run(golden)) is None


def test_an_arm_without_its_first_repeat_shows_the_next(golden):
    manifest = json.loads((golden / "manifest.json").read_text())
    (golden / "manifest.json").write_text(json.dumps(manifest | {"status": "interrupted"}))
    shutil.rmtree(golden / "cells" / "sticky.1")
    replay = replay_of(read_run(golden))
    assert arm_of(replay, "sticky")["repeat"] == 2
    assert "the first recorded repeat of each arm" in replay.note


def test_equal_requests_are_only_promised_where_the_arms_get_them(golden, runs):
    assert "the same requests at the same times" in replay_of(read_run(golden)).intro
    assert "the same requests" not in replay_of(read_run(runs["swept"])).intro
    experiment = (golden / "experiment.yaml").read_text()
    closed = re.sub(r"rate_per_s: \d+", "think_time_ms: 5", experiment)
    (golden / "experiment.yaml").write_text(closed)
    assert "the same requests" not in replay_of(read_run(golden)).intro  # a closed loop: each at its own pace


def test_a_run_that_is_too_large_is_shown_in_part_and_says_so(monkeypatch):
    whole = replay_of(read_run(GOLDEN))
    rows = sum(arm["requests"] + arm["messages"] for arm in whole.data["arms"])
    monkeypatch.setattr(replay_module, "MAX_ROWS", rows // 4)
    part = replay_of(read_run(GOLDEN))
    kept = sum(arm["requests"] + arm["messages"] for arm in part.data["arms"])
    assert rows / 8 < kept < rows / 2
    start, end = part.data["from"], arm_of(part, "sticky")["end"]
    window_s = read_run(GOLDEN).cells[0].record.window_ns / 1e9
    assert (end - start) * QUANTUM_NS / 1e9 == pytest.approx(window_s / 4, rel=0.01)
    seconds = [f"{round(time * QUANTUM_NS / 1e9, 2):g}" for time in (start, end)]
    assert f"only {seconds[0]} s to {seconds[1]} s of {window_s:g} s" in part.note
    assert f"{kept:,} of {rows:,} requests and messages" in part.note
    for arm in part.data["arms"]:
        requests, stays, _ = unpacked(packed_of(arm))
        over = [one["done"] for one in requests]
        for one in stays:
            over[one["request"]] = max(over[one["request"]], one["finished"])
        assert all(one["sent"] < end for one in requests)
        assert all(time >= start for time in over)


def test_the_part_that_is_shown_has_the_first_event(golden, monkeypatch):
    monkeypatch.setattr(replay_module, "MAX_ROWS", 60)
    cells = read_run(golden).cells
    for cell in cells:
        at_ms = (cell.record.measure_start_ns + 0.7 * cell.record.window_ns) / MS
        write_events(cell.folder, [asked(1, at_ms, "slow", "replica-1", factor=4)])
    replay = replay_of(read_run(golden))
    (event,) = arm_of(replay, "sticky")["events"]
    assert replay.data["from"] < event["at"] < arm_of(replay, "sticky")["end"]


def test_without_events_the_busiest_moment_is_shown(golden, monkeypatch):
    whole = {arm["name"]: unpacked(packed_of(arm))[0] for arm in replay_of(read_run(golden)).data["arms"]}
    monkeypatch.setattr(replay_module, "MAX_ROWS", 60)
    replay = replay_of(read_run(golden))

    def under_way(requests, time):
        return sum(one["sent"] < time <= one["done"] for one in requests)

    most = max(
        under_way(requests, time)
        for requests in whole.values()
        for time in range(0, replay.data["load_end"], 50)
    )
    start, end = replay.data["from"], arm_of(replay, "sticky")["end"]
    shown = max(under_way(requests, time) for requests in whole.values() for time in range(start, end, 10))
    assert shown >= 0.9 * most


def test_events_have_their_times_names_and_replicas(golden):
    for cell in read_run(golden).cells:
        start_ms = cell.record.measure_start_ns / MS
        lines = [
            endpoint(start_ms, "replica-1", "healthy"),
            asked(1, start_ms + 100, "kill", "replica-1"),
            took_effect(1, start_ms + 130, "replica-1"),
            endpoint(start_ms + 160, "replica-1", "unhealthy"),
            asked(2, start_ms + 400, "start", "replica-1", undoes=1),
            asked(3, start_ms + 500, "proxy_restart", "envoy"),
        ]
        write_events(cell.folder, lines)
    arm = arm_of(replay_of(read_run(golden)), "sticky")
    kill, start, restart = arm["events"]
    assert kill == {
        **{"number": 1, "at": 1000, "until": 4000, "name": "kill", "label": "kill replica-1"},
        **{"ends_another": False, "returns": False, "replicas": [1], "nodes": []},
    }
    assert (start["at"], start["until"], start["ends_another"], start["returns"]) == (4000, None, True, True)
    assert (restart["replicas"], restart["nodes"], restart["label"]) == ([], [], "proxy restart")
    assert arm["proxy_sees"] == [[0, 1, "healthy"], [1600, 1, "unhealthy"]]
    assert arm["there_from"] == [None] * 4


def test_a_replica_that_joins_is_there_from_then_on(runs):
    run = read_run(runs["killed"])
    arm = arm_of(replay_of(run), "grows")
    joined = [when for when in arm["there_from"] if when is not None]
    (event,) = arm["events"]
    assert joined == [event["at"]]
    assert event["replicas"] == [arm["there_from"].index(joined[0])]


def with_nodes(folder):
    """A run behind three nodes in two zones."""
    arm = "route: envoy, policy: random, proxies: 3, zones: {a: 1, b: 3}"
    return synthesise_run(folder, stories.experiment({"one": arm, "two": ARMS["one"]}), requests=60)


def test_each_request_has_the_node_that_its_ledger_names(tmp_path):
    run = read_run(with_nodes(tmp_path))
    replay = replay_of(run)
    arm, cell = arm_of(replay, "one"), run.cells_of("one")[0]
    rows = cell.proxy_ledger().select("request_id", NODE).collect()
    node_of = dict(rows.iter_rows())
    expected = [node_of[number] for number in moments_of(cell).requests["request_id"]]
    requests = unpacked(packed_of(arm))[0]
    assert [arm["nodes"][one["node"]]["name"] for one in requests] == expected
    assert len(set(expected)) == 3
    zones = [(node["name"], node["zone"], node["away"]) for node in arm["nodes"]]
    assert zones == [("envoy-0", "a", []), ("envoy-1", "b", []), ("envoy-2", "a", [])]
    assert arm["zones"] == ["a", "b", "b", "b"]


def test_a_proxy_of_one_node_has_no_nodes(tmp_path):
    arm = arm_of(replay_of(read_run(with_nodes(tmp_path))), "two")
    assert (arm["nodes"], arm["zones"]) == ([], [""] * 4)
    assert {one["node"] for one in unpacked(packed_of(arm))[0]} == {-1}


def test_a_node_is_away_while_its_process_is(tmp_path):
    """From the moment when it was seen to end until it was seen to run, not from when that was asked for."""
    run = with_nodes(tmp_path)
    for cell in read_run(run).cells_of("one"):
        start_ms = cell.record.measure_start_ns / MS
        lines = [
            asked(1, start_ms + 100, "proxy_kill", "envoy-1"),
            took_effect(1, start_ms + 110, "envoy-1"),
            asked(2, start_ms + 200, "proxy_start", "envoy-1", undoes=1),
            took_effect(2, start_ms + 230, "envoy-1"),
            asked(3, start_ms + 300, "proxy_add", "envoy-2"),
            took_effect(3, start_ms + 340, "envoy-2"),
            asked(4, start_ms + 400, "proxy_restart", "envoy-2"),
            asked(5, start_ms + 500, "proxy_kill", "envoy-1"),  # nobody saw it end, and it does not return
        ]
        write_events(cell.folder, lines)
    arm = arm_of(replay_of(read_run(run)), "one")
    assert [node["away"] for node in arm["nodes"]] == [[], [(1100, 2300), (5000, None)], [(-1, 3400)]]
    assert [event["nodes"] for event in arm["events"]] == [[1], [1], [2], [2], [1]]
    assert {tuple(event["replicas"]) for event in arm["events"]} == {()}


def test_slots_are_those_of_each_replica(tmp_path):
    text = stories.experiment(ARMS, replicas=", different: {replica-2: {slots: 7}}")
    arm = arm_of(replay_of(read_run(synthesise_run(tmp_path, text, requests=20))), "one")
    assert arm["slots"] == [2, 2, 7, 2]


def test_replicas_of_others_have_unknown_slots_and_clocks_of_their_own(golden):
    manifest = json.loads((golden / "manifest.json").read_text())
    (golden / "manifest.json").write_text(json.dumps(manifest | {"testbed": "external"}))
    for path in golden.glob("cells/*/cell.json"):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"own_clocks": True}))
    replay = replay_of(read_run(golden))
    assert arm_of(replay, "sticky")["slots"] == [0] * 4
    assert arm_of(replay, "sticky")["stays"] > 0
    assert "The replicas have clocks of their own, set here to within" in replay.note
    assert "clocks" not in replay_of(read_run(GOLDEN)).note


def test_what_was_simulated_is_not_called_recorded(golden):
    assert replay_of(read_run(golden)).intro.startswith("Recorded traffic")
    manifest = json.loads((golden / "manifest.json").read_text())
    (golden / "manifest.json").write_text(json.dumps(manifest | {"testbed": "simulated"}))
    assert replay_of(read_run(golden)).intro.startswith("Simulated traffic")


class Text(HTMLParser):
    """The data in a page's script."""

    def __init__(self, html):
        super().__init__()
        self.data = []
        self.feed(html)

    def handle_data(self, data):
        self.data.append(data)


def test_no_text_in_the_data_ends_the_script():
    evil = '</script><script>alert("1")</script><!--&amp;'
    replay = replay_module.Replay({"arms": [{"name": evil}]}, "", "")
    html = f'<script type="application/json">{replay.script_data}</script>'
    (text,) = Text(html).data
    assert json.loads(text) == {"arms": [{"name": evil}]}


def test_a_planned_rate_that_changes_is_there_once_for_arms_that_have_it(tmp_path):
    replay = replay_of(read_run(synthesise_run(tmp_path, stories.SPIKED, requests=190)))
    assert [arm["rate"] for arm in replay.data["arms"]] == [0, 0]
    (line,) = replay.data["rates"]
    assert line == [(0, 100), (3000, 100), (3000, 400), (6000, 400), (6000, 100), (10_000, 100)]


def test_of_a_part_only_its_planned_rate_is_there(tmp_path, monkeypatch):
    run = read_run(synthesise_run(tmp_path, stories.SPIKED, requests=190))
    monkeypatch.setattr(replay_module, "MAX_ROWS", 190)
    replay = replay_of(run)
    (line,) = replay.data["rates"]
    begins, ends = line[0][0], line[-1][0]
    assert (begins, ends) == (replay.data["from"], replay.data["arms"][0]["end"])
    assert 0 < ends - begins < 10_000
    assert {rate for _, rate in line} <= {100, 400}


def test_a_steady_rate_is_left_out():
    replay = replay_of(read_run(GOLDEN))
    assert replay.data["rates"] == []
    assert {arm["rate"] for arm in replay.data["arms"]} == {None}
