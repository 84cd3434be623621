"""The timeline of an experiment: what is refused, how events are numbered, and the resulting plan."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.cli.check import plan_text
from harness.errors import UserError
from harness.events.registry import EVENT_KINDS
from harness.events.schedule import chosen_targets, new_replicas, planned_events
from harness.plan.cells import plan_cells
from harness.spec.experiment import Event, Experiment, load_experiment, quick_overrides
from harness.spec.yaml_file import dump_tree

BASE: dict[str, Any] = {
    "title": "t",
    "question": "q",
    "lesson": "l",
    "replicas": {"count": 3, "slots": 2, "service_time_ms": {"distribution": "constant", "mean": 5.0}},
    "workload": {"clients": 2, "rate_per_s": 100.0, "calls": {"AddVideo": 1.0}, "duration_s": 4.0},
    "arms": {
        "proxy": {"route": "envoy", "policy": "round_robin"},
        "client": {"route": "direct", "policy": "round_robin"},
    },
}
Load = Callable[..., Experiment]
OPPOSITES = {kind.name: kind.opposite for kind in EVENT_KINDS.values() if kind.opposite}


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Loads BASE with these events; of all arms, or `arm` -> its own."""

    def load(*events: dict[str, Any], **own: list[dict[str, Any]]) -> Experiment:
        arms = {
            name: {**arm, **({"events": own[name]} if name in own else {})}
            for name, arm in BASE["arms"].items()
        }
        path = tmp_path / "x.yaml"
        path.write_text(dump_tree({**BASE, "arms": arms, "events": list(events)}))
        return load_experiment(str(path))

    return load


WRONG = [
    (
        {"at_s": 1.0, "do": "kil", "target": "any"},
        "events[0].do: 'kil' is not known here",
        "did you mean 'kill'",
    ),
    ({"at_s": 1.0, "do": "kill"}, "events[0]: do: kill needs target: a replica's name", ""),
    (
        {"at_s": 1.0, "do": "kill", "target": "replica-7"},
        "events[0].target: 'replica-7': there is no such",
        "",
    ),
    ({"at_s": 1.0, "do": "kill", "target": "everyone"}, "events[0].target: 'everyone' cannot be used", ""),
    ({"at_s": 1.0, "do": "kill", "target": 1.5}, "events[0].target: 1.5 cannot be used", ""),
    ({"at_s": 0.1, "do": "kill", "target": "any"}, "events[0].at_s: 0.1 is out of range", "from 0.2 to 3600"),
    ({"at_s": 4.0, "do": "kill", "target": "any"}, "events[0].at_s: 4: measuring has ended at 4 s", ""),
    (
        {"at_s": 1.0, "do": "kill", "target": "any", "for_s": 3.0},
        "events[0].for_s: 3: the opposite would come after measuring has ended at 4 s",
        "",
    ),
    (
        {"at_s": 1.0, "do": "kill", "target": "any", "factor": 2.0},
        "events[0].factor: changes nothing with do: kill; expected it with 'slow'",
        "",
    ),
    ({"at_s": 1.0, "do": "slow", "target": "any"}, "events[0]: do: slow needs factor", ""),
    ({"at_s": 1.0, "do": "weight", "target": "any"}, "events[0]: do: weight needs weight", ""),
    (
        {"at_s": 1.0, "do": "roll", "target": "all", "for_s": 1.0},
        "events[0].for_s: do: roll has no opposite",
        "",
    ),
    ({"at_s": 1.0, "do": "add", "for_s": 1.0}, "events[0].for_s: do: add has no opposite", ""),
    (
        {"at_s": 1.0, "do": "start", "target": "replica-0"},
        "events[0].do: do: start at 1 s: replica-0 is running",
        "",
    ),
    (
        {"at_s": 1.0, "do": "resume", "target": "all"},
        "events[0].do: do: resume at 1 s: replica-0 is running",
        "",
    ),
    ({"at_s": 1.0, "do": "proxy_restart"}, "events[0].do: proxy_restart: route 'direct' has no proxy", ""),
    (
        {"at_s": 1.0, "do": "add", "target": "replica-0", "count": 2},
        "events[0].count: counts new replicas; expected it without target",
        "",
    ),
]


@pytest.mark.parametrize(("event", "expected", "hint"), WRONG)
def test_what_cannot_happen_is_one_line(load: Load, event: dict[str, Any], expected: str, hint: str) -> None:
    with pytest.raises(UserError) as caught:
        load(event)
    message = str(caught.value)
    assert expected in message
    assert hint in message
    assert "\n" not in message


def test_a_replica_that_has_ended_cannot_be_killed_again(load: Load) -> None:
    kill = {"do": "kill", "target": "replica-1"}
    with pytest.raises(
        UserError, match=r"events\[1\].do: do: kill at 2 s: replica-1 has ended before; start it"
    ):
        load({"at_s": 1.0, **kill}, {"at_s": 2.0, **kill})
    load({"at_s": 1.0, **kill, "for_s": 0.5}, {"at_s": 2.0, **kill})


def test_replicas_that_were_added_can_be_spoken_of_from_then_on(load: Load) -> None:
    later = {"at_s": 2.0, "do": "kill", "target": "replica-4"}
    assert load({"at_s": 1.0, "do": "add", "count": 2}, later).events[1].target == "replica-4"
    with pytest.raises(UserError, match="'replica-4': there is no such replica then"):
        load({"at_s": 1.0, "do": "add"}, later)


def test_an_arm_has_the_experiments_events_its_own_or_none(load: Load) -> None:
    kill, pause = ({"at_s": 1.0, "do": do, "target": "replica-0"} for do in ("kill", "pause"))
    experiment = load(kill, client=[pause])
    planned = {plan.arm_name: [one.event.do for one in plan.events] for plan in plan_cells(experiment)}
    assert planned == {"proxy": ["kill"], "client": ["pause"]}
    calm = load(kill, client=[])
    assert {plan.arm_name: len(plan.events) for plan in plan_cells(calm)} == {"proxy": 1, "client": 0}


def test_wrong_events_of_an_arm_are_told_where_they_stand(load: Load) -> None:
    with pytest.raises(UserError, match=r"arms.proxy.events\[0\]: do: kill needs target"):
        load(proxy=[{"at_s": 1.0, "do": "kill"}])


def test_events_are_numbered_by_time_and_opposites_follow() -> None:
    events = [
        Event(at_s=2.0, do="pause", target="replica-1", for_s=0.5),
        Event(at_s=1.0, do="kill", target="any", for_s=1.0),
    ]
    played = planned_events(events)
    assert [(one.number, one.event.do, one.at_s, one.undoes, one.place) for one in played] == [
        (1, "kill", 1.0, None, 1),
        (2, "pause", 2.0, None, 0),
        (3, "start", 2.0, 1, 1),
        (4, "resume", 2.5, 2, 0),
    ]


@given(
    st.lists(
        st.builds(
            Event,
            at_s=st.floats(0.2, 100),
            do=st.sampled_from(sorted(OPPOSITES)),
            target=st.sampled_from(["all", "any", "replica-0"]),
            for_s=st.none() | st.floats(0.01, 100),
            factor=st.none(),
        ),
        max_size=8,
    )
)
def test_whatever_ends_comes_after_what_it_ends(events: list[Event]) -> None:
    played = planned_events(events)
    assert [one.number for one in played] == list(range(1, len(played) + 1))
    assert [one.at_s for one in played] == sorted(one.at_s for one in played)
    assert len(played) == len(events) + sum(event.for_s is not None for event in events)
    for one in played:
        if one.undoes is not None:
            ended = played[one.undoes - 1]
            assert ended.number < one.number
            assert one.event.do == OPPOSITES[ended.event.do]
            assert one.event.target == ended.event.target


def test_who_is_meant() -> None:
    names = ["replica-0", "replica-1", "replica-2", "replica-3"]
    rng = random.Random(1)
    assert chosen_targets("all", names, rng) == names
    assert chosen_targets("replica-2", names, rng) == ["replica-2"]
    assert chosen_targets(0.5, names, rng) == names[:2]
    assert chosen_targets(0.01, names, rng) == names[:1]
    drawn = {chosen_targets("any", names, rng)[0] for _ in range(100)}
    assert drawn == set(names)


def test_new_replicas_are_counted(load: Load) -> None:
    experiment = load({"at_s": 1.0, "do": "add"}, {"at_s": 2.0, "do": "add", "count": 3})
    assert new_replicas(plan_cells(experiment)[0].events) == 4


def test_a_quick_run_keeps_the_time_that_events_need(load: Load) -> None:
    assert quick_overrides(load({"at_s": 1.0, "do": "add"})) == {"repeats": 1}
    assert quick_overrides(load())["workload.duration_s"] == 2.0


def test_the_plan_tells_what_will_happen(load: Load) -> None:
    text = plan_text(load({"at_s": 1.0, "do": "fail", "target": 0.5, "share": 0.2, "for_s": 1.0}, client=[]))
    assert "1 s: fail 0.5, share 0.2" in text
    assert "2 s: heal" in text
    assert "client: nothing" in text
