"""The policies of gRPC clients: their options and their service configs."""

import json
from typing import Any

import pytest
from pydantic import ValidationError

from lb.policies import POLICIES, ClientRetries, service_config


def balancing(policy: str, **options: object) -> dict[str, Any]:
    """Return the only entry of `loadBalancingConfig`."""
    (entry,) = json.loads(service_config(policy, options))["loadBalancingConfig"]
    return dict(entry)


@pytest.mark.parametrize("name", POLICIES)
def test_a_policy_names_itself_and_nothing_else(name: str) -> None:
    assert list(json.loads(service_config(name))) == ["loadBalancingConfig"]
    assert list(balancing(name)) == [POLICIES[name].grpc_name]
    for line in (POLICIES[name].meaning, POLICIES[name].alb):
        assert line
        assert "\n" not in line
    for field in POLICIES[name].options.model_fields.values():
        assert field.description


def test_options_reach_the_service_config() -> None:
    assert balancing("pick_first", shuffle=True) == {"pick_first": {"shuffleAddressList": True}}
    assert balancing("round_robin") == {"round_robin": {}}
    assert balancing("weighted_round_robin", blackout_ms=0, weight_update_ms=250.5) == {
        "weighted_round_robin": {
            "blackoutPeriod": "0s",
            "weightUpdatePeriod": "0.2505s",
            "weightExpirationPeriod": "180s",
        }
    }
    assert balancing("ring_hash", min_ring_size=64) == {
        "ring_hash_experimental": {
            "minRingSize": 64,
            "maxRingSize": 4096,
            "requestHashHeader": "x-lab-session",
        }
    }


@pytest.mark.parametrize(
    ("policy", "options", "message"),
    [
        ("round_robin", {"shuffle": True}, "shuffle"),
        ("pick_first", {"shuffle": "yes"}, "valid boolean"),
        ("weighted_round_robin", {"blackout_ms": -1}, "greater than or equal to 0"),
        ("weighted_round_robin", {"blackout_ms": float("inf")}, "finite number"),
        ("weighted_round_robin", {"weight_update_ms": 99}, "greater than or equal to 100"),
        ("weighted_round_robin", {"weight_expiration_s": 0}, "greater than 0"),
        ("ring_hash", {"min_ring_size": 8192}, "less than or equal to 4096"),
        ("ring_hash", {"min_ring_size": 100.0}, "valid integer"),
        ("ring_hash", {"max_ring_size": 512}, "min_ring_size 1024 is above max_ring_size 512"),
    ],
)
def test_a_bad_option_is_refused(policy: str, options: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        service_config(policy, options)


def test_health_checks_wait_for_ready_and_retries_reach_the_service_config() -> None:
    retries = ClientRetries(attempts=4, on=("UNAVAILABLE", "ABORTED"), backoff_ms=7.5)
    config = json.loads(
        service_config("round_robin", health_check=True, wait_for_ready=True, retries=retries)
    )
    assert config["healthCheckConfig"] == {"serviceName": "video_service.VideoService"}
    assert config["methodConfig"] == [
        {
            "name": [{}],
            "waitForReady": True,
            "retryPolicy": {
                "maxAttempts": 4,
                "initialBackoff": "0.0075s",
                "maxBackoff": "0.075s",
                "backoffMultiplier": 2,
                "retryableStatusCodes": ["UNAVAILABLE", "ABORTED"],
            },
        }
    ]


@pytest.mark.parametrize("attempts", [1, 6])
def test_attempts_that_grpc_would_not_make_are_refused(attempts: int) -> None:
    with pytest.raises(ValueError, match=f"attempts is {attempts}, expected 2 to 5"):
        ClientRetries(attempts)


def test_a_budget_becomes_grpcs_throttling() -> None:
    config = json.loads(service_config("pick_first", retries=ClientRetries(3, budget_percent=12.5)))
    assert config["retryThrottling"] == {"maxTokens": 10, "tokenRatio": 0.125}
    assert "retryThrottling" not in json.loads(service_config("pick_first", retries=ClientRetries(3)))


@pytest.mark.parametrize("budget_percent", [0, -1, 100.5])
def test_a_budget_out_of_bounds_is_refused(budget_percent: float) -> None:
    with pytest.raises(ValueError, match=r"budget_percent is .*, expected above 0, to 100"):
        ClientRetries(3, budget_percent=budget_percent)


def test_a_backoff_with_which_grpc_loses_calls_is_refused() -> None:
    with pytest.raises(ValueError, match="backoff_ms is 1, expected 5 or more"):
        ClientRetries(2, backoff_ms=1)
