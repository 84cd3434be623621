"""Settings of a replica: their bounds, changes (all or none), and what the replica shows."""

import json
from typing import Any

import pytest
from pydantic import ValidationError

from services.behaviour_message import changed, to_message
from services.lab_control_pb2 import Behaviour as BehaviourMessage
from services.settings import Outage, ReplicaSettings, ServiceTime, SessionCache, problem_of

CONSTANT_5 = ReplicaSettings(slots=2, service_time_ms=ServiceTime(distribution="constant", mean=5))
OTHER = ReplicaSettings(
    slots=3,
    service_time_ms=ServiceTime(distribution="lognormal", mean=2, burn_cpu=True),
    slow_factor=4,
    slow_share=0.5,
    fail_share=0.25,
    fail_code="INTERNAL",
    cache=SessionCache(sessions=9, hit_factor=0.1),
    orca=0.4,
    outage=Outage(every_s=5, for_ms=300),
    fail_after_headers=True,
    fail_after_work=True,
)


def test_a_change_sets_only_what_it_names() -> None:
    burning = ServiceTime(distribution="constant", mean=0, burn_cpu=True)
    expected = ReplicaSettings(slots=2, service_time_ms=burning)
    assert changed(CONSTANT_5, BehaviourMessage(mean_ms=0, burn_cpu=True)) == expected


def test_what_is_shown_sets_everything() -> None:
    assert changed(CONSTANT_5, to_message(OTHER)) == OTHER
    assert changed(OTHER, to_message(CONSTANT_5)) == CONSTANT_5


def test_every_setting_that_can_change_is_in_the_message() -> None:
    shown = {field.name for field, _ in to_message(OTHER).ListFields()}
    assert shown == set(BehaviourMessage.DESCRIPTOR.fields_by_name)
    fixed = {"server", "max_connection_age_ms", "shedding"}
    for name in ReplicaSettings.model_fields.keys() - fixed:
        both = (getattr(changed(CONSTANT_5, to_message(OTHER)), name), getattr(CONSTANT_5, name))
        assert both[0] != both[1], name


def test_cache_and_outages_end_with_their_first_field_at_zero() -> None:
    without = changed(OTHER, BehaviourMessage(cache_sessions=0, outage_every_s=0))
    assert (without.cache, without.outage) == (None, None)
    kept = changed(OTHER, BehaviourMessage(cache_sessions=7, outage_for_ms=9))
    assert kept.cache == SessionCache(sessions=7, hit_factor=0.1)
    assert kept.outage == Outage(every_s=5, for_ms=9)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (BehaviourMessage(slots=0), "slots is 0, expected greater than or equal to 1"),
        (BehaviourMessage(mean_ms=-1), "service_time_ms.mean is -1.0, expected greater than or equal to 0"),
        (
            BehaviourMessage(distribution="uniform"),
            "service_time_ms.distribution is 'uniform', "
            "expected 'constant', 'exponential', 'lognormal' or 'pareto'",
        ),
        (BehaviourMessage(slow_factor=float("nan")), "slow_factor is nan, expected a finite number"),
        (BehaviourMessage(slow_factor=float("inf")), "slow_factor is inf, expected a finite number"),
        (BehaviourMessage(slow_share=-0.5), "slow_share is -0.5, expected greater than or equal to 0"),
        (BehaviourMessage(fail_share=1.5), "fail_share is 1.5, expected less than or equal to 1"),
        (
            BehaviourMessage(cache_sessions=1_000_001),
            "cache.sessions is 1000001, expected less than or equal",
        ),
        (BehaviourMessage(cache_hit_factor=2), "cache.sessions is 0, expected greater than or equal to 1"),
        (
            BehaviourMessage(orca="measure"),
            "orca is 'measure', expected 'measured' or a valid number",
        ),
        (BehaviourMessage(orca="11"), "orca is 11.0, expected 'measured' or less than or equal to 10"),
        (
            BehaviourMessage(outage_every_s=-1),
            "outage.every_s is -1.0, expected greater than or equal to 0.1",
        ),
        (BehaviourMessage(outage_for_ms=50), "outage.every_s is 0.0, expected greater than or equal to 0.1"),
        (
            BehaviourMessage(outage_every_s=2, outage_for_ms=2000),
            "outage.for_ms: 2000 is too long; expected less than every_s, which is 2000 ms",
        ),
        (BehaviourMessage(outage_every_s=2), "outage.for_ms is 0.0, expected greater than 0"),
    ],
)
def test_a_bad_change_is_refused(change: BehaviourMessage, message: str) -> None:
    with pytest.raises(ValueError) as refused:
        changed(CONSTANT_5, change)
    assert str(refused.value).startswith(message)


def test_a_code_that_grpc_does_not_know_is_refused() -> None:
    for code in ("unavailabel", "OK"):
        with pytest.raises(ValueError, match=f"fail_code is '{code}', expected 'CANCELLED', 'UNKNOWN', "):
            changed(CONSTANT_5, BehaviourMessage(fail_code=code))


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("sluts", 3, "sluts is not a setting of a replica"),
        ("outage", {"every_s": 3}, "outage.for_ms is missing"),
        ("outage", {"every_s": 3, "for_ms": 1, "why": ""}, "outage.why is not a setting of a replica"),
        ("outage", 3, "outage is 3, expected a valid dictionary"),
        ("slots", "3", "slots is '3', expected a valid integer"),
        ("slots", True, "slots is True, expected a valid integer"),
    ],
)
def test_a_bad_document_is_refused(key: str, value: Any, message: str) -> None:
    with pytest.raises(ValidationError) as refused:
        ReplicaSettings.model_validate(CONSTANT_5.model_dump() | {key: value})
    told = problem_of(refused.value)
    assert told.startswith(message)
    assert "\n" not in told


def test_the_document_is_the_settings() -> None:
    for settings in (CONSTANT_5, OTHER):
        assert ReplicaSettings.model_validate(json.loads(settings.to_json())) == settings
