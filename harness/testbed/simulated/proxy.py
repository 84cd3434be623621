"""What the proxy of an arm does besides picking, as the simulator has it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from harness.proxy.render import PANIC_THRESHOLD_PERCENT
from harness.spec.arm import Arm, ProxyHealthCheck
from harness.testbed.simulated.codes import CODES

if TYPE_CHECKING:
    from simulator.system import HealthChecks, OutlierDetection, Retries

NS_PER_MS = 1_000_000
ASKS: dict[str, Literal["health", "server", "port"]] = {"grpc": "health", "code_12": "server", "tcp": "port"}


def proxy_of(arm: Arm) -> dict[str, Any]:
    """Return the fields of a System that are about the proxy of a layer 7 arm."""
    panic, breaker = arm.panic_threshold_percent, arm.circuit_breaker
    return {
        "checks": _checks(arm.proxy_health_check or ProxyHealthCheck()),
        "outliers": _outliers(arm),
        "retries": _retries(arm),
        "panic_percent": PANIC_THRESHOLD_PERCENT if panic is None else panic,
        "max_active": 0 if breaker is None else breaker.max_requests,
        "keep_draining": keeps_draining(arm),
    }


def keeps_draining(arm: Arm) -> bool:
    """Return whether sessions stay on a replica that drains."""
    return arm.policy == "sticky" and bool(arm.options.get("keep_draining"))


def _checks(check: ProxyHealthCheck) -> HealthChecks | None:
    from simulator.system import HealthChecks

    kind = check.kind or "grpc"
    if kind == "none":
        return None
    times = (check.interval_ms * NS_PER_MS, check.timeout_ms * NS_PER_MS)
    return HealthChecks(ASKS[kind], *times, check.unhealthy_after, check.healthy_after)


def _outliers(arm: Arm) -> OutlierDetection | None:
    from simulator.system import OutlierDetection

    found = arm.outlier_detection
    if found is None:
        return None
    times = (found.interval_ms * NS_PER_MS, found.ejection_ms * NS_PER_MS)
    return OutlierDetection(found.consecutive_errors, *times, found.max_ejection_percent)


def _retries(arm: Arm) -> Retries | None:
    from simulator.system import Retries

    again = arm.retries
    if again is None:
        return None
    codes = tuple(CODES[code] for code in again.on)
    timeout_ns = round((again.attempt_timeout_ms or 0) * NS_PER_MS)
    return Retries(again.attempts, codes, round(again.backoff_ms * NS_PER_MS), timeout_ns)
