"""Builds Envoy's command-line arguments."""

import math

from harness.events.schedule import delays_kept_by
from harness.plan.cells import CellPlan
from harness.proxy.render import EnvoyFiles


def envoy_args(plan: CellPlan, files: EnvoyFiles) -> list[str]:
    """Return Envoy's arguments for the arm of `plan` with the configuration `files.config`."""
    return [
        *("--config-path", str(files.config), "--admin-address-path", str(files.admin_address)),
        *("--concurrency", str(plan.arm.proxy_workers), "--disable-hot-restart"),
        *("--file-flush-interval-msec", "100", "--log-level", "warning"),
        *_drain_args(plan),
    ]


def _drain_args(plan: CellPlan) -> list[str]:
    """Return the option for the drain time, in whole seconds: the longest delay of an event that drains."""
    delays_s = delays_kept_by("proxy", plan.events)
    return ["--drain-time-s", str(max(1, math.ceil(max(delays_s))))] if delays_s else []
