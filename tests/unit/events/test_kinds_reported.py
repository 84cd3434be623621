"""Figures, tables and plots of events use the entry of each kind."""

from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure

from harness.analysis.facts import collect_facts
from harness.analysis.summary import facts_of, summarise
from harness.analysis.validity import measure
from harness.errors import UserError
from harness.events.kind import EventKind
from harness.events.registry import EVENT_KINDS, is_opposite
from harness.metrics.facts import EventEffects
from harness.record.event_log import Line, StepTaken
from harness.record.run_directory import read_run
from harness.report.event_marks import mark_events
from harness.report.event_tables import event_tables, lasts_until_s
from harness.report.plots import PLOTS
from harness.report.plotting import PlotData
from tests.unit.events.kind_experiments import example_timeline, nodes_for
from tests.unit.synthetic import stories
from tests.unit.synthetic.handwritten_cell import MS, asked, row, took_effect, write_cell
from tests.unit.synthetic.synthetic_run import synthesise_run

pytestmark = pytest.mark.whole_run

KINDS = list(EVENT_KINDS.values())
each_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
ZERO, ONE, TWO = "replica-0", "replica-1", "replica-2"
A, B = 0, 10**9  # first requests of two clients, one session each
REPLICAS = {ZERO: "h:1", ONE: "h:2", TWO: "h:3"}


def at(request_id: int, at_ms: float, replica: str, took_ms: int = 2, code: str = "OK") -> dict[str, Any]:
    """One request, sent when it was planned."""
    done_ns = int((at_ms + took_ms) * MS)
    times = {"planned_ns": int(at_ms * MS), "sent_ns": int(at_ms * MS), "done_ns": done_ns}
    return row(request_id, replica, code=code, **times)


def facts(folder: Path, rows: list[dict[str, Any]], *lines: Line) -> Any:
    """The facts of a direct cell of three replicas, of which the third may come later."""
    cell = write_cell(
        folder, rows, events=lines, replicas=REPLICAS, initial_replicas=[ZERO, ONE], route="direct"
    )
    return collect_facts(cell)


def pinned(until_ms: int = 90) -> list[dict[str, Any]]:
    """A is pinned to replica-0, B to replica-1."""
    return [at(c + n, at_ms, r) for c, r in ((A, ZERO), (B, ONE)) for n, at_ms in enumerate((10, until_ms))]


@each_kind
def test_what_breaks_calls_causes_the_failures_of_those_under_way(kind: EventKind, tmp_path: Path) -> None:
    rows = [at(A, 90, ZERO), at(A + 1, 150, "", 60, "UNAVAILABLE")]
    found = facts(tmp_path, rows, asked(1, 100, "weight", ONE), asked(2, 200, kind.name, ZERO))
    failed_by_event = [sum(event.errors.values()) for event in found.events]
    assert failed_by_event == ([0, 1] if kind.breaks_calls else [1, 0])


@each_kind
def test_sessions_had_to_move_where_their_replica_was_taken_or_another_came(
    kind: EventKind, tmp_path: Path
) -> None:
    """Both sessions are on replica-0 in the end: A has stayed, B has come there."""
    rows = [*pinned(), at(A + 5, 200, ZERO), at(B + 5, 200, ZERO)]
    (event,) = facts(tmp_path, rows, asked(1, 100, kind.name, ZERO)).events
    expected = {"removes": 1, "replaces": 1, "returns": 1, "unchanged": 0}  # A; A; B; nobody
    assert event.migration.needed == expected[kind.membership]
    others = [*pinned(), at(A + 5, 200, ONE), at(B + 5, 200, ONE)]
    (event,) = facts(tmp_path, others, asked(1, 100, kind.name, ZERO)).events
    assert event.migration.needed == (1 if kind.removes else 0)


@each_kind
def test_replicas_are_there_or_not_when_it_is_over(kind: EventKind, tmp_path: Path) -> None:
    (gone,) = facts(tmp_path, pinned(), asked(1, 100, kind.name, ZERO)).events
    (come,) = facts(tmp_path, pinned(), asked(1, 100, kind.name, TWO)).events
    assert gone.present == (1 if kind.membership == "removes" else 2)
    assert come.present == (3 if kind.membership == "returns" else 2)


@each_kind
def test_the_time_to_answers_and_to_a_fair_share_is_told_of_what_brings_replicas(
    kind: EventKind, tmp_path: Path
) -> None:
    rows = [*pinned(), at(A + 5, 200, ZERO)]
    (event,) = facts(tmp_path, rows, asked(1, 100, kind.name, ZERO)).events
    assert (event.first_answer_ns == 102 * MS) == kind.returns
    assert (event.fair_share_after_ns is not None) == kind.returns


@each_kind
def test_who_returned_is_told_where_replicas_were_taken_before(kind: EventKind, tmp_path: Path) -> None:
    rows = [*pinned(), at(A + 5, 500, ZERO), at(B + 5, 500, ONE)]
    taken = facts(tmp_path, rows, asked(1, 100, kind.name, ZERO), asked(2, 400, "start", ZERO)).events[1]
    assert taken.migration.returned_share == (1 if kind.removes else None)
    brought = facts(tmp_path, rows, asked(1, 100, "kill", ZERO), asked(2, 400, kind.name, ZERO)).events[1]
    assert brought.migration.returned_share == (1 if kind.returns else None)


@each_kind
def test_it_is_shaded_until_it_is_over(kind: EventKind, tmp_path: Path) -> None:
    lines = [asked(1, 100, kind.name, ZERO), took_effect(1, 300, ZERO), took_effect(1, 200, ZERO)]
    (event,) = facts(tmp_path, pinned(), *lines).events
    if kind.temporary:
        assert lasts_until_s(event, [event], 1.0) == pytest.approx(0.3)
    else:
        assert lasts_until_s(event, [event], 1.0) == (1.0 if kind.opposite else None)
    ends = [asked(2, 600, kind.opposite, ZERO), asked(2, 600, kind.opposite, ONE)] if kind.opposite else []
    until = [_lasts(facts(tmp_path, pinned(), *lines, end).events) for end in ends]
    assert until == ([0.6, 1.0] if kind.opposite else [])


def _lasts(events: list[EventEffects]) -> float | None:
    return lasts_until_s(events[0], events, 1.0)


@each_kind
def test_what_is_an_opposite_ends_others(kind: EventKind, tmp_path: Path) -> None:
    assert is_opposite(kind.name) == any(other.opposite == kind.name for other in KINDS)
    events = facts(tmp_path, pinned(), asked(1, 100, "slow", ZERO), asked(2, 600, kind.name, ZERO)).events
    assert _lasts(events) == (0.6 if is_opposite(kind.name) else 1.0)


@each_kind
def test_its_steps_are_drawn(kind: EventKind, tmp_path: Path) -> None:
    steps = [
        StepTaken(number=1, t_ns=at_ms * MS, do=do, target=ONE)
        for at_ms, do in ((300, "drain"), (500, "stop"), (700, "start"))
    ]
    found = facts(tmp_path, pinned(), asked(1, 100, kind.name, ZERO, ONE), *steps)
    axes = Figure().add_subplot()
    mark_events(axes, found, shaded=False)
    lines = sorted(line.get_xdata()[0] for line in axes.lines)  # type: ignore[index]
    drawn = {"drain": [0.3], "stop": [0.5], "start": [0.7], None: []}[kind.drawn_step]
    assert lines == [0.1, *drawn]
    name = kind.name.replace("_", " ")
    labels = [f"{name} 2 {'nodes' if kind.aim == 'proxy' else 'replicas'}"]
    labels += [ONE if kind.in_turns else f"{kind.drawn_step} {ONE}"] if kind.drawn_step else []
    assert [text.get_text() for text in axes.texts] == labels


def test_an_event_of_another_version_is_one_line_that_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=rf"{tmp_path}/events.jsonl: .* no event 'melt'; it knows"):
        facts(tmp_path, pinned(), asked(1, 100, "melt", ZERO))


@pytest.fixture(scope="module", params=[0, 1], ids=["first half", "second half"])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A synthetic run with an arm for each of some kinds, behind Envoy or, by turns, not."""
    kinds = KINDS[request.param :: 2]
    arms = {}
    for place, kind in enumerate(kinds):
        route = "direct" if kind.aim != "proxy" and place % 2 else "envoy"
        timeline = [{**one, "at_s": one["at_s"] / 4} for one in example_timeline(kind)]
        events = str(timeline).replace("'", "")
        nodes = ", proxies: 2" if nodes_for(timeline) else ""
        arms[kind.name] = f"route: {route}, policy: round_robin{nodes}, events: {events}"
    folder = tmp_path_factory.mktemp("kinds")
    return kinds, read_run(synthesise_run(folder, stories.experiment(arms), requests=100, name="kinds"))


def test_every_kind_has_facts_tables_and_plots(run: Any) -> None:
    kinds, found = run
    facts_of_arms = facts_of(found)
    summary = summarise(found, facts_of_arms)
    tables = list(event_tables(summary.arms))
    data = PlotData.of(found.experiment, facts_of_arms)
    for kind in kinds:
        event = summary.arms[kind.name].events[-1]
        assert event.do == kind.name
        number = event.number
        assert EVENT_KINDS[event.do].label(event.targets) in str(tables[number - 1].rows)
        measured = measure(facts_of_arms[kind.name][0]).values
        assert measured[f"event{number}.requests"] is not None
    for name in ("over_time", "recovery"):
        assert PLOTS[name].applies(data)
        assert PLOTS[name].draw(data).axes
    for number, table in enumerate(tables, start=1):
        events = [event for arm in summary.arms.values() for event in arm.events]
        kinds_here = [EVENT_KINDS[event.do] for event in events if event.number == number]
        assert ("returned" in table.head) == any(kind.returns for kind in kinds_here)
