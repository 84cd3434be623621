"""Settings of a replica: checked, changed all or none, and shown."""

import pytest

from services.service_time import ServiceTime
from services.settings import Settings
from services.video_service_pb2 import Behaviour as BehaviourMessage

CONSTANT_5 = Settings(slots=2, service_time=ServiceTime("constant", 5))


def test_a_change_sets_only_what_it_names() -> None:
    changed = CONSTANT_5.changed(BehaviourMessage(mean_ms=0, burn_cpu=True))
    assert changed == Settings(slots=2, service_time=ServiceTime("constant", 0), burn_cpu=True)


def test_a_shown_message_sets_every_field() -> None:
    other = Settings(
        slots=3,
        service_time=ServiceTime("lognormal", 2),
        burn_cpu=True,
        slow_factor=4,
        slow_share=0.5,
        fail_share=0.25,
        fail_code="INTERNAL",
        cache_sessions=9,
        cache_hit_factor=0.1,
        orca="0.4:200",
        outage_every_s=5,
        outage_for_ms=300,
    )
    assert CONSTANT_5.changed(other.to_message()) == other
    assert other.changed(CONSTANT_5.to_message()) == CONSTANT_5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (BehaviourMessage(slots=0), "slots is 0, expected 1 to 10000"),
        (BehaviourMessage(mean_ms=-1), "mean_ms is -1, expected 0 to 60000 milliseconds"),
        (
            BehaviourMessage(distribution="uniform"),
            "distribution 'uniform' is unknown, expected one of constant, exponential, lognormal",
        ),
        (BehaviourMessage(slow_factor=float("nan")), "slow_factor is nan, expected 0 to 1000"),
        (BehaviourMessage(slow_factor=float("inf")), "slow_factor is inf, expected 0 to 1000"),
        (BehaviourMessage(slow_share=-0.5), "slow_share is -0.5, expected a share from 0 to 1"),
        (BehaviourMessage(fail_share=1.5), "fail_share is 1.5, expected a share from 0 to 1"),
        (
            BehaviourMessage(fail_code="unavailabel"),
            "fail_code is 'unavailabel', expected a gRPC error name; did you mean UNAVAILABLE?",
        ),
        (BehaviourMessage(fail_code="OK"), "fail_code is 'OK', expected a gRPC error name"),
        (BehaviourMessage(cache_sessions=100_001), "cache_sessions is 100001, expected 0 to 100000"),
        (BehaviourMessage(cache_hit_factor=2), "cache_hit_factor is 2, expected 0 to 1"),
        (
            BehaviourMessage(orca="measure"),
            "orca is 'measure', expected measured, CPU or CPU:RPS, as 0.4:200 "
            "(CPU above 0, to 10, RPS above 0, to 1e+09)",
        ),
        (BehaviourMessage(outage_every_s=-1), "outage_every_s is -1, expected above 0, to 86400"),
        (BehaviourMessage(outage_for_ms=50), "outage_every_s is 0, expected above 0, to 86400"),
        (
            BehaviourMessage(outage_every_s=2, outage_for_ms=2000),
            "outage_for_ms is 2000, expected above 0 and below outage_every_s, 2000 ms",
        ),
        (
            BehaviourMessage(outage_every_s=2),
            "outage_for_ms is 0, expected above 0 and below outage_every_s, 2000 ms",
        ),
    ],
)
def test_a_bad_change_is_refused(change: BehaviourMessage, message: str) -> None:
    with pytest.raises(ValueError) as refused:
        CONSTANT_5.changed(change)
    assert str(refused.value) == message
