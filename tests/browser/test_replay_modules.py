"""The replay's scripts by themselves, in a real browser: unpacking, slots, and how little is looked at."""

import json
import random
from itertools import pairwise
from typing import Any

import polars as pl
import pytest

from harness.analysis.moments import Moments
from harness.report.assets import module_script
from harness.report.replay_data import QUANTUM_NS, pack
from tests.unit.report.replay_unpacked import unpacked

SECOND = 10**9
MARGIN = 150 * 10  # quanta: MAX_MARGIN_MS of replay_record.js
BUCKET = 50 * 10
ASKED_FOR = ("ArmRecord", "eachOnItsWay", "shortestWay", "curveOf", "tellingMoment", "sentence")
ASKED_FOR += ("ArmDrawing", "Layout", "clientNodes")


@pytest.fixture(scope="module")
def scripts(browser: Any) -> Any:
    """A page without a report in which the replay's names are there for the asking."""
    context = browser.new_context()
    page = context.new_page()
    text = module_script("replay_player.js").text
    page.add_script_tag(
        content=f"{text}\nObject.assign(window, {{{', '.join(ASKED_FOR)}}});",
        type="module",
    )
    page.evaluate("() => new Promise(resolve => setTimeout(resolve))")
    yield page
    context.close()


def random_moments(
    seed: int, requests: int, *, slots: int = 2, replicas: int = 4, weights: tuple[int, ...] = (5, 1, 1, 1)
) -> Moments:
    """Requests at four replicas whose slots are given first come, first served; some fail, some try again.

    weights: how often a replica is picked.
    """
    draw = random.Random(seed)
    sent = sorted(draw.randrange(2 * SECOND) for _ in range(requests))
    rows, stays = [], []
    free = [[0] * slots for _ in range(replicas)]
    arrivals = sorted(
        (sent_ns + draw.randrange(SECOND // 100), number, draw.choices(range(replicas), weights)[0])
        for number, sent_ns in enumerate(sent)
        if draw.random() < 0.95
        for _ in range(draw.choice([1, 1, 1, 2]))
    )
    for arrived, number, replica in arrivals:
        place = free[replica].index(min(free[replica]))
        started = max(arrived, free[replica][place])
        finished = started + draw.randrange(SECOND // 50)
        free[replica][place] = finished
        stays.append((number, replica, arrived, started, finished))
    ends = {number: finished for number, *_, finished in sorted(stays, key=lambda stay: stay[4])}
    for number, sent_ns in enumerate(sent):
        done = ends.get(number, sent_ns + SECOND // 10) + draw.randrange(SECOND // 100)
        code = "OK" if number in ends and draw.random() < 0.9 else "UNAVAILABLE"
        proxy = sent_ns + 1000 if draw.random() < 0.8 else None
        node = number % 3 if proxy else None
        rows.append((number, number % 7, 0, "AddVideo", sent_ns, done, code, proxy, node, None))
    names = ("request_id", "client", "session", "method", "sent_ns", "done_ns", "code")
    names += ("proxy_ns", "proxy_node", "toward")
    return Moments(
        pl.DataFrame(rows, schema=names, orient="row").cast({"toward": pl.Int32}),
        pl.DataFrame(
            sorted(stays),
            schema=("request_id", "replica", "arrived_ns", "started_ns", "finished_ns"),
            orient="row",
        ),
        pl.DataFrame(schema=dict.fromkeys(("request_id", "sent_ns", "received_ns"), pl.Int64)),
    )


def arm_of(moments: Moments) -> dict[str, Any]:
    """The arm as the page's data has it."""
    packed = pack(moments, list(range(7)), ["AddVideo"], ["OK", "UNAVAILABLE"])
    rest = {"there_from": [None] * 4, "events": [], "proxy_sees": [], "route": "envoy", "slots": [2] * 4}
    rest |= {"zones": [""] * 4, "nodes": []}
    return {"name": "arm", "replicas": [f"replica-{number}" for number in range(4)], **rest, **vars(packed)}


def record_in(scripts: Any, moments: Moments, what: str) -> Any:
    """Evaluate `what` of the arm's `record` in the browser."""
    data = {"quantum_us": QUANTUM_NS // 1000, "methods": ["AddVideo"], "codes": ["OK", "UNAVAILABLE"]}
    code = f"""async ([arm, data]) => {{
      const record = await ArmRecord.of(arm, data);
      {what}
    }}"""
    return scripts.evaluate(code, [arm_of(moments), data])


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_browser_unpacks_what_python_packed(scripts: Any, seed: int) -> None:
    moments = random_moments(seed, 300)
    requests, stays, _ = unpacked(pack(moments, list(range(7)), ["AddVideo"], ["OK", "UNAVAILABLE"]))
    found = record_in(
        scripts,
        moments,
        "return {requests: record.requests, stays: record.stays};",
    )
    for name in ("client", "session", "method", "code", "sent", "proxy", "node", "done", "toward"):
        assert list(found["requests"][name]) == [one[name] for one in requests], name
    for name in ("request", "replica", "arrived", "started", "finished"):
        assert list(found["stays"][name]) == [one[name] for one in stays], name


def test_no_slot_has_two_requests_at_once(scripts: Any) -> None:
    moments = random_moments(4, 2000)
    found = record_in(
        scripts,
        moments,
        "return {slot: [...record.slot], seen: record.slotsSeen, longest: record.longestLine()};",
    )
    _, stays, _ = unpacked(pack(moments, list(range(7)), ["AddVideo"], ["OK", "UNAVAILABLE"]))
    assert found["seen"] == [2] * 4
    for replica in range(4):
        for slot in range(2):
            held = sorted(
                (one["started"], one["finished"])
                for place, one in zip(found["slot"], stays, strict=True)
                if (place, one["replica"]) == (slot, replica)
            )
            assert len(held) > 10
            assert all(before[1] <= after[0] for before, after in pairwise(held))
    longest = max(
        sum(
            one["replica"] == other["replica"] and other["arrived"] <= one["arrived"] < other["started"]
            for other in stays
        )
        for one in stays
    )
    assert found["longest"] == pytest.approx(longest, abs=1)
    assert longest > 20


def test_only_what_is_near_in_time_is_looked_at(scripts: Any) -> None:
    """A frame costs what is under way then, however many requests the record has."""
    moments = random_moments(5, 5000)
    requests, stays, _ = unpacked(pack(moments, list(range(7)), ["AddVideo"], ["OK", "UNAVAILABLE"]))
    over = [one["done"] for one in requests]
    for one in stays:
        over[one["request"]] = max(over[one["request"]], one["finished"])
    times = list(range(0, 25_000, 777))
    found = record_in(
        scripts,
        moments,
        f"""return {json.dumps(times)}.map(
          t => [[...record.underWay.around(t)], [...record.atReplicas.around(t)]]);""",
    )
    for time, (rows, at_replicas) in zip(times, found, strict=True):
        assert len(set(rows)) == len(rows)
        reach = MARGIN + BUCKET
        near = {row for row, one in enumerate(requests) if one["sent"] - reach <= time <= over[row] + reach}
        under_way = {row for row, one in enumerate(requests) if one["sent"] < time <= over[row]}
        assert under_way <= set(rows) <= near
        assert [stays[row]["arrived"] for row in at_replicas] == sorted(
            stays[row]["arrived"] for row in at_replicas
        )
        present = {row for row, one in enumerate(stays) if one["arrived"] < time <= one["finished"]}
        assert present <= set(at_replicas)
        assert all(
            stays[row]["arrived"] - BUCKET <= time <= stays[row]["finished"] + BUCKET for row in at_replicas
        )


def test_a_journey_ends_at_the_recorded_moments(scripts: Any) -> None:
    """On its way a request is between client and replica; it arrives when the ledger says so."""
    moments = random_moments(6, 200)
    found = record_in(
        scripts,
        moments,
        """
        const way = shortestWay(record, 0.25);
        const seen = [];
        for (let row = 0; row < record.requests.count; row++) {
          const {sent, done, firstStay} = record.requests;
          const stay = firstStay[row] < firstStay[row + 1] ? firstStay[row] : -1;
          const arrived = stay < 0 ? -1 : record.stays.arrived[stay];
          for (const t of [arrived, arrived + 1, sent[row] + 1, done[row], done[row] + 1]) {
            eachOnItsWay(record, row, t, way, (kind, part) => seen.push({t, arrived, kind, part}));
          }
        }
        return seen;
        """,
    )
    assert {one["kind"] for one in found} == {"out", "back", "failed", "lost"}
    assert all(0 <= one["part"] <= 1 for one in found)
    arriving = [one for one in found if one["t"] == one["arrived"] and one["kind"] == "out"]
    assert len(arriving) > 150
    assert all(one["part"] == 1 for one in arriving)
    assert not [
        one for one in found if one["kind"] == "out" and one["t"] == one["arrived"] + 1 and one["part"] == 1
    ]


def test_it_opens_at_the_longest_line_beside_idle_slots_and_says_so(scripts: Any) -> None:
    """In one of two arms a replica gets most of the requests: that is the picture to see."""
    arms = [arm_of(random_moments(7, 1200, weights=weights)) for weights in ((9, 1, 1, 1), (1, 1, 1, 1))]
    data = {"quantum_us": QUANTUM_NS // 1000, "methods": ["AddVideo"], "codes": ["OK", "UNAVAILABLE"]}
    moment, counts, words = scripts.evaluate(
        """async ([arms, data]) => {
          const records = await Promise.all(arms.map((arm) => ArmRecord.of(arm, data)));
          const shown = {records, from: 0, to: 40000, loadEnd: 20000};
          shown.curves = records.map((record) => curveOf(record, shown.from, shown.to));
          const t = tellingMoment(shown);
          const counts = records.map((record) => record.countsAt(t));
          return [t, counts, records.map((record, arm) => sentence(record, counts[arm], t))];
        }""",
        [arms, data],
    )
    assert 10_000 < moment <= 20_000
    uneven, even = (count["waiting"] for count in counts)
    assert uneven > 5 * even
    line = counts[0]["replicas"][0]["waiting"]
    free = 6 - sum(one["serving"] for one in counts[0]["replicas"][1:])
    which = "All" if line == uneven else f"{line} of"
    assert words[0].startswith(
        f"{which} {uneven} waiting requests stand in line at replica-0, while {free} of 6 slots elsewhere"
    )
    assert "stand in line" not in words[1]
    assert all("failed so far" in one for one in words)


@pytest.mark.parametrize("nodes", [0, 2, 3, 16])
def test_a_request_passes_the_node_that_the_record_names(scripts: Any, nodes: int) -> None:
    """One that no ledger gives a node passes none: it goes straight on."""
    moments = random_moments(9, 200)
    named = pl.Series(
        "proxy_node", [None if row % 5 == 0 else row % nodes for row in range(200)] if nodes else [None] * 200
    )
    moments = Moments(moments.requests.with_columns(named.cast(pl.Int32)), moments.stays, moments.messages)
    found = record_in(
        scripts,
        moments,
        f"""
        const zones = ["b", "a"];
        const node = (_, number) => ({{name: `envoy-${{number}}`, zone: zones[number % 2], away: []}});
        record.arm.nodes = Array.from({{length: {nodes}}}, node);
        const clients = clientNodes(record, 7);
        const layout = new Layout(record, clients, 350, 330, 10);
        const drawing = new ArmDrawing(record, layout, clients, () => 0);
        const middle = (row) => drawing.through(row % 7, 2, row);
        const straight = (row) => layout.clientY[row % 7] + (layout.hubX - layout.clientX) /
          (layout.queueRight - layout.clientX) * (layout.rowY[2] - layout.clientY[row % 7]);
        const rows = Array.from({{length: 200}}, (_, row) => row);
        return {{hub: [layout.hubX, layout.hubY], places: layout.nodes, height: layout.height,
                 middles: rows.map(middle), straight: rows.map(straight)}};
        """,
    )
    for row, (x, y) in enumerate(found["middles"]):
        node = named[row]
        assert x == found["hub"][0]
        if not nodes:
            assert y == found["hub"][1]
        elif node is None:
            assert y == pytest.approx(found["straight"][row])
        else:
            assert y == found["places"][node]["y"]
    tops = [(place["top"], place["top"] + place["barHeight"]) for place in found["places"]]
    assert all(above[1] + 12 < below[0] for above, below in pairwise(sorted(tops)))  # room for a name
    assert all(end + 12 <= found["height"] for _, end in tops)
    assert sorted(range(nodes), key=lambda node: tops[node]) == [*range(1, nodes, 2), *range(0, nodes, 2)]


def test_a_way_too_short_to_be_seen_is_drawn_for_longer_and_ends_when_it_ended(scripts: Any) -> None:
    """Out: it leaves its client early enough. Back: it reaches its client late enough."""
    moments = random_moments(8, 200)
    found = record_in(
        scripts,
        moments,
        """
        const way = 400;
        const kinds = (row, t) => {
          const seen = [];
          eachOnItsWay(record, row, t, way, (kind) => seen.push(kind));
          return seen;
        };
        const {requests, stays} = record;
        const stayed = (row) => requests.firstStay[row + 1] - requests.firstStay[row];
        const once = [...requests.sent.keys()].filter((row) => stayed(row) === 1);
        return once.map((row) => {
          const stay = requests.firstStay[row];
          const left = Math.min(requests.sent[row], stays.arrived[stay] - way);
          const back = Math.max(requests.done[row], stays.finished[stay] + way);
          return [kinds(row, left), kinds(row, left + 1), kinds(row, stays.arrived[stay] + 1),
                  kinds(row, stays.finished[stay] + 1), kinds(row, back), kinds(row, back + 1)];
        });
        """,
    )
    assert len(found) > 100
    for before, begins, arrived, left, last, after in found:
        assert (before, begins, arrived, after) == ([], ["out"], [], [])
        assert left == last
        assert left in (["back"], ["failed"])


@pytest.mark.parametrize(
    ("waiting", "words"),
    [
        (
            [30, 0, 0, 0],
            "All 30 waiting requests stand in line at replica-0, while 6 of 6 slots elsewhere are free.",
        ),
        ([30, 1, 0, 0], "30 of 31 waiting requests stand in line at replica-0, while 6 of 6 slots elsewhere"),
        ([30, 29, 28, 27], "114 requests wait, at most 30 at one replica."),  # all of them are full
        ([8, 0, 0, 0], "8 requests wait, at most 8 at one replica."),  # that is no long line
        ([1, 0, 0, 0], "1 request waits, at most 1 at one replica."),
        ([0, 0, 0, 0], "3 requests are under way: none in a slot, none in line."),
    ],
)
def test_a_line_is_only_called_one_where_it_is_long_and_alone(
    scripts: Any, waiting: list[int], words: str
) -> None:
    replicas = [{"name": f"replica-{n}", "waiting": line, "serving": 0} for n, line in enumerate(waiting)]
    counts = {"replicas": replicas, "waiting": sum(waiting), "underWay": sum(waiting) or 3, "failed": 0}
    said = scripts.evaluate(
        "counts => sentence({hasStreams: false, slots: () => 2, isThere: () => true}, counts, 0)", counts
    )
    assert said.startswith(words)
