"""The story of a report: the set-up in a drawing and in words, the lesson's parts, the same on AWS."""

from html.parser import HTMLParser
from xml.etree import ElementTree as ET

import pytest

from harness.policies.registry import POLICIES_OF_ROUTE
from harness.report.setup_drawing import MAX_CLIENTS, MAX_REPLICAS, draw_setup
from harness.report.setup_words import setup_in_words
from harness.report.story import counts_in_words, expectation, lesson_of, next_command, on_aws, prose
from harness.spec.experiment import catalogue, load_experiment
from tests.unit.report.test_finding import claim

CATALOGUE = {one.name: one for one in catalogue()}
CHARACTER = 6.6  # units of the drawing, of the widest font at its size


@pytest.mark.parametrize("name", CATALOGUE)
def test_a_drawing_keeps_within_its_frame(name):
    root = ET.fromstring(draw_setup(CATALOGUE[name]).svg)
    _, _, width, height = map(float, root.attrib["viewBox"].split())
    for one in root.iter():
        if one.tag == "rect":
            x, y, w, h = (float(one.attrib[key]) for key in ("x", "y", "width", "height"))
            assert x >= 0
            assert y >= 0
            assert x + w <= width
            assert y + h <= height
        elif one.tag == "text":
            x, y, length = float(one.attrib["x"]), float(one.attrib["y"]), CHARACTER * len(one.text)
            left = x - length / 2 if one.get("text-anchor") == "middle" else x
            assert left >= 0
            assert left + length <= width + 12, one.text
            assert 8 <= y <= height
        elif one.tag == "circle":
            assert 0 <= float(one.attrib["cy"]) - float(one.attrib["r"]) <= height


@pytest.mark.parametrize("name", CATALOGUE)
def test_a_drawing_names_every_policy_and_different_replica(name):
    experiment = CATALOGUE[name]
    setup = draw_setup(experiment)
    words = " ".join(ET.fromstring(setup.svg).itertext())
    for variant in experiment.variants.values():
        assert variant.arm.policy in words
    for replica, overrides in experiment.replicas.different.items():
        assert replica in words
        values = overrides.model_dump(exclude_none=True).values()
        assert all(f"{value:g}" in words for value in values if not isinstance(value, str))
    assert f"{experiment.workload.clients} client" in words
    assert f"{experiment.replicas.count} replica" in words or experiment.replicas.count == 1


def test_of_many_clients_and_replicas_some_are_drawn_and_the_number_is_written():
    root = ET.fromstring(
        draw_setup(load_experiment("sticky", {"replicas.count": 40, "workload.clients": 200})).svg
    )
    words = " ".join(root.itertext())
    assert len([one for one in root.iter() if one.tag == "circle"]) == MAX_CLIENTS
    assert words.count("replica-") == MAX_REPLICAS - 1
    assert f"and {40 - MAX_REPLICAS + 1} more" in words
    assert "200 clients" in words


def test_the_room_of_replicas_with_a_cache_is_that_of_misses_and_that_of_hits():
    words = " ".join(setup_in_words(CATALOGUE["cold_caches"], ours=True))
    # 3 slots of 160 ms, and of 14.4 ms.
    assert "room for 19 requests per second that miss its session cache, or 208 that hit it." in words


def test_replicas_that_are_the_users_have_no_settings():
    sticky = CATALOGUE["sticky"]
    assert any("2 slots" in text for text in setup_in_words(sticky, ours=True))
    assert not any("slots" in text for text in setup_in_words(sticky, ours=False))
    assert 'class="slot"' not in draw_setup(sticky, ours=False).svg


@pytest.mark.parametrize("name", CATALOGUE)
def test_no_paragraph_of_a_lesson_is_lost(name):
    experiment = CATALOGUE[name]
    lesson = lesson_of(experiment)
    paragraphs = [" ".join(text.split()) for text in experiment.lesson.split("\n\n") if text.strip()]
    assert sorted([*lesson.why, *lesson.on_aws]) == sorted(paragraphs)
    assert lesson.why[0] == paragraphs[0]


@pytest.mark.parametrize("name", CATALOGUE)
def test_every_arm_is_told_on_aws_once(name):
    told = on_aws(CATALOGUE[name])
    assert sorted(arm for one in told for arm in one.arms) == sorted(CATALOGUE[name].variants)
    for one in told:
        if one.settings:
            assert all(value in one.settings.command for value in one.settings.attributes.values())
            assert one.settings.command.startswith("aws elbv2 ")


def test_stickiness_and_round_robin_are_told_with_exact_attributes():
    sticky, round_robin = on_aws(CATALOGUE["sticky"])
    assert sticky.settings.attributes == {
        "stickiness.enabled": "true",
        "stickiness.type": "lb_cookie",
        "stickiness.lb_cookie.duration_seconds": "86400",
    }
    assert round_robin.settings.attributes["load_balancing.algorithm.type"] == "round_robin"


@pytest.mark.parametrize("route", POLICIES_OF_ROUTE)
def test_settings_of_every_example_can_be_made(route):
    for policy in POLICIES_OF_ROUTE[route].values():
        for options in policy.examples:
            settings = policy.alb_settings(policy.chosen(options))
            assert settings is None or settings.attributes


def test_what_to_try_next_is_a_command():
    assert next_command(CATALOGUE["sticky"]) == "python run_experiment.py sticky --skew 0"


class Tags(HTMLParser):
    def __init__(self, html):
        super().__init__()
        self.found = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))


def test_prose_has_code_and_nothing_that_is_not_escaped():
    assert prose("Use `--skew 0`, see [events.md](events.md).") == "Use <code>--skew 0</code>, see events.md."
    assert Tags(prose("<b> `<i>`")).found == [("code", {})]


def test_an_expectation_shows_its_metric_when_pointed_at():
    html = expectation(claim("latency_ms.p99", of="round_robin"))
    assert (
        html == 'sticky: <abbr title="latency_ms.p99">p99 latency</abbr> at least 3 times that of round_robin'
    )
    odd = claim("latency_ms.p99").model_copy(update={"text": "<b>"})
    assert expectation(odd) == "&lt;b&gt;"


def test_verdicts_are_counted_in_words():
    assert counts_in_words(["held", "refuted", "held"]) == "2 held, 1 refuted"
    assert counts_in_words(["not judged"]) == "1 not judged"
    assert counts_in_words([]) == "none"


def test_the_set_up_names_zones() -> None:
    told = [text for text in setup_in_words(load_experiment("zones_off"), ours=True) if "zone" in text]
    assert told[:2] == [
        "In arms on, off and zone_aware, zone a has envoy-0 and replica-0; "
        "zone b has envoy-1 and replica-1 to replica-3.",
        "In arm even, zone a has envoy-0, replica-0 and replica-1; "
        "zone b has envoy-1, replica-2 and replica-3.",
    ]
    assert told[2:] == [
        "There are arms in which a node sends to its own zone only.",
        "There are arms in which Envoy routes zone-aware: as much as is fair stays in the node's zone.",
    ]
    assert not any("zone" in text for text in setup_in_words(load_experiment("many_balancers"), ours=True))


def test_the_drawing_says_which_node_and_which_replica_is_in_which_zone() -> None:
    svg = str(draw_setup(load_experiment("zones_off")).svg)
    for words in ("envoy-0: zone a", "envoy-1: zone b", "zone a", "zone b or a", "zone b"):
        assert f">{words}</text>" in svg
    assert ">1 or 3 or 8 nodes</text>" in str(draw_setup(load_experiment("many_balancers")).svg)
    assert "zone" not in str(draw_setup(load_experiment("many_balancers")).svg)
    assert "node" not in str(draw_setup(load_experiment("sticky")).svg)
